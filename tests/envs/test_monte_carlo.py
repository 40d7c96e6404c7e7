"""Monte Carlo prices: closed forms, what controls buy, and error bars that are right."""

from __future__ import annotations

import math

import pytest
import torch

from deephedge.envs.instruments import Call, Claim, Path, Put
from deephedge.envs.instruments.american import AmericanPut
from deephedge.envs.instruments.asian import AsianCall, AsianPut
from deephedge.envs.instruments.path_claim import PathClaim
from deephedge.envs.markets import GeometricBrownianMotion, Merton, Uniform
from deephedge.envs.pricing.monte_carlo import (
    BLOCK,
    Control,
    Estimate,
    _closed_form,
    default_controls,
    monte_carlo_price,
)

GBM = GeometricBrownianMotion(sigma=0.25, drift=0.3, rate=0.04, dividend=0.01)
TIMES = torch.linspace(0, 0.5, 11, dtype=torch.float64)[:, None]


def price(claim: Claim, seed: int = 0, paths: int = 8 * BLOCK, **given: object) -> Estimate:
    generator = torch.Generator().manual_seed(seed)
    return monte_carlo_price(claim, GBM, TIMES, generator, paths, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "claim",
    [
        Call(strike=105.0),
        Put(strike=95.0),
        Call(strike=100.0, maturity=0.25),
        AsianCall(strike=100.0, average="geometric"),
        AsianPut(strike=102.0, average="geometric"),
    ],
    ids=lambda claim: f"{claim.kind}-{claim.strike}",
)
def test_agrees_with_closed_forms(claim: Claim) -> None:
    last = 5 if claim.maturity else 10
    exact = _closed_form(claim, GBM, TIMES[: last + 1])
    for given in ({}, {"controls": ()}):
        found = price(claim, **given)
        assert abs(found.price - exact) < 4 * found.error
        assert found.error < 0.1


def test_a_market_with_jumps_and_a_premium_is_priced_under_its_pricing_measure() -> None:
    """Merton's series, jumps three times as often as in the real world."""
    market = Merton(
        sigma=0.2, intensity=1.0, jump_mean=-0.1, jump_std=0.1, jump_premium=2.0, rate=0.03
    )
    years, exact = 0.5, 0.0
    step = math.expm1(-0.1 + 0.1**2 / 2)
    for n in range(40):
        # Given n jumps the price is a Black-Scholes price of a moved spot.
        moved = 100 * math.exp(-3 * step * years + n * (-0.1 + 0.1**2 / 2))
        vol = math.sqrt(0.2**2 + n * 0.1**2 / years)
        given = GeometricBrownianMotion(spot=moved, sigma=vol, rate=0.03)
        weight = math.exp(-3 * years) * (3 * years) ** n / math.factorial(n)
        exact += weight * _closed_form(Call(strike=100.0), given, TIMES)
    generator = torch.Generator().manual_seed(1)
    found = monte_carlo_price(Call(strike=100.0), market, TIMES, generator, 8 * BLOCK)
    assert abs(found.price - exact) < 4 * found.error
    # A control that only the caller can price: the put, by parity.
    put = Control(Put(strike=100.0), exact - 100 + 100 * math.exp(-0.03 * years))
    generator = torch.Generator().manual_seed(1)
    sure = monte_carlo_price(
        Call(strike=100.0), market, TIMES, generator, 2 * BLOCK, controls=(put,)
    )
    assert sure.price == pytest.approx(exact, abs=1e-9)


def test_what_the_controls_buy() -> None:
    """Variance of plain Monte Carlo over the controlled one."""
    plain = price(AsianCall(strike=100.0), controls=())
    full = price(AsianCall(strike=100.0))
    assert plain.reduction > 2.5  # the underlying alone
    assert full.reduction > 1000  # with the geometric average
    assert abs(plain.price - full.price) < 4 * plain.error

    def range_paid(path: Path) -> torch.Tensor:
        return path.spot.amax(dim=0) - path.spot.amin(dim=0)

    assert price(PathClaim(function=range_paid)).reduction >= 1
    assert price(Call(strike=100.0)).reduction > 5


def test_the_error_is_the_error_and_the_mean_has_no_bias() -> None:
    """Over replications: standardised errors have mean 0, variance 1; 95 % are within 1.96."""
    exact = _closed_form(Call(strike=110.0), GBM, TIMES)
    found = [price(Call(strike=110.0), seed, 2 * BLOCK) for seed in range(200)]
    z = torch.tensor([(one.price - exact) / one.error for one in found])
    assert abs(float(z.mean())) < 4 / math.sqrt(200)
    assert abs(float(z.var()) - 1) < 4 * math.sqrt(2 / 200)
    inside = float((z.abs() < 1.96).double().mean())
    assert abs(inside - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 200)


def test_more_paths_begin_with_the_same() -> None:
    """The same seed gives the same price, and paths are counted in whole blocks."""
    assert price(Call(strike=100.0), 3, 1) == price(Call(strike=100.0), 3, 2 * BLOCK)
    assert price(Call(strike=100.0), 3, 2 * BLOCK + 1).paths == 3 * BLOCK
    state = torch.random.get_rng_state()
    price(Call(strike=100.0))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_sure_payoff_has_no_error() -> None:
    forward = PathClaim(function=lambda path: 3 * path.spot[-1] + 1)
    found = price(forward)
    exact = 3 * 100 * math.exp(-0.01 * 0.5) + math.exp(-0.04 * 0.5)
    assert found.price == pytest.approx(exact, abs=1e-9)
    assert found.error < 1e-9


def test_which_controls_a_claim_gets() -> None:
    kinds = [c.claim.kind for c in default_controls(AsianPut(strike=90.0), GBM, TIMES)]  # type: ignore[attr-defined]
    assert kinds == ["put", "asian-put"]
    drawn = GBM.model_copy(update={"sigma": Uniform(low=0.1, high=0.3)})
    assert default_controls(AsianPut(strike=90.0), drawn, TIMES) == ()
    assert default_controls(Call(strike=90.0), GBM, TIMES) == ()


def test_refusals() -> None:
    with pytest.raises(TypeError, match="exercised early"):
        price(AmericanPut(strike=100.0))
    with pytest.raises(ValueError, match="not among the dates"):
        price(Call(strike=100.0, maturity=0.33))
    with pytest.raises(ValueError, match="give one"):
        monte_carlo_price(Call(strike=1.0), GBM, TIMES.expand(-1, 2), torch.Generator())
