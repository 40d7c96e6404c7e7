"""Gamma scalping: hedging at the marks' vol and at the market's; vol that is paid and not realised.

The figures are those of Ahmad and Wilmott, "Which Free Lunch Would You Like Today, Sir?", 2005,
computed elsewhere (shared/reference/strategies.md, 2.4 (2)).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from deephedge.baselines import BandHedge, Baseline, DeltaHedge, NoHedge, parse_baseline
from deephedge.envs import Episodes, Known, Scenario, load_scenario, parse_scenario, simulate
from deephedge.envs.namespace import X
from deephedge.envs.rollout import rollout
from deephedge.experiments.gamma_scalping import edge, vol_integral

Array = NDArray[np.float64]
Tree = dict[str, Any]
SIGMAS = 4.0
IMPLIED, ACTUAL = DeltaHedge(), DeltaHedge(vol=0.3)


def long_call(sigma: float, rate: float = 0.0, steps: int = 126) -> Scenario:
    """Six months at the money, bought at 0.2."""
    return parse_scenario(
        {
            "name": "scalp",
            "market": {"kind": "gbm", "sigma": sigma, "rate": rate, "drift": rate},
            "calendar": {"kind": "uniform", "days": 182.5, "steps": steps},
            "position": {"legs": [{"quantity": 1.0, "claim": {"kind": "call", "strike": 100.0}}]},
            "hedges": [{"instrument": {"kind": "underlying"}}],
            "marking": {"kind": "black-scholes", "vol": 0.2},
            "objective": {"kind": "cvar", "level": 0.95},
        }
    )


def episodes_of(scenario: Scenario, paths: int, seed: int = 1) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(seed))


def pnl(scenario: Scenario, episodes: Episodes, rule: Any) -> Array:
    outcome: Array = rollout(scenario, episodes, rule).pnl
    return outcome


def error(sample: Array) -> float:
    return float(sample.std() / math.sqrt(len(sample)))


def test_at_the_marks_vol_it_earns_the_integral_and_at_the_markets_the_edge_for_certain() -> None:
    """2.8065 (std 1.29) beside 2.8068, and 2.8096 (std 0.165, 2000 dates) beside 2.8098."""
    scenario = long_call(0.3)
    assert edge(scenario, 0.3) == pytest.approx(2.8098, abs=5e-5)
    episodes = episodes_of(scenario, 4000)
    implied, integral = pnl(scenario, episodes, IMPLIED), vol_integral(scenario, episodes, 0.3)
    assert abs(implied.mean() - 2.8065) < SIGMAS * error(implied)
    assert abs(integral.mean() - 2.8068) < SIGMAS * error(integral)
    assert abs((implied - integral).mean()) < SIGMAS * error(implied - integral)
    fine = long_call(0.3, steps=2000)
    episodes = episodes_of(fine, 400)
    implied, actual = (pnl(fine, episodes, rule) for rule in (IMPLIED, ACTUAL))
    assert abs(actual.mean() - 2.8096) < SIGMAS * error(actual)
    for sample, published in ((implied, 1.29), (actual, 0.165)):
        fourth = ((sample - sample.mean()) ** 4).mean() / sample.var() ** 2
        allowed = SIGMAS * math.sqrt((fourth - 1) / 4 / len(sample))
        assert sample.std() == pytest.approx(published, rel=allowed)


@pytest.mark.parametrize(("sigma", "published"), [(0.3, 2.8975), (0.15, -1.4254)])
def test_an_exercise_with_interest(sigma: float, published: float) -> None:
    """Q4quant's 500 paths at a rate of 5 %; the vols, 0.2 bought and 0.3 or 0.15, are inferred."""
    scenario = long_call(sigma, rate=0.05, steps=63)
    sample = pnl(scenario, episodes_of(scenario, 4000), IMPLIED)
    assert abs(sample.mean() - edge(scenario, sigma)) < SIGMAS * error(sample)
    assert abs(published - edge(scenario, sigma)) < SIGMAS * sample.std() / math.sqrt(500)


# The rule


def black_scholes_delta(spot: Array, left: Array, vol: float) -> Array:
    """Of the straddle at 100, by SciPy."""
    spread = vol * np.sqrt(left)
    delta: Array = 2 * norm.cdf((np.log(spot / 100) + spread**2 / 2) / spread) - 1
    return delta


def test_delta_and_band_at_a_vol_of_their_own_by_hand() -> None:
    scenario = load_scenario("gamma-scalping")
    episodes = episodes_of(scenario, 50)
    spot, times = episodes.spot.numpy()[:-1], episodes.times.numpy()
    wanted = -black_scholes_delta(spot, times[-1] - times[:-1], 0.25)
    held = [
        rollout(scenario, episodes, parse_baseline(name), record=True).holding[..., 0]
        for name in ("delta:vol=0.25", "band:vol=0.25,width=0.02", "delta:vol=0.25,move=3")
    ]
    assert np.allclose(held[0], wanted, rtol=0, atol=1e-11)
    inside = np.zeros(50)
    last, since = wanted[0], spot[0]
    for t in range(63):
        inside = inside.clip(wanted[t] - 0.04, wanted[t] + 0.04)  # of a position size of 2
        assert np.allclose(held[1][t], inside, rtol=0, atol=1e-11)
        moved = np.abs(spot[t] - since) >= 3 * 0.25 * since / math.sqrt(4 * 63)
        last, since = np.where(moved, wanted[t], last), np.where(moved, spot[t], since)
        assert np.allclose(held[2][t], last, rtol=0, atol=1e-11)


