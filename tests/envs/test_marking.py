"""Marking: every claim by its own strike, maturity, path and vol; Greeks are what marks do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from deephedge.envs import Episodes, Scenario, simulate
from deephedge.envs.calendar import TradingDaysCalendar, UniformCalendar
from deephedge.envs.instruments import (
    AmericanPut,
    AsianCall,
    Call,
    Claim,
    Leg,
    ListedOption,
    Path,
    PathClaim,
    Position,
    Put,
    RolledOption,
    Underlying,
)
from deephedge.envs.markets import (
    Bootstrap,
    Garch,
    GeometricBrownianMotion,
    Heston,
    Market,
    Merton,
    Uniform,
)
from deephedge.envs.objectives import CVaR
from deephedge.envs.part import Part
from deephedge.envs.pricing import (
    ConstantVolMarking,
    MarketVolMarking,
    Marking,
    ModelMarking,
    black_scholes,
)
from deephedge.envs.scenario import Hedge

VOL = 0.22
SHARE = Hedge(instrument=Underlying())
SHORT_CALL = (Leg(quantity=-1.0, claim=Call(strike=100.0)),)
GREEKS = ("delta", "gamma", "vega", "theta")


def scenario(**parts: Any) -> Scenario:
    """A year of monthly steps, short a call at 100 marked at VOL."""
    defaults: dict[str, Any] = {
        "name": "test",
        "market": Merton(drift=0.1, rate=0.04, dividend=0.02),
        "calendar": UniformCalendar(steps=12, days=365),
        "position": Position(legs=parts.pop("legs", SHORT_CALL)),
        "hedges": (SHARE,),
        "marking": ConstantVolMarking(vol=VOL),
        "objective": CVaR(level=0.9),
    }
    return Scenario(**(defaults | parts))


def by_kind(part: Part) -> str:
    return type(part).__name__


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def worth(
    problem: Scenario,
    claim: Call | Put,
    episodes: Episodes,
    t: int,
    maturity: float | Tensor,
    name: str = "price",
) -> NDArray[np.float64]:
    """Black-Scholes (or a Greek) of a claim at date t, by its own terms, [N]."""
    greeks = black_scholes(
        episodes.log_spot[t],
        claim.strike,
        maturity - episodes.times[t],
        torch.tensor(VOL, dtype=torch.float64),
        sign=claim.sign,
        rate=problem.market.rate,
        dividend=problem.market.dividend,
    )
    return np.asarray(getattr(greeks, name))


def test_marks_and_greeks_add_up_the_legs_still_alive() -> None:
    legs = (
        Leg(quantity=-2.0, claim=Call(strike=100.0, maturity=0.5)),
        Leg(quantity=1.0, claim=Put(strike=108.0, maturity=0.25)),
        Leg(quantity=-1.5, claim=Put(strike=95.0)),
        Leg(quantity=0.5, claim=Call(strike=120.0, maturity=2.0)),
    )
    problem = scenario(legs=legs)
    episodes = simulate(problem, 30, generator(4))
    for t in range(13):
        for name, ours in [("price", episodes.mark), *[(g, getattr(episodes, g)) for g in GREEKS]]:
            expected = np.zeros(30)
            for leg in legs:
                maturity = leg.claim.maturity or 1.0
                if maturity > t / 12 + 1e-9 and not (name == "price" and t == 12):
                    assert isinstance(leg.claim, (Call, Put))
                    value = worth(problem, leg.claim, episodes, t, maturity, name)
                    expected += leg.quantity * value
            np.testing.assert_allclose(ours[t], expected, atol=1e-9, err_msg=f"{name} {t}")
    np.testing.assert_allclose(episodes.premium, -episodes.mark[0])


@pytest.mark.parametrize(
    "claim", [Call(strike=90.0, maturity=1.5), Put(strike=115.0, maturity=0.75)], ids=by_kind
)
def test_a_listed_option_is_priced_at_its_own_strike_and_maturity(claim: Call | Put) -> None:
    problem = scenario(hedges=(Hedge(instrument=ListedOption(option=claim)), SHARE))
    episodes = simulate(problem, 30, generator(5))
    assert claim.maturity is not None
    for t in range(8):
        columns = {"price": episodes.price, "delta": episodes.hedge_delta}
        columns |= {"gamma": episodes.hedge_gamma, "vega": episodes.hedge_vega}
        for name, ours in columns.items():
            expected = worth(problem, claim, episodes, t, claim.maturity, name)
            np.testing.assert_allclose(ours[t, :, 0], expected, rtol=1e-12, err_msg=name)
    assert torch.equal(episodes.price[..., 1], episodes.spot)
    assert (episodes.hedge_delta[..., 1] == 1).all()
    assert (episodes.hedge_gamma[..., 1] == 0).all()


def test_every_path_expires_at_its_own_last_trading_day() -> None:
    problem = scenario(calendar=TradingDaysCalendar(steps=8))
    episodes = simulate(problem, 300, generator(6))
    ends = episodes.times[-1]
    assert (ends * 365).round().unique().tolist() == [10, 12]
    for t in range(8):
        expected = -worth(problem, Call(strike=100.0), episodes, t, ends)
        np.testing.assert_allclose(episodes.mark[t], expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(episodes.cash_flow[-1], -(episodes.spot[-1] - 100).clamp(min=0))
    gap = episodes.times.diff(dim=0).numpy()
    np.testing.assert_allclose(episodes.growth, np.expm1(0.04 * gap), rtol=1e-12)
    with pytest.raises(
        ValueError, match=r"position\.legs\.0: maturity .* differ from path to path"
    ):
        scenario(
            calendar=TradingDaysCalendar(steps=8),
            legs=(Leg(quantity=-1.0, claim=Call(strike=100.0, maturity=0.02)),),
        )


def test_the_days_vol_marks_each_path_at_its_own() -> None:
    market = GeometricBrownianMotion(sigma=Uniform(low=0.1, high=0.5))
    problem = scenario(market=market, marking=MarketVolMarking())
    episodes = simulate(problem, 500, generator(7))
    vega = float(worth(problem, Call(strike=100.0), episodes, 0, 1.0, "vega")[0])
    slope = stats.linregress(episodes.vol[0].numpy(), -episodes.mark[0].numpy()).slope
    assert slope == pytest.approx(vega, rel=0.02)  # at the money the price is linear in vol
    assert not problem.marking_is_constant


def test_greeks_explain_a_small_move_of_the_mark() -> None:
    """dV = theta dt + delta dS + gamma dS^2 / 2, to higher order; theta's sign with it."""
    legs = (
        Leg(quantity=-2.0, claim=Call(strike=100.0, maturity=1.2)),
        Leg(quantity=1.0, claim=Put(strike=110.0, maturity=1.5)),
    )
    market = GeometricBrownianMotion(drift=0.1, rate=0.04, dividend=0.02, sigma=0.3)
    calendar = UniformCalendar(steps=2000, days=365)
    episodes = simulate(scenario(market=market, calendar=calendar, legs=legs), 40, generator(11))
    before, dt, move = slice(0, 1999), 1 / 2000, episodes.spot.diff(dim=0)[:1999]
    change = episodes.mark.diff(dim=0)[:1999]  # the last one is the close-out
    decay = episodes.theta[before] * dt
    bent = 0.5 * episodes.gamma[before] * move**2
    unexplained = change - episodes.delta[before] * move - bent - decay
    assert float(unexplained.std()) < 0.05 * float(bent.std())
    left = change - episodes.delta[before] * move - bent
    assert float((left * decay).sum() / (decay**2).sum()) == pytest.approx(1, abs=0.05)
    assert (episodes.theta[0] > 0).all()  # short options earn their decay


