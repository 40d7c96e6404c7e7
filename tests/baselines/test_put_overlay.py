"""The put overlay: fair and unfair puts, what insurance costs and gives, rolls and monetisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.optimize import brentq
from scipy.stats import norm, poisson

from deephedge.baselines import PutOverlayHedge, baseline_kinds, parse_baseline
from deephedge.envs import Episodes, Outcome, Scenario, load_scenario, rollout, simulate

Array = NDArray[np.float64]

# strategies.md 2.4 (7): a month of a stock with crashes, and a put 5 % below it.
SPOT, STRIKE, MONTH = 100.0, 95.0, 1 / 12
DRIFT, RATE, SIGMA, INTENSITY, JUMP_MEAN, JUMP_STD = 0.06, 0.02, 0.16, 0.6, -0.08, 0.08
COMPENSATOR = math.expm1(JUMP_MEAN + JUMP_STD**2 / 2)


def law(drift: float, intensity: float, years: float) -> tuple[Array, Array, Array]:
    """The log-return as a mixture of normals: chances, means and deviations, by number of jumps."""
    count = np.arange(30)
    chance = poisson.pmf(count, intensity * years)
    mean = (drift - intensity * COMPENSATOR - SIGMA**2 / 2) * years + count * JUMP_MEAN
    return chance, mean, np.sqrt(SIGMA**2 * years + count * JUMP_STD**2)


def expected_put(
    drift: float, intensity: float, years: float, spot: float = SPOT, strike: float = STRIKE
) -> float:
    """``E[max(K - S_T, 0)]`` under the law: Merton's series."""
    chance, mean, deviation = law(drift, intensity, years)
    d = (math.log(strike / spot) - mean) / deviation
    below = spot * np.exp(mean + deviation**2 / 2) * norm.cdf(d - deviation)
    return float((chance * (strike * norm.cdf(d) - below)).sum())


def fair(premium: float = 0.0, years: float = MONTH, **more: float) -> float:
    """The price of the put where jumps come ``1 + premium`` times as often as they do."""
    expected = expected_put(RATE, INTENSITY * (1 + premium), years, **more)
    return math.exp(-RATE * years) * expected


def flat(vol: float) -> float:
    """The price of the put by Black-Scholes."""
    root = vol * math.sqrt(MONTH)
    d1 = (math.log(SPOT / STRIKE) + (RATE + vol**2 / 2) * MONTH) / root
    cash = STRIKE * math.exp(-RATE * MONTH) * norm.cdf(root - d1)
    return float(cash - SPOT * norm.cdf(-d1))


def expected_shortfall(level: float) -> float:
    """Of the stock alone, over the month: the mean of ``S_0 - S_T`` in the worst 1 - level."""
    chance, mean, deviation = law(DRIFT, INTENSITY, MONTH)

    def below(x: float) -> float:
        return float((chance * norm.cdf((math.log(x / SPOT) - mean) / deviation)).sum())

    quantile = float(brentq(lambda x: below(x) - (1 - level), 20.0, 110.0))
    d = (math.log(quantile / SPOT) - mean) / deviation
    mass = SPOT * np.exp(mean + deviation**2 / 2) * norm.cdf(d - deviation)
    return SPOT - float((chance * mass).sum()) / (1 - level)


def month(marking: str = "{kind: model}", premium: float = 0.0) -> Scenario:
    """One step of a month, without costs."""
    put = "{kind: rolled-option, option: put, moneyness: 0.95, tenor: 0.08333333333333333}"
    changes = {
        "calendar": f"{{kind: uniform, days: {365 / 12!r}, steps: 1}}",
        "hedges": f"[{{instrument: {put}}}, {{instrument: {{kind: underlying}}}}]",
        "market.jump_premium": str(premium),
        "marking": marking,
    }
    return load_scenario("tail-risk-hedging", changes)


def drawn(scenario: Scenario, paths: int, seed: int = 1) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(seed))


def played(scenario: Scenario, episodes: Episodes, rule: str) -> Outcome:
    return rollout(scenario, episodes, parse_baseline(rule), record=True)


def near(sample: Array, expected: float) -> None:
    """Its mean is within 4 standard errors."""
    assert abs(sample.mean() - expected) < 4 * sample.std() / math.sqrt(len(sample))


def test_the_model_prices_the_smile_and_flat_vol_does_not() -> None:
    assert fair() == pytest.approx(0.4533, abs=5e-5)
    assert flat(SIGMA) == pytest.approx(0.2812, abs=5e-5)
    assert float(brentq(lambda v: flat(v) - fair(), 0.1, 0.3)) == pytest.approx(0.187, abs=5e-4)
    assert fair(0.25) > fair() > flat(0.1824) > flat(SIGMA)  # 0.1824: its jumps counted as vol
    for premium in (0.0, 0.25):
        price = drawn(month(premium=premium), 2).price[0, 0, 0]
        assert float(price) == pytest.approx(fair(premium), abs=2e-6)
    price = drawn(month(f"{{kind: black-scholes, vol: {SIGMA}}}"), 2).price[0, 0, 0]
    assert float(price) == pytest.approx(flat(SIGMA), rel=1e-9)


