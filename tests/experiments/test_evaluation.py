"""Evaluation: the same paths for all, whatever else is asked; bounded memory; strict documents."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from deephedge.baselines import (
    BandHedge,
    DeltaHedge,
    NoHedge,
    OptimalHedge,
    StaticHedge,
    TunedHedge,
    parse_baseline,
)
from deephedge.envs import Episodes, Hedger, Known, load_scenario, parse_scenario, rollout
from deephedge.experiments import evaluation
from deephedge.experiments.evaluation import BLOCK, Evaluation, evaluate, example_paths
from deephedge.experiments.statistics import Estimate

SHORT = load_scenario("short-call", {"calendar.steps": "3"})  # few steps, so that paths are cheap


class Rule:
    """Holds a number of the underlying, and has a name."""

    def __init__(self, name: str, holding: float) -> None:
        self.name, self.holding = name, holding

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[NDArray[np.float64], None]:
        return np.full_like(known.price, self.holding), None


def pnl(result: Evaluation, name: str) -> NDArray[np.float64]:
    return result.result(name).pnl


def test_first_paths_do_not_depend_on_how_many_follow() -> None:
    few, many = (evaluate(SHORT, [StaticHedge()], paths) for paths in (20_000, 40_000))
    assert 20_000 > BLOCK and 20_000 % BLOCK  # ends inside a block, and not the first
    for name in ("none", "delta", "static"):
        assert np.array_equal(pnl(few, name), pnl(many, name)[:20_000])
    assert len(np.unique(pnl(many, "delta"))) == 40_000  # the blocks differ


def test_a_result_does_not_depend_on_who_else_is_evaluated() -> None:
    alone = evaluate(SHORT, [BandHedge()], 5000, seed=3)
    among = evaluate(
        SHORT, [StaticHedge(), Rule("half", 0.5), BandHedge(), NoHedge()], 5000, seed=3
    )
    for each in alone.hedgers:
        assert each.document() == among.result(each.name).document()


def test_all_hedgers_are_on_the_same_paths() -> None:
    """Without costs, P&L is linear in what is held: half a share lies midway between 0 and 1."""
    free = load_scenario("short-call", {"calendar.steps": "3", "hedges.0.costs": "[]"})
    result = evaluate(free, [Rule("half", 0.5), Rule("one", 1.0)], 20_000)
    midway = (pnl(result, "none") + pnl(result, "one")) / 2
    assert np.allclose(pnl(result, "half"), midway, rtol=0, atol=1e-12)


def test_seeds() -> None:
    same = [pnl(evaluate(SHORT, [], 3000, seed), "none") for seed in (1, 1, 2)]
    assert np.array_equal(same[0], same[1])
    assert abs(np.corrcoef(same[0], same[2])[0, 1]) < 4 / math.sqrt(3000)


def test_only_one_block_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a million paths need no more memory than the results of a million paths."""
    born: list[weakref.ref[Episodes]] = []

    def block(*arguments: Any) -> Episodes:
        assert [ref() for ref in born if ref() is not None] == []
        episodes = make(*arguments)
        assert episodes.paths == BLOCK
        born.append(weakref.ref(episodes))
        return episodes

    make: Callable[..., Episodes] = evaluation.evaluation_block
    monkeypatch.setattr(evaluation, "evaluation_block", block)
    result = evaluate(SHORT, [BandHedge()], 2 * BLOCK + 5)
    assert len(born) == 3
    assert all(ref() is None for ref in born)
    assert result.hedgers[0].pnl.shape == (2 * BLOCK + 5,)


def test_progress_is_told_after_every_block() -> None:
    told: list[tuple[int, int]] = []
    evaluate(SHORT, [], BLOCK + 1, progress=lambda done, total: told.append((done, total)))
    assert told == [(BLOCK, BLOCK + 1), (BLOCK + 1, BLOCK + 1)]


