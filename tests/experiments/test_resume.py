"""Runs that were killed go on to the very same policy, with one log and one run directory."""

from __future__ import annotations

import csv
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from deephedge.agents import AgentSettings, training_state
from deephedge.envs import Scenario
from deephedge.experiments import runs
from deephedge.experiments.run_log import RunLog
from deephedge.experiments.runs import load_run, resume_run, train_run, unfinished_run

Brief = Callable[..., Scenario]
Tiny = Callable[..., AgentSettings]
Deephedge = Callable[..., Any]

WEIGHTS = Path("policy") / "weights.safetensors"
CLOCK = ("time/fps", "time/time_elapsed")


class KilledError(BaseException):
    """A kill: nothing of what follows is done."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``killed(step, train)``: a training that dies in its n-th step; a checkpoint per rollout."""
    monkeypatch.setattr(training_state, "EVERY", 0.0)
    monkeypatch.setattr(training_state, "SHARE", 1e9)
    monkeypatch.setattr("deephedge.agents.monitor.policy_figure", lambda *arguments: Figure((1, 1)))

    def kill(step: int, train: Callable[..., Any]) -> None:
        count = itertools.count(1)

        def progress(done: int, risk: float) -> None:
            if next(count) == step:
                raise KilledError

        with pytest.raises(KilledError):
            train(progress=progress)

    return kill


def rows(folder: Path) -> list[dict[str, str]]:
    """metrics.csv without the clock, columns by name."""
    table = csv.DictReader((folder / "metrics.csv").read_text().splitlines())
    return [{k: v for k, v in sorted(row.items()) if v and k not in CLOCK} for row in table]


def events(folder: Path) -> list[tuple[str, int, Any]]:
    """TensorBoard's numbers without the clock, file after file, in the order of writing."""
    files = [list(EventFileLoader(str(path)).Load()) for path in (folder / "tb").iterdir()]
    return [
        (value.tag, event.step, tuple(value.tensor.float_val))
        for file in sorted(files, key=lambda file: file[0].wall_time)
        for event in file
        for value in event.summary.value
        if value.tag not in CLOCK and value.metadata.plugin_data.plugin_name == "scalars"
    ]


