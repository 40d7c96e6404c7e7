"""Comparisons: every agent, seed and scenario; refused at once or kept as far as they came."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deephedge.agents import AgentSettings
from deephedge.baselines import BandHedge, DeltaHedge, known_optimum
from deephedge.envs import Scenario, load_scenario
from deephedge.experiments.compare import QUESTION, compare, judge
from deephedge.experiments.evaluation import Evaluation, evaluate
from deephedge.experiments.executor import Watch
from deephedge.experiments.hedgers import standard_baselines
from deephedge.experiments.questions import holding
from deephedge.experiments.reports.report import Section
from deephedge.experiments.runs import complete_run, load_run

Brief = Callable[..., Scenario]
Tiny = Callable[..., AgentSettings]
# The package offers the function under the module's name.
MODULE = importlib.import_module("deephedge.experiments.compare")


def expected(scenario: Scenario, seed: int = 0) -> list[str]:
    """The baselines of a report: what all are compared with stands first."""
    first = ["none", "delta", *(["optimal"] if known_optimum(scenario) else [])]
    names = [hedger.name for hedger in standard_baselines(scenario, seed)]
    return first + [name for name in names if name not in first]


pytestmark = pytest.mark.usefixtures("few_paths")


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would have been drawn: drawing has tests of its own."""
    written: list[tuple[Any, ...]] = []

    def write_report(path: Path, title: str, sections: Sequence[Section], command: str) -> None:
        path.write_text(title)
        written.append((path, title, sections, command))

    monkeypatch.setattr(MODULE, "write_report", write_report)
    return written


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file()}


def test_every_agent_seed_and_scenario(
    tmp_path: Path, brief: Brief, tiny: Tiny, reports: list[tuple[Any, ...]]
) -> None:
    scenarios = [brief(), brief("short-straddle-jumps", name="my own")]
    agents = [tiny("ppo"), tiny("a2c", steps=640)]
    told: list[tuple[str, float]] = []
    folder = tmp_path / "new" / "comparison"
    results = compare(
        scenarios,
        agents,
        folder,
        seeds=(3, 4),
        paths=500,
        evaluation_seed=9,
        watch=lambda key, fraction: told.append((key, fraction)),
    )
    learned = ["ppo-seed3", "ppo-seed4", "a2c-seed3", "a2c-seed4"]
    assert [each.scenario for each in results] == scenarios
    for result in results:
        assert [each.name for each in result.hedgers] == expected(result.scenario, 9) + learned
        assert (result.paths, result.seed) == (500, 9)
    documents = json.loads((folder / "evaluation.json").read_text())
    assert documents == [result.document() for result in results]
    for result in results:
        assert result.across is not None
        assert {each.name: each.policies for each in result.across.agents} == {
            "ppo": tuple(learned[:2]),
            "a2c": tuple(learned[2:]),
        }
    assert {"table.md", "table.csv", "table.tex"} <= {path.name for path in folder.iterdir()}
    for name in ("short-call", "my-own"):
        assert {path.name for path in (folder / name).iterdir()} == set(learned)
        for run in learned:
            assert load_run(folder / name / run).name == run
    runs = {str(Path(file).parent) for file in files(folder) if file.endswith("spec.json")}
    assert len(runs) == 8
    keys = [f"{scenario.name}: {run}" for scenario in scenarios for run in learned]
    keys += [f"{scenario.name}: evaluating" for scenario in scenarios]
    assert list(dict.fromkeys(key for key, _ in told)) == keys
    for key in keys:
        far = [fraction for each, fraction in told if each == key]
        assert far == sorted(far) and len(far) > 1 and far[-1] == 1.0
    (path, title, sections, _) = reports[0]
    assert (path, title) == (folder / "report.html", "short-call and my own")
    for section, result in zip(sections, results, strict=True):
        assert section.evaluation is result
        assert list(section.maps) == list(section.curves) == learned
        assert [len(example.holdings) for example in section.examples] == [
            4 if known_optimum(result.scenario) else 3
        ] * 3


