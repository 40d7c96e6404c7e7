"""Marks by regression: closed forms with the errors measured, unbiasedness, finite everywhere."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from deephedge.envs.instruments import Call, Claim, Path
from deephedge.envs.instruments.american import AmericanPut
from deephedge.envs.instruments.asian import AsianCall
from deephedge.envs.instruments.digital import DigitalCall
from deephedge.envs.instruments.path_claim import PathClaim
from deephedge.envs.markets import (
    GeometricBrownianMotion,
    Heston,
    Market,
    MarketPaths,
    Merton,
    Uniform,
)
from deephedge.envs.pricing import Greeks, model_price
from deephedge.envs.pricing.closed_form import closed_form
from deephedge.envs.pricing.regression import TRAINING_PATHS, regression
from deephedge.envs.pricing.terms import Terms

GBM = GeometricBrownianMotion(sigma=0.2, drift=0.1, rate=0.03, dividend=0.01)
TIMES = torch.linspace(0, 30 / 365, 7, dtype=torch.float64)[:, None]


def call(path: Path) -> Tensor:
    return torch.clamp(path.spot[-1] - 100, min=0)


def asian(path: Path) -> Tensor:
    return torch.clamp(path.spot[1:].mean(dim=0) - 100, min=0)


def digital(path: Path) -> Tensor:
    return (path.spot[-1] > 100).to(path.spot.dtype)


def terms(market: Market, paths: int = 2048, dtype: torch.dtype = torch.float64) -> Terms:
    drawn = market.simulate(TIMES, paths, torch.Generator().manual_seed(5), dtype)
    return Terms(drawn, TIMES[-1], market.rate, market.dividends, (drawn.implied_vol,))


@cache
def both(claim: Claim, function: PathClaim) -> tuple[Greeks, Greeks]:
    state = terms(GBM)
    return regression(function, state, GBM), closed_form(claim, state)


CASES = [
    (Call(strike=100.0), PathClaim(function=call)),
    (AsianCall(strike=100.0), PathClaim(function=asian)),
]


def rms(values: Tensor) -> Tensor:
    return values.square().mean(dim=1).sqrt()


@pytest.mark.parametrize(("claim", "written"), CASES, ids=["call", "asian"])
def test_marks_and_greeks_against_closed_forms(claim: Claim, written: PathClaim) -> None:
    """Root mean square over real-world paths at each date; the spot is 100, the premium 2.4."""
    found, exact = both(claim, written)
    assert float(rms(found.price - exact.price)[0]) < 0.01
    assert float(rms(found.price - exact.price).max()) < 0.03  # 3 bp of spot
    live = slice(0, -1)
    assert float(rms(found.delta - exact.delta)[live].max()) < 0.025
    assert float(rms(found.gamma - exact.gamma)[live].max()) < 0.015  # of 0.07
    assert abs(float((found.gamma - exact.gamma)[live].mean())) < 0.002
    assert float(rms(found.vega - exact.vega)[live].max()) < 1.0  # of 11
    assert float(rms(found.theta - exact.theta)[live].max()) < 3.0  # of 15 a year
    last = written.payoff(Path(TIMES, terms(GBM).spot))
    torch.testing.assert_close(found.price[-1], last)
    for values in (found.delta, found.gamma, found.vega, found.theta):
        assert not values[-1].any()


@pytest.mark.parametrize(("claim", "written"), CASES, ids=["call", "asian"])
def test_marks_have_no_bias(claim: Claim, written: PathClaim) -> None:
    """On new risk-neutral paths the discounted mark has the same mean at every date."""
    neutral = GBM.risk_neutral()
    state = terms(neutral, 16_384)
    found, exact = regression(written, state, neutral), closed_form(claim, state)
    discounted = found.price * torch.exp(-0.03 * TIMES)
    error = discounted.std(dim=1) / math.sqrt(16_384)
    # The training paths have an error of their own; their hedge leaves a quarter of the spread.
    training = float(discounted[-1].std()) / math.sqrt(TRAINING_PATHS) / 4
    bias = discounted.mean(dim=1) - float(exact.price[0, 0])
    assert (bias.abs() < 4 * (error + training)).all()


def test_hedging_with_the_deltas_takes_most_of_the_risk_away() -> None:
    """Deltas earn their keep: the hedged spread is that of the closed form's deltas."""
    state = terms(GBM.risk_neutral(), 8192)
    spread = {}
    for name, g in (
        ("fit", regression(PathClaim(function=asian), state, GBM)),
        ("exact", closed_form(AsianCall(strike=100.0), state)),
    ):
        gains = (g.delta[:-1] * state.spot.diff(dim=0)).sum(dim=0)
        spread[name] = float((g.price[-1] - gains).std())
    assert spread["fit"] < 1.02 * spread["exact"]


