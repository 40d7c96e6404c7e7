"""Run directories: complete or not there, read back as they were, refused in one line."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from deephedge.agents import AgentSettings
from deephedge.envs import Scenario, load_scenario, parse_scenario, rollout, simulate
from deephedge.envs.markets import GeometricBrownianMotion, Market
from deephedge.envs.presets import read_yaml
from deephedge.experiments import runs
from deephedge.experiments.runs import (
    command,
    folder_name,
    free_folder,
    load_run,
    new_folder,
    run_config,
    train_run,
)

Brief = Callable[..., Scenario]
Tiny = Callable[..., AgentSettings]


def test_a_run_directory_holds_what_the_contract_names(
    finished_run: Path, brief: Brief, tiny: Tiny
) -> None:
    entries = {"config.yaml", "meta.json", "tb", "metrics.csv", "policy"}
    assert {path.name for path in finished_run.iterdir()} == entries
    assert {path.name for path in (finished_run / "policy").iterdir()} == {
        *("spec.json", "weights.safetensors")
    }
    assert [path.name.split(".")[2] for path in (finished_run / "tb").iterdir()] == ["tfevents"]
    rows = list(csv.DictReader((finished_run / "metrics.csv").read_text().splitlines()))
    steps = [int(row["time/total_timesteps"]) for row in rows if row["hedge/risk"]]
    assert steps[0] == 0 and steps[-1] == 320
    assert all(np.isfinite(float(value)) for row in rows for value in row.values() if value)


def test_the_configuration_is_whole_and_reads_back(
    finished_run: Path, brief: Brief, tiny: Tiny
) -> None:
    config = read_yaml((finished_run / "config.yaml").read_text(), "config.yaml")
    assert parse_scenario(config["scenario"]) == brief()
    assert AgentSettings.model_validate(config["agent"]) == tiny()
    assert config["seed"] == 4 and config["agent"]["threads"] == 1
    assert config["view"]["features"] == list(brief().features)  # spelt out


def test_the_record_of_a_run(finished_run: Path) -> None:
    meta = json.loads((finished_run / "meta.json").read_text())
    assert set(meta) == {
        *("deephedge", "libraries", "python", "platform", "seed", "command", "finished"),
        "seconds",
    }
    assert meta["seed"] == 4 and meta["seconds"] > 0
    assert meta["libraries"]["torch"] == torch.__version__
    assert meta["command"] == command()


def test_the_command_can_be_pasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/any/bin/deephedge", "train", "--set", "name=my own"])
    assert command() == "deephedge train --set 'name=my own'"


def test_a_loaded_run_hedges_as_it_was_trained(
    tmp_path: Path, finished_run: Path, brief: Brief, tiny: Tiny
) -> None:
    trained = train_run(tmp_path / "again", brief(), tiny(), seed=4)
    assert trained.hedger.name == "again"
    other = brief(**{"market.sigma": "0.3", "hedges.0.costs.0.rate": "0.01"})
    for scenario in (brief(), other):
        episodes = simulate(scenario, 200, torch.Generator().manual_seed(1))
        by_run = [
            rollout(scenario, episodes, hedger).pnl
            for hedger in (trained.hedger, load_run(tmp_path / "again"), load_run(finished_run))
        ]
        assert np.array_equal(by_run[0], by_run[1])
        assert np.array_equal(by_run[0], by_run[2])  # the same seed, another folder


def test_a_run_is_called_by_its_folder(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_run(finished_run).name == "finished"
    assert load_run(finished_run, "mine").name == "mine"
    monkeypatch.chdir(finished_run)
    assert load_run(Path()).name == "finished"


@pytest.mark.parametrize("name", ["no", "1e3", "0x1F", "1:30", "010", "~", "", "A: b # c", "Ωé\t"])
def test_any_name_survives_the_configuration(name: str, brief: Brief, tiny: Tiny) -> None:
    """Some are numbers or truth values in one YAML and strings in the other."""
    scenario = brief().model_copy(update={"name": name})
    config = read_yaml(run_config(scenario, tiny(), 0), "config.yaml")
    assert parse_scenario(config["scenario"]) == scenario


class StoppedError(Exception):
    """Something that goes wrong in the middle of a training."""


@pytest.mark.parametrize("error", [StoppedError, KeyboardInterrupt])
def test_a_training_that_fails_or_is_interrupted_leaves_nothing(
    tmp_path: Path, error: type[BaseException], brief: Brief, tiny: Tiny
) -> None:
    seen: list[set[str]] = []

    def stop(done: int, risk: float) -> None:
        seen.append({path.name for path in (tmp_path / "new" / "runs" / "mine").iterdir()})
        raise error

    with pytest.raises(error):
        train_run(tmp_path / "new" / "runs" / "mine", brief(), tiny(), progress=stop)
    assert seen == [{"config.yaml", "tb", "metrics.csv"}]
    assert list(tmp_path.iterdir()) == []


def test_what_others_put_beside_a_failing_run_stays(tmp_path: Path) -> None:
    with pytest.raises(StoppedError), new_folder(tmp_path / "a" / "b" / "c") as folder:
        (folder / "half").write_text("written")
        (tmp_path / "a" / "other").mkdir()
        raise StoppedError
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "other"]


def test_a_folder_that_exists_is_left_alone(
    tmp_path: Path, brief: Brief, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "train_agent", lambda *a, **k: pytest.fail("it trained"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("run", "file"):
        with pytest.raises(ValueError, match=f"{name} exists: give another --out, or remove it"):
            train_run(tmp_path / name, brief(), tiny())
    assert (tmp_path / "run" / "precious").read_text() == "mine"
    assert (tmp_path / "file").read_text() == "mine"


def test_free_folders(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        folder = free_folder(tmp_path / "short-call-0.5")
        folder.mkdir()
        names.append(folder.name)
    assert names == ["short-call-0.5", "short-call-0.5-2", "short-call-0.5-3"]


@given(st.text())
@example("../../etc/passwd")
@example("..")
@example("a/b\\c")
@example("\n")
def test_any_name_gives_a_folder_inside(name: str) -> None:
    folder = Path("runs") / folder_name(name)
    assert folder.parent == Path("runs")
    assert folder.name not in ("", ".", "..") and not folder.name.startswith((".", "-"))
    assert folder_name(folder.name) == folder.name


def test_preset_names_are_their_folders() -> None:
    assert folder_name("short-call-jumps") == "short-call-jumps"
    assert folder_name("my own call, 20 %") == "my-own-call-20"


@pytest.fixture
def in_python_only(brief: Brief) -> Iterator[Scenario]:
    """A scenario with a callable in it."""

    class Callback(GeometricBrownianMotion):
        kind: Literal["callback"] = "callback"  # type: ignore[assignment]
        told: Callable[[float], float] = abs

    yield brief().model_copy(update={"market": Callback(spot=100.0, sigma=0.2)})
    del Market.kinds["callback"]


def test_a_scenario_in_python_only_runs_but_is_not_trained_into_a_folder(
    in_python_only: Scenario, tiny: Tiny, tmp_path: Path
) -> None:
    episodes = simulate(in_python_only, 10, torch.Generator().manual_seed(1))
    assert episodes.paths == 10
    with pytest.raises(ValueError, match="runs but cannot be saved: a part of it exists in Python"):
        train_run(tmp_path / "new" / "run", in_python_only, tiny())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("agent", "scenario", "sets", "message"),
    [
        ("ppo", "short-call", {"objective": "{kind: var, level: 0.9}"}, "reported only"),
        ("dqn", "book-jumps", {"calendar.steps": "60"}, "choices, more than 256"),
        ("sac", "short-call", {"view.action": "{kind: discrete, levels: 5}"}, "discrete"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    agent: str,
    scenario: str,
    sets: dict[str, str],
    message: str,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *a, **k: pytest.fail("it wrote"))
    with pytest.raises(ValueError, match=message):
        train_run(tmp_path / "run", load_scenario(scenario, sets), tiny(agent))


def damage(folder: Path, what: str) -> None:
    spec, weights = folder / "policy" / "spec.json", folder / "policy" / "weights.safetensors"
    tree = json.loads(spec.read_text())
    if what == "truncated weights":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif what == "changed weights":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    elif what == "truncated spec":
        spec.write_text(spec.read_text()[:-50])
    elif what in ("no spec", "no weights"):
        (spec if what == "no spec" else weights).unlink()
    elif what == "another version":
        spec.write_text(json.dumps(tree | {"format": 2}))
    elif what == "unknown key":
        spec.write_text(json.dumps(tree | {"surprise": 1}))
    elif what == "no policy":
        shutil.rmtree(folder / "policy")
    elif what == "no run":
        shutil.rmtree(folder / "policy")
        (folder / "config.yaml").unlink()
    elif what == "nothing":
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("truncated weights", "truncated or changed"),
        ("changed weights", "truncated or changed"),
        ("no weights", "cannot be read"),
        ("truncated spec", "not JSON"),
        ("no spec", "cannot be read"),
        ("another version", "format 2, this version reads 1"),
        ("unknown key", "surprise"),
        ("no policy", "an unfinished training: continue with: deephedge train --resume "),
        ("no run", "not a run directory: it has no folder 'policy'"),
        ("nothing", "there is no such run directory"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    what: str, message: str, finished_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    damage(folder, what)
    with pytest.raises(ValueError, match=message) as refused:
        load_run(folder)
    assert str(folder) in str(refused.value) and "\n" not in str(refused.value)
