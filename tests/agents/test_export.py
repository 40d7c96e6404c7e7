"""Exported policies play as they do here: module, reloaded program, ONNX, table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.agents import AgentSettings, PolicyHedger, export
from deephedge.agents.export import export_policy
from deephedge.agents.factory import make_model, view_of
from deephedge.agents.policy_figure import policy_map
from deephedge.agents.policy_module import PolicyModule
from deephedge.agents.random_state import global_generators
from deephedge.envs import Episodes, Scenario, load_scenario, rollout, simulate

Tiny = Callable[..., AgentSettings]
FEED_FORWARD = ["ppo", "a2c", "sac", "td3", "ddpg", "tqc", "dqn"]
FEED_FORWARD += ["deep-hedging", "deep-bellman"]
PATHS = 64

FUTURE = [{"instrument": {"kind": "future", "tenor": 15 / 365}, "limits": {"max_trade": 0.4}}]
GREEKS = ["time_left", "log_spot", "vega", "theta", "step_length", "vol", "holding", "pnl"]
SCENARIOS: dict[str, dict[str, Any]] = {
    "short-call": {},
    "short-call in lots": {"hedges.0.limits.lot": 0.1, "hedges.0.limits.max_trade": 0.3},
    "gamma-hedge-jumps": {},
    "sp500-call": {},
    "heston-call": {},
    "exchange-option": {},
    "short-call with futures": {"hedges": FUTURE, "market.rate": 0.03},
    "short-call with other features": {"view.features": GREEKS},
    "short-call-jumps with jumps": {"view.features": ["jump", "log_spot", "holding"]},
    "heston-call with variance": {"view.features": ["variance", "log_spot", "holding"]},
    "short-call in SABR": {
        "market": {"kind": "sabr", "alpha": 0.2, "beta": 1.0, "rho": -0.4, "nu": 0.8},
        "view.features": ["alpha", "moneyness", "holding"],
    },
}


def scenario(name: str) -> Scenario:
    changes = {"calendar.steps": 6} | SCENARIOS[name]
    preset = name.partition(" ")[0]
    return load_scenario(preset, {key: json.dumps(value) for key, value in changes.items()})


def hedger(algorithm: str, problem: Scenario, tiny: Tiny, spread: float = 0.5) -> PolicyHedger:
    """A policy with weights so large that it moves about, and in part hits its bounds."""
    settings = tiny(algorithm)
    with global_generators(3):
        model = make_model(problem, settings, seed=3)
        with torch.no_grad():
            for weights in model.policy.parameters():
                weights.normal_(0.0, spread)
    model.policy.set_training_mode(False)
    return PolicyHedger(algorithm, model.policy, problem, view_of(problem, settings))


def played(policy: PolicyHedger) -> tuple[Episodes, Any, Any]:
    """Episodes, and the holdings and wealth that a rollout of the policy came to."""
    problem = policy.scenario
    episodes = simulate(problem, PATHS, torch.Generator().manual_seed(5))
    outcome = rollout(problem, episodes, policy, record=True)
    return episodes, outcome.holding, outcome.wealth


def quantities(episodes: Episodes, t: int, held: Any, wealth: Any) -> dict[str, Any]:
    """Everything that may be asked for at date t, each ``[N]``."""
    vol = episodes.vol[min(t, len(episodes.vol) - 1)]
    ahead = episodes.times[t + 1] - episodes.times[t]
    found: dict[str, Any] = {
        "years_left": episodes.times[-1] - episodes.times[t],
        "episode_years": episodes.times[-1],
        "step_years": ahead,
        "vol": vol,
        "wealth": torch.from_numpy(np.array(wealth[t])),
        **{name: getattr(episodes, name)[t] for name in ("spot", "delta", "gamma")},
        **{name: getattr(episodes, name)[t] for name in ("vega", "theta")},
        **{name: state[t] for name, state in episodes.latents.items()},
        **{f"{name}_start": state[0] for name, state in episodes.latents.items()},
    }
    if episodes.jump is not None:
        found["jump"] = episodes.jump[t]
    for i, (spot, delta) in enumerate(
        zip(episodes.other_spots, episodes.other_deltas, strict=True)
    ):
        found |= {f"other_spot_{i}": spot[t], f"other_delta_{i}": delta[t]}
    for k in range(held.shape[-1]):
        before = torch.zeros(PATHS)
        if t and not episodes.settles[t][k]:
            before = torch.from_numpy(np.array(held[t - 1, :, k]))
        found |= {
            f"holding_{k}": before,
            f"option_price_{k}": episodes.price[t, :, k],
            f"option_delta_{k}": episodes.hedge_delta[t, :, k],
            f"option_gamma_{k}": episodes.hedge_gamma[t, :, k],
            f"hedge_delta_{k}": episodes.hedge_delta[t, :, k],
        }
    return {name: value.double().expand(PATHS).clone() for name, value in found.items()}


def check(
    policy: PolicyHedger,
    names: list[str],
    run: Callable[[dict[str, Any]], Any],
    tolerance: float = 1e-6,
) -> None:
    episodes, held, wealth = played(policy)
    traded = 0
    for t in range(episodes.steps):
        known = quantities(episodes, t, held, wealth)
        found = np.asarray(run({name: known[name] for name in names}))
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, held[t], rtol=0, atol=tolerance)
        traded += 0 if t == 0 else int((np.abs(held[t] - held[t - 1]) > 1e-3).sum())
    assert traded > PATHS // 4  # else next to nothing would have been tested


@pytest.mark.parametrize("algorithm", FEED_FORWARD)
def test_the_module_holds_what_the_policy_holds(
    algorithm: str, short_call: Scenario, tiny: Tiny
) -> None:
    policy = hedger(algorithm, short_call, tiny)
    module = PolicyModule(policy)
    assert list(module.inputs) == ["years_left", "spot", "vol", "delta", "gamma", "holding_0"]
    with torch.no_grad():
        check(policy, list(module.inputs), module)


@pytest.mark.parametrize("name", list(SCENARIOS)[1:])
def test_the_module_holds_the_same_in_every_kind_of_scenario(name: str, tiny: Tiny) -> None:
    policy = hedger("td3", scenario(name), tiny)
    module = PolicyModule(policy)
    with torch.no_grad():
        check(policy, list(module.inputs), module)


def test_an_unknown_feature_would_be_noticed() -> None:
    """Every market feature says what it is made of, and every quantity is explained."""
    from deephedge.agents.policy_module import _NEEDS, MEANINGS
    from deephedge.envs.observation import FEATURES

    assert {*FEATURES} - {"signature", "spread"} <= {*_NEEDS}  # of the past: refused
    assert {need.removesuffix("_") for needs in _NEEDS.values() for need in needs} <= {*MEANINGS}


@pytest.mark.parametrize(
    "name", ["gamma-hedge-jumps", pytest.param("short-call", marks=pytest.mark.slow)]
)
def test_the_reloaded_program_holds_the_same(name: str, tiny: Tiny, tmp_path: Path) -> None:
    policy = hedger("td3", scenario(name), tiny)
    export_policy(policy, tmp_path / "new", ["torch"])
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"policy.pt2", "interface.json"}
    program = torch.export.load(tmp_path / "new" / "policy.pt2").module()
    interface = json.loads((tmp_path / "new" / "interface.json").read_text())
    with torch.no_grad():
        check(policy, list(interface["inputs"]), program)
    assert all(interface["inputs"].values())
    assert len(interface["instruments"]) == len(policy.scenario.hedges)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["dqn", "td3"])
def test_onnx_holds_the_same(
    algorithm: str, short_call: Scenario, tiny: Tiny, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    reference = pytest.importorskip("onnx.reference")
    policy = hedger(algorithm, short_call, tiny, spread=0.3)
    export_policy(policy, tmp_path, ["onnx"])
    model = onnx.load(tmp_path / "policy.onnx")
    onnx.checker.check_model(model)
    names = [each.name for each in model.graph.input]
    assert names == list(json.loads((tmp_path / "interface.json").read_text())["inputs"])
    evaluator = reference.ReferenceEvaluator(model)

    def run(known: dict[str, Any]) -> Any:
        return evaluator.run(None, {name: value.numpy() for name, value in known.items()})[0]

    # NumPy sums float32 products in another order, and wide weights magnify the last bit.
    check(policy, names, run, tolerance=1e-5)


def test_the_table_is_the_policy(short_call: Scenario, tiny: Tiny, tmp_path: Path) -> None:
    policy = hedger("ppo", short_call, tiny)
    export_policy(policy, tmp_path, ["csv"])
    with (tmp_path / "holdings.csv").open(newline="") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert len(rows) == 30 * export.SPOTS * export.HOLDINGS
    edge = policy_map(short_call, policy, export.SPOTS).upper
    most = max(row["holding"] for row in rows)
    from_above = [row["target"] for row in rows if row["holding"] == most]
    np.testing.assert_array_equal(np.reshape(from_above, edge.shape), edge)
    chosen = rows[::97]
    column = {
        name: torch.tensor([row[name] for row in chosen], dtype=torch.float64)
        for name in ("years_left", "spot", "holding", "target")
    }
    tau, spot = column["years_left"], column["spot"]
    normal, deviation = torch.distributions.Normal(0.0, 1.0), 0.2 * tau.sqrt()
    d1 = (spot / 100).log() / deviation + deviation / 2
    known = {
        "years_left": tau,
        "spot": spot,
        "vol": torch.full_like(tau, 0.2),
        "delta": -normal.cdf(d1),
        "gamma": -normal.log_prob(d1).exp() / (spot * deviation),
        "holding_0": column["holding"],
    }
    with torch.no_grad():
        found = PolicyModule(policy)(known)[:, 0]
    np.testing.assert_allclose(found, column["target"], rtol=0, atol=1e-6)


def test_what_cannot_be_exported_is_refused(
    short_call: Scenario, tiny: Tiny, tmp_path: Path
) -> None:
    remembering = hedger("recurrent-ppo", short_call, tiny)
    with pytest.raises(ValueError, match="cannot be exported: only policies that see nothing but"):
        export_policy(remembering, tmp_path / "new")
    with pytest.raises(ValueError, match="unknown format 'pickle': choose one of torch, onnx, csv"):
        export_policy(hedger("ppo", short_call, tiny), tmp_path / "new", ["pickle"])
    around = load_scenario(
        "short-call", {"view.action": '{"kind": "band", "base": {"kind": "whalley-wilmott"}}'}
    )
    with pytest.raises(ValueError, match="around the base 'whalley-wilmott', which torch programs"):
        export_policy(hedger("ppo", around, tiny), tmp_path / "new")
    path = load_scenario("short-call", {"view.features": '["signature", "holding"]'})
    with pytest.raises(ValueError, match="sees 'signature', which what came before decides"):
        export_policy(hedger("ppo", path, tiny), tmp_path / "new")
    late = load_scenario("short-call", {"execution.delay": "1"})
    with pytest.raises(ValueError, match=r"execution\.delay or a margin, which decide"):
        export_policy(hedger("ppo", late, tiny), tmp_path / "new")
    assert not (tmp_path / "new").exists()
