"""Options on the run: a new one at every date, and what was bought is kept."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from deephedge.baselines import DeltaGammaHedge, DeltaHedge
from deephedge.envs import Known, Scenario, ScenarioError, parse_scenario, rollout, simulate
from deephedge.envs.namespace import X
from deephedge.envs.pricing import black_scholes

Tree = dict[str, Any]
DAY = 1 / 365
N, T = 100, 6
CALL: Tree = {"kind": "call", "strike": 100.0, "maturity": 30 * DAY}
FAR_FLOW: Tree = {"intensity": 1e-6, "size": 1e4, "tenor": [1.0]}


def scenario(tenor: float = 20, **changes: Any) -> Scenario:
    """Short a 30-day call for 6 days, hedged with options on the run and the underlying."""
    tree: Tree = {
        "name": "on the run",
        "market": {"kind": "gbm", "sigma": 0.3},
        "calendar": {"kind": "uniform", "steps": T, "days": T},
        "position": {"legs": [{"quantity": -1, "claim": CALL}]},
        "hedges": [
            {
                "instrument": {
                    "kind": "on-the-run-option",
                    "moneyness": 1.02,
                    "tenor": tenor * DAY,
                },
                "costs": [{"kind": "proportional", "rate": 0.01}],
            },
            {"instrument": {"kind": "underlying"}},
        ],
        "marking": {"kind": "market-vol"},
        "objective": {"kind": "quadratic"},
    }
    return parse_scenario(tree | changes)


class Buys:
    """Asks for date + 1 units of every contract, listed or not."""

    name = "buys"

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        held = np.zeros_like(known.price)
        held[:, : known.contract.options] = known.t + 1.0
        return held, None


@pytest.mark.parametrize("tenor", [20, 3], ids=["outlives", "expires"])
def test_each_contract_is_bought_once_and_kept(tenor: int) -> None:
    """P&L and cost against Black-Scholes of every purchase, contract by contract."""
    problem = scenario(tenor, position={"legs": [], "flow": FAR_FLOW})
    episodes = simulate(problem, N, torch.Generator().manual_seed(2))
    out = rollout(problem, episodes, Buys(), record=True)
    assert out.holding is not None and out.holding.shape == (T, N, T + 1)
    listed = np.arange(T)
    for t in range(T):
        kept = (listed <= t) & (t < listed + tenor)
        np.testing.assert_array_equal(out.holding[t, :, :T], np.tile((listed + 1) * kept, (N, 1)))
    spot, vol = episodes.spot, torch.tensor(0.3, dtype=torch.float64)
    gains, cost = np.zeros(N), np.zeros(N)
    for t in range(T):

        def price(date: int, row: int = t) -> np.ndarray[Any, Any]:
            tau = torch.tensor((tenor - (date - row)) * DAY, dtype=torch.float64)
            strike = 1.02 * spot[row]
            one = black_scholes(torch.log(spot[date] / strike), 1.0, tau, vol, sign=1)
            return (strike * one.price).numpy()

        end = min(T, t + tenor)
        bought = price(t)
        sold = price(end) if end < t + tenor else (spot[end] - 1.02 * spot[t]).clamp(min=0).numpy()
        gains += (t + 1) * (sold - bought)
        cost += (t + 1) * 0.01 * bought
    np.testing.assert_allclose(out.cost, cost, rtol=1e-10)
    np.testing.assert_allclose(out.gains, gains, atol=1e-9)
    np.testing.assert_allclose(out.pnl, gains - cost, atol=1e-9)


def test_the_hedge_neutralises_what_the_kept_options_leave() -> None:
    """Gamma of position and all options held is 0 after every trade, delta too."""
    problem = scenario(calendar={"kind": "uniform", "steps": 4, "days": 4})
    episodes = simulate(problem, N, torch.Generator().manual_seed(3))
    out = rollout(problem, episodes, DeltaGammaHedge(), record=True)
    arrays, held = episodes.numpy(), out.holding
    assert held is not None
    for own, each, size in (
        (arrays.gamma, arrays.hedge_gamma, 1e-2),
        (arrays.delta, arrays.hedge_delta, 1.0),
    ):
        net = own[:-1] + (held * each[:-1]).sum(axis=-1)
        assert np.abs(net).max() < 1e-12 * size
        assert np.abs(own[:-1]).max() > 0.1 * size


def test_a_ratio_does_that_part_of_the_trade() -> None:
    problem = scenario()
    episodes = simulate(problem, N, torch.Generator().manual_seed(3))
    whole, part = (
        rollout(problem, episodes, rule, record=True).holding
        for rule in (DeltaGammaHedge(), DeltaGammaHedge(ratio=0.4))
    )
    assert whole is not None and part is not None
    np.testing.assert_allclose(part[0, :, 0], 0.4 * whole[0, :, 0], rtol=1e-12)
    arrays = episodes.numpy()
    for t in range(1, T):
        before = arrays.gamma[t] + (part[t - 1] * arrays.hedge_gamma[t]).sum(axis=-1)
        after = arrays.gamma[t] + (part[t] * arrays.hedge_gamma[t]).sum(axis=-1)
        np.testing.assert_allclose(after, 0.6 * before, rtol=1e-9, atol=1e-15)
    same = rollout(problem, episodes, DeltaGammaHedge(ratio=1.0), record=True).holding
    np.testing.assert_array_equal(same, whole)
    assert DeltaGammaHedge(ratio=0.4).name == "delta-gamma:ratio=0.4"
    assert set(DeltaGammaHedge().ranges(problem)) == {"ratio"}


def test_nothing_that_holds_no_option_is_changed() -> None:
    """Delta's P&L is that of the same scenario without the option, to rounding."""
    problem = scenario()
    bare = scenario(hedges=[{"instrument": {"kind": "underlying"}}])
    a, b = (
        rollout(s, simulate(s, N, torch.Generator().manual_seed(3)), DeltaHedge()).pnl
        for s in (problem, bare)
    )
    np.testing.assert_allclose(a, b, atol=1e-12)