def test_none_delta_and_a_known_optimum_are_always_there_and_once() -> None:
    def names(*hedgers: Hedger) -> list[str]:
        return [each.name for each in evaluate(SHORT, hedgers, 50).hedgers]

    always = ["none", "delta", "optimal"]
    assert names() == names(OptimalHedge()) == always
    assert names(DeltaHedge(), BandHedge(), NoHedge()) == [*always, "band"]
    unknown = evaluate(load_scenario("short-straddle-jumps"), [DeltaHedge(every=2)], 50)
    assert [each.name for each in unknown.hedgers] == ["none", "delta", "delta:every=2"]


@pytest.mark.parametrize("name", ["delta", "none", "half"])
def test_two_hedgers_of_one_name_are_refused(name: str) -> None:
    """A hedger of one's own that is called delta must not be taken for the reference."""
    with pytest.raises(ValueError, match=f"two hedgers are called '{name}'"):
        evaluate(SHORT, [Rule("half", 0.5), Rule(name, 0.3)], 50)


@pytest.mark.parametrize("paths", [1, 0, -5])
def test_too_few_paths_are_refused(paths: int) -> None:
    with pytest.raises(ValueError, match=f"paths {paths}: give at least 2"):
        evaluate(SHORT, [], paths)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(
        ValueError, match="no hedger 'bnd' was evaluated: choose one of none, delta"
    ):
        evaluate(SHORT, [], 50).result("bnd")


def test_figures_are_what_they_say() -> None:
    """From the P&L of the paths, and from a rollout of the first block by hand."""
    scenario = load_scenario("short-call")
    result = evaluate(scenario, [StaticHedge()], 3000, seed=5)
    episodes = evaluation.evaluation_block(scenario, 5, 0)
    unhedged = pnl(result, "none")
    for hedger in (NoHedge(), DeltaHedge(), StaticHedge()):
        figures, by_hand = result.result(hedger.name), rollout(scenario, episodes, hedger)
        assert np.array_equal(figures.pnl, by_hand.pnl[:3000])
        losses = np.sort(-figures.pnl)
        risk = math.log(np.exp(0.1 * losses).mean()) / 0.1
        assert figures.risk.value == pytest.approx(risk, rel=1e-9)
        assert figures.mean.value == pytest.approx(figures.pnl.mean())
        assert figures.std.value == pytest.approx(figures.pnl.std())
        assert figures.var_95.value == losses[2849]
        assert figures.cvar_95.value == pytest.approx(losses[2850:].mean())
        assert figures.cvar_99.value == pytest.approx(losses[2970:].mean())
        for name in ("cost", "turnover", "trades"):
            value = getattr(figures, name).value
            assert value == pytest.approx(getattr(by_hand, name)[:3000].mean())
        share = 1 - figures.pnl.var() / unhedged.var()
        assert figures.effectiveness is not None
        assert figures.effectiveness.value == pytest.approx(share, abs=1e-12)
    static = result.result("static")
    assert static.versus_delta is not None
    difference = static.risk.value - result.result("delta").risk.value
    assert static.versus_delta.value == pytest.approx(difference, abs=1e-12)
    assert static.trades.value == 1.0
    assert static.turnover.value == pytest.approx(abs(float(episodes.delta[0, 0])))
    assert static.cost.value == pytest.approx(0.002 * 100 * static.turnover.value)


def test_a_paired_difference_is_narrower_than_two_alone() -> None:
    result = evaluate(load_scenario("short-call"), [DeltaHedge(every=2), BandHedge()], 10_000)
    delta = result.result("delta").risk
    for name in ("delta:every=2", "band"):
        alone, versus = result.result(name).risk, result.result(name).versus_delta
        assert versus is not None
        assert 0 < width(versus) < 0.8 * math.hypot(width(alone), width(delta))


def width(estimate: Estimate) -> float:
    assert estimate.low is not None and estimate.high is not None
    return estimate.high - estimate.low