@pytest.mark.parametrize("agent", ["ppo", pytest.param("sac", marks=pytest.mark.slow)])
def test_a_killed_run_goes_on(
    agent: str, killed: Callable[..., None], brief: Brief, tiny: Tiny, tmp_path: Path
) -> None:
    """To the same weights and the same log, without a row twice or missing."""
    settings = tiny(agent, steps=64 * 5 * 4)
    whole = train_run(tmp_path / "whole", brief(), settings, 4)
    folder = tmp_path / "killed"
    killed(12, lambda **o: train_run(folder, brief(), settings, 4, **o))
    assert {path.name for path in folder.iterdir()} == {
        *("config.yaml", "metrics.csv", "tb", "checkpoint")
    }
    with pytest.raises(ValueError, match="killed: an unfinished training: continue with: "):
        load_run(folder)
    killed(4, lambda **o: resume_run(unfinished_run(folder), **o))
    resumed = resume_run(unfinished_run(folder))
    assert resumed.hedger.name == "killed" and resumed.risks == whole.risks
    assert (folder / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes()
    assert rows(folder) == rows(tmp_path / "whole")
    assert events(folder) == events(tmp_path / "whole") and len(events(folder)) > 50
    assert {path.name for path in folder.iterdir()} == {
        *("config.yaml", "metrics.csv", "tb", "policy", "meta.json")
    }
    with pytest.raises(ValueError, match="a finished training"):
        unfinished_run(folder)


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(
    killed: Callable[..., None],
    brief: Brief,
    tiny: Tiny,
    tmp_path: Path,
    finished_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what was logged of it gone."""
    folder = tmp_path / "run"
    killed(4, lambda **o: train_run(folder, brief(), tiny(), 4, **o))
    (folder / "checkpoint" / "state.safetensors").unlink()
    resume_run(unfinished_run(folder))
    assert (folder / WEIGHTS).read_bytes() == (finished_run / WEIGHTS).read_bytes()
    assert rows(folder) == rows(finished_run)
    assert len(list((folder / "tb").iterdir())) == 1


def test_a_death_at_the_very_end(
    killed: Callable[..., None],
    brief: Brief,
    tiny: Tiny,
    tmp_path: Path,
    finished_run: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A policy is there whole or not at all."""

    def die(*arguments: Any, **options: Any) -> Any:
        raise KilledError

    folder = tmp_path / "run"
    for owner, name in ((runs, "write_json"), (runs, "save_policy"), (Path, "rename")):
        with monkeypatch.context() as patched, pytest.raises(KilledError):
            patched.setattr(owner, name, die)
            if folder.exists():
                resume_run(unfinished_run(folder))
            else:
                train_run(folder, brief(), tiny(), 4)
        assert not (folder / "policy").exists()
    resume_run(unfinished_run(folder))
    assert (folder / WEIGHTS).read_bytes() == (finished_run / WEIGHTS).read_bytes()
    assert not (folder / "checkpoint").exists() and not (folder / "policy.part").exists()


def test_the_time_of_all_processes_is_told(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.restore({"metrics": "", "events": {}, "seconds": 100.0})
    assert 100.0 < log.state()["seconds"] < 101.0 and not list(tmp_path.iterdir())


def test_another_number_of_threads_is_put_back(
    killed: Callable[..., None],
    brief: Brief,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run has the threads of its settings, whatever the session has."""
    folder = tmp_path / "run"
    threads, seen = torch.get_num_threads(), []
    killed(4, lambda **o: train_run(folder, brief(), tiny(threads=2), 4, **o))
    torch.set_num_threads(3)
    try:
        resume_run(unfinished_run(folder), progress=lambda *a: seen.append(torch.get_num_threads()))
        assert set(seen) == {2} and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_changed_configuration_is_refused(
    killed: Callable[..., None], brief: Brief, tiny: Tiny, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    killed(4, lambda **o: train_run(folder, brief(), tiny(), 4, **o))
    config = folder / "config.yaml"
    text = config.read_text()
    for old, new, what in (("seed: 4", "seed: 5", "seed 4"), ("steps: 5", "steps: 6", "scenario")):
        config.write_text(text.replace(old, new))
        with pytest.raises(ValueError, match=f"written with {what}"):
            resume_run(unfinished_run(folder))
    config.write_text(text.replace("learning_rate: 0.001", "learning_rate: fast"))
    with pytest.raises(ValueError, match=r"config.yaml: agent.learning_rate: input should be"):
        unfinished_run(folder)


def test_the_command_line_goes_on(
    killed: Callable[..., None], deephedge: Deephedge, tmp_path: Path
) -> None:
    """An interrupted comparison too: each of its trainings is a run."""
    fast = ["--agent", "a2c", "--steps", "5000", "--paths", "300", "--set", "calendar.steps=5"]
    real = runs.train_run

    def interrupt(done: int, risk: float) -> None:
        if done > 3000:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            runs, "train_run", lambda *a, **o: real(*a, **(o | {"progress": interrupt}))
        )
        stopped = deephedge("compare", "short-call", *fast, "--seed", "3", "--out", "c")
    run = "c/short-call/a2c"
    go_on = "go on: the same command with --out c"
    assert stopped == (1, "", f"kept: {run}, an unfinished training\n{go_on}\ninterrupted\n")
    ran = deephedge("train", "--resume", run, "--paths", "300", "--json")
    assert (ran.code, ran.err) == (0, f"report: {run}/report.html\n")
    assert ran.json["seed"] == 3 and "a2c" in [each["name"] for each in ran.json["hedgers"]]
    assert {"evaluation.json", "report.html", "policy"} <= {
        p.name for p in (tmp_path / run).iterdir()
    }


# Kill -9, in processes of their own

# Checkpoints several times a second; the evaluation that follows a training is no part of this.
SCRIPT = """
import sys
from deephedge.agents import training, training_state
from deephedge.experiments.commands import command_line

training_state.EVERY, training_state.SHARE = 0.2, 0.2
training.VALIDATION_PATHS = 512
command_line.judge = lambda *arguments, **options: sys.exit(0)
sys.argv[0] = "deephedge"
command_line.main()
"""
BUDGETS = {"ppo": 1_000_000, "sac": 60_000, "deep-hedging": 20_000_000}
KILLS = 10


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    command = [sys.executable, "-c", SCRIPT, "train", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=quiet, stderr=quiet)


def written(run: Path) -> int:
    """When the checkpoint was written."""
    path = run / "checkpoint" / "state.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


def kill_at_random(
    child: subprocess.Popen[bytes], run: Path, rng: random.Random, start_up: float, stretch: float
) -> None:
    """Three in ten while the process starts or restores, the others some time into training."""
    last = written(run)
    if rng.random() < 0.3:
        time.sleep(rng.uniform(0.0, start_up))
    else:
        while written(run) == last and child.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, stretch))
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it was over before"


@pytest.mark.slow
@pytest.mark.parametrize("agent", BUDGETS)
def test_ten_kills_at_random_moments(agent: str, tmp_path: Path) -> None:
    """Equal weights and one log, as if nothing had happened."""
    arguments = ["short-call", "--agent", agent, "--seed", "7", "--steps", str(BUDGETS[agent])]
    began = time.monotonic()
    assert start(tmp_path, *arguments, "--out", "whole").wait() == 0
    whole, run = tmp_path / "whole", tmp_path / "killed"
    seconds = json.loads((whole / "meta.json").read_text())["seconds"]
    start_up = time.monotonic() - began - seconds
    rng, checkpoints = random.Random(agent), set()
    for _ in range(KILLS):
        begun = ["--resume", "killed"] if run.exists() else [*arguments, "--out", "killed"]
        kill_at_random(start(tmp_path, *begun), run, rng, start_up, seconds / 15)
        checkpoints.add(written(run))
    assert len(checkpoints) >= 5
    assert start(tmp_path, "--resume", "killed").wait() == 0
    assert (run / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()
    assert rows(run) == rows(whole) and events(run) == events(whole)
