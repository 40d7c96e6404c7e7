"""Delta-gamma-vega, and how far a trade in options is worth its cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.baselines import parse_baseline
from deephedge.baselines.option_hedges import (
    DeltaGammaHedge,
    DeltaGammaVegaHedge,
    DeltaVegaHedge,
    OptionHedge,
)
from deephedge.envs import Episodes, Scenario, load_scenario, parse_scenario, simulate
from deephedge.envs.rollout import Outcome, rollout

Array = NDArray[np.float64]
Tree = dict[str, Any]

HESTON = {"kind": "heston", "kappa": 2.0, "theta": 0.04, "variance": 0.04, "vol_of_vol": 0.5}
HESTON |= {"rho": -0.7}
GBM = {"kind": "gbm", "sigma": 0.2}
FLAT, QUOTED = {"kind": "black-scholes", "vol": 0.2}, {"kind": "market-vol"}
WIDE = {"lower": -1e6, "upper": 1e6}
STOCK = {"instrument": {"kind": "underlying"}, "limits": WIDE}
SHORT, LONG, TWIN = (100.0, 0.3), (100.0, 1.0), (110.0, 0.3)  # strike, maturity


def listed(strike: float, maturity: float, costs: tuple[Tree, ...] = (), **more: Any) -> Tree:
    option = {"kind": "call", "strike": strike, "maturity": maturity, **more}
    instrument = {"kind": "listed-option", "option": option}
    return {"instrument": instrument, "limits": WIDE, "costs": list(costs)}


def scenario_of(
    market: Tree, marking: Tree, *hedges: Tree, steps: int = 20, quantity: float = -1.0
) -> Scenario:
    leg = {"quantity": quantity, "claim": {"kind": "call", "strike": 100.0}}
    return parse_scenario(
        {
            "name": "books",
            "market": market,
            "calendar": {"kind": "uniform", "days": 91.25, "steps": steps},
            "position": {"legs": [leg]},
            "hedges": [*hedges, STOCK],
            "marking": marking,
            "objective": {"kind": "cvar", "level": 0.95},
        }
    )


def episodes_of(scenario: Scenario, paths: int = 64, seed: int = 0) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(seed))


def played(scenario: Scenario, baseline: OptionHedge, paths: int = 64) -> tuple[Episodes, Outcome]:
    episodes = episodes_of(scenario, paths)
    return episodes.numpy(), rollout(scenario, episodes, baseline, record=True)


def money(episodes: Episodes, greek: str) -> tuple[Array, Array]:
    """A Greek of the position ``[T, N]`` and of the instruments ``[T, N, K]``, in money."""
    vol = np.broadcast_to(episodes.vol, episodes.spot.shape)[:-1]
    left = (episodes.times[-1] - episodes.times)[:-1]
    unit = vol if greek == "vega" else (episodes.spot[:-1] * vol) ** 2 * left
    own, each = getattr(episodes, greek)[:-1], getattr(episodes, f"hedge_{greek}")[:-1]
    return own * unit, each * unit[..., None]


# Delta-gamma-vega


@pytest.mark.parametrize(("market", "marking"), [(HESTON, QUOTED), (GBM, FLAT)])
@pytest.mark.parametrize("third", [(), (TWIN,)], ids=["two", "three"])
def test_gamma_vega_and_delta_are_neutral_after_the_trade(
    market: Tree, marking: Tree, third: tuple[tuple[float, float], ...]
) -> None:
    hedges = [listed(*option) for option in (SHORT, LONG, *third)]
    scenario = scenario_of(market | {"rate": 0.03}, marking, *hedges)
    episodes, outcome = played(scenario, DeltaGammaVegaHedge(cap=20))
    options = outcome.holding[..., :-1]
    rows = np.stack([money(episodes, greek)[1][..., :-1] for greek in ("gamma", "vega")], axis=-2)
    largest, *_, least = np.moveaxis(np.linalg.svd(rows, compute_uv=False), -1, 0)
    free = (np.abs(options) < 20).all(-1) & (least > 2e-3 * largest)
    assert 0.7 < free.mean()
    for greek in ("delta", "gamma", "vega"):
        own, each = getattr(episodes, greek)[:-1], getattr(episodes, f"hedge_{greek}")[:-1]
        left = np.abs(own + (outcome.holding * each).sum(-1))
        assert left[free].max() < 1e-9 * np.abs(own).max(), greek
        if greek == "delta":
            assert left.max() < 1e-11


@pytest.mark.parametrize(
    "options",
    [(SHORT,), (LONG,), (SHORT, TWIN), (SHORT, LONG), (SHORT, LONG, TWIN)],
    ids=["one", "long one", "collinear", "two", "three"],
)
def test_fewer_or_collinear_options_leave_the_least_squares(
    options: tuple[tuple[float, float], ...],
) -> None:
    """NumPy's minimum-norm solution, in money; options of one maturity are collinear."""
    scenario = scenario_of(GBM, FLAT, *[listed(*option) for option in options])
    episodes, outcome = played(scenario, DeltaGammaVegaHedge(cap=1e6), paths=4)
    (gamma, gammas), (vega, vegas) = money(episodes, "gamma"), money(episodes, "vega")
    for t in range(0, 20, 3):
        for n in range(4):
            rows = np.stack([gammas[t, n, :-1], vegas[t, n, :-1]])
            wanted = -np.array([gamma[t, n], vega[t, n]])
            smallest, _, rank, _ = np.linalg.lstsq(rows, wanted, rcond=1e-3)
            assert t or rank == (2 if LONG in options and len(options) > 1 else 1)
            held = outcome.holding[t, n, :-1]
            assert np.allclose(held, smallest, rtol=1e-6, atol=1e-9)