def test_the_marks_own_vol_is_delta_and_others_are_shown_where_they_belong() -> None:
    scenario = load_scenario("gamma-scalping")
    episodes = episodes_of(scenario, 20)
    for own, plain in (
        (DeltaHedge(vol=0.2), DeltaHedge()),
        (BandHedge(vol=0.2, width=0.1), BandHedge(width=0.1)),
    ):
        pair = [rollout(scenario, episodes, rule, record=True).holding for rule in (own, plain)]
        assert np.allclose(*pair, rtol=0, atol=1e-13)
    assert DeltaHedge.variants(scenario) == (DeltaHedge(), DeltaHedge(vol=0.25))
    assert BandHedge.variants(scenario) == (BandHedge(), BandHedge(vol=0.25))
    for other in ("short-call", "short-call-jumps", "heston-call"):
        assert DeltaHedge.variants(load_scenario(other)) == (DeltaHedge(),)
        assert len(BandHedge.variants(load_scenario(other))) == 1


@pytest.mark.parametrize("rule", ["delta:vol=0.25", "delta:vol=0.25,move=1", "band:vol=0.25"])
@pytest.mark.parametrize(
    ("preset", "message"), [("american-put", "knows calls and puts"), ("exchange-option", "asset")]
)
def test_what_has_no_delta_at_another_vol_is_refused(rule: str, preset: str, message: str) -> None:
    scenario = load_scenario(preset)
    reason = parse_baseline(rule).refusal(scenario)
    assert reason is not None and message in reason
    with pytest.raises(ValueError, match="vol"):
        parse_baseline(rule.partition("=")[0] + "=0")


def test_the_same_in_torch() -> None:
    scenario = load_scenario("gamma-scalping")
    episodes = episodes_of(scenario, 20)
    for rule in (DeltaHedge(vol=0.25, target=0.1), BandHedge(vol=0.25)):
        exact = rollout(scenario, episodes, rule).pnl
        tensors = rollout(scenario, episodes, rule, differentiable=True).pnl
        assert np.allclose(exact, tensors.numpy(), rtol=0, atol=1e-11)


def test_the_markets_vol_leaves_the_lower_spread_of_the_two() -> None:
    """On both presets, as Ahmad and Wilmott say: certain at the end, noisy on the way."""
    for preset, sigma in (("gamma-scalping", 0.25), ("gamma-scalping-dear", 0.2)):
        scenario = load_scenario(preset, {"hedges.0.costs": "[]"})
        episodes = episodes_of(scenario, 4000)
        at_marks, at_markets = (
            pnl(scenario, episodes, rule) for rule in (DeltaHedge(), DeltaHedge(vol=sigma))
        )
        due = edge(scenario, sigma)
        assert (due > 0) == (preset == "gamma-scalping")
        for sample in (at_marks, at_markets):
            assert abs(sample.mean() - due) < SIGMAS * error(sample)
        assert at_markets.std() < 0.9 * at_marks.std()


# The premium of variance


class Anything:
    """Holds anything between -1 and 1."""

    name = "anything"

    def start(self, n: int) -> np.random.Generator:
        return np.random.default_rng(3)

    def act(self, known: Known, state: np.random.Generator) -> tuple[X, np.random.Generator]:
        return state.uniform(-1, 1, known.holding.shape), state


def test_random_long_gamma_loses_where_quotes_are_above_what_is_realised() -> None:
    """By 4.06 vol points, the VIX's mean excess over the next 21 days, 1990 to 2022."""
    dice, losses = np.random.default_rng(5), []
    for strike, days in zip(dice.uniform(90, 110, 6), dice.integers(20, 90, 6), strict=True):
        tree = long_call(0.2).model_dump()
        tree["market"] = {"kind": "stochastic-implied-vol", "vol": 0.1944, "level": 0.1944}
        tree["market"] |= {"premium": 0.1944 / (0.1944 - 0.0406) - 1, "skew": 0.0, "skew_vol": 0.0}
        tree["calendar"] = {"kind": "uniform", "days": float(days), "steps": 20}
        tree["position"]["legs"][0]["claim"]["strike"] = float(strike)
        tree["marking"] = {"kind": "market-vol"}
        scenario = parse_scenario(tree)
        episodes = episodes_of(scenario, 2000, seed=int(days))
        for hedger in (DeltaHedge(), NoHedge(), Anything()):
            sample = pnl(scenario, episodes, hedger)
            losses.append(sample.mean() / error(sample))
            if isinstance(hedger, Baseline) and hedger == DeltaHedge():
                assert losses[-1] < -SIGMAS
    assert np.mean(losses) < -SIGMAS
