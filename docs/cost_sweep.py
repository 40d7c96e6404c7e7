"""Every rule on four markets at four costs: ``python docs/cost_sweep.py``, a quarter of an hour.

Writes ``docs/results/cost-sweep.json``: a short 30-day call at the money, entropic risk of aversion
0.1, hedged with the stock, in `heston + call` with a listed 60-day call beside it, whose own cost
is 1 % of its price. Rules that have an option to tune are tuned for every market and cost, on paths
of their own.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from deephedge import load_scenario
from deephedge.envs import Scenario
from deephedge.experiments import evaluate, statistics
from deephedge.experiments.hedgers import standard_baselines

RESULTS = Path(__file__).resolve().parent / "results" / "cost-sweep.json"
PATHS = 100_000
BASIS_POINTS = (0, 5, 20, 100)
HESTON = "kappa: 2, theta: 0.04, variance: 0.04, vol_of_vol: 0.5, rho: -0.7"
JUMPS = "intensity: 0.6, jump_mean: -0.08, jump_std: 0.05"
CALL = "{kind: listed-option, option: {kind: call, strike: 100, maturity: 0.1643835616438356}}"
MARKETS = {
    "gbm": "{kind: gbm, sigma: 0.2}",
    "merton": "{kind: merton, sigma: 0.15, intensity: 1.2, jump_mean: -0.07, jump_std: 0.05}",
    "heston": f"{{kind: heston, {HESTON}}}",
    "bates": f"{{kind: bates, {HESTON}, {JUMPS}}}",
    "heston + call": f"{{kind: heston, {HESTON}}}",
}


def scenario_of(market: str, basis_points: float) -> Scenario:
    """``short-call`` in another market, at another cost."""
    cost = f"{{kind: proportional, rate: {basis_points / 1e4}}}"
    stock = f"{{instrument: {{kind: underlying}}, costs: [{cost}]}}"
    option = f"{{instrument: {CALL}, costs: [{{kind: proportional, rate: 0.01}}]}}"
    hedges = f"[{option}, {stock}]" if market.endswith("call") else f"[{stock}]"
    changes = {"market": MARKETS[market], "hedges": hedges, "marking": "{kind: market-vol}"}
    return load_scenario("short-call", changes)


def row(scenario: Scenario) -> dict[str, Any]:
    """Every rule's risk beside delta's and that of the best rule, and the gap that it closes."""
    evaluation = evaluate(scenario, standard_baselines(scenario), PATHS)
    rules = [result for result in evaluation.hedgers if result.name != "optimal"]
    best = min(rules, key=lambda result: result.risk.value)
    found = {}
    for result in evaluation.hedgers:
        document = result.document()
        kept = ("risk", "versus_delta", "gap_closed", "std", "cost", "warning")
        above = statistics.difference(scenario.objective, -result.pnl, -best.pnl)
        found[result.name] = {key: document[key] for key in kept} | {
            "tuned": result.name in evaluation.tuned,
            "versus_best": {"difference": above.value, "low": above.low, "high": above.high},
        }
    return found


def main() -> None:
    """Measure every market at every cost."""
    document = {
        "command": "python docs/cost_sweep.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "paths": PATHS,
        "objective": scenario_of("gbm", 0).objective.label,
        "markets": {
            market: {f"{bp} bp": row(scenario_of(market, bp)) for bp in BASIS_POINTS}
            for market in MARKETS
        },
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