def test_insurance_costs_its_drag_and_cuts_the_tail() -> None:
    interest = math.exp(RATE * MONTH)
    drag = fair() * interest - expected_put(DRIFT, INTENSITY, MONTH)
    assert 12 * drag == pytest.approx(0.49, abs=0.01)  # a year, per 100 of stock
    # A put a share leaves the way to the strike and the price of the put, whatever happens.
    assert expected_shortfall(0.99) == pytest.approx(18.48, abs=0.02)
    assert SPOT - STRIKE + fair() == pytest.approx(5.45, abs=0.005)

    scenario, paths = month(), 100_000
    episodes = drawn(scenario, paths)
    alone, insured = (played(scenario, episodes, rule).pnl for rule in ("none", "put-overlay"))
    near(insured - alone, -drag)
    financing = SPOT * (interest - 1)  # P&L counts what the capital would have earned
    tail = np.sort(-alone)[-paths // 100 :]
    # Of the mean of a tail: its own deviation and that of the quantile (Acerbi and Tasche).
    error = math.sqrt((tail.var() + 0.99 * (tail.mean() - tail[0]) ** 2) / len(tail))
    assert abs(tail.mean() - expected_shortfall(0.99) - financing) < 4 * error
    worst = SPOT - STRIKE + fair() * interest + financing
    np.testing.assert_allclose(np.sort(-insured)[-paths // 100 :], worst, atol=1e-5)


def test_puts_priced_at_a_flat_vol_in_a_world_of_jumps_are_free_money() -> None:
    gains = {}
    for name, scenario in {
        "flat": month(f"{{kind: black-scholes, vol: {SIGMA}}}"),
        "fair": month(),
        "dear": month(premium=0.25),
    }.items():
        episodes = drawn(scenario, 100_000, seed=2)
        alone, insured = (played(scenario, episodes, rule).pnl for rule in ("none", "put-overlay"))
        gains[name] = insured - alone
    paid, interest = expected_put(DRIFT, INTENSITY, MONTH), math.exp(RATE * MONTH)
    assert paid - flat(SIGMA) * interest == pytest.approx(0.638 - 0.506, abs=1e-3)
    near(gains["flat"], paid - flat(SIGMA) * interest)
    near(gains["dear"], paid - fair(0.25) * interest)
    # The trap: at the flat vol insurance raises the mean and cuts the tail at once.
    assert gains["flat"].mean() > 0.1 > 0.0 > gains["fair"].mean() > gains["dear"].mean()


def test_the_preset_lists_every_put_at_the_models_price() -> None:
    scenario = load_scenario("tail-risk-hedging")
    episodes = drawn(scenario, 3)
    dates, step = 6, 30 / 365 / 6  # a put lives for 6 dates
    for t in (0, 4, 6, 11, 30, 33):
        listing = t - t % dates
        for j in range(3):
            spot, listed = (float(episodes.spot[s, j]) for s in (t, listing))
            price = fair(0.25, (dates - t % dates) * step, spot=spot, strike=0.95 * listed)
            assert float(episodes.price[t, j, 0]) == pytest.approx(price, abs=2e-5)


@pytest.mark.parametrize("rule", ["put-overlay:monetise=2", "put-overlay:budget=0.004,monetise=4"])
def test_it_buys_at_each_listing_and_sells_once_at_the_multiple(rule: str) -> None:
    scenario, paths = load_scenario("tail-risk-hedging"), 200
    episodes = drawn(scenario, paths)
    overlay = parse_baseline(rule)
    assert isinstance(overlay, PutOverlayHedge) and overlay.monetise is not None
    held = np.asarray(played(scenario, episodes, rule).holding)
    price, spot = episodes.price[..., 0].numpy(), episodes.spot.numpy()
    expected, cost, units = np.zeros((36, paths)), np.zeros(paths), np.zeros(paths)
    for t in range(36):
        for j in range(paths):
            if t % 6 == 0:
                cost[j] = price[t, j]
                units[j] = 1.0 if overlay.budget is None else 0.004 * spot[t, j] / cost[j]
            elif price[t, j] >= overlay.monetise * cost[j]:
                units[j] = 0.0
            expected[t, j] = units[j]
    np.testing.assert_allclose(held[..., 0], np.minimum(expected, 2.0))
    assert (held[..., 1] == 0).all()
    assert 0.02 < (expected == 0).mean() < 0.3


def test_several_puts_a_share_and_torch() -> None:
    scenario = load_scenario("tail-risk-hedging")
    episodes = drawn(scenario, 20)
    assert (played(scenario, episodes, "put-overlay:ratio=0.3").holding[..., 0] == 0.3).all()
    hedger = parse_baseline("put-overlay:monetise=3")
    tensors = rollout(scenario, episodes, hedger, differentiable=True).pnl
    np.testing.assert_allclose(tensors.numpy(), rollout(scenario, episodes, hedger).pnl, rtol=1e-9)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"position.legs.0.claim": "{kind: put, strike: 90}"}, "protects a holding"),
        ({"hedges.0.instrument.option": "call"}, "no put to roll"),
    ],
)
def test_what_it_does_not_fit_is_refused(changes: dict[str, Any], match: str) -> None:
    reason = PutOverlayHedge().refusal(load_scenario("tail-risk-hedging", changes))
    assert reason is not None and match in reason


def test_a_ratio_and_a_budget_are_one_too_many() -> None:
    with pytest.raises(ValidationError, match=r"with ratio 0\.5 too"):
        PutOverlayHedge(ratio=0.5, budget=0.01)


def test_the_rules_that_fit_the_preset() -> None:
    scenario = load_scenario("tail-risk-hedging")
    fit = [
        rule.name
        for kind in baseline_kinds().values()
        for rule in kind.variants(scenario)
        if rule.refusal(scenario) is None
    ]
    names = ["none", "static", "delta", "band", "put-overlay"]
    assert sorted(fit) == sorted(names)