@pytest.mark.parametrize("action", ["band", "greek", "target"])
def test_both_environments_trade_the_newest_contract_alike(action: str) -> None:
    """Observation, reward and info bit for bit, also where clocks differ; two hedges, not seven."""
    view = {
        "action": {"kind": action},
        "features": [
            "time_left",
            "gamma",
            "option_price",
            "option_gamma",
            "holding",
            "net_gamma",
            "net_vega",
            "gap",
            "pnl",
        ],
    }
    problem = scenario(view=view, loss_limit=0.2)
    single = gym.make("deephedge/Hedging-v0", scenario=problem)
    many = gym.make_vec(
        "deephedge/Hedging-v0", 1, vectorization_mode="vector_entry_point", scenario=problem
    )
    width = {"band": 4, "greek": 1, "target": 2}[action]
    assert single.action_space.shape == (width,)
    columns = single.unwrapped.columns  # type: ignore[attr-defined]
    assert columns.count("option_price_0") == 1 and "option_price_1" not in columns
    assert [c for c in columns if c.startswith("holding")] == ["holding_0", "holding_1"]
    one, _ = single.reset(seed=5)
    all_, _ = many.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(60):
        np.testing.assert_array_equal(one, all_[0])
        numbers = rng.uniform(-1, 1, width).astype(np.float32)
        one, reward, done, _, _ = single.step(numbers)
        all_, rewards, dones, _, _ = many.step(numbers[None])
        assert reward == rewards[0] and done == dones[0]
        if done:
            one, _ = single.reset()
    single.close(), many.close()


def test_a_tenor_that_falls_between_dates_is_refused() -> None:
    with pytest.raises(ScenarioError, match="expires between two dates"):
        scenario(2.5)
    with pytest.raises(ScenarioError, match="differ"):
        scenario(calendar={"kind": "trading-days", "steps": T})