def test_vega_is_the_markets_move_for_a_move_in_vol() -> None:
    bump = 1e-4
    at_vol, above = (
        simulate(scenario(marking=ConstantVolMarking(vol=vol)), 20, generator(12))
        for vol in (VOL, VOL + bump)
    )
    change = (above.mark - at_vol.mark) / bump
    np.testing.assert_allclose(change[:-1], at_vol.vega[:-1], rtol=1e-2, atol=1e-2)
    assert (at_vol.vega[0] < 0).all()


def test_a_claim_without_a_formula_is_refused() -> None:
    class Forward(Claim):
        def payoff(self, path: Path) -> torch.Tensor:
            return path.spot[-1]

    with pytest.raises(ValueError, match=r"position\.legs\.0: Forward has no formula: write"):
        scenario(legs=(Leg(quantity=1.0, claim=Forward()),))


@pytest.mark.parametrize(
    ("market", "marking", "claim", "reason"),
    [
        (Garch(), ModelMarking(), Call(strike=100.0), "Call has no price in the model of Garch"),
        (Heston(), ModelMarking(), AsianCall(strike=100.0), "AsianCall has no price in the model"),
        (Heston(), ModelMarking(), AmericanPut(strike=100.0), "AmericanPut has no price in"),
        (
            Bootstrap(history=[100.0, 101.0, 99.0] * 9),
            MarketVolMarking(),
            PathClaim(function=lambda path: path.spot[-1]),
            "measure",
        ),
    ],
    ids=["garch", "asian", "american", "history"],
)
def test_a_claim_that_the_marking_cannot_value_is_refused_at_once(
    market: Market, marking: Marking, claim: Claim, reason: str
) -> None:
    parts = dict(scenario()) | {"market": market, "marking": marking}
    with pytest.raises(ValueError, match=reason):
        Scenario(**parts | {"position": Position(legs=(Leg(quantity=-1.0, claim=claim),))})


BY_HAND = (Leg(quantity=-1.0, claim=PathClaim(function=lambda path: path.spot[-1])),)


def test_a_rolled_option_that_the_marking_cannot_value_is_named_by_its_key() -> None:
    rolled = Hedge(instrument=RolledOption(tenor=1.0))
    parts = {"market": Garch(), "marking": ModelMarking(), "legs": BY_HAND}
    assert scenario(**parts).position.legs == BY_HAND
    with pytest.raises(ValueError, match=r"hedges\.0: Call has no price in the model of Garch"):
        scenario(**parts, hedges=(rolled, SHARE))


def test_a_payoff_by_hand_needs_dates_that_paths_share() -> None:
    with pytest.raises(ValueError, match=r"position\.legs\.0: .*dates differ from path to path"):
        scenario(legs=BY_HAND, calendar=TradingDaysCalendar(steps=9))
