"""Comparisons: every agent, seed and scenario; refused at once or kept as far as they came."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from deephedge.agents import AgentSettings
from deephedge.baselines import BandHedge, DeltaHedge, known_optimum
from deephedge.envs import Scenario, load_scenario
from deephedge.experiments.compare import Watch, compare, judge
from deephedge.experiments.evaluation import Evaluation, evaluate
from deephedge.experiments.hedgers import standard_baselines
from deephedge.experiments.reports.report import Section
from deephedge.experiments.runs import load_run

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
    trainings: list[tuple[str, int]] = []
    evaluations: list[str] = []
    told: list[tuple[float, ...]] = []

    def training(title: str, steps: int) -> Callable[[int, float], None]:
        trainings.append((title, steps))
        return lambda done, risk: told.append((done, risk))

    def evaluation(title: str) -> Callable[[int, int], None]:
        evaluations.append(title)
        return lambda done, total: told.append((done, total))

    folder = tmp_path / "new" / "comparison"
    results = compare(
        scenarios,
        agents,
        folder,
        seeds=(3, 4),
        paths=500,
        evaluation_seed=9,
        watch=Watch(training, evaluation),
    )
    learned = ["ppo-seed3", "ppo-seed4", "a2c-seed3", "a2c-seed4"]
    assert [each.scenario for each in results] == scenarios
    for result in results:
        assert [each.name for each in result.hedgers] == expected(result.scenario, 9) + learned
        assert (result.paths, result.seed) == (500, 9)
    documents = json.loads((folder / "evaluation.json").read_text())
    assert documents == [result.document() for result in results]
    for name in ("short-call", "my-own"):
        assert {path.name for path in (folder / name).iterdir()} == set(learned)
        for run in learned:
            assert load_run(folder / name / run).name == run
    runs = {str(Path(file).parent) for file in files(folder) if file.endswith("spec.json")}
    assert len(runs) == 8
    assert trainings == [
        (f"{scenario.name}: {run}", 640 if "a2c" in run else 320)
        for scenario in scenarios
        for run in learned
    ]
    assert evaluations == ["short-call", "my own"]
    assert (320, 500) not in told and (500, 500) in told  # both kinds of work tell
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
    assert files(tmp_path / "new" / "c") == {"evaluation.json", "report.html"}
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
    monkeypatch.setattr(MODULE, "train_run", lambda *a, **k: pytest.fail("it trained"))
    problems, settings = [load_scenario(name) for name in scenarios], [tiny(a) for a in agents]
    with pytest.raises(ValueError, match=message):
        compare(problems, settings, tmp_path / "new" / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(tmp_path: Path, brief: Brief, tiny: Tiny) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match="c exists: give another --out, or remove it"):
        compare([brief()], [tiny()], tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


class Interruption:
    """Stops a training by its title."""

    def __init__(self, title: str) -> None:
        self.title = title

    def __call__(self, title: str, steps: int) -> Callable[[int, float], None]:
        return self.stop if title == self.title else lambda done, risk: None

    def stop(self, done: int, risk: float) -> None:
        raise KeyboardInterrupt


def test_an_interruption_keeps_the_finished_trainings(
    tmp_path: Path, brief: Brief, tiny: Tiny
) -> None:
    folder = tmp_path / "c"
    watch = Watch(training=Interruption("short-call: a2c"))
    with pytest.raises(KeyboardInterrupt):
        compare([brief()], [tiny("ppo"), tiny("a2c")], folder, watch=watch)
    assert [path.name for path in (folder / "short-call").iterdir()] == ["ppo"]
    assert [path.name for path in folder.iterdir()] == ["short-call"]
    assert load_run(folder / "short-call" / "ppo").name == "ppo"


def test_an_interruption_of_the_first_training_leaves_nothing(
    tmp_path: Path, brief: Brief, tiny: Tiny
) -> None:
    watch = Watch(training=Interruption("short-call: ppo"))
    with pytest.raises(KeyboardInterrupt):
        compare([brief()], [tiny()], tmp_path / "new" / "c", watch=watch)
    assert list(tmp_path.iterdir()) == []


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
