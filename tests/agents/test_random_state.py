"""SB3's global generators: set inside, as before outside."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.agents.random_state import global_generators

Draw = tuple[float, float, float]


def draw() -> Draw:
    return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002


def test_inside_the_draws_follow_from_the_seed_alone() -> None:
    found: list[Draw] = []
    for seed in (5, 5, 6):
        draw()
        with global_generators(seed):
            found.append(draw())
    assert found[0] == found[1]
    assert all(a != b for a, b in zip(found[0], found[2], strict=True))


def test_outside_they_go_on_as_if_nothing_had_been() -> None:
    with global_generators(1):  # a known place to start from
        undisturbed = [draw(), draw()]
    with global_generators(1):
        first = draw()
        with global_generators(2):
            draw(), draw()
            random.gauss(0, 1), np.random.normal(), torch.randn(3)  # noqa: NPY002
        assert [first, draw()] == undisturbed


def test_a_failure_inside_puts_them_back_too() -> None:
    with global_generators(1):
        undisturbed = draw()
    with global_generators(1):
        with pytest.raises(RuntimeError), global_generators(2):
            draw()
            raise RuntimeError
        assert draw() == undisturbed


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**32 + 1, 2**63 - 1])
def test_any_seed_will_do(seed: int) -> None:
    with global_generators(seed):
        assert all(0 <= x < 1 for x in draw())


def test_the_generators_of_gpus_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not put back, so they must not be set."""
    seeded: list[Any] = []

    def record(name: str) -> Callable[..., None]:
        return lambda *values: seeded.append((name, values))

    for device in ("cuda", "xpu", "mps"):
        for name in ("manual_seed", "manual_seed_all"):
            monkeypatch.setattr(getattr(torch, device), name, record(name), raising=False)
    with global_generators(1):
        draw()
    assert not seeded
