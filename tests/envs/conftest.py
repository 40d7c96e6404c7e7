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


@pytest.fixture(scope="session")
def random_scenario() -> Callable[..., Scenario]:
    """``random_scenario(seed, key=value ...)``: any mix of what a scenario can say."""

    def make(seed: int, **replaced: Any) -> Scenario:
        return parse_scenario(_tree(np.random.default_rng(seed)) | replaced)

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


def _tree(rng: Rng) -> dict[str, Any]:
    every = int(rng.choice([1, 1, 2, 3]))
    steps = int(rng.integers(2, 5)) * every + int(rng.integers(0, 2)) * (every > 1)
    weekdays = rng.random() < 0.2
    step = float(rng.choice([0.5, 1.0, 7.0])) / 365
    dates = [m * step for m in range(1, steps)] + [1.5 * steps * step]
    traded = [m * step for m in range(every, steps, every)] + [1.5 * steps * step]
    legs = [_claim(rng, [] if weekdays else dates) for _ in range(rng.integers(1, 5))]
    listed = [_claim(rng, [] if weekdays else traded) for _ in range(rng.integers(0, 3))]
    instruments: list[Any] = [{"kind": "listed-option", "option": claim} for claim in listed]
    instruments.append({"kind": "underlying"})
    calendar: dict[str, Any] = {"steps": steps, "decide_every": every}
    calendar |= (
        {"kind": "trading-days"} if weekdays else {"kind": "uniform", "days": steps * step * 365}
    )
    return {
        "name": "random",
        "market": _market(rng),
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
        "view": {"action": rng.choice(np.array(ACTIONS)), "reward": rng.choice(np.array(REWARDS))},
    }


OBJECTIVES: list[dict[str, Any]] = [
    {"kind": "entropic", "aversion": 0.1},
    {"kind": "cvar", "level": 0.9},
    {"kind": "mean-std", "weight": 1.5},
    {"kind": "mean-variance", "aversion": 0.2},
    {"kind": "quadratic"},
    {"kind": "semi-quadratic"},
    {"kind": "expectile", "level": 0.8},
]
ACTIONS: list[dict[str, Any]] = [
    {"kind": "band"},
    {"kind": "target"},
    {"kind": "trade", "reach": 0.7},
    {"kind": "residual"},
    {"kind": "discrete", "levels": 2},
    {"kind": "discrete", "levels": 5, "of": {"kind": "target"}},
]
REWARDS: list[dict[str, Any]] = [
    {"kind": "telescoped"},
    {"kind": "paired"},
    {"kind": "kolm-ritter", "aversion": 0.1},
    {"kind": "accounting"},
    {"kind": "cash-flow"},
]


def _market(rng: Rng) -> dict[str, Any]:
    plain = rng.random() < 0.3
    market: dict[str, Any] = {
        "spot": float(rng.uniform(50, 150)),
        "drift": 0.0 if plain else float(rng.uniform(-0.2, 0.3)),
        "rate": 0.0 if plain else float(rng.uniform(-0.05, 0.15)),
        "dividend": 0.0 if plain else float(rng.uniform(0, 0.1)),
        "sigma": {"low": 0.1, "high": 0.5} if rng.random() < 0.3 else float(rng.uniform(0.1, 0.5)),
    }
    if rng.random() < 0.5:
        return market | {"kind": "gbm"}
    return market | {"kind": "merton", "intensity": 10.0, "jump_mean": -0.1, "jump_std": 0.1}


def _claim(rng: Rng, maturities: list[float]) -> dict[str, Any]:
    claim: dict[str, Any] = {
        "kind": str(rng.choice(["call", "put"])),
        "strike": float(rng.uniform(60, 140)),
    }
    if maturities and rng.random() < 0.7:
        claim["maturity"] = float(rng.choice(maturities))
    return claim


def _costs(rng: Rng) -> list[dict[str, Any]]:
    terms = [
        {"kind": "proportional", "rate": 0.002},
        {"kind": "fixed", "fee": 0.05},
        {"kind": "per-unit", "fee": 0.03, "minimum": 0.04},
        {"kind": "quadratic", "rate": 0.0005},
    ]
    return [term for term in terms if rng.random() < 0.5]


def _limits(rng: Rng) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if rng.random() < 0.3:
        limits |= {"lower": float(rng.uniform(-2, -0.3)), "upper": float(rng.uniform(0.3, 2))}
    if rng.random() < 0.3:
        limits["max_trade"] = float(rng.uniform(0.3, 1))
    if rng.random() < 0.3:
        limits["lot"] = float(rng.choice([0.1, 0.25]))
    return limits
