"""Backtests: no look-ahead, one set of months for all, and months of units worth 100."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from deephedge.agents import AgentSettings
from deephedge.baselines import BandHedge, DeltaHedge, NoHedge, StaticHedge
from deephedge.envs import Hedger, Known, Scenario, load_scenario, rollout
from deephedge.envs.objectives import Entropic
from deephedge.experiments import Evaluation, backtest, load_run, sp500, train_run
from deephedge.experiments.history.backtest import LEAST_MONTHS, month_episodes
from deephedge.experiments.history.contracts import by_steps, contracts
from deephedge.experiments.history.price_history import PriceHistory, from_file
from deephedge.experiments.statistics import risk

FIRST = 10  # days of a file that are left out, for their past is too short to mark them

Array = NDArray[np.float64]
Holdings = dict[str, dict[int, Array]]  # by hedger and the row a month starts at, [T]


def made_up(days: int = 800, seed: int = 0, start: str = "2001-01-02") -> PriceHistory:
    """Weekdays but for a few holidays; closes and vols that move."""
    rng = np.random.default_rng(seed)
    dates = np.busday_offset(start, np.arange(days), roll="forward").astype("datetime64[D]")
    dates = np.delete(dates, rng.choice(days, days // 40, replace=False))
    n = len(dates)
    close = 1300 * np.exp(np.cumsum(0.012 * rng.standard_normal(n)))
    vol = 0.2 * np.exp(0.3 * np.sin(np.arange(n) / 50) + 0.02 * rng.standard_normal(n))
    return PriceHistory(dates, close, vol, np.full(n, "file"), "made up")


@pytest.fixture(scope="module")
def problem() -> Scenario:
    return load_scenario("sp500-call")


@pytest.fixture(scope="module")
def policy(
    tmp_path_factory: pytest.TempPathFactory,
    tiny: Callable[..., AgentSettings],
    problem: Scenario,
) -> Hedger:
    folder = tmp_path_factory.mktemp("policies") / "policy"
    train_run(folder, problem, tiny(steps=64 * 21))
    return load_run(folder)


class Peek:
    """Knows tomorrow: shows that looking ahead would be noticed."""

    name = "peek"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Array, None]:
        return known._episodes.spot[known.t + 1][:, None] / 100, None


def holdings(problem: Scenario, history: PriceHistory, hedgers: Sequence[Hedger]) -> Holdings:
    found: Holdings = {hedger.name: {} for hedger in hedgers}
    for group in by_steps(contracts(history)).values():
        episodes = month_episodes(problem, group)
        for hedger in hedgers:
            held = rollout(problem, episodes, hedger, record=True).holding
            for column, month in enumerate(group):
                found[hedger.name][month.start] = held[:, column, -1]
    return found


def first_difference(one: dict[int, Array], other: dict[int, Array]) -> float:
    """The first row of the history at which a holding differs."""
    assert one.keys() == other.keys()
    rows = [
        start + int(t) for start, held in one.items() for t in np.flatnonzero(held != other[start])
    ]
    return min(rows, default=math.inf)


def changed_after(history: PriceHistory, row: int, seed: int) -> PriceHistory:
    """Another future from the day after ``row``: closes and vols, on the same dates."""
    rng = np.random.default_rng(seed)
    later = np.arange(len(history.dates)) > row
    n = len(history.dates)
    return replace(
        history,
        close=np.where(later, history.close * np.exp(0.1 * rng.standard_normal(n)), history.close),
        vol=np.where(later, history.vol * np.exp(0.3 * rng.standard_normal(n)), history.vol),
    )


@pytest.mark.parametrize(("month", "t"), [(0, 0), (0, 5), (3, 1), (7, 0), (9, 17), (12, 18)])
def test_no_holding_depends_on_what_comes_later(
    month: int, t: int, problem: Scenario, policy: Hedger
) -> None:
    """Another future after a day changes no holding up to that day; and all notice it later."""
    history = made_up(400)
    row = contracts(history)[month].start + t
    rules = [StaticHedge(), DeltaHedge(), DeltaHedge(every=3), BandHedge(), policy]
    hedgers = [NoHedge(), *rules, Peek()]
    before = holdings(problem, history, hedgers)
    after = holdings(problem, changed_after(history, row, seed=row), hedgers)
    differ = {name: first_difference(before[name], after[name]) for name in before}
    assert differ["none"] == math.inf
    assert all(row < differ[rule.name] < math.inf for rule in rules)
    assert differ["delta"] == differ["policy"] == row + 1
    assert differ["peek"] == row


@pytest.mark.parametrize("row", [30, 77, 200])
def test_trailing_vols_are_of_the_past(
    row: int, problem: Scenario, policy: Hedger, tmp_path: Path
) -> None:
    """The same through a file without vols, whose marks are estimated; days may be missing."""
    history = made_up(400)

    def held(close: Array, days: int) -> Holdings:
        with (tmp_path / "prices.csv").open("w", newline="") as file:
            table = zip(history.dates[:days].astype(str), close[:days], strict=True)
            csv.writer(file).writerows([("date", "close"), *table])
        read = from_file(tmp_path / "prices.csv", max_gap_days=10)
        assert set(read.vol_source) == {"trailing"} and len(read.dates) == days - FIRST
        return holdings(problem, read, [DeltaHedge(), policy])

    days = len(history.dates)
    whole = held(history.close, days)
    changed = held(changed_after(history, row, seed=1).close, days)
    shorter = held(history.close, row + 45)
    for name in ("delta", "policy"):
        assert row - FIRST < first_difference(whole[name], changed[name]) < math.inf
        assert len(shorter[name]) > 1
        for start, holding in shorter[name].items():
            assert np.allclose(holding, whole[name][start], rtol=0, atol=1e-5)  # float32 policy


def black_scholes_call(vol: float, years: float) -> float:
    deviation = vol * math.sqrt(years)
    return 100 * float(special.ndtr(deviation / 2) - special.ndtr(-deviation / 2))


def test_every_month_by_hand(problem: Scenario) -> None:
    """Unhedged, a month earns the premium at the vol of its first day and pays the index's rise."""
    history = made_up()
    result = backtest(problem, [], history)
    pnl = result.all.result("none").pnl
    months = contracts(history)
    assert len({month.steps for month in months}) > 2  # groups of several lengths, put in order
    assert len(pnl) == len(months) > 20
    for month, made in zip(months, pnl, strict=True):
        rows = slice(month.start, month.end + 1)
        years = float((history.dates[month.end] - history.dates[month.start]).astype(int)) / 365
        closes = history.close[rows]
        premium = black_scholes_call(history.vol[month.start], years)
        assert made == pytest.approx(premium - max(100 * (closes[-1] / closes[0] - 1), 0), abs=1e-9)
    assert result.starts.tolist() == [month.dates[0] for month in months]
    ends = [month.dates[-1] for month in months]
    assert (result.starts[1:] >= np.array(ends[:-1])).all()  # no day is hedged twice