def test_beyond_the_cap_the_others_take_the_rest() -> None:
    """The nearer option, which stays at the cap, leaves the other its own least squares."""
    scenario = scenario_of(GBM, FLAT, listed(*SHORT), listed(*LONG), quantity=-4.0)
    full, capped = (
        played(scenario, DeltaGammaVegaHedge(cap=cap))[1].holding[..., :-1] for cap in (1e6, 0.8)
    )
    episodes, _ = played(scenario, DeltaGammaVegaHedge())
    inside = (np.abs(full) < 3.2).all(-1)
    assert 0.1 < inside.mean() < 0.9 and np.abs(capped).max() <= 3.2
    assert np.allclose(capped[inside], full[inside], rtol=1e-9, atol=1e-12)
    near = (np.abs(full[..., 0]) > 3.2) & (np.abs(full[..., 0]) > np.abs(full[..., 1]))
    stays = 3.2 * np.sign(full[..., 0])
    gamma, vega = (
        (own + stays * each[..., 0], each[..., 1])
        for own, each in (money(episodes, greek) for greek in ("gamma", "vega"))
    )
    alone = -(gamma[0] * gamma[1] + vega[0] * vega[1]) / (gamma[1] ** 2 + vega[1] ** 2)
    assert near.sum() > 20 and (np.abs(alone[near]) < 3.2).any()
    assert np.array_equal(capped[near][:, 0], stays[near])
    assert np.allclose(capped[near][:, 1], alone[near].clip(-3.2, 3.2), rtol=1e-9, atol=0)


def test_under_heston_both_together_leave_less_than_either() -> None:
    """Marked at the quoted vol, no costs: 0.09, 0.46 and 1.56, with standard errors of 3 %."""
    scenario = scenario_of(HESTON, QUOTED, listed(*SHORT), listed(*LONG), steps=63)
    episodes = episodes_of(scenario, 2000)
    both, vega, gamma = (
        float(rollout(scenario, episodes, baseline).pnl.std())
        for baseline in (DeltaGammaVegaHedge(), DeltaVegaHedge(), DeltaGammaHedge())
    )
    assert both < 0.3 * vega and vega < 0.5 * gamma


def test_the_same_in_torch_and_finite_in_single_precision() -> None:
    half = {"kind": "proportional", "rate": 0.005}
    scenario = scenario_of(
        HESTON, FLAT, *(listed(*option, costs=(half,)) for option in (SHORT, LONG))
    )
    for baseline in (DeltaGammaVegaHedge(), DeltaGammaVegaHedge(aversion=1.0)):
        episodes = episodes_of(scenario)
        exact = rollout(scenario, episodes, baseline).pnl
        tensors = rollout(scenario, episodes, baseline, differentiable=True).pnl
        assert np.allclose(exact, tensors.numpy(), rtol=0, atol=1e-9)
        single = simulate(scenario, 64, torch.Generator().manual_seed(0), dtype=torch.float32)
        assert bool(rollout(scenario, single, baseline, differentiable=True).pnl.isfinite().all())


# What a trade is worth


