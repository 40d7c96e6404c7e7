"""The convertible bond: its cash flows, its price and Greeks, and a default in the books."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor

from deephedge.baselines import DeltaHedge, NoHedge
from deephedge.envs import Scenario, mark, parse_scenario, rollout, simulate
from deephedge.envs.instruments import Call, ConvertibleBond, Path
from deephedge.envs.markets import Defaultable, GeometricBrownianMotion, MarketPaths
from deephedge.envs.presets import ScenarioError
from deephedge.envs.pricing import monte_carlo_price
from deephedge.envs.pricing.black_scholes import black_scholes
from deephedge.envs.pricing.defaultable import credit_delta
from deephedge.envs.pricing.model_price import model_price
from deephedge.envs.pricing.terms import Terms

BOND = ConvertibleBond(face=100.0, shares=0.8, recovery=0.4)
STOCK = Defaultable(rate=0.03, hazard=0.02, sigma=0.3, drop=1.0)
COUPONS = ConvertibleBond(coupon=0.04, recovery=0.5)
FALLEN = Defaultable(rate=0.03, dividend=0.01, hazard=0.05, sigma=0.3, drop=0.3)


def at(years: list[float]) -> Tensor:
    return torch.tensor(years, dtype=torch.float64)[:, None]


def number(x: float) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def terms_of(stock: Defaultable, spot: Tensor, times: Tensor, years: float = 5.0) -> Terms:
    """As on one date each, ``spot [T+1, N]``."""
    vol = torch.full((1, 1), stock.sigma, dtype=torch.float64)
    paths = MarketPaths(times, spot, spot.log(), vol)
    maturity = torch.tensor([years], dtype=torch.float64)
    return Terms(paths, maturity, stock.rate, stock.dividends, (vol,))


def now(stock: Defaultable, years: float = 5.0, spot: float = 100.0) -> Terms:
    return terms_of(stock, torch.full((1, 1), spot, dtype=torch.float64), at([0.0]), years)


# Cash flows -------------------------------------------------------------------------------------


def test_coupons_and_defaults_pay_on_their_dates() -> None:
    """By hand: two coupons a year of 2, one of three paths defaults between them."""
    bond = ConvertibleBond(coupon=0.04, recovery=0.4, shares=0.8)
    times = at([0.0, 0.25, 0.5, 0.75, 1.0])
    spot = torch.tensor([[100.0, 100, 100]] * 3 + [[90, 30, 70], [140, 30, 110]]).double()
    default = torch.zeros_like(spot, dtype=torch.bool)
    default[3:, 1:] = True
    path = Path(times, spot, (spot,), default)
    flows = bond.cash_flows(path)
    wanted = torch.zeros_like(spot)
    wanted[2] = 2.0
    wanted[3] = torch.tensor([0.0, 40.0, 56.0])  # the face's part, or the shares
    torch.testing.assert_close(flows.paid, wanted)
    assert (flows.over == default).all()
    torch.testing.assert_close(bond.payoff(path), torch.tensor([114.0, 0.0, 0.0]).double())
    coarse = bond.cash_flows(Path(at([0.0, 0.6, 1.0]), spot[[0, 1, 4]], (), None))
    torch.testing.assert_close(coarse.paid[:, 0], torch.tensor([0.0, 2.0, 0.0]).double())
    assert not coarse.over.any()


def test_a_default_on_a_coupons_date_or_at_maturity_pays_the_recovery_alone() -> None:
    bond = ConvertibleBond(coupon=0.04, recovery=0.4, shares=0.8)
    spot = torch.full((3, 2), 20.0).double()
    default = torch.tensor([[False, False], [True, False], [True, True]])
    path = Path(at([0.0, 0.5, 1.0]), spot, (spot,), default)
    paid = bond.cash_flows(path).paid
    torch.testing.assert_close(paid, torch.tensor([[0.0, 0.0], [40.0, 2.0], [0.0, 40.0]]).double())
    assert (bond.payoff(path) == 0).all()


# Prices -----------------------------------------------------------------------------------------


def test_the_numbers_of_the_reference() -> None:
    """103.2315, Delta 0.5171, Gamma 0.004434; bond floor 81.42; simulated 103.199 +- 0.039."""
    found = model_price(BOND, STOCK, now(STOCK))
    assert round(float(found.price), 4) == 103.2315
    assert round(float(found.delta), 4) == 0.5171
    assert round(float(found.gamma), 6) == 0.004434
    assert abs(float(found.price) - 103.199) < 4 * 0.039
    floor = model_price(BOND, STOCK, now(STOCK, spot=1e-3)).price
    assert round(float(floor), 2) == 81.42


def test_a_default_part_of_the_way_down_against_scipys_quadrature() -> None:
    """The law of the default's time, and Black's call on the price just before it."""
    h, eta, r, q, tau = 0.05, 0.3, 0.03, 0.01, 5.0

    def call(strike: float, years: float) -> float:
        log_spot, vol, one = (number(x) for x in (math.log(100), 0.3, years))
        grown = log_spot + eta * h * one  # it earns the compensation until the default
        found = black_scholes(grown, strike, one, vol, sign=1, rate=r, dividend=q).price
        return float(found)

    def paid(u: float) -> float:
        kept = 0.8 * (1 - eta)
        return h * math.exp(-h * u) * (50 * math.exp(-r * u) + kept * call(50 / kept, u))

    survive = math.exp(-h * tau)
    price = survive * (100 * math.exp(-r * tau) + 0.8 * call(125.0, tau))
    price += sum(2 * math.exp(-(r + h) * k / 2) for k in range(1, 11))
    price += integrate.quad(paid, 0, tau, epsabs=1e-9)[0]
    found = model_price(COUPONS, FALLEN, now(FALLEN))
    assert float(found.price) == pytest.approx(price, abs=1e-5)


@pytest.mark.parametrize(("bond", "stock"), [(BOND, STOCK), (COUPONS, FALLEN)])
def test_the_price_is_the_mean_of_the_simulated_cash_flows(
    bond: ConvertibleBond, stock: Defaultable
) -> None:
    """On fine dates: what a default pays comes half a step late."""
    times = torch.linspace(0, 5, 121, dtype=torch.float64)[:, None]
    found = monte_carlo_price(bond, stock, times, torch.Generator().manual_seed(1), 8192)
    price = float(model_price(bond, stock, now(stock)).price)
    assert abs(found.price - price) < 4 * found.error + 0.01
    assert found.error < 0.3


@pytest.mark.parametrize(("bond", "stock"), [(BOND, STOCK), (COUPONS, FALLEN)])
def test_greeks_are_differences(bond: ConvertibleBond, stock: Defaultable) -> None:
    spot = torch.tensor([[40.0, 72.0, 100.0, 180.0]]).double().expand(2, -1)
    times, h = at([0.1, 3.3]), 1e-4
    ours = model_price(bond, stock, terms_of(stock, spot, times))

    def price(by: float = 0.0, later: float = 0.0, **changes: float) -> Tensor:
        other = stock.model_copy(update=changes)
        return model_price(bond, other, terms_of(other, spot * (1 + by), times + later)).price

    up, down, here = price(h), price(-h), price()
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(ours.delta, (up - down) / (2 * h * spot), **close)
    gamma = (up - 2 * here + down) / (h * spot) ** 2
    torch.testing.assert_close(ours.gamma, gamma, rtol=1e-3, atol=1e-6)
    sigma, hazard = stock.sigma, stock.hazard
    vega = (price(sigma=sigma + h) - price(sigma=sigma - h)) / (2 * h)
    torch.testing.assert_close(ours.vega, vega, **close)
    theta = (price(later=h) - price(later=-h)) / (2 * h)
    torch.testing.assert_close(ours.theta, theta, rtol=1e-4, atol=1e-4)
    credit = (price(hazard=hazard + h) - price(hazard=hazard - h)) / (2 * h)
    found = credit_delta(bond, stock, terms_of(stock, spot, times))
    torch.testing.assert_close(found, credit, rtol=1e-4, atol=1e-3)


def test_without_default_it_is_a_bond_and_calls() -> None:
    """In gbm, and in a market whose hazard is 0: bond + 0.8 calls struck at 125 + coupons."""
    safe = STOCK.model_copy(update={"hazard": 0.0})
    price = float(model_price(COUPONS, safe, now(safe)).price)
    call = black_scholes(
        number(math.log(100)), 125.0, number(5.0), number(0.3), sign=1, rate=0.03
    ).price
    bond = 100 * math.exp(-0.15) + sum(2 * math.exp(-0.03 * k / 2) for k in range(1, 11))
    assert price == pytest.approx(bond + 0.8 * float(call), abs=1e-9)
    gbm = GeometricBrownianMotion(sigma=0.3, rate=0.03)
    tree = {"kind": "convertible-bond", "coupon": 0.04, "maturity": 5.0}
    problem = scenario(tree, market=gbm.model_dump())
    episodes = simulate(problem, 2, torch.Generator())
    assert float(episodes.mark[0, 0]) == pytest.approx(price, abs=1e-9)


# In the books -----------------------------------------------------------------------------------


def scenario(claim: dict[str, Any], **changes: Any) -> Scenario:
    """Long one bond for a year in 24 steps, hedged with the stock at no cost."""
    tree: dict[str, Any] = {
        "name": "convertible",
        "market": FALLEN.risk_neutral().model_dump(),
        "calendar": {"kind": "uniform", "days": 365, "steps": 24},
        "position": {"legs": [{"quantity": 1, "claim": claim}]},
        "hedges": [{"instrument": {"kind": "underlying"}}],
        "marking": {"kind": "model"},
        "objective": {"kind": "quadratic"},
    }
    return parse_scenario(tree | changes)


LONG: dict[str, Any] = {"kind": "convertible-bond", "coupon": 0.04, "maturity": 5.0}


def test_a_default_costs_the_delta_hedger_what_the_formula_says() -> None:
    """max(R F, k (1 - eta) S) - V + Delta eta S, with nothing else moving in the step."""
    stock = FALLEN.model_copy(update={"rate": 0.0, "dividend": 0.0}).risk_neutral()
    for drop in (0.3, 0.9):
        market = stock.model_copy(update={"drop": drop})
        problem = scenario(LONG, market=market.model_dump())
        times = problem.calendar.times(1, torch.Generator())
        spot = torch.full((25, 2), 100.0).double()
        default = torch.zeros_like(spot, dtype=torch.bool)
        spot[1:, 0], default[1:, 0] = 100 * (1 - drop), True
        vol = torch.full((1, 1), 0.3).double()
        hazard = {"hazard": torch.full_like(spot, 0.05)}
        paths = MarketPaths(times, spot, spot.log(), vol, latents=hazard, default=default)
        episodes = mark(problem, paths)
        value, delta = float(episodes.mark[0, 0]), float(episodes.delta[0, 0])
        pnl = rollout(problem, episodes, DeltaHedge()).pnl
        assert pnl[0] == pytest.approx(max(40, 0.8 * (1 - drop) * 100) - value + delta * drop * 100)
        for name in ("mark", "delta", "gamma", "vega", "theta"):
            values = getattr(episodes, name)
            assert (values[1:, 0] == 0).all()
            assert (values[1:-1, 1] != 0).all()
        assert (episodes.cash_flow[2:, 0] == 0).all()


@pytest.mark.parametrize(("maturity", "every"), [(5.0, 1), (1.0, 4), (None, 1)])
def test_discounted_marks_and_cash_flows_are_a_martingale(
    maturity: float | None, every: int
) -> None:
    """Under the pricing measure, at any date; a bond that is over pays no more."""
    claim = LONG | {"maturity": maturity, "recovery": 0.4}
    calendar = {"kind": "uniform", "days": 365, "steps": 24, "decide_every": every}
    problem = scenario(claim, calendar=calendar)
    episodes = simulate(problem, 4_000, torch.Generator().manual_seed(2))
    discount = torch.exp(-0.03 * episodes.times)
    paid = (episodes.cash_flow * discount).cumsum(dim=0)
    total = paid + episodes.mark * discount
    gone = episodes.mark[:-1] == 0
    assert 0.035 < float(gone[-1].double().mean()) < 0.06
    later = episodes.cash_flow[1:][gone]
    assert (later == 0).all()
    late = 40 * 0.05 * 0.03 / 24 / 2  # a default's payment waits for the date, half a step
    for row in total[1:]:
        error = float(row.std()) / math.sqrt(row.shape[0])
        assert abs(float((row - total[0]).mean())) < 4 * error + late


def test_nothing_is_earned_before_costs_under_the_pricing_measure() -> None:
    problem = scenario(LONG, calendar={"kind": "uniform", "days": 365, "steps": 12})
    episodes = simulate(problem, 4_000, torch.Generator().manual_seed(3))
    for hedger in (NoHedge(), DeltaHedge()):
        pnl = np.asarray(rollout(problem, episodes, hedger).pnl)
        assert abs(pnl.mean()) < 4 * pnl.std() / math.sqrt(len(pnl)) + 5e-3


def test_a_listed_convertible_and_a_moving_hazard_are_refused() -> None:
    listed = {"instrument": {"kind": "listed-option", "option": LONG}}
    with pytest.raises(ScenarioError, match=r"hedges\.0: a listed ConvertibleBond would pay"):
        scenario(LONG, hedges=[listed, {"instrument": {"kind": "underlying"}}])
    moving = FALLEN.model_copy(update={"power": 1.0}).model_dump()
    with pytest.raises(ScenarioError, match=r"no formula at power 1.*set market\.power to 0"):
        scenario(LONG, market=moving)
    other = scenario(LONG, market=moving, marking={"kind": "black-scholes", "vol": 0.3})
    assert simulate(other, 3, torch.Generator()).mark.isfinite().all()
    with pytest.raises(TypeError, match="Call pays at its maturity only"):
        Call(strike=1.0).cash_flows(Path(at([0.0]), torch.ones(1, 1)))
