"""What the tests of envs share: random scenarios, and a hedger that knows no better than noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.envs import Known, Scenario, parse_scenario
from deephedge.envs.namespace import X

Rng = np.random.Generator
Tree = dict[str, Any]
NEAR = 1e-9


@pytest.fixture(scope="session")
def random_scenario() -> Callable[..., Scenario]:
    """``random_scenario(seed, key=value ...)``: any mix of what a scenario can say.

    With ``plain`` one asset, its underlying, calls and puts, in a market of constant vol.
    """

    def make(seed: int, *, plain: bool = False, **replaced: Any) -> Scenario:
        rng = np.random.default_rng(seed)
        wild = rng.random() < 0.5 and not plain
        return parse_scenario(_tree(rng, wild) | replaced)

    return make


@pytest.fixture(scope="session")
def noise() -> Callable[[int], Noise]:
    """``noise(seed)``: a hedger whose targets are random numbers."""
    return Noise


class Noise:
    """Targets uniform in three position sizes either side; every fourth one keeps what it has."""

    name = "noise"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        rng = np.random.default_rng((self.seed, known.t))
        shape = tuple(known.holding.shape)
        wanted = rng.uniform(-3, 3, shape) * known.contract.size
        kept = rng.random(shape) < 0.25
        if isinstance(known.holding, torch.Tensor):
            target = torch.as_tensor(wanted).to(known.holding.dtype)
            return torch.where(torch.as_tensor(kept), known.holding, target), None
        return np.where(kept, known.holding, wanted), None


def _tree(rng: Rng, wild: bool) -> Tree:
    calendar, dates, every = _calendar(rng, wild)
    traded = [*dates[every:-1:every], dates[-1]] if dates else []
    beyond = [1.2 * dates[-1]] if dates else []
    market = _wild_market(rng) if wild else _market(rng)
    assets = 1 + len(market.get("others", []))
    claim = _any_claim if wild else _claim
    legs = [claim(rng, assets, dates[1:], beyond) for _ in range(rng.integers(1, 5))]
    for leg in legs:
        if wild and rng.random() < 0.15:
            leg |= {"kind": "american-put", "strike": float(rng.uniform(60, 140))}
            leg |= {"asset": 0}
            for key in leg.keys() - {"kind", "strike", "asset", "maturity"}:
                del leg[key]
    instruments: list[Any] = [
        {"kind": "listed-option", "option": claim(rng, 1, traded, beyond)}
        for _ in range(rng.integers(0, 3))
    ]
    tenors = [tenor for tenor in traded if _all_dates(tenor, traded)]
    if wild:
        instruments += _rolled(rng, assets, tenors)
    instruments += _delta_ones(rng, assets, tenors) if wild else [{"kind": "underlying"}]
    return {
        "name": "random",
        "market": market,
        "calendar": calendar,
        "position": {
            "legs": [
                {"quantity": float(rng.choice([-2, -1, -0.5, 1.5])), "claim": claim}
                for claim in legs
            ],
            "premium": "mark" if rng.random() < 0.7 else float(rng.uniform(-3, 5)),
        },
        "hedges": [
            {"instrument": instrument, "costs": _costs(rng), "limits": _limits(rng)}
            for instrument in instruments
        ],
        "marking": rng.choice(
            np.array([{"kind": "market-vol"}, {"kind": "black-scholes", "vol": 0.25}])
        ),
        "liquidate": bool(rng.random() < 0.5),
        "loss_limit": float(rng.uniform(1, 10)) if rng.random() < 0.4 else None,
        "objective": rng.choice(np.array(OBJECTIVES)),
        "view": {
            "action": _action(rng, len(instruments)),
            "reward": rng.choice(np.array(REWARDS)),
        },
    }


OBJECTIVES: list[Tree] = [
    {"kind": "entropic", "aversion": 0.1},
    {"kind": "cvar", "level": 0.9},
    {"kind": "mean-std", "weight": 1.5},
    {"kind": "mean-variance", "aversion": 0.2},
    {"kind": "quadratic"},
    {"kind": "semi-quadratic"},
    {"kind": "expectile", "level": 0.8},
]
ACTIONS: list[Tree] = [
    {"kind": "band"},
    {"kind": "target"},
    {"kind": "trade", "reach": 0.7},
    {"kind": "residual"},
    {"kind": "discrete", "levels": 2},
    {"kind": "discrete", "levels": 5, "of": {"kind": "target"}},
]
REWARDS: list[Tree] = [
    {"kind": "telescoped"},
    {"kind": "paired"},
    {"kind": "kolm-ritter", "aversion": 0.1},
    {"kind": "accounting"},
    {"kind": "cash-flow"},
]


def _action(rng: Rng, instruments: int) -> Tree:
    """Discrete maps have at most 256 choices."""
    action: Tree = rng.choice(np.array(ACTIONS if instruments < 4 else ACTIONS[:4]))
    return action


def _calendar(rng: Rng, wild: bool) -> tuple[Tree, list[float], int]:
    """A calendar, its dates in years (none if they differ from path to path), steps a decision."""
    every = int(rng.choice([1, 1, 2, 3]))
    steps = int(rng.integers(2, 5)) * every + int(rng.integers(0, 2)) * (every > 1)
    kind = rng.random()
    if kind < 0.2:
        return {"kind": "trading-days", "steps": steps, "decide_every": every}, [], every
    if wild and kind < 0.4:
        first = None if kind < 0.25 else int(rng.integers(0, 5))
        calendar = {"kind": "trading-hours", "days": 3, "per_day": 2, "first_weekday": first}
        # Opens and closes, the night's variance included; decisions at the opens or at both.
        every = int(rng.choice([1, 2]))
        days = [0, 1, 2] if first is None else [d + 2 * ((first + d) > 4) for d in range(3)]
        dates = [(day + hours) / 365 for day in days for hours in (0.0, 6.5 / 24)]
        return calendar | {"decide_every": every}, dates if first is not None else [], every
    step = float(rng.choice([0.5, 1.0, 7.0])) / 365
    uniform = {"kind": "uniform", "steps": steps, "days": steps * step * 365}
    return uniform | {"decide_every": every}, [m * step for m in range(steps + 1)], every


def _all_dates(tenor: float, dates: list[float]) -> bool:
    """Whether every expiry of a rolled contract is a date at which it can be traded."""
    expiries = np.arange(1, dates[-1] / tenor + NEAR) * tenor
    return all(min(abs(date - expiry) for date in dates) < NEAR for expiry in expiries)


def _market(rng: Rng) -> Tree:
    plain = rng.random() < 0.3
    market: Tree = {
        "spot": float(rng.uniform(50, 150)),
        "drift": 0.0 if plain else float(rng.uniform(-0.2, 0.3)),
        "rate": 0.0 if plain else float(rng.uniform(-0.05, 0.15)),
        "dividend": 0.0 if plain else float(rng.uniform(0, 0.1)),
        "sigma": {"low": 0.1, "high": 0.5} if rng.random() < 0.3 else float(rng.uniform(0.1, 0.5)),
    }
    if rng.random() < 0.5:
        return market | {"kind": "gbm"}
    return market | {"kind": "merton", "intensity": 10.0, "jump_mean": -0.1, "jump_std": 0.1}


def _wild_market(rng: Rng) -> Tree:
    """Several assets two times in five, else a latent state or constant vol."""
    market = _market(rng)
    kind = rng.random()
    if kind < 0.4:
        others: list[Tree] = []
        for _ in range(rng.integers(1, 3)):
            other = _market(rng)
            others.append({key: other[key] for key in ("spot", "drift", "dividend")})
            others[-1]["sigma"] = float(rng.uniform(0.1, 0.5))
        market |= {"sigma": 0.3, "others": others, "correlation": float(rng.uniform(-0.4, 0.9))}
        market["kind"] = f"correlated-{market['kind']}"
        return market
    if kind < 0.6:
        return market
    for key in market.keys() - {"spot", "drift", "rate", "dividend"}:
        del market[key]
    return market | {"kind": str(rng.choice(["heston", "regime-switching", "garch"]))}


def _claim(rng: Rng, assets: int, dates: list[float], beyond: list[float]) -> Tree:
    claim: Tree = {
        "kind": str(rng.choice(["call", "put"])),
        "strike": float(rng.uniform(60, 140)),
    }
    if dates and rng.random() < 0.7:
        claim["maturity"] = float(rng.choice([*dates[:-1], *beyond]))
    return claim


PATH_CLAIMS: list[Tree] = [
    {"kind": "asian-call", "average": "arithmetic"},
    {"kind": "asian-put", "average": "geometric"},
    {"kind": "barrier-call", "barrier": 110.0, "direction": "up", "knock": "out"},
    {"kind": "barrier-put", "barrier": 95.0, "direction": "down", "knock": "in"},
    {"kind": "lookback-call"},
    {"kind": "floating-lookback-put"},
]


def _any_claim(rng: Rng, assets: int, dates: list[float], beyond: list[float]) -> Tree:
    """On any asset; of several assets only where there are more than one."""
    claim = _claim(rng, assets, dates, beyond) | {"asset": int(rng.integers(0, assets))}
    kind = rng.random()
    if kind < 0.35:
        return claim
    if kind < 0.5:
        return claim | {"kind": f"digital-{claim['kind']}", "cash": 5.0}
    if assets > 1 and kind < 0.75:
        if rng.random() < 0.5:
            other = (claim["asset"] + 1) % assets
            del claim["strike"]
            return claim | {"kind": "exchange", "other": other, "ratio": 0.9}
        weights = [1.0 / assets] * assets
        return claim | {"kind": f"basket-{claim['kind']}", "weights": weights}
    if claim.get("maturity") in beyond:  # what it depends on would not be simulated
        del claim["maturity"]
    path_claim: Tree = rng.choice(np.array(PATH_CLAIMS))
    if path_claim["kind"].startswith("floating"):
        del claim["strike"]
    return claim | path_claim


def _rolled(rng: Rng, assets: int, tenors: list[float]) -> list[Tree]:
    if not tenors or rng.random() < 0.5:
        return []
    option = {
        "kind": "rolled-option",
        "option": str(rng.choice(["call", "put"])),
        "moneyness": float(rng.uniform(0.9, 1.1)),
        "tenor": float(rng.choice(tenors)),
        "asset": int(rng.integers(0, assets)),
    }
    return [option]


def _delta_ones(rng: Rng, assets: int, tenors: list[float]) -> list[Tree]:
    """An underlying or a future on every asset or on all but one, in any order."""
    chosen = rng.permutation(assets)[: max(1, assets - int(rng.random() < 0.3))]
    instruments: list[Tree] = []
    for asset in chosen.tolist():
        if tenors and rng.random() < 0.5:
            future = {"kind": "future", "tenor": float(rng.choice(tenors)), "asset": asset}
            instruments.append(future | {"basis": float(rng.choice([0.0, 0.02, -0.1]))})
        else:
            instruments.append({"kind": "underlying", "asset": asset})
    return instruments


def _costs(rng: Rng) -> list[Tree]:
    terms = [
        {"kind": "proportional", "rate": 0.002},
        {"kind": "fixed", "fee": 0.05},
        {"kind": "per-unit", "fee": 0.03, "minimum": 0.04},
        {"kind": "quadratic", "rate": 0.0005},
    ]
    return [term for term in terms if rng.random() < 0.5]


def _limits(rng: Rng) -> Tree:
    limits: Tree = {}
    if rng.random() < 0.3:
        limits |= {"lower": float(rng.uniform(-2, -0.3)), "upper": float(rng.uniform(0.3, 2))}
    if rng.random() < 0.3:
        limits["max_trade"] = float(rng.uniform(0.3, 1))
    if rng.random() < 0.3:
        limits["lot"] = float(rng.choice([0.1, 0.25]))
    return limits