def test_delta_hedging_a_month_by_hand(problem: Scenario) -> None:
    history = made_up()
    result = backtest(problem, [], history).all.result("delta")
    month = contracts(history)[7]
    cash = black_scholes_call(month.vol[0], month.times[-1])
    held = cost = 0.0
    for t in range(month.steps):
        deviation = month.vol[t] * math.sqrt(month.times[-1] - month.times[t])
        wanted = float(special.ndtr(math.log(month.spot[t] / 100) / deviation + deviation / 2))
        charge = 0.0005 * abs(wanted - held) * month.spot[t]
        cash -= (wanted - held) * month.spot[t] + charge
        held, cost = wanted, cost + charge
    made = cash + held * month.spot[-1] - max(month.spot[-1] - 100, 0)
    assert result.pnl[7] == pytest.approx(made, abs=1e-9)
    assert 0 < cost < result.cost.value * 3


def test_the_level_of_prices_does_not_matter(problem: Scenario) -> None:
    history = made_up()
    dear = replace(history, close=history.close * 7.3)
    results = [backtest(problem, [BandHedge()], each).all for each in (history, dear)]
    for one, other in zip(*(result.hedgers for result in results), strict=True):
        assert np.allclose(one.pnl, other.pnl, rtol=0, atol=1e-9)


LEGS = {
    "put": "[{quantity: -1, claim: {kind: put, strike: 95}}]",
    "call": "[{quantity: -1, claim: {kind: call, strike: 105}}]",
    "straddle": "[{quantity: -1, claim: {kind: call, strike: 100}}, "
    "{quantity: -1, claim: {kind: put, strike: 100}}]",
}


