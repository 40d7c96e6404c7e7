"""Walk-forward: no look-ahead through any step, one fold after the other, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deephedge.agents import AgentSettings
from deephedge.agents import training as training_module
from deephedge.agents.factory import view_of
from deephedge.baselines import tuning
from deephedge.envs import Hedger, Known, Scenario, load_scenario, rollout
from deephedge.envs.desk import Desk
from deephedge.envs.namespace import NUMPY
from deephedge.experiments import PriceHistory, backtest, runs, sp500
from deephedge.experiments.history import walk_forward as module
from deephedge.experiments.history.backtest import month_episodes
from deephedge.experiments.history.contracts import by_steps, contracts
from deephedge.experiments.history.walk_forward import (
    Fold,
    Training,
    Walk,
    folds,
    training,
    walk_forward,
)
from deephedge.experiments.history.yearly_training import train_all

Array = NDArray[np.float64]
Held = dict[str, dict[int, Array]]  # by hedger and the row a month starts at, [T]
DAYS = 10  # calendar days of a contract: many short months


@pytest.fixture(scope="module")
def problem() -> Scenario:
    return load_scenario("sp500-call")


def made_up(days: int = 780, seed: int = 0) -> PriceHistory:
    """Three years of weekdays: a vol that moves, a jump now and then."""
    rng = np.random.default_rng(seed)
    dates = np.busday_offset("2001-01-02", np.arange(days), roll="forward").astype("datetime64[D]")
    vol = 0.2 * np.exp(0.3 * np.sin(np.arange(days) / 50) + 0.02 * rng.standard_normal(days))
    moves = vol / 16 * rng.standard_normal(days) - 0.09 * (rng.random(days) < 0.01)
    close = 1300 * np.exp(np.cumsum(moves))
    return PriceHistory(dates, close, vol, np.full(days, "file"), "made up")


def changed_after(history: PriceHistory, row: int, shift: float, seed: int) -> PriceHistory:
    """From the day after ``row`` closes are ``shift`` higher and then go another way, as vols."""
    n = len(history.dates)
    rng, later = np.random.default_rng(seed), np.arange(n) > row
    noise = np.where(later, 0.02, 0.0) * rng.standard_normal(n)
    close = history.close * np.exp(np.where(later, shift, 0.0) + np.cumsum(noise))
    vol = np.where(later, history.vol * np.exp(shift / 2 + noise), history.vol)
    return replace(history, close=np.where(later, close, history.close), vol=vol)


class Student:
    """In place of a training: its holdings are made of every number it was trained on."""

    def __init__(self, given: Training) -> None:
        self.name, self.given = given.settings.algorithm, given
        view = view_of(given.scenario, given.settings)
        self.desk = Desk(given.scenario, NUMPY, view)
        drawn = [end for ends in given.settings.vary.uniform.values() for end in ends]
        self.numbers = np.array([*numbers(given.scenario.market.model_dump()), *drawn])

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Array, None]:
        seen = known.observe(self.desk).astype(np.float64)
        weights = np.linspace(0.5, 1.5, seen.shape[1])
        taught = float(np.sin(self.numbers * np.arange(1, len(self.numbers) + 1)).sum())
        return np.tanh(seen @ weights + taught)[:, None], None


class Peek(Student):
    """Knows tomorrow: shows that looking ahead would be noticed."""

    def act(self, known: Known, state: None) -> tuple[Array, None]:
        return known._episodes.spot[known.t + 1][:, None] / 100, None


def numbers(tree: Any) -> list[float]:
    if isinstance(tree, dict):
        return [x for value in tree.values() for x in numbers(value)]
    return [float(tree)] if isinstance(tree, int | float) else []


def students(kind: type[Student]) -> Callable[[Sequence[Training]], list[Hedger]]:
    return lambda tasks: [kind(each) for each in tasks]


def walked(
    problem: Scenario, history: PriceHistory, walk: Walk, trainer: module.Trainer
) -> tuple[list[tuple[Fold, list[Training]]], Held]:
    """What a walk estimates and trains on, and what it holds; taken where it plays its months."""
    held: Held = {}
    play = module.play_months

    def recording(scenario: Scenario, hedgers: Any, months: Any, seed: int) -> Any:
        for group in by_steps(months).values():
            episodes = month_episodes(scenario, group, seed)
            for hedger in hedgers:
                holding = rollout(scenario, episodes, hedger, record=True).holding
                own = held.setdefault(hedger.name, {})
                own.update({m.start: holding[:, j, -1] for j, m in enumerate(group)})
        return play(scenario, hedgers, months, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "play_months", recording)
        walk_forward(problem, history, walk, trainer)
    parts = folds(problem, history, walk.window, walk.days)
    return [(f, [training(f, a, walk.seed) for a in walk.agents]) for f in parts], held


def first_difference(one: dict[int, Array], other: dict[int, Array]) -> float:
    """The first row of the history at which a holding differs."""
    assert one.keys() == other.keys()
    rows = [s + int(t) for s, held in one.items() for t in np.flatnonzero(held != other[s])]
    return min(rows, default=np.inf)


def taught(parts: list[tuple[Fold, list[Training]]], until: np.datetime64) -> list[Any]:
    """Scenarios and settings of the trainings whose window ends by a day."""
    return [t for fold, tasks in parts if fold.past.dates[-1] <= until for t in tasks]


HISTORY = made_up()


@pytest.fixture(scope="module")
def plan(tiny: Callable[..., AgentSettings]) -> Walk:
    return Walk(("static", "delta", "whalley-wilmott"), (tiny(),), window=1, days=DAYS)


@pytest.fixture(scope="module")
def untouched(problem: Scenario, plan: Walk) -> Any:
    return walked(problem, HISTORY, plan, students(Student))


@settings(derandomize=True, deadline=None, max_examples=15)
@given(
    row=st.integers(200, 775),
    shift=st.floats(-0.5, 0.5),
    seed=st.integers(0, 1000),
)
def test_shifting_the_future_changes_nothing_before_it(
    problem: Scenario, plan: Walk, untouched: Any, row: int, shift: float, seed: int
) -> None:
    """Estimates, what trainings are given, features, marks and holdings up to a day stay."""
    other = changed_after(HISTORY, row, shift, seed)
    parts, held = walked(problem, other, plan, students(Student))
    day = HISTORY.dates[row]
    assert taught(parts, day) == taught(untouched[0], day)
    for name, holding in untouched[1].items():
        assert first_difference(holding, held[name]) > row, name


@pytest.mark.parametrize("row", [255, 300, 525, 600])
def test_what_comes_is_noticed_the_day_after(
    problem: Scenario, plan: Walk, untouched: Any, row: int
) -> None:
    """So the property above can fail: the day after, and by who peeks, on the day."""
    other = changed_after(HISTORY, row, 0.1, seed=1)
    parts, held = walked(problem, other, plan, students(Student))
    begun = max(row, parts[0][0].months[0].start)
    differ = first_difference(untouched[1]["ppo"], held["ppo"])
    assert row < differ <= begun + 3  # a month may end between
    for (fold, tasks), (_, before) in zip(parts, untouched[0], strict=True):
        assert (tasks != before) is bool(fold.past.dates[-1] > HISTORY.dates[row])
    one, two = (walked(problem, h, plan, students(Peek))[1]["ppo"] for h in (HISTORY, other))
    assert first_difference(one, two) <= begun


def test_a_window_that_reaches_a_day_too_far_is_noticed(
    problem: Scenario, plan: Walk, monkeypatch: pytest.MonkeyPatch
) -> None:
    between = module._between

    def too_far(history: PriceHistory, first: Any, end: Any) -> PriceHistory:
        return between(history, first, end + np.timedelta64(1, "D"))

    fold = folds(problem, HISTORY, 1, DAYS)[1]
    row = int(np.searchsorted(HISTORY.dates, fold.first)) - 1
    other = changed_after(HISTORY, row, 0.3, seed=2)
    assert HISTORY.dates[row + 1] == fold.first
    honest = [folds(problem, each, 1, DAYS)[1].scenario for each in (HISTORY, other)]
    assert honest[0] == honest[1]
    monkeypatch.setattr(module, "_between", too_far)
    peeked = [folds(problem, each, 1, DAYS)[1].scenario for each in (HISTORY, other)]
    assert peeked[0] != peeked[1]


@pytest.mark.slow
def test_tuned_rules_and_real_trainings_know_nothing_later(
    problem: Scenario,
    tiny: Callable[..., AgentSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same with what is tuned and trained indeed, a fold before the day and one after."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 256)
    monkeypatch.setattr(tuning, "PATHS", 64)
    walk = Walk(("band:width=best",), (tiny(steps=64 * 21),), window=1, days=DAYS)
    row = 560
    other = changed_after(HISTORY, row, -0.2, seed=3)
    held = []
    for name, history in (("a", HISTORY), ("b", other)):
        folder = tmp_path / name
        held.append(walked(problem, history, walk, lambda t, f=folder: train_all(t, f))[1])
    for name in ("ppo", "band:width=best"):
        assert row < first_difference(held[0][name], held[1][name]) <= row + 3
    # Called again it trains nothing: what is there is the training that was asked for.
    tasks = [training(f, walk.agents[0], 0) for f in folds(problem, HISTORY, 1, DAYS)]
    monkeypatch.setattr(runs, "train_run", pytest.fail)
    assert [hedger.name for hedger in train_all(tasks, tmp_path / "a")] == ["ppo", "ppo"]
    with pytest.raises(ValueError, match="is of other trainings: ask for the same"):
        train_all([replace(tasks[0], seed=1)], tmp_path / "a")


@pytest.mark.slow
def test_heston_estimates_know_nothing_later() -> None:
    """With a GARCH fitted on the real index: a change on the last day of a window, and after it."""
    index = sp500()
    columns = ("dates", "close", "vol", "vol_source")
    early = replace(index, **{name: getattr(index, name)[:900] for name in columns})
    scenario = load_scenario("sp500-call", {"market": "{kind: heston}"})
    (one,) = folds(scenario, early, 3)
    row = int(np.searchsorted(early.dates, one.past.dates[-1]))
    for changed, same in ((row, True), (row - 1, False)):
        (two,) = folds(scenario, changed_after(early, changed, 0.05, seed=4), 3)
        assert (one.estimated == two.estimated) is same


def test_folds_are_years_after_a_rolling_window(problem: Scenario) -> None:
    parts = folds(problem, HISTORY, 1, DAYS)
    cut = contracts(HISTORY, DAYS)
    assert [str(fold.first) for fold in parts] == ["2002-01-02", "2003-01-02"]
    for fold, end in zip(parts, ("2003-01-02", "2004-01-02"), strict=True):
        assert fold.past.dates[-1] < fold.first <= fold.months[0].dates[0]
        assert fold.months[-1].dates[0] < np.datetime64(end)
    starts = [month.start for fold in parts for month in fold.months]
    assert starts == [c.start for c in cut if c.dates[0] >= parts[0].first]
    assert parts[1].past.dates[0] == np.datetime64("2002-01-02")  # a year, not all that was


def test_a_walk_is_the_backtest_of_its_folds(problem: Scenario, plan: Walk) -> None:
    """The P&L of each fold is that of a backtest on the fold's scenario."""
    walk = replace(plan, agents=(), rules=("whalley-wilmott",))
    result = walk_forward(problem, HISTORY, walk, lambda tasks: [])
    found = {each.name: each.pnl for each in result.all.hedgers}
    for fold in folds(problem, HISTORY, 1, DAYS):
        whole = backtest(fold.scenario, [], HISTORY, DAYS)
        rows = np.isin(whole.starts, [month.dates[0] for month in fold.months])
        own = np.isin(result.starts, [month.dates[0] for month in fold.months])
        delta = whole.all.result("delta").pnl
        np.testing.assert_allclose(found["delta"][own], delta[rows], rtol=0, atol=1e-12)
    document = json.loads(json.dumps(result.document(), allow_nan=False))
    assert [fold["estimated_on"][0] for fold in document["walk_forward"]["folds"]] == [
        "2001-01-02",
        "2002-01-02",
    ]
    assert document["walk_forward"]["folds"][0]["market"]["intensity"] > 0


def test_what_cannot_walk_is_refused(
    problem: Scenario, plan: Walk, finished_run: Path, tiny: Callable[..., AgentSettings]
) -> None:
    def refused(message: str, history: PriceHistory = HISTORY, **changes: Any) -> None:
        with pytest.raises(ValueError, match=message):
            walk_forward(problem, history, replace(plan, **changes), students(Student))

    refused("window is 0 years; it must be at least 1", window=0)
    refused("has no month after a window of 3 years", window=3)
    refused("is a run, trained once and not on the past", rules=(str(finished_run),))
    refused("one stands twice: give each once", agents=(tiny(), tiny()))
    kou = load_scenario("sp500-call", {"market": "{kind: kou}"})
    with pytest.raises(ValueError, match="there is no estimator of Kou: take a market of Geom"):
        walk_forward(kou, HISTORY, plan, students(Student))
