"""What the tests of experiments share: trainings that take a third of a second."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deephedge.agents import AgentSettings, agent_settings
from deephedge.agents import training as training_module
from deephedge.baselines import hull_white, static_options, tuning
from deephedge.envs import Scenario, load_scenario
from deephedge.experiments import evaluation
from deephedge.experiments.commands import command_line
from deephedge.experiments.commands import report as report_command
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


class Ran(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout, which must be the only thing there."""
        return json.loads(self.out)


@pytest.fixture
def few_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of evaluation and validation paths that take no time."""
    monkeypatch.setattr(evaluation, "BLOCK", 512)
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 256)
    monkeypatch.setattr(tuning, "PATHS", 128)
    monkeypatch.setattr(hull_white, "FIT_PATHS", 128)
    monkeypatch.setattr(static_options, "PATHS", 256)


@pytest.fixture
def deephedge(
    few_paths: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Ran]:
    """Runs the command line in this process and in a folder of its own; draws no reports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    compare = importlib.import_module("deephedge.experiments.compare")
    for module in (command_line, compare, report_command):
        monkeypatch.setattr(module, "write_report", lambda path, *rest: path.write_text("<html>"))

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["deephedge", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            command_line.main()
        assert isinstance(left.value.code, int)
        return Ran(left.value.code, *capsys.readouterr())

    return run