@pytest.mark.parametrize("position", LEGS)
def test_positions_and_moneyness_are_the_scenarios(position: str) -> None:
    """Premium less payoff by hand: a short put, a short call and a short straddle."""
    history = made_up()
    scenario = load_scenario("sp500-call", {"position.legs": LEGS[position]})
    result = backtest(scenario, [StaticHedge()], history)
    pnl = result.all.result("none").pnl
    for month, made in zip(contracts(history), pnl, strict=True):
        years = month.times[-1]
        end = month.spot[-1]
        deviation = month.vol[0] * math.sqrt(years)
        due = 0.0
        for leg in scenario.position.legs:
            strike: float = leg.claim.strike  # type: ignore[attr-defined]
            d = math.log(100 / strike) / deviation + deviation / 2
            call = 100 * special.ndtr(d) - strike * special.ndtr(d - deviation)
            is_call = getattr(leg.claim, "kind") == "call"  # noqa: B009
            due += call if is_call else call + strike - 100
            due -= max(end - strike if is_call else strike - end, 0)
        assert made == pytest.approx(due, abs=1e-9)
    delta, unhedged = result.all.result("delta"), result.all.result("none")
    assert delta.std.value < 0.6 * unhedged.std.value


FRICTIONS = {"execution.slippage": "0.001"}


def test_frictions_follow_from_the_seed_and_the_months_first_day() -> None:
    """Another seed is another draw; what other months there are changes no month's."""
    scenario = load_scenario("sp500-call", FRICTIONS)
    history = made_up(500)
    shorter = replace(
        history,
        **{name: getattr(history, name)[:400] for name in ("dates", "close", "vol", "vol_source")},
    )
    one, same, other = (
        backtest(scenario, [], h, seed=seed).all.result("delta").pnl
        for h, seed in ((history, 3), (shorter, 3), (history, 4))
    )
    assert np.array_equal(one[: len(same)], same)
    assert (one != other).all()


class Constant:
    """Holds a number of the underlying."""

    def __init__(self, holding: float) -> None:
        self.name, self.holding = f"hold {holding:g}", holding

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[Array, None]:
        return np.full_like(known.price, self.holding), None


def test_all_hedgers_have_the_same_months(problem: Scenario) -> None:
    """Without costs, P&L is linear in what is held, month by month."""
    free = load_scenario("sp500-call", {"hedges.0.costs": "[]"})
    result = backtest(free, [Constant(0.5), Constant(1.0)], made_up()).all
    made = {each.name: each.pnl for each in result.hedgers}
    assert np.allclose(made["hold 0.5"], (made["none"] + made["hold 1"]) / 2, rtol=0, atol=1e-12)
    assert np.std(made["hold 1"] - made["none"]) > 1


def with_sources(history: PriceHistory, first: int) -> PriceHistory:
    """The days before row ``first`` are marked at an estimate, the rest at a quote."""
    source = np.where(np.arange(len(history.dates)) < first, "trailing", "vix")
    return replace(history, vol_source=source)


def test_results_are_split_by_the_source_of_the_mark(problem: Scenario) -> None:
    history = with_sources(made_up(), 380)
    result = backtest(problem, [BandHedge()], history)
    early = np.array([month.vol_source == "trailing" for month in contracts(history)])
    assert early.sum() >= LEAST_MONTHS and (~early).sum() >= LEAST_MONTHS
    assert list(result.by_source) == ["trailing", "vix"]
    for source, chosen in (("trailing", early), ("vix", ~early)):
        part = result.by_source[source]
        assert part.paths == chosen.sum()
        for each in part.hedgers:
            assert np.array_equal(each.pnl, result.all.result(each.name).pnl[chosen])


@pytest.mark.parametrize(
    ("first", "sources"), [(0, []), (10_000, []), (60, ["vix"]), (700, ["trailing"])]
)
def test_a_split_needs_months_on_both_sides(
    first: int, sources: list[str], problem: Scenario
) -> None:
    assert list(backtest(problem, [], with_sources(made_up(), first)).by_source) == sources


def test_the_document(problem: Scenario) -> None:
    history = with_sources(made_up(), 380)
    result = backtest(problem, [StaticHedge()], history)
    document = json.loads(json.dumps(result.document(), allow_nan=False))
    assert set(document) == {
        *("data", "first", "last", "months", "all", "by_source"),
        *("bootstrap", "by_year", "by_crisis", "walk_forward"),
    }
    assert document["walk_forward"] is None and document["by_crisis"] == []
    static = document["bootstrap"]["hedgers"]["static"]
    assert static["risk"] == result.all.result("static").risk.value
    assert static["difference"] == result.all.result("static").versus_delta.value  # type: ignore[union-attr]
    assert [year["name"] for year in document["by_year"]] == ["2001", "2002", "2003"]
    assert sum(year["months"] for year in document["by_year"]) == len(result.starts)
    assert document["data"] == "made up"
    assert document["months"] == document["all"]["paths"] == len(result.starts)
    assert document["first"] == "2001-01-02" and document["last"] == str(result.starts[-1])
    assert set(document["by_source"]) == {"trailing", "vix"}
    assert [each["name"] for each in document["all"]["hedgers"]] == ["none", "delta", "static"]