DOCUMENT = {"scenario", "paths", "seed", "objective", "hedgers", "tuned"}
HEDGER = {
    *("name", "risk", "mean", "std", "var_95", "cvar_95", "cvar_99", "cost", "turnover"),
    *("trades", "breach", "effectiveness", "gap_closed", "versus_delta", "intervals", "warning"),
    *("below_floor", "shortfall"),
}
WITH_INTERVAL = {
    *("mean", "std", "var_95", "cvar_95", "cvar_99", "cost", "turnover", "trades"),
    *("breach", "effectiveness", "gap_closed", "below_floor", "shortfall"),
}


@pytest.mark.parametrize("paths", [2, 1000])
def test_the_document_is_the_contract(paths: int) -> None:
    scenario = load_scenario("sp500-call", {"objective": "{kind: entropic, aversion: 0.3}"})
    result = evaluate(scenario, [StaticHedge()], paths, seed=7)
    document = json.loads(json.dumps(result.document(), allow_nan=False))
    assert set(document) == DOCUMENT
    assert document["scenario"] == "sp500-call"
    assert document["objective"] == "entropic risk (aversion 0.3)"
    assert (document["paths"], document["seed"]) == (paths, 7)
    assert [each["name"] for each in document["hedgers"]] == ["none", "delta", "static"]
    for each in document["hedgers"]:
        assert set(each) == HEDGER
        assert set(each["risk"]) == {"value", "low", "high"}
        assert each["gap_closed"] is None  # no optimum is known
        assert each["below_floor"] is each["shortfall"] is None  # the objective has no floor
        assert set(each["intervals"]) == WITH_INTERVAL
        assert each["breach"] is None  # no range is set
        for name, ends in each["intervals"].items():
            if each[name] is None:
                continue
            assert ends == [None, None] or ends[0] <= each[name] <= ends[1]
        ends = each["risk"]["low"], each["risk"]["high"]
        assert (ends == (None, None)) == (each["warning"] is not None)
        if each["name"] == "delta":
            assert each["versus_delta"] is None
        else:
            assert set(each["versus_delta"]) == {"difference", "low", "high"}


def test_dates_outside_the_delta_range_are_reported() -> None:
    scenario = load_scenario("short-call", {"delta_range": "[-0.02, 0.02]"})
    found = evaluate(scenario, [BandHedge(width=0.1)], 2000)
    breaches = [result.breach for result in found.hedgers if result.name != "optimal"]
    none, delta, band = (breach.value for breach in breaches if breach is not None)
    assert delta == 0.0
    assert 0 < band < none <= 30