def test_the_figures_are_those_of_an_evaluation(
    tmp_path: Path, brief: Brief, tiny: Tiny, reports: list[tuple[Any, ...]]
) -> None:
    """Of one seed, under the agent's own name; the saved run gives the same numbers later."""
    (result,) = compare([brief()], [tiny()], tmp_path / "c", paths=500, evaluation_seed=2)
    later = evaluate(brief(), [load_run(tmp_path / "c" / "short-call" / "ppo")], 500, 2)
    assert later.result("ppo").document() == result.result("ppo").document()


def test_without_agents_it_compares_the_baselines(
    tmp_path: Path, brief: Brief, reports: list[tuple[Any, ...]]
) -> None:
    (result,) = compare([brief()], [], tmp_path / "new" / "c", paths=100)
    assert [each.name for each in result.hedgers] == expected(brief())
    assert files(tmp_path / "new" / "c") == {QUESTION, "evaluation.json", "report.html"}
    (note,) = reports[0][2][0].notes
    assert note.startswith("Chosen for the lowest risk, on paths of their own: delta:every=")
    assert (
        result.document()["tuned"]
        == list(result.tuned)
        == note.rstrip(".").split(": ", 1)[1].split(", ")
    )


@pytest.mark.parametrize(
    ("scenarios", "agents", "message"),
    [
        (["short-call", "short-call"], ["ppo"], "a name stands twice"),
        (["short-call"], ["ppo", "a2c", "ppo"], "agents .* one stands twice"),
        (["short-call", "book-jumps"], ["ppo", "dqn"], "choices, more than 256"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_training(
    scenarios: list[str],
    agents: list[str],
    message: str,
    tiny: Tiny,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MODULE, "complete_run", lambda *a, **k: pytest.fail("it trained"))
    problems, settings = [load_scenario(name) for name in scenarios], [tiny(a) for a in agents]
    with pytest.raises(ValueError, match=message):
        compare(problems, settings, tmp_path / "new" / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, brief: Brief, tiny: Tiny) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match="c exists: give another --out, or remove it"):
        compare([brief()], [tiny()], tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


def interruption(of: str) -> Watch:
    """Stops a task by its key."""

    def watch(key: str, fraction: float) -> None:
        if key == of:
            raise KeyboardInterrupt

    return watch


def test_an_interrupted_comparison_goes_on(
    tmp_path: Path, brief: Brief, tiny: Tiny, reports: list[tuple[Any, ...]]
) -> None:
    """What is finished is not done again; the numbers are those of a whole one, see below."""
    folder, agents = tmp_path / "c", [tiny("ppo"), tiny("a2c")]
    with pytest.raises(KeyboardInterrupt):
        compare([brief()], agents, folder, paths=200, watch=interruption("short-call: a2c"))
    assert {path.name for path in folder.iterdir()} == {QUESTION, "short-call"}
    assert [path.name for path in (folder / "short-call").iterdir()] == ["ppo"]
    weights = folder / "short-call" / "ppo" / "policy" / "weights.safetensors"
    written = weights.stat().st_mtime_ns
    told: list[str] = []
    (found,) = compare([brief()], agents, folder, paths=200, watch=lambda key, _: told.append(key))
    assert told.count("short-call: ppo") == 1 < told.count("short-call: a2c")
    assert weights.stat().st_mtime_ns == written
    assert [each.name for each in found.hedgers][-2:] == ["ppo", "a2c"]
    assert all(len(curve) > 1 for curve in reports[0][2][0].curves.values())


def test_another_comparison_in_the_folder_is_refused(
    tmp_path: Path, brief: Brief, reports: list[tuple[Any, ...]]
) -> None:
    compare([brief()], [], tmp_path / "c", paths=100)
    before = {path: path.read_bytes() for path in (tmp_path / "c").iterdir()}
    message = "compare.json is of other scenarios and paths: ask for the same, or give another"
    with pytest.raises(ValueError, match=message):
        compare([brief("short-call", **{"market.sigma": "0.3"})], [], tmp_path / "c", paths=99)
    assert {path: path.read_bytes() for path in (tmp_path / "c").iterdir()} == before
    with holding(tmp_path / "c"), pytest.raises(ValueError, match="another process works in it"):
        compare([brief()], [], tmp_path / "c", paths=100)


def test_a_run_that_was_killed_before_its_first_file_starts(
    tmp_path: Path, brief: Brief, tiny: Tiny
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.part").write_text("half")
    complete_run(folder, brief(), tiny(), 0, lambda fraction: None)
    assert load_run(folder).name == "run"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "data.csv").write_text("mine")
    with pytest.raises(OSError, match="not empty"):
        complete_run(tmp_path / "mine", brief(), tiny(), 0, lambda fraction: None)
    assert (tmp_path / "mine" / "data.csv").read_text() == "mine"


def test_an_interruption_of_the_first_training_leaves_nothing(
    tmp_path: Path, brief: Brief, tiny: Tiny
) -> None:
    with pytest.raises(KeyboardInterrupt):
        compare([brief()], [tiny()], tmp_path / "new" / "c", watch=interruption("short-call: ppo"))
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_cannot_be_is_refused(tmp_path: Path, brief: Brief, tiny: Tiny) -> None:
    for name in ("delta", "a/b", ""):
        with pytest.raises(ValueError, match=f"agent '{name}': a baseline, or no name of a"):
            compare([brief()], [tiny()], tmp_path / "d", names=[name])


# Kill -9, in processes of their own

SCRIPT = """
import importlib
from deephedge.agents import training, training_state
from deephedge.baselines import hull_white, static_options, tuning
from deephedge.experiments import evaluation
from deephedge.experiments.commands import command_line

training_state.EVERY, training_state.SHARE = 0.2, 0.2
training.VALIDATION_PATHS, evaluation.BLOCK = 512, 512
tuning.PATHS = hull_white.FIT_PATHS = static_options.PATHS = 256
importlib.import_module("deephedge.experiments.compare").write_report = lambda *drawn: None
if __name__ == "__main__":
    command_line.main()
"""
FAST = ["--set", "calendar.steps=5", "--steps", "30000", "--paths", "500"]
EIGHT = ["short-call", "--agent", "ppo", "--agent", "a2c", "--seeds", "4", *FAST, "--json"]


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "script.py", "compare", *EIGHT, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True)


def finished(folder: Path) -> dict[str, int]:
    """When the policies were written."""
    return {
        path.parents[1].name: path.stat().st_mtime_ns
        for path in folder.glob("*/*/policy/weights.safetensors")
    }


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_kill_in_the_middle_of_eight_trainings(workers: str, tmp_path: Path) -> None:
    """The second run finishes the rest only, and comes to the same, bit for bit."""
    killed = start(tmp_path, "--out", "c", "--workers", workers)
    while len(finished(tmp_path / "c")) < 4:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    time.sleep(1.0)
    before = finished(tmp_path / "c")
    assert 4 <= len(before) < 8
    again = start(tmp_path, "--out", "c", "--workers", workers)
    out, err = again.communicate()
    assert (again.returncode, err) == (0, "report: c/report.html\n")
    after = finished(tmp_path / "c")
    assert len(after) == 8 and before.items() <= after.items()
    whole = start(tmp_path, "--out", "whole", "--workers", "1")
    assert whole.communicate()[0] == out
    for run in after:
        weights = Path("short-call") / run / "policy" / "weights.safetensors"
        assert (tmp_path / "c" / weights).read_bytes() == (
            tmp_path / "whole" / weights
        ).read_bytes()


def test_a_judged_hedger_of_ones_own_takes_the_baseline_s_place(brief: Brief) -> None:
    def names(evaluation: Evaluation) -> list[str]:
        return [each.name for each in evaluation.hedgers]

    section = judge(brief(), [], paths=100, others=[BandHedge(), BandHedge(width=0.7)])
    assert sorted(names(section.evaluation)) == sorted(
        [*expected(brief()), "band", "band:width=0.7"]
    )
    assert (
        names(judge(brief(), [], paths=100, others=[DeltaHedge()]).evaluation).count("delta") == 1
    )
    assert section.maps == section.curves == {}
