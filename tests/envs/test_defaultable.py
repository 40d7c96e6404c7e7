"""A stock that may default: martingales, the law of the default, options against Merton's form."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from deephedge.envs.instruments import Call, EuropeanOption, Put
from deephedge.envs.markets import Defaultable, MarketPaths
from deephedge.envs.pricing.black_scholes import black_scholes
from deephedge.envs.pricing.model_price import model_price
from deephedge.envs.pricing.terms import Terms

PATHS = 10_000
STOCKS: dict[str, Defaultable] = {
    "constant": Defaultable(hazard=0.3, drop=0.4, drift=0.07, rate=0.03, dividend=0.01),
    "to nothing": Defaultable(hazard=0.2, drop=1.0, rate=0.03),
    "moving": Defaultable(hazard=0.2, power=1.5, drop=0.8, drift=0.1),
    "safe": Defaultable(hazard=0.0),
}
each_stock = pytest.mark.parametrize("stock", STOCKS.values(), ids=list(STOCKS))
DATES = torch.tensor([0.0, 0.01, 0.3, 0.35, 1.0], dtype=torch.float64)[:, None]


def drawn(stock: Defaultable, times: Tensor = DATES, paths: int = PATHS) -> MarketPaths:
    return stock.simulate(times, paths, torch.Generator().manual_seed(0))


def default_of(paths: MarketPaths) -> Tensor:
    assert paths.default is not None
    return paths.default


def score(sample: Tensor, expected: float) -> float:
    """How many standard errors the mean of ``sample [N]`` is off."""
    return float(sample.mean() - expected) / (float(sample.std()) / math.sqrt(len(sample)) + 1e-12)


@each_stock
def test_the_mean_is_that_of_the_drift_on_any_dates_and_given_the_past(stock: Defaultable) -> None:
    paths = drawn(stock)
    driftless = paths.spot * torch.exp(-stock.drift * DATES)
    for row in driftless[1:]:
        assert abs(score(row, stock.spot)) < 4
    low = driftless[2] < 90
    assert abs(score((driftless[4] - driftless[2]) * low, 0.0)) < 4


def test_the_default_comes_at_its_hazard_and_once() -> None:
    stock = STOCKS["constant"]
    paths = drawn(stock)
    default, jump = default_of(paths), paths.jump
    assert jump is not None
    for row, years in zip(default, DATES[:, 0].tolist(), strict=True):
        assert abs(score(row.double(), 1 - math.exp(-0.3 * years))) < 4
    new = default[1:] & ~default[:-1]
    assert (default[1:] | ~default[:-1]).all()
    torch.testing.assert_close(jump[1:], new.double() * math.log(0.6))
    hazard = paths.latents["hazard"]
    torch.testing.assert_close(hazard, torch.where(default, 0.0, 0.3).double())
    assert not default_of(drawn(STOCKS["safe"])).any()


def test_prices_are_lognormal_before_the_default_and_after_it() -> None:
    stock = STOCKS["constant"]
    paths = drawn(stock)
    alive, log_spot = ~default_of(paths)[-1], paths.log_spot[-1] - math.log(100)
    mean = 0.07 + 0.4 * 0.3 - 0.3**2 / 2
    assert abs(score(log_spot[alive], mean)) < 4
    squares = (log_spot[alive] - mean) ** 2
    assert abs(score(squares, 0.09)) < 4
    # After it: the default's own time u adds drop h u, u an exponential cut at the year.
    survival = math.exp(-0.3)
    mean_wait = (1 - survival * 1.3) / 0.3 / (1 - survival)
    after = 0.07 - 0.3**2 / 2 + math.log(0.6) + 0.4 * 0.3 * mean_wait
    assert abs(score(log_spot[~alive], after)) < 4


def test_the_hazard_rises_as_the_price_falls() -> None:
    stock = STOCKS["moving"]
    paths = drawn(stock)
    alive = ~default_of(paths)
    before_drift = paths.spot * torch.exp(-0.1 * DATES) / 100
    wanted = 0.2 * before_drift**-1.5
    torch.testing.assert_close(paths.latents["hazard"][alive], wanted[alive])
    new = default_of(paths)[3] & alive[2]
    low = alive[2] & (before_drift[2] < before_drift[2][alive[2]].quantile(0.3))
    assert float(new[low].double().mean()) > 1.3 * float(new[alive[2] & ~low].double().mean())


def test_the_pricing_measure_has_the_premium_in_its_hazard() -> None:
    stock = Defaultable(hazard=0.1, hazard_premium=0.5, drift=0.2, rate=0.03, dividend=0.01)
    pricing = stock.risk_neutral()
    assert (pricing.drift, pricing.hazard) == (pytest.approx(0.02), pytest.approx(0.15))
    assert pricing.hazard_premium == 0
    assert pricing.risk_neutral() == pricing
    assert stock.volatility == pytest.approx(math.sqrt(0.09 + 0.1 * 0.49))


# Options ----------------------------------------------------------------------------------------


def terms_of(paths: MarketPaths, stock: Defaultable, years: float = 1.0) -> Terms:
    maturity = torch.tensor([years], dtype=torch.float64)
    return Terms(paths, maturity, stock.rate, stock.dividends, (paths.implied_vol,))


@pytest.mark.parametrize("option", [Call(strike=105.0), Put(strike=95.0)])
@pytest.mark.parametrize("name", ["constant", "to nothing", "safe"])
def test_an_option_is_its_discounted_mean_from_any_date(option: EuropeanOption, name: str) -> None:
    stock = STOCKS[name].risk_neutral()
    paths = drawn(stock)
    price = model_price(option, stock, terms_of(paths, stock)).price
    payoff = torch.clamp(option.sign * (paths.spot[-1] - option.strike), min=0)
    torch.testing.assert_close(price[-1], payoff)
    for row in (2, 4):
        discounted = price[row] * math.exp(-stock.rate * float(DATES[row]))
        assert abs(score(discounted, float(price[0, 0]))) < 4


def test_a_call_on_a_stock_that_falls_to_nothing_is_mertons() -> None:
    """Black-Scholes with the hazard added to the rate (Merton, 1976, section 4)."""
    stock = STOCKS["to nothing"]
    paths = drawn(stock, paths=200)
    found = model_price(Call(strike=100.0), stock, terms_of(paths, stock))
    sigma = torch.full((1, 1), 0.3, dtype=torch.float64)
    wanted = black_scholes(paths.log_spot, 100.0, 1 - DATES, sigma, sign=1, rate=0.23)
    alive = ~default_of(paths)
    for name in ("price", "delta", "gamma", "vega", "theta"):
        ours, theirs = getattr(found, name)[alive], getattr(wanted, name)[alive]
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=2e-6)


def test_parity_and_greeks_are_differences() -> None:
    stock = Defaultable(hazard=0.3, drop=0.4, rate=0.03, dividend=0.01)
    paths = drawn(stock, DATES[:-1], paths=100)
    terms = terms_of(paths, stock)
    call, put = (model_price(kind(strike=100.0), stock, terms) for kind in (Call, Put))
    tau = terms.tau
    forward = paths.spot * torch.exp(-0.01 * tau) - 100 * torch.exp(-0.03 * tau)
    torch.testing.assert_close(call.price - put.price, forward)
    h = 1e-4

    def moved(by: float = 0.0, later: float = 0.0, sigma: float = 0.3) -> Tensor:
        spot = paths.spot * (1 + by)
        other = replace(paths, spot=spot, log_spot=spot.log(), times=paths.times + later)
        bumped = stock.model_copy(update={"sigma": sigma})
        return model_price(Put(strike=100.0), bumped, terms_of(other, bumped)).price

    up, down, here = moved(h), moved(-h), moved()
    torch.testing.assert_close(put.delta, (up - down) / (2 * h * paths.spot), rtol=1e-5, atol=1e-6)
    gamma = (up - 2 * here + down) / (h * paths.spot) ** 2
    torch.testing.assert_close(put.gamma, gamma, rtol=1e-3, atol=1e-5)
    theta = (moved(later=h) - moved(later=-h)) / (2 * h)
    torch.testing.assert_close(put.theta[1:], theta[1:], rtol=1e-5, atol=1e-4)
    vega = (moved(sigma=0.3 + h) - moved(sigma=0.3 - h)) / (2 * h)
    torch.testing.assert_close(put.vega, vega, rtol=1e-5, atol=1e-5)