@pytest.mark.parametrize("name", ["delta-gamma", "delta-vega", "delta-gamma-vega"])
@pytest.mark.parametrize(
    "costs",
    [
        ({"kind": "proportional", "rate": 0.02},),
        ({"kind": "per-unit", "fee": 0.05}, {"kind": "proportional", "rate": 0.005}),
    ],
    ids=["proportional", "per unit too"],
)
def test_it_trades_to_where_risk_and_cost_are_least(name: str, costs: tuple[Tree, ...]) -> None:
    """Found on a grid of shares, for risk aversion 0.2^2 |u|^2 / 2 and the cost of the trade."""
    aversion, shares = 0.4, np.linspace(0, 1, 4001)
    scenario = scenario_of(GBM, FLAT, listed(*SHORT, costs=costs), listed(*LONG, costs=costs))
    baseline = parse_baseline(f"{name}:aversion={aversion},cap=100")
    assert isinstance(baseline, OptionHedge)
    episodes, outcome = played(scenario, baseline, paths=6)
    greeks = [money(episodes, g) for g in ("gamma", "vega") if g in name]
    rate = sum(cost.get("rate", 0.0) for cost in costs)
    unit = rate * episodes.price[:-1, :, :2] + sum(cost.get("fee", 0.0) for cost in costs)
    partly = 0
    for n in range(6):
        before = np.zeros(2)
        for t in range(20):
            own = np.array([g[t, n] for g, _ in greeks])
            each = np.array([e[t, n, :2] for _, e in greeks])
            trade = np.linalg.lstsq(each, -own, rcond=1e-3)[0] - before
            left = own[:, None] + each @ (before[:, None] + trade[:, None] * shares)
            risk = aversion * 0.2**2 / 2 * (left**2).sum(0)
            best = shares[(risk + shares * (unit[t, n] * np.abs(trade)).sum()).argmin()]
            held = outcome.holding[t, n, :2]
            assert np.allclose(held, before + best * trade, rtol=0, atol=3e-4 * np.abs(trade).max())
            partly += 0 < best < 1
            before = held
    assert partly > 4


def test_no_aversion_is_all_of_it_and_a_little_nothing() -> None:
    costs = ({"kind": "proportional", "rate": 0.01},)
    scenario = scenario_of(GBM, FLAT, listed(*LONG, costs=costs))
    free = scenario_of(GBM, FLAT, listed(*LONG))
    full, endless, costless, none = (
        played(s, DeltaVegaHedge(aversion=aversion))[1].holding[..., 0]
        for s, aversion in ((scenario, None), (scenario, 1e12), (free, 1.0), (scenario, 1e-6))
    )
    assert np.allclose(endless, full, rtol=1e-9, atol=1e-9)
    assert np.allclose(costless, full, rtol=1e-9, atol=1e-12)
    assert not none.any()


def test_it_pays_where_options_are_dear() -> None:
    """`gamma-hedge-jumps`: 1 % on the option; about 0.52 against 0.99, standard errors 1 %."""
    scenario = load_scenario("gamma-hedge-jumps")
    episodes = episodes_of(scenario, 8000)
    full, part = (
        scenario.objective.risk(-rollout(scenario, episodes, DeltaGammaHedge(aversion=a)).pnl)
        for a in (None, 3.0)
    )
    assert part < 0.65 * full


def test_greeks_are_compared_on_the_first_asset_only() -> None:
    market = {"kind": "correlated-gbm", "others": [{"sigma": 0.3}]}
    market |= {"correlation": [[1, 0.5], [0.5, 1]]}
    tree = scenario_of(GBM, FLAT).model_dump()
    second = {"instrument": {"kind": "underlying", "asset": 1}}
    leg = {"quantity": -1.0, "claim": {"kind": "call", "strike": 100.0, "asset": 1}}
    changes = {"market": market, "position": {"legs": [leg]}}
    scenario = parse_scenario(tree | changes | {"hedges": [listed(*LONG, asset=1), second]})
    assert DeltaVegaHedge().refusal(scenario) is None
    for baseline in (DeltaVegaHedge(aversion=1.0), DeltaGammaVegaHedge()):
        reason = baseline.refusal(scenario)
        assert reason is not None and "that are known are asset 0's" in reason


def test_an_aversion_can_be_tuned() -> None:
    scenario = load_scenario("gamma-hedge-jumps")
    least, most = DeltaGammaVegaHedge().ranges(scenario)["aversion"]
    assert least < 3.0 < most
