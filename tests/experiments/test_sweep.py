"""Sweeps: what they find, how they go on, what they refuse."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deephedge.agents import AgentSettings, agent_settings
from deephedge.agents.search_space import Choices, search_space, searched, values_of, with_values
from deephedge.baselines import DeltaHedge, OptimalHedge
from deephedge.envs import Scenario
from deephedge.experiments import sweep_trial
from deephedge.experiments.evaluation import evaluate
from deephedge.experiments.executor import Serial
from deephedge.experiments.sweep import (
    BEST,
    FINAL,
    QUESTION,
    TABLE,
    TRIALS,
    Sweep,
    final_figure,
    sweep,
)
from deephedge.experiments.sweep_trial import Judge, Trial, medians

Tiny = Callable[..., AgentSettings]
Brief = Callable[..., Scenario]
Deephedge = Callable[..., Any]

# The package offers the function under the module's name.
MODULE = importlib.import_module("deephedge.experiments.sweep")

pytest.importorskip("optuna")


@pytest.fixture(autouse=True)
def _quick(few_paths: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_trial, "PATHS", 512)
    monkeypatch.setattr(MODULE, "RANDOM_TRIALS", 4)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings that take no time: their risk is a known function of the settings."""

    class Trained:
        def __init__(self, settings: AgentSettings) -> None:
            self.hedger = settings

    def train(scenario: Scenario, settings: AgentSettings, seed: int, progress: Any) -> Trained:
        for step in range(settings.steps):
            progress(step, loss(settings) + 1 / (1 + step))
        return Trained(settings)

    monkeypatch.setattr(sweep_trial, "train_agent", train)
    monkeypatch.setattr(Judge, "risk", lambda self, settings: loss(settings))


def loss(settings: AgentSettings) -> float:
    """Least at a learning rate of 0.002 and tau of 0.02; 64 units, the choice of few."""
    off = np.log(settings.learning_rate / 0.002) ** 2 + np.log(settings.options["tau"] / 0.02) ** 2
    return float(off + 0.5 * (settings.net != (64, 64)))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", searched())
def test_what_is_searched_can_be_set(name: str) -> None:
    settings = agent_settings(name)
    space = search_space(name)
    assert with_values(settings, values_of(settings, space)) == settings
    for key, dimension in space.items():
        ends = [dimension.low, dimension.high] if not isinstance(dimension, Choices) else []
        for value in dimension.choices if isinstance(dimension, Choices) else ends:
            assert values_of(with_values(settings, {key: value}), space)[key] == value


@pytest.mark.parametrize("name", searched())
def test_a_sweep_begins_with_the_defaults(name: str) -> None:
    settings = agent_settings(name)
    space = search_space(name)
    values = values_of(settings, space)
    assert values.keys() == space.keys()  # each is written down in defaults.yaml
    assert MODULE._within(values, space).keys() == space.keys()


def test_a_sweep_finds_the_best_settings(
    simulated: None, brief: Brief, tiny: Tiny, tmp_path: Path
) -> None:
    options = agent_settings("sac").options
    options |= {"batch_size": 1024, "tau": 0.01, "target_entropy": -4.0}
    start = tiny("sac", learning_rate=0.0004, learning_rate_end=0.02, options=options)
    found = sweep([brief()], start, tmp_path / "new", trials=25)
    first = found.trials[0]
    assert first.values["learning_rate"] == 0.0004 and first.state == "complete"
    losses = [loss(with_values(start, trial.values)) for trial in found.trials]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[1:5])  # of those chosen, of the random ones
    assert loss(found.best) == min(losses) < 1.0 < loss(start)
    states = [trial.state for trial in found.trials]
    assert states.count("pruned") > 2 and states.count("complete") > 5
    assert found.ranked[0] == found.trials[int(np.argmin(losses))]
    assert agent_settings(str(tmp_path / "new" / BEST)) == found.best
    assert len(rows(tmp_path / "new")) == 25


