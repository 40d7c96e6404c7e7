"""Rendering: a line that says what happened, a picture that shows the episode so far."""

from __future__ import annotations

import itertools
import re

import gymnasium as gym
import numpy as np
import pytest

from deephedge.envs import HedgingEnv, load_scenario


def test_the_blotter_line_is_the_step_that_was_taken() -> None:
    env = HedgingEnv("short-call", render_mode="ansi")
    env.reset(seed=1)
    start = env.render()
    assert isinstance(start, str)
    assert "\n" not in start
    assert start.startswith("t   0/30")
    for _ in range(3):
        *_, info = env.step(np.zeros(2))
    line = env.render()
    assert line.startswith("t   3/30")
    numbers = {
        name: float(re.search(rf"{re.escape(name)}\s+([-+.\d]+)", line)[1])  # type: ignore[index]
        for name in ("spot", "delta", "holding", "cost", "P&L", "total")
    }
    assert numbers == pytest.approx(
        {
            "spot": info["spot"],
            "delta": info["delta"],
            "holding": info["holding"],
            "cost": info["cost"],
            "P&L": info["pnl"],
            "total": info["wealth"],
        },
        abs=6e-4,
    )


def test_the_blotter_counts_decision_dates() -> None:
    thin = load_scenario("short-call", {"calendar.decide_every": "7"})
    env = HedgingEnv(thin, render_mode="ansi")
    env.reset(seed=1)
    ended = False
    while not ended:
        *_, ended, _, _ = env.step(np.zeros(2))
    assert env.render().startswith("t   5/5")  # the end can be looked at
    env.reset()
    assert env.render().startswith("t   0/5")


def test_the_picture_grows_with_the_episode() -> None:
    env = HedgingEnv("gamma-hedge-jumps", render_mode="rgb_array")
    env.reset(seed=1)
    pictures = [env.render()]
    for _ in range(2):
        env.step(np.full(4, 0.3))
        pictures.append(env.render())
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape == (480, 640, 3)
        assert picture.std() > 10  # not blank
    assert all((a != b).any() for a, b in itertools.pairwise(pictures))
    assert (env.render() == pictures[-1]).all()
    pictures[-1][:] = 0  # a picture of one's own
    assert env.render().any()


def test_drawing_leaves_no_figure_open() -> None:
    import matplotlib.pyplot as plt

    env = HedgingEnv("short-call", render_mode="rgb_array")
    env.reset(seed=1)
    env.render()
    assert plt.get_fignums() == []


def test_without_a_render_mode_there_is_nothing_to_see_and_nothing_is_kept() -> None:
    env = HedgingEnv("short-call")
    env.reset(seed=1)
    env.step(np.zeros(2))
    assert env.render() is None
    assert env.history == []


def test_an_unknown_mode_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="render_mode 'human': choose one of ansi, rgb_array"):
        HedgingEnv("short-call", render_mode="human")


def test_gymnasium_renders_it_too() -> None:
    env = gym.make("deephedge/short-call-v0", render_mode="ansi")
    env.reset(seed=1)
    assert isinstance(env.render(), str)
