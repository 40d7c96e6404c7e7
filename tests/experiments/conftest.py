"""What the tests of experiments share: trainings that take a third of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deephedge.agents import AgentSettings, agent_settings
from deephedge.envs import Scenario, load_scenario
from deephedge.experiments.runs import train_run


@pytest.fixture(scope="session")
def brief() -> Callable[..., Scenario]:
    """``brief(name, key=value)``: a preset of five steps."""

    def make(name: str = "short-call", /, **sets: str) -> Scenario:
        return load_scenario(name, {"calendar.steps": "5", **sets})

    return make


@pytest.fixture(scope="session")
def tiny() -> Callable[..., AgentSettings]:
    """``tiny(agent)``: settings with which an agent learns next to nothing, at once."""

    def make(agent: str = "ppo", **changes: Any) -> AgentSettings:
        return agent_settings(agent, **({"steps": 320, "environments": 64} | changes))

    return make


@pytest.fixture(scope="session")
def finished_run(
    tmp_path_factory: pytest.TempPathFactory,
    brief: Callable[..., Scenario],
    tiny: Callable[..., AgentSettings],
) -> Path:
    """A run directory on ``short-call`` in five steps; copy it before you change it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    train_run(folder, brief(), tiny(), seed=4)
    return folder
