"""What the tests of agents share: small problems and short trainings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.agents import AgentSettings, Trained, agent_settings, train_agent
from deephedge.agents import training as training_module
from deephedge.envs import Scenario, load_scenario

ENVIRONMENTS, EPISODES = 16, 5


@pytest.fixture(autouse=True)
def _small_and_tidy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Few validation paths, and no folder of SB3's own in the system's /tmp."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 256)
    monkeypatch.setenv("SB3_LOGDIR", str(tmp_path / "sb3"))


@pytest.fixture(scope="session")
def short_call() -> Scenario:
    return load_scenario("short-call")


@pytest.fixture(scope="session")
def three_steps() -> Scenario:
    """`short-call` with three dates, for what needs no more."""
    return load_scenario("short-call", {"calendar.steps": "3"})


@pytest.fixture(scope="session")
def tiny() -> Callable[..., AgentSettings]:
    """``tiny(name, key=value ...)``: the defaults, lowered to about a second's work."""
    return _tiny


@pytest.fixture(scope="session")
def suited(short_call: Scenario) -> Callable[[str], Scenario]:
    """``suited(name)``: `short_call`, with an objective that the agent takes."""
    mean_std = load_scenario("short-call", {"objective": "{kind: mean-std, weight: 1.5}"})
    return lambda name: mean_std if name == "two-critic" else short_call


@pytest.fixture(scope="session")
def trained(suited: Callable[[str], Scenario]) -> Callable[[str], Trained]:
    """``trained(name)``: an agent after a few thousand steps on `short-call`; trained once."""
    known: dict[str, Trained] = {}

    def train(name: str) -> Trained:
        if name not in known:
            known[name] = train_agent(suited(name), _tiny(name), seed=1)
        return known[name]

    return train


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], bool]:
    """``same(one, two)``: trees of plain data, equal in type, shape and every bit."""
    return _same


def _same(one: Any, two: Any) -> bool:
    """Equal in type, shape and every bit."""
    if type(one) is not type(two):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, (np.ndarray, np.generic)):
        return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()
    if isinstance(one, dict):
        return [*one] == [*two] and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple, deque)):
        lengths = len(one) == len(two) and getattr(one, "maxlen", 0) == getattr(two, "maxlen", 0)
        return lengths and all(map(_same, one, two))
    return repr(one) == repr(two)


def _tiny(name: str, **changes: Any) -> AgentSettings:
    options = dict(agent_settings(name).options)
    if "batch_size" in options:
        options["batch_size"] = 64
    lowered: dict[str, Any] = {
        "environments": ENVIRONMENTS,
        "steps": ENVIRONMENTS * 30 * EPISODES,
        "validation": 1,
        "options": options,
    }
    return agent_settings(name, **(lowered | changes))