def test_a_payoff_with_a_jump_has_a_delta_too() -> None:
    written = PathClaim(function=digital)
    found, exact = both(DigitalCall(strike=100.0), written)
    assert float(rms(found.price - exact.price).max()) < 0.03  # of 1
    early = slice(0, 4)
    assert float(rms(found.delta - exact.delta)[early].max()) < 0.02  # of 0.07


def test_a_market_with_jumps_is_priced_under_its_pricing_measure() -> None:
    """Parity: the mark of S_T is the discounted forward, its delta the carry; nothing else."""
    market = Merton(intensity=5.0, jump_premium=1.0, drift=0.2, rate=0.05, dividend=0.02)
    state = terms(market, 1024)
    forward = regression(PathClaim(function=lambda path: path.spot[-1] - 90), state, market)
    left = TIMES[-1] - TIMES
    exact = state.spot * torch.exp(-0.02 * left) - 90 * torch.exp(-0.05 * left)
    assert float((forward.price - exact).abs().max()) < 0.05
    carry = torch.exp(-0.02 * left).expand_as(exact)
    assert float(rms(forward.delta - carry)[:-1].max()) < 0.01
    assert float(rms(forward.gamma).max()) < 1e-3


def test_vega_is_none_where_the_market_has_no_one_sigma() -> None:
    drawn = GBM.model_copy(update={"sigma": Uniform(low=0.1, high=0.3)})
    state = terms(drawn, 1024)
    found = regression(PathClaim(function=call), state, drawn)
    exact = closed_form(Call(strike=100.0), state)  # at each path's own vol, which it is quoted
    assert not found.vega.any()
    assert float(rms(found.price - exact.price)[1:].max()) < 0.1


def test_a_maturity_within_the_paths_is_zero_after_it() -> None:
    state = terms(GBM, 256)
    early = Terms(state.paths, TIMES[4], 0.03, (0.01,), state.quoted)
    found = regression(PathClaim(function=call, maturity=float(TIMES[4])), early, GBM)
    torch.testing.assert_close(found.price[4], torch.clamp(state.spot[4] - 100, min=0))
    assert not found.price[5:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_finite_far_from_the_training_paths(dtype: torch.dtype) -> None:
    state = terms(GBM, 4, dtype)
    spot = state.spot * torch.tensor([1e-3, 0.3, 3.0, 1e3], dtype=dtype)
    paths = MarketPaths(TIMES, spot, spot.log(), state.quoted[0])
    wild = Terms(paths, TIMES[-1], 0.03, (0.01,), state.quoted)
    for values in regression(PathClaim(function=asian), wild, GBM)[:5]:
        assert values.dtype == dtype
        assert values.isfinite().all()


def test_the_same_every_time_and_no_global_random_numbers() -> None:
    state = terms(GBM, 64)
    before = torch.random.get_rng_state()
    one, two = (regression(PathClaim(function=call), state, GBM) for _ in range(2))
    assert torch.equal(one.price, two.price)
    assert torch.equal(before, torch.random.get_rng_state())


def test_refusals() -> None:
    state = terms(GBM, 16)
    with pytest.raises(TypeError, match="exercised early"):
        regression(AmericanPut(strike=100.0), state, GBM)
    late = Terms(state.paths, TIMES[-1] + 1, 0.03, (0.01,), state.quoted)
    with pytest.raises(ValueError, match="not among the dates"):
        regression(PathClaim(function=call), late, GBM)
    own = MarketPaths(TIMES.expand(-1, 16), state.spot, state.log_spot, state.quoted[0])
    with pytest.raises(ValueError, match="dates that paths share"):
        regression(
            PathClaim(function=call), Terms(own, TIMES[-1], 0.03, (0.01,), state.quoted), GBM
        )


@pytest.mark.parametrize("more", [0, 14], ids=["at the end", "long before"])
def test_a_quoted_vol_is_the_one_that_the_paths_quote(more: int) -> None:
    """It is part of the state, and quoted for the paths' end, wherever the claim matures."""
    market = Heston(drift=0.1, vol_of_vol=0.3)
    times = torch.cat([TIMES, TIMES[-1] + TIMES[1:2] * torch.arange(1, more + 1)[:, None]])
    drawn = market.simulate(times, 1024, torch.Generator().manual_seed(6))
    maturity = TIMES[-1]
    state = Terms(drawn, maturity, 0.0, (0.0,), (drawn.implied_vol,))
    written = PathClaim(function=call, maturity=float(maturity))
    found = regression(written, state, market).price[: len(TIMES)]
    exact = model_price(Call(strike=100.0, maturity=float(maturity)), market, state).price
    off = found - exact[: len(TIMES)]
    assert float(off.mean(dim=1).abs().max()) < 0.01
    assert float(rms(off).max()) < 0.05
