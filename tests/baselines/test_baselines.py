"""The baselines against their formulas by hand, on every preset, and by their names."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deephedge.baselines import (
    BandHedge,
    Baseline,
    DeltaHedge,
    NoHedge,
    StaticHedge,
    baseline_kinds,
    parse_baseline,
)
from deephedge.envs import Episodes, Scenario, load_scenario, preset_names, rollout, simulate
from deephedge.experiments.evaluation import evaluate

Array = NDArray[np.float64]
EVERY_BASELINE = [
    NoHedge(),
    StaticHedge(),
    DeltaHedge(),
    DeltaHedge(every=4),
    BandHedge(),
    BandHedge(width=0.3),
]


def names(baseline: Baseline) -> str:
    return baseline.name


def episodes_of(scenario: Scenario, paths: int = 48, seed: int = 0) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(seed))


def held(scenario: Scenario, episodes: Episodes, baseline: Baseline) -> Array:
    """Holdings ``[T, N, K]``."""
    holding: Array = rollout(scenario, episodes, baseline, record=True).holding
    return holding


@pytest.mark.parametrize("preset", preset_names())
def test_holdings_are_the_formulas(preset: str) -> None:
    """One path and one date at a time, from the position's delta alone; options are never held.

    Of one asset, without halts or lots: tests/envs/test_execution.py, test_small_account.py.
    """
    scenario = load_scenario(preset)
    plain = len(scenario.market.spots) == 1 and not scenario.execution.halts
    if not plain or scenario.limits[-1].lot or scenario.position.flow is not None:
        pytest.skip("not a book of one asset, or what is held is not what is asked for")
    episodes = episodes_of(scenario)
    deltas = episodes.numpy().delta
    wide = 0.3 * sum(abs(leg.quantity) for leg in scenario.position.legs)
    least, most = scenario.limits[-1].lower or 0.0, scenario.limits[-1].upper or 0.0
    underlying = {baseline.name: held(scenario, episodes, baseline) for baseline in EVERY_BASELINE}
    for name, holding in underlying.items():
        assert not holding[..., :-1].any(), name
    for path in range(episodes.paths):
        inside = every_fourth = 0.0
        for t in range(episodes.steps):
            neutral = -deltas[t, path]
            every_fourth = neutral if t % 4 == 0 else every_fourth
            if inside < neutral - wide:
                inside = neutral - wide
            elif inside > neutral + wide:
                inside = neutral + wide
            inside = min(max(inside, least), most)
            expected = {
                "none": 0.0,
                "static": -deltas[0, path],
                "delta": neutral,
                "delta:every=4": every_fourth,
                "band:width=0.3": inside,
            }
            for name, value in expected.items():
                held_within = min(max(value, least), most)
                assert underlying[name][t, path, -1] == held_within, (name, t)


def test_the_band_trades_only_when_outside_and_then_to_the_edge() -> None:
    scenario = load_scenario("short-call")
    episodes = episodes_of(scenario, 500)
    holding = held(scenario, episodes, BandHedge(width=0.1))[..., -1]
    neutral = -episodes.numpy().delta[:-1]
    before = np.concatenate([np.zeros_like(holding[:1]), holding[:-1]])
    outside = np.abs(before - neutral) > 0.1
    assert 0.1 < outside.mean() < 0.9
    assert np.array_equal(holding[~outside], before[~outside])
    assert np.allclose(np.abs(holding - neutral)[outside], 0.1, rtol=0, atol=1e-15)


def test_bands_of_no_width_and_of_all_width() -> None:
    scenario = load_scenario("short-straddle-jumps")  # size 2, delta between -1 and 1
    episodes = episodes_of(scenario)
    everywhere = held(scenario, episodes, DeltaHedge())
    assert np.array_equal(held(scenario, episodes, BandHedge(width=0)), everywhere)
    assert not held(scenario, episodes, BandHedge(width=0.5)).any()
    assert held(scenario, episodes, BandHedge(width=0.4)).any()


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("baseline", EVERY_BASELINE, ids=names)
def test_finite_on_every_preset(baseline: Baseline, preset: str) -> None:
    scenario = load_scenario(preset)
    outcome = rollout(scenario, episodes_of(scenario, 256, seed=3), baseline)
    for name in ("pnl", "cost", "turnover", "trades"):
        values = getattr(outcome, name)
        assert values.shape == (256,)
        assert np.isfinite(values).all()
    if preset != "merger-arbitrage":  # whose shares delta and static sell altogether
        assert outcome.pnl.std() > 0
    assert (outcome.cost >= 0).all()
    assert (outcome.trades > 0).any() == (baseline.name != "none")


@pytest.mark.parametrize("baseline", EVERY_BASELINE, ids=names)
def test_the_same_in_torch(baseline: Baseline) -> None:
    scenario = load_scenario("gamma-hedge-jumps")
    episodes = episodes_of(scenario)
    exact = rollout(scenario, episodes, baseline)
    tensors = rollout(scenario, episodes, baseline, differentiable=True)
    assert isinstance(tensors.pnl, torch.Tensor)
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-11)


def test_free_hedging_error_falls_with_the_root_of_the_step() -> None:
    """Derman and Kamal, "When you cannot hedge continuously", 1999: sqrt(pi / 4 n) vega sigma."""
    deviations = []
    for steps in (16, 64, 256):
        scenario = load_scenario(
            "short-call", {"calendar.steps": str(steps), "hedges.0.costs": "[]"}
        )
        episodes = episodes_of(scenario, 8000, seed=steps)
        deviations.append(rollout(scenario, episodes, DeltaHedge()).pnl.std())
        vega = abs(float(episodes.vega[0, 0]))
        theory = math.sqrt(math.pi / 4 / steps) * vega * 0.2
        assert deviations[-1] == pytest.approx(theory, rel=0.06)  # 2 % noise, rest O(1 / steps)
    slope = np.polyfit(np.log([16, 64, 256]), np.log(deviations), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.03)


def test_short_call_agrees_with_the_figures_found_elsewhere() -> None:
    """The issue's figures, computed independently: each inside our interval on 200,000 paths."""
    result = evaluate(load_scenario("short-call"), [], paths=200_000, seed=1)
    none, delta = result.result("none"), result.result("delta")
    for estimate, figure in (
        (none.risk, 0.741),
        (delta.risk, 0.4524),
        (delta.std, 0.3967),
        (delta.cost, 0.4446),
    ):
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low < figure < estimate.high
        assert estimate.high - estimate.low < 0.06 * figure
    assert result.scenario.contract.spot == 100
    assert float(episodes_of(result.scenario).premium[0]) == pytest.approx(2.28715, abs=5e-6)