def intervals(evaluation: Evaluation) -> dict[str, bool]:
    return {each.name: each.risk.low is not None for each in evaluation.hedgers}


def test_the_sp500(problem: Scenario) -> None:
    """Twenty years of months, VIX marks from 2014, and an interval for every hedger."""
    result = backtest(problem, [BandHedge()], sp500())
    assert result.history == "S&P 500"
    assert len(result.starts) == 239
    assert str(result.starts[0]) == "1999-01-19" and str(result.starts[-1])[:4] == "2018"
    assert {name: part.paths for name, part in result.by_source.items()} == {
        "trailing": 180,
        "vix": 59,
    }
    for evaluation in (result.all, *result.by_source.values()):
        assert intervals(evaluation) == {"none": True, "delta": True, "band": True}
    unhedged, delta, _ = result.all.hedgers
    assert delta.risk.value < unhedged.risk.value / 5
    assert delta.effectiveness is not None and delta.effectiveness.value > 0.8


def test_one_month_may_decide_an_entropic_risk() -> None:
    """Then there is no interval; but what is hedged has one, on so few months too."""
    objective = "{kind: entropic, aversion: 0.3}"
    result = backtest(load_scenario("sp500-call", {"objective": objective}), [], sp500())
    assert intervals(result.all) == {"none": False, "delta": True}
    warning = result.all.result("none").risk.warning
    assert warning is not None and "one path carries 33.6 %" in warning


@pytest.mark.parametrize("n", [60, 239, 1000])
def test_the_interval_of_few_months_covers(n: int) -> None:
    """Normal losses as heavy for the aversion as an interval is given for: 93 to 95 % covered."""
    objective = Entropic(aversion={60: 0.5, 239: 0.6, 1000: 0.6}[n])
    rng = np.random.default_rng(n)
    estimates = [risk(objective, rng.standard_normal(n)) for _ in range(2000)]
    given = [e for e in estimates if e.low is not None and e.high is not None]
    assert len(given) > 0.95 * len(estimates)
    covered = np.mean([e.low < objective.aversion / 2 < e.high for e in given])
    assert 0.92 < covered < 0.965  # the standard error is 0.005


@pytest.mark.parametrize(
    ("preset", "sets", "message"),
    [
        ("short-call", {}, "'short-call' is marked at a vol of its own"),
        (
            "sp500-call",
            {"market.spot": "50"},
            "has market.spot 50: a month is in units worth 100 at its start",
        ),
        ("sp500-call", {"calendar.decide_every": "5"}, "decides every 5 steps"),
        ("exchange-option", {}, "has 2 assets: a backtest has the prices of one"),
        (
            "sp500-call",
            {"crowd": "{impact: 0.01, legs: [{quantity: -1, claim: {kind: call, strike: 100}}]}"},
            "has a crowd or spreads that widen after jumps",
        ),
        (
            "short-call",
            {"marking": "{kind: market-vol}", "position.legs.0.claim.maturity": "0.05479452"},
            "has an option with a maturity of its own",
        ),
        (
            "gamma-hedge-jumps",
            {"marking": "{kind: market-vol}"},
            "has an option with a maturity of its own",
        ),
    ],
)
def test_scenarios_that_no_month_fits_are_refused(
    preset: str, sets: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        backtest(load_scenario(preset, sets), [], made_up())


def test_too_short_a_history_is_refused(problem: Scenario) -> None:
    history = made_up(250)
    assert len(contracts(history)) == LEAST_MONTHS - 1
    with pytest.raises(ValueError, match="made up: 11 whole months, fewer than 12"):
        backtest(problem, [], history)
    assert len(backtest(problem, [], history, days=14).starts) > 20


def test_policies_of_another_scenario(
    problem: Scenario,
    finished_run: Path,
    tmp_path: Path,
    brief: Callable[..., Scenario],
    tiny: Callable[..., AgentSettings],
) -> None:
    """One that sees what the months show may play, on any dates; one that sees more may not."""
    result = backtest(problem, [load_run(finished_run)], made_up())
    assert result.all.result("finished").trades.value > 0
    train_run(tmp_path / "two-legs", brief("short-straddle-jumps"), tiny())
    with pytest.raises(ValueError, match=r"'two-legs' was trained to see .*moneyness_1"):
        backtest(problem, [load_run(tmp_path / "two-legs")], made_up())
