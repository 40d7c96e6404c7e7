"""A report's parts: which runs belong together, how they are called, what is left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deephedge.agents import AgentSettings
from deephedge.baselines import baseline_kinds
from deephedge.envs import Scenario
from deephedge.experiments.evaluation import evaluate
from deephedge.experiments.gather import distinct_names, gather
from deephedge.experiments.runs import finished_run as read_run
from deephedge.experiments.runs import train_run

Brief = Callable[..., Scenario]
Tiny = Callable[..., AgentSettings]


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path) -> Path:
    """A folder of three runs, one of them unfinished, and a file."""
    for name in ("one", "deep/two", "begun"):
        shutil.copytree(finished_run, tmp_path / "runs" / name)
    shutil.rmtree(tmp_path / "runs" / "begun" / "policy")
    (tmp_path / "runs" / "begun" / "checkpoint").mkdir()
    (tmp_path / "runs" / "begun" / "checkpoint" / "state.safetensors").touch()
    (tmp_path / "runs" / "notes.txt").write_text("mine")
    return tmp_path / "runs"


@pytest.mark.usefixtures("few_paths")
def test_a_finished_run_is_what_its_training_returned(
    brief: Brief, tiny: Tiny, tmp_path: Path
) -> None:
    trained = train_run(tmp_path / "run", brief(), tiny(), seed=1)
    found = read_run(tmp_path / "run")
    assert found.risks == trained.risks and found.risk == trained.risk
    assert (found.settings, found.view) == (trained.settings, trained.view)
    assert found.hedger.name == "run"


def test_a_run_without_its_metrics_is_refused(finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    for text, message in (("time/fps\n1\n", "no risk in it"), ("hedge/risk\n1\n", "be read")):
        (run / "metrics.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            read_run(run)
    (run / "metrics.csv").unlink()
    with pytest.raises(ValueError, match=r"metrics.csv: cannot be read"):
        read_run(run)


def test_runs_are_found_in_a_folder_and_counted_once(folder: Path) -> None:
    found = gather([folder, folder / "one"])
    assert list(found.runs.values()) == [[folder / "deep" / "two", folder / "one"]]
    assert found.unfinished == [folder / "begun"]
    assert found.title == "short-call"
    assert gather([folder / "one"]).unfinished == []


@pytest.mark.usefixtures("few_paths")
def test_runs_belong_together_by_their_scenario_not_its_name(
    folder: Path, brief: Brief, tiny: Tiny
) -> None:
    other = brief(**{"market.sigma": "0.3"})
    assert other.name == "short-call"
    train_run(folder / "other", other, tiny())
    found = gather([folder])
    assert [len(runs) for runs in found.runs.values()] == [2, 1]
    assert found.title == "short-call"


@pytest.mark.usefixtures("few_paths")
def test_a_section_has_fresh_results_of_every_run_and_of_every_file(
    folder: Path, brief: Brief
) -> None:
    document = evaluate(brief("short-call-jumps"), [], 100).document()
    path = folder / "evaluation.json"
    path.write_text(json.dumps(document))
    told: list[tuple[int, int]] = []
    found = gather([folder, path])
    assert found.title == "short-call and short-call-jumps"
    fresh, recorded = found.sections(600, 9, lambda *progress: told.append(progress))
    assert told == [(512, 600), (600, 600)]
    evaluation = fresh.evaluation
    names = [result.name for result in evaluation.hedgers]
    assert {"none", "delta", "optimal", "one", "two"} <= set(names)
    one, two = read_run(folder / "one").hedger, read_run(folder / "deep/two", "two").hedger
    again = evaluate(brief(), [one, two], 600, 9)
    for name in ("one", "two"):
        assert again.result(name).document() == next(
            result.document() for result in evaluation.hedgers if result.name == name
        )
    assert fresh.notes[-1] == f"From the runs {folder}/deep/two, {folder}/one."
    assert recorded.evaluation.document() == document
    assert str(path) in recorded.notes[0]


def test_names_tell_runs_apart(tmp_path: Path) -> None:
    base = tmp_path.resolve()
    assert distinct_names([base / "a", base / "b"]) == ["a", "b"]
    assert distinct_names([base / "x/ppo", base / "y/ppo"]) == ["x/ppo", "y/ppo"]
    assert "band" in baseline_kinds()
    assert distinct_names([base / "x/band"]) == ["x/band"]
    with pytest.raises(ValueError, match="stands twice"):
        distinct_names([base / "x", base / "x"])


def test_what_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such folder or file"):
        gather([tmp_path / "none"])
    with pytest.raises(ValueError, match="not a run directory"):
        gather([tmp_path])
