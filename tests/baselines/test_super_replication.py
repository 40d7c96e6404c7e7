"""The super-replication bound: by hand, by its dual, and on every path."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import linprog

from deephedge.baselines import parse_baseline
from deephedge.baselines.super_replication import SuperReplicationHedge, super_replication
from deephedge.envs import Scenario, load_scenario, parse_scenario, simulate
from deephedge.envs.rollout import rollout

Tree = dict[str, Any]

RATE, YEARS, VOL = 0.05, 0.25, 0.2
DISCOUNT = math.exp(-RATE * YEARS)
GBM = {"kind": "gbm", "sigma": VOL, "rate": RATE, "drift": 0.1}
MERTON = {"kind": "merton", "rate": RATE, "drift": 0.1}
HESTON = {"kind": "heston", "rate": RATE}
WIDE = {"lower": -1e4, "upper": 1e4}
SPREAD = 0.01


def option(kind: str, strike: float, **more: Any) -> Tree:
    return {"kind": kind, "strike": strike, **more}


SHORT_CALL = [(-1.0, option("call", 100.0))]
STRADDLE = [*SHORT_CALL, (-1.0, option("put", 100.0))]
CALL_SPREAD = [*SHORT_CALL, (1.0, option("call", 110.0))]
BUTTERFLY = [
    *((-1.0, option("call", 90.0)), (2.0, option("call", 100.0))),
    (-1.0, option("call", 110.0)),
]
DIGITALS = [
    (-1.0, option("digital-call", 105.0, cash=10.0)),
    (-2.0, option("digital-put", 95.0, cash=3.0)),
    (1.0, option("put", 100.0)),
]


def scenario_of(
    claims: list[tuple[float, Tree]],
    listed: tuple[Tree, ...] = (),
    *,
    market: Tree | None = None,
    rate: float = 0.0,
    limits: Tree = WIDE,
    **more: Any,
) -> Scenario:
    costs = [{"kind": "proportional", "rate": rate}]
    instruments = [*({"kind": "listed-option", "option": o} for o in listed)]
    instruments.append({"kind": "underlying"})
    return parse_scenario(
        {
            "name": "super",
            "market": market or GBM,
            "calendar": {"kind": "uniform", "days": 365 * YEARS, "steps": 6},
            "position": {"legs": [{"quantity": q, "claim": c} for q, c in claims]},
            "hedges": [{"instrument": i, "costs": costs, "limits": limits} for i in instruments],
            "marking": {"kind": "black-scholes", "vol": VOL},
            "objective": {"kind": "cvar", "level": 0.95},
            **more,
        }
    )


def price(claim: Tree) -> float:
    episodes = simulate(scenario_of([(1.0, claim)]), 1, torch.Generator().manual_seed(0))
    return float(episodes.mark[0, 0])


@pytest.mark.parametrize(
    ("claims", "cost", "shares"),
    [
        (SHORT_CALL, 100.0, 1.0),
        ([(-1.0, option("put", 100.0))], 100 * DISCOUNT, 0.0),
        (STRADDLE, 100 + 100 * DISCOUNT, 1.0),
        (CALL_SPREAD, 100 / 11, 1 / 11),
        ([(-1.0, option("digital-call", 80.0, cash=10.0))], 10 * DISCOUNT, 0.0),
        ([(-1.0, option("digital-call", 105.0, cash=10.0))], 1000 / 105, 10 / 105),
        ([(1.0, option("call", 100.0))], 100 * DISCOUNT - 100, -1.0),
        # Short a call at 110, long a put at 90: with a share, 90 at least is there at the end.
        ([(-1.0, option("call", 110.0)), (1.0, option("put", 90.0))], 100 - 90 * DISCOUNT, 1.0),
        (BUTTERFLY, 10 * DISCOUNT, 0.0),
        # Long two digitals, of which neither pays at 100 itself.
        ([(1.0, option(kind, 100.0)) for kind in ("digital-call", "digital-put")], 0.0, 0.0),
    ],
    ids=[
        "call",
        "put",
        "straddle",
        "spread",
        "digital",
        "dear digital",
        "long",
        "collar",
        "fly",
        "gap",
    ],
)
def test_by_hand_with_the_underlying_only(
    claims: list[tuple[float, Tree]], cost: float, shares: float
) -> None:
    """The least line above what is owed; of a digital far in the money cash, else 10/105 shares."""
    bound = super_replication(scenario_of(claims))
    assert bound.cost == pytest.approx(cost, abs=1e-9)
    assert bound.holdings == pytest.approx((shares,), abs=1e-9)
    assert bound.cash == pytest.approx(cost - 100 * shares, abs=1e-9)


def test_what_is_listed_is_exact() -> None:
    call, put = option("call", 100.0), option("put", 100.0)
    spread = super_replication(scenario_of(CALL_SPREAD, (call, option("call", 110.0))))
    assert spread.cost == pytest.approx(price(call) - price(option("call", 110.0)), abs=1e-9)
    assert spread.holdings == pytest.approx((1, -1, 0), abs=1e-9)
    parity = super_replication(scenario_of(SHORT_CALL, (put,)))
    assert parity.cost == pytest.approx(price(call), abs=1e-9)
    assert parity.holdings == pytest.approx((1, 1), abs=1e-9)


def test_costs_of_buying_and_of_liquidating() -> None:
    bought = super_replication(scenario_of(SHORT_CALL, rate=SPREAD))
    assert bought.cost == pytest.approx(100 * (1 + SPREAD), abs=1e-9)
    both = super_replication(scenario_of(SHORT_CALL, rate=SPREAD, liquidate=True))
    assert both.cost == pytest.approx(100 * (1 + SPREAD) / (1 - SPREAD), abs=1e-9)
    assert both.holdings == pytest.approx((1 / (1 - SPREAD),), abs=1e-9)
    call = super_replication(scenario_of(SHORT_CALL, (option("call", 100.0),), rate=SPREAD))
    assert call.cost == pytest.approx((1 + SPREAD) * price(option("call", 100.0)), abs=1e-9)
    digital = [(-1.0, option("digital-call", 105.0, cash=10.0))]
    dear = super_replication(scenario_of(digital, rate=0.05))  # shares would cost 1050 / 105
    assert dear.cost == pytest.approx(10 * DISCOUNT, abs=1e-9)
    assert dear.holdings == pytest.approx((0.0,), abs=1e-9)
    tree = scenario_of(SHORT_CALL).model_dump()
    tree["hedges"][0]["costs"] = [{"kind": "per-unit", "fee": 0.3}]
    assert super_replication(parse_scenario(tree)).cost == pytest.approx(100.3, abs=1e-9)


@pytest.mark.parametrize("claims", [CALL_SPREAD, BUTTERFLY, DIGITALS], ids=["spread", "fly", "dig"])
@pytest.mark.parametrize("listed", [(), (95.0,), (90.0, 100.0, 120.0)], ids=str)
def test_it_is_the_dearest_law_that_reprices_the_instruments(
    claims: list[tuple[float, Tree]], listed: tuple[float, ...]
) -> None:
    """The dual: E[H] e^{-rT} at most, over laws on a grid that holds the kinks."""
    calls = tuple(option("call", strike) for strike in listed)
    bound = super_replication(scenario_of(claims, calls))
    kinks = [0.0, 90.0, 95.0, 100.0, 105.0, 110.0, 120.0, 1e6]
    # A digital jumps: the law may sit next to its strike on either side.
    grid = np.unique([*kinks, *(k + e for k in kinks[1:-1] for e in (-1e-7, 1e-7)), 60.0, 150.0])
    owed = np.zeros_like(grid)
    for quantity, claim in claims:
        sign = 1 if "call" in claim["kind"] else -1
        beyond = sign * (grid - claim["strike"])
        digital = claim.get("cash", 0.0) * (beyond > 0)
        owed -= quantity * (digital if "cash" in claim else np.maximum(beyond, 0))
    payoffs = [np.ones_like(grid), grid, *(np.maximum(grid - strike, 0) for strike in listed)]
    prices = np.array([DISCOUNT, 100.0, *(price(call) for call in calls)]) / DISCOUNT
    dual = linprog(-owed, A_eq=np.stack(payoffs) / 100, b_eq=prices / 100)
    assert bound.cost == pytest.approx(-dual.fun * DISCOUNT, abs=5e-5)


@pytest.mark.parametrize("market", [GBM, MERTON, HESTON], ids=lambda market: market["kind"])
@pytest.mark.parametrize("rate", [0.0, SPREAD])
@pytest.mark.parametrize(
    "claims", [SHORT_CALL, STRADDLE, BUTTERFLY, DIGITALS], ids=["call", "straddle", "fly", "dig"]
)
def test_nothing_is_lost_beyond_the_bound_on_any_path(
    claims: list[tuple[float, Tree]], rate: float, market: Tree
) -> None:
    listed = (option("call", 95.0), option("put", 90.0))
    scenario = scenario_of(claims, listed, market=market, rate=rate, liquidate=rate > 0)
    episodes = simulate(scenario, 4000, torch.Generator().manual_seed(3))
    outcome = rollout(scenario, episodes, SuperReplicationHedge(), record=True)
    bound, premium = super_replication(scenario), float(episodes.premium[0])
    left = outcome.pnl + (bound.cost - premium) / DISCOUNT
    assert left.min() >= -1e-9
    # Nor is it too dear: from some spots nothing is left over.
    assert left.min() < 3.0 or claims is STRADDLE
    assert (outcome.holding == np.array(bound.holdings)).all()
    if not rate:
        assert bound.cost >= premium - 1e-9
    tensors = rollout(scenario, episodes, SuperReplicationHedge(), differentiable=True)
    assert np.allclose(outcome.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-9)


def test_an_instrument_of_another_kind_takes_no_part() -> None:
    """It is not a function of the spot at the end; the bound is that of the others."""
    later = option("call", 100.0, maturity=0.5)
    scenario = scenario_of(SHORT_CALL, (later,))
    bound = super_replication(scenario)
    assert bound.cost == pytest.approx(100.0, abs=1e-9)
    assert bound.holdings == pytest.approx((0.0, 1.0), abs=1e-9)


def test_names_and_refusals() -> None:
    hedge = SuperReplicationHedge()
    assert parse_baseline("super-replication") == hedge
    assert hedge.refusal(load_scenario("short-call")) is None
    narrow = {"lower": -0.5, "upper": 0.5}
    per_unit = {"kind": "per-unit", "fee": 0.1, "minimum": 1.0}
    expiring = option("call", 100.0, maturity=YEARS / 2)
    asian = {"kind": "asian-call", "strike": 100.0}
    tree = scenario_of(SHORT_CALL).model_dump()
    stock = tree["hedges"][0]
    cases = [
        (scenario_of(SHORT_CALL, limits=narrow), "no portfolio within the holdings' bounds"),
        (scenario_of(SHORT_CALL, loss_limit=5.0), "a loss_limit sells the portfolio"),
        (scenario_of(SHORT_CALL, market=GBM | {"dividend": 0.01}), "the dividends on what is held"),
        (scenario_of([(-1.0, expiring)]), "position.legs.0: what Call pays is no function"),
        (scenario_of([*SHORT_CALL, (1.0, asian)]), "position.legs.1: what AsianCall pays"),
        (
            parse_scenario(tree | {"hedges": [stock | {"costs": [per_unit]}]}),
            "hedges.0.costs: not every cost",
        ),
        (
            parse_scenario(tree | {"hedges": [stock | {"limits": {"lot": 1.0}}]}),
            "hedges.0.limits: max_trade and lot",
        ),
        (
            parse_scenario(tree | {"calendar": {"kind": "trading-days", "steps": 5}}),
            "the interest differs from path to path",
        ),
        (
            scenario_of(
                SHORT_CALL,
                (option("call", 100.0),),
                market=GBM | {"sigma": {"low": 0.1, "high": 0.3}},
                marking={"kind": "market-vol"},
            ),
            "option prices now differ from path to path",
        ),
        (load_scenario("exchange-option"), "it is for one asset and the market has 2"),
    ]
    for scenario, reason in cases:
        with pytest.raises(ValueError, match=reason):
            super_replication(scenario)
        assert reason in (hedge.refusal(scenario) or "")