@given(
    st.one_of(
        st.just(NoHedge()),
        st.just(StaticHedge()),
        st.integers(1, 10**6).map(lambda n: DeltaHedge(every=n)),
        st.floats(0, 1e6, allow_nan=False).map(lambda w: BandHedge(width=w)),
    )
)
def test_a_name_is_read_back_as_the_same_hedger(baseline: Baseline) -> None:
    assert parse_baseline(baseline.name) == baseline


def test_names() -> None:
    assert [names(b) for b in EVERY_BASELINE] == [
        *("none", "static", "delta", "delta:every=4", "band", "band:width=0.3")
    ]
    assert parse_baseline("band:width=1") == BandHedge(width=1.0)
    assert set(baseline_kinds()) >= {"none", "static", "delta", "band"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delte", "unknown hedger 'delte': did you mean 'delta'?"),
        ("Delta", "unknown hedger 'Delta': did you mean 'delta'?"),
        ("zz", f"unknown hedger 'zz': choose one of {', '.join(baseline_kinds())}"),
        ("", f"unknown hedger '': choose one of {', '.join(baseline_kinds())}"),
        ("delta:evry=5", "hedger 'delta:evry=5': unknown option 'evry': did you mean 'every'?"),
        ("delta:5", "hedger 'delta:5': '5' is not option=value"),
        ("delta:every=", "hedger 'delta:every=': every='' is not a number"),
        ("band:to=middle", "hedger 'band:to=middle': to='middle': choose one of edge, centre"),
        ("delta:every=five", "hedger 'delta:every=five': every='five' is not a number"),
        ("delta:every=2.5", "hedger 'delta:every=2.5': every: input should be a valid integer"),
        (
            "delta:every=0",
            "hedger 'delta:every=0': every: input should be greater than or equal to 1",
        ),
        ("delta:every=2,every=3", "hedger 'delta:every=2,every=3': every is given twice"),
        (
            "band:width=-1",
            "hedger 'band:width=-1': width: input should be greater than or equal to 0",
        ),
        ("band:width=nan", "hedger 'band:width=nan': width: input should be a finite number"),
        ("band:width=inf", "hedger 'band:width=inf': width: input should be a finite number"),
        ("none:every=2", "hedger 'none:every=2': unknown option 'every': it has none"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_baseline(text)
    assert str(refused.value) == message