def test_the_document_of_a_market_that_stands_still() -> None:
    still = load_scenario("short-call", {"market.sigma": "0", "position.premium": "0"})
    document = evaluate(still, [], 100).document()
    none, delta = json.loads(json.dumps(document, allow_nan=False))["hedgers"]
    assert none["std"] == 0 and none["effectiveness"] is None and delta["effectiveness"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hedges.0.costs.0.rate", "1e300", "'delta' makes or loses more than 1e\\+60"),
        ("market.spot", "1e300", "'none' makes or loses more than 1e\\+60"),
        ("market.drift", "1e4", "'none' makes or loses more than 1e\\+60"),
    ],
)
def test_numbers_out_of_proportion_are_refused(key: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(load_scenario("short-call", {key: value}), [], 100)


def test_example_paths() -> None:
    """They are of the table's paths, and their P&L is where delta's quantiles are."""
    scenario = load_scenario("short-call-jumps")
    examples = example_paths(scenario, [DeltaHedge(), BandHedge()], seed=2)
    episodes = evaluation.evaluation_block(scenario, 2, 0).numpy()
    delta = np.sort(
        rollout(scenario, evaluation.evaluation_block(scenario, 2, 0), DeltaHedge()).pnl
    )
    for example, quantile in zip(examples, (0.01, 0.5, 0.99), strict=True):
        path = int(np.flatnonzero(episodes.spot[-1] == example.spot[-1])[0])
        assert np.array_equal(example.spot, episodes.spot[:, path])
        assert example.days.tolist() == pytest.approx(list(range(31)))
        assert example.wealth["delta"][-1] == delta[int(quantile * (BLOCK - 1))]
        assert np.array_equal(example.holdings["delta"], example.neutral)
        assert set(example.holdings) == set(example.wealth) == {"delta", "band"}
        assert example.jumps.tolist() == np.flatnonzero(episodes.jump[:, path]).tolist()
    assert examples[0].jumps.size  # the bad path is one that jumps


def test_cvar_interval_of_a_whole_evaluation_covers() -> None:
    """100 evaluations of 10,000 paths each, against CVaR 95 % of all 1,000,000.

    The interval should hold 95 %; the truth's own error, 1 / sqrt(100) of each, makes that 94.9 %.
    """
    scenario = parse_scenario(SHORT.model_dump() | {"objective": {"kind": "cvar", "level": 0.95}})
    results = [evaluate(scenario, [], 10_000, seed).result("delta") for seed in range(100)]
    losses = -np.concatenate([result.pnl for result in results])
    truth = scenario.objective.risk(losses)
    covered = 0
    for result in results:
        assert result.risk == result.cvar_95
        assert result.risk.low is not None and result.risk.high is not None
        covered += result.risk.low < truth < result.risk.high
    low, high = stats.binom.ppf([0.001, 0.999], 100, 0.949)
    assert low <= covered <= high


def test_the_gap_to_the_optimum_where_it_is_among_the_hedgers() -> None:
    scenario = load_scenario("short-call")
    hedgers = [BandHedge(width=0.2), OptimalHedge()]
    results = {h.name: h for h in evaluate(scenario, hedgers, paths=20_000).hedgers}
    risk = {name: h.risk.value for name, h in results.items()}
    for name, result in results.items():
        closed = (risk["delta"] - risk[name]) / (risk["delta"] - risk["optimal"])
        assert result.gap_closed is not None and result.gap_closed.low is not None
        assert result.gap_closed.value == pytest.approx(closed)
    gaps = [results[name].gap_closed for name in ("delta", "optimal")]
    assert gaps == [Estimate(0.0, 0.0, 0.0), Estimate(1.0, 1.0, 1.0)]
    band = results["band:width=0.2"].gap_closed
    assert band is not None and band.low is not None and band.high is not None
    assert 0.9 < band.low < band.value < band.high < 1.0


def test_a_tuned_rule_that_comes_to_anothers_options_is_that_rule() -> None:
    rules = [BandHedge(), TunedHedge(DeltaHedge(), "every"), TunedHedge(BandHedge(), "width")]
    result = evaluate(SHORT, rules, 50)
    assert [each.name for each in result.hedgers] == ["none", "delta", "optimal", "band"]
    assert result.tuned == ()


def test_an_optimum_that_is_not_proven_closes_no_gap() -> None:
    changes = {"objective": "{kind: cvar, level: 0.5}", "calendar.steps": "2"}
    result = evaluate(load_scenario("short-call", changes), [OptimalHedge()], 2_000)
    assert result.result("optimal").risk.value < result.result("delta").risk.value
    assert [each.gap_closed for each in result.hedgers] == [None] * 3


def test_a_floor_is_reported_with_how_often_and_how_far_wealth_falls_below_it() -> None:
    scenario = load_scenario("portfolio-insurance")
    result = evaluate(scenario, [parse_baseline("cppi")], 2000, seed=3)
    document = {each["name"]: each for each in json.loads(json.dumps(result.document()))["hedgers"]}
    for each in result.hedgers:
        wealth = 100 * math.exp(0.02) + each.pnl
        often, far = np.mean(wealth < 80), np.maximum(80 - wealth, 0).mean()
        shown = document[each.name]
        assert shown["below_floor"] == often and shown["shortfall"] == pytest.approx(far, abs=1e-12)
        assert each.risk.value == pytest.approx(10 * far - each.mean.value, abs=1e-9)
        low, high = shown["intervals"]["below_floor"]
        assert low <= often <= high and high > 0
    assert document["none"]["below_floor"] > document["cppi"]["below_floor"] > 0
    assert document["delta"]["below_floor"] == 0