@pytest.mark.slow
def test_an_interrupted_sweep_comes_to_the_same(
    simulated: None, brief: Brief, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems, settings = [brief()], tiny("td3")
    whole = sweep(problems, settings, tmp_path / "whole", trials=7, seed=3)
    train, calls = sweep_trial.train_agent, 0

    def failing(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (1, 4, 8):
            raise KeyboardInterrupt
        return train(*arguments, **named)

    monkeypatch.setattr(sweep_trial, "train_agent", failing)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            sweep(problems, settings, tmp_path / "parts", trials=7, seed=3)
    parts = sweep(problems, settings, tmp_path / "parts", trials=7, seed=3)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert parts.best == whole.best
    again = sweep(problems, settings, tmp_path / "parts", trials=7, seed=3)
    assert again == parts and calls == 7 + 3
    other = sweep(problems, settings, tmp_path / "other", trials=7, seed=4)
    assert other.trials[1].values != whole.trials[1].values


class Backwards:
    """What workers may do: the last trial of a batch is over first."""

    def run(self, tasks: Any, watch: Any = None, finished: Any = None) -> list[Any]:
        return Serial().run(tasks[::-1], watch, finished)[::-1]


def test_the_result_does_not_depend_on_who_is_first(
    simulated: None, brief: Brief, tiny: Tiny, tmp_path: Path
) -> None:
    """But on the batch. Trials that are asked for later are those of one call."""
    problems, settings, options = [brief()], tiny("td3"), {"batch": 3, "seed": 2}
    whole = sweep(problems, settings, tmp_path / "a", trials=14, **options)
    sweep(problems, settings, tmp_path / "b", trials=7, executor=Backwards(), **options)
    sweep(problems, settings, tmp_path / "b", trials=14, executor=Backwards(), **options)
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert "pruned" in [trial.state for trial in whole.trials]
    fewer = sweep(problems, settings, tmp_path / "a", trials=2, **options)
    assert fewer == whole  # what is there stays
    alone = sweep(problems, settings, tmp_path / "c", trials=9, seed=2, batch=1)
    values = [trial.values for trial in whole.trials]
    assert [trial.values for trial in alone.trials[:4]] == values[:4]  # the random ones
    assert [trial.values for trial in alone.trials[4:]] != values[4:9]


def test_what_is_given_up_is_what_optuna_would_prune() -> None:
    """Optuna's own median pruner, on trials of one and of two scenarios."""
    optuna = pytest.importorskip("optuna")
    rng = np.random.default_rng(0)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=4)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    states = {"complete": optuna.trial.TrialState.COMPLETE, "failed": optuna.trial.TrialState.FAIL}
    trials: list[Trial] = []
    decisions = []
    for number in range(12):
        reports = {int(n): float(rng.normal()) for n in sorted(rng.choice(40, 25, replace=False))}
        asked, bars, best = study.ask(), medians(trials), -np.inf
        for step, score in reports.items():
            asked.report(score, step)
            best = max(best, score)
            bar = bars[step] if step < len(bars) else None
            decisions.append(bar is not None and best < bar)
            assert decisions[-1] == asked.should_prune()
        state = "failed" if number == 3 else "complete"
        study.tell(asked, None if state == "failed" else score, states[state])
        told = {str(step): value for step, value in reports.items()}
        trials.append(Trial(number, state, score, {}, {}, 0.0, "", told))
    assert 0 < sum(decisions) < len(decisions) / 2


@pytest.mark.slow
def test_the_winner_is_trained_afresh(
    brief: Brief, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside what the sweep began with, with seeds and on paths that no trial had."""
    comparing = importlib.import_module("deephedge.experiments.compare")
    monkeypatch.setattr(comparing, "write_report", lambda path, *rest: path.write_text("drawn"))
    start, best = tiny("a2c"), tiny("a2c", learning_rate=0.005)
    trial = Trial(4, "complete", 0.9, {}, {}, 1.0, "", {})
    options = {"seed": 7, "seeds": 1, "paths": 300}
    found = final_figure([brief()], start, Sweep([trial], best), tmp_path, **options)
    home = tmp_path / FINAL / "trial-4-seeds-1"
    assert [each.name for each in found[0].hedgers][-2:] == ["start", "best"]
    assert (found[0].seed, found[0].paths) == (8, 300)
    for name, settings in {"start": start, "best": best}.items():
        run = json.loads((home / "short-call" / name / "meta.json").read_text())
        spec = json.loads((home / "short-call" / name / "policy" / "spec.json").read_text())
        assert run["seed"] == 8 and spec["settings"] == settings.model_dump(mode="json")
    kept = final_figure([brief()], start, Sweep([trial], start), tmp_path / "kept", **options)
    assert [each.name for each in kept[0].hedgers].count("best") == 0


def test_a_sweep_of_something_else_is_refused(
    simulated: None, brief: Brief, tiny: Tiny, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    sweep([brief()], tiny("td3"), folder, trials=1)
    before = files(folder)
    for other in ({"seed": 1}, {"batch": 2}):
        with pytest.raises(ValueError, match=f"is of other scenarios and {next(iter(other))}: ask"):
            sweep([brief("short-call-jumps")], tiny("td3"), folder, trials=2, **other)
    assert files(folder) == before
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="mine exists: give another --out"):
        sweep([brief()], tiny("td3"), tmp_path / "mine", trials=1)


def test_varied_episodes_are_refused(brief: Brief, tiny: Tiny, tmp_path: Path) -> None:
    """Their monitor has a number without a unit, which no risk of delta's is taken off."""
    with pytest.raises(ValueError, match="agent td3: vary: a sweep judges by one risk"):
        sweep([brief()], tiny("td3", vary={"cost": (0.5, 2.0)}), tmp_path / "sweep", trials=1)
    assert not (tmp_path / "sweep").exists()


def test_a_training_that_fails_is_a_failed_trial(
    simulated: None, brief: Brief, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = sweep_trial.train_agent

    def diverging(scenario: Scenario, settings: AgentSettings, *rest: Any, **named: Any) -> Any:
        if settings.learning_rate != agent_settings("td3").learning_rate:
            raise ValueError("holdings with NaN")
        return train(scenario, settings, *rest, **named)

    monkeypatch.setattr(sweep_trial, "train_agent", diverging)
    found = sweep([brief()], tiny("td3"), tmp_path / "new", trials=3)
    assert [trial.state for trial in found.trials] == ["complete", "failed", "failed"]
    assert rows(tmp_path / "new")[2]["reason"] == "holdings with NaN"
    with pytest.raises(ValueError, match="no trial came to its end, the last: holdings with NaN"):
        sweep([brief()], tiny("td3", learning_rate=0.002), tmp_path / "none", trials=2)


def test_the_score_is_the_gap_that_is_closed(brief: Brief, monkeypatch: pytest.MonkeyPatch) -> None:
    """On other paths than an evaluation's: equal within their error, never to the last digit."""
    monkeypatch.setattr(sweep_trial, "PATHS", 4096)
    problem = brief()
    judge = Judge(problem, seed=0)
    assert judge.score(judge.risk(DeltaHedge())) == 0.0
    assert judge.score(judge.risk(OptimalHedge())) == pytest.approx(1.0, abs=1e-12)
    evaluated = evaluate(problem, [], paths=512)
    assert judge.risk(DeltaHedge()) != evaluated.result("delta").risk.value
    unknown = Judge(brief("sp500-call"), seed=0)
    delta = unknown.risk(DeltaHedge())
    assert unknown.score(delta) == 0.0
    assert unknown.score(delta - 0.1 * unknown.scenario.contract.scale) == pytest.approx(0.1)


SWEEP = ["sweep", "short-call", "--set", "calendar.steps=5", "--agent", "a2c", "--steps", "2560"]


def test_the_command_line(deephedge: Deephedge, tmp_path: Path, finished_run: Path) -> None:
    ran = deephedge(*SWEEP, "--trials", "2", "--out", "new", "--json")
    assert ran.code == 0 and "best settings: new/best.yaml" in ran.err
    document = ran.json
    assert [trial["number"] for trial in document["trials"]] == [0, 1]
    assert document["scenarios"] == ["short-call"] and document["best"]["algorithm"] == "a2c"
    assert {path.name for path in (tmp_path / "new").iterdir()} == {BEST, TABLE, TRIALS, QUESTION}
    assert document["final"] == []
    ran = deephedge(*SWEEP, "--trials", "2", "--out", "new")
    assert ran.code == 0 and ran.out.startswith("2 trials\n")
    ran = deephedge("export", str(finished_run), "--to", "out", "--format", "csv")
    assert (ran.code, ran.out) == (0, "out/holdings.csv\n")
    ran = deephedge("export", str(finished_run), "--to", "out")
    assert ran.code == 2 and ran.err.startswith("error: out exists: give another")


@pytest.mark.slow
def test_the_best_settings_can_be_trained(deephedge: Deephedge, tmp_path: Path) -> None:
    best = deephedge(*SWEEP, "--trials", "2", "--out", "new", "--json").json["best"]
    trained = ["train", "short-call", "--set", "calendar.steps=5", "--paths", "500"]
    assert deephedge(*trained, "--agent", "new/best.yaml").code == 0
    spec = tmp_path / "runs" / "short-call-best-0" / "policy" / "spec.json"
    assert json.loads(spec.read_text())["settings"] == best


def test_a_missing_extra_is_one_line(
    deephedge: Deephedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    ran = deephedge("sweep", "short-call", "--agent", "sac")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: a sweep needs the extra 'tune': pip install 'deephedge[tune]'\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 5", "own.yaml: no algorithm: add a line such as 'algorithm: ppo'"),
        ("algorithm: 3", "own.yaml: no algorithm"),
        ("algorithm: pppo", "unknown agent 'pppo': did you mean 'ppo'?"),
        ("{algorithm: ppo, steps: 0}", "agent ppo: steps 0: "),
        ("[ppo]", "own.yaml: a mapping of keys was expected"),
        (None, "own.yaml: cannot be read"),
    ],
)
def test_a_bad_settings_file_is_refused(
    text: str | None, message: str, deephedge: Deephedge, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "own.yaml").write_text(text)
    ran = deephedge("train", "short-call", "--agent", "own.yaml")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: {message}") and ran.err.count("\n") == 1
