"""The market maker's worked example: ``python docs/market_maker.py``, a minute.

Long 10,000 calls of delta 0.60, 6,000 shares short, 20 trading days of two adjustments, $50 a
trade. Simulates the preset `market-maker` at three realised vols under four adjustment rules and
splits every P&L into what moves brought (gamma), what waiting cost (theta), what was left unhedged
and fees. Writes ``docs/results/market-maker-ledger.json`` and the tables of its page.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from make_figures import put_in
from numpy.typing import NDArray

from deephedge import load_scenario
from deephedge.baselines import parse_baseline
from deephedge.envs import Episodes, Scenario, rollout
from deephedge.experiments import statistics
from deephedge.experiments.evaluation import evaluation_block
from deephedge.experiments.whole_files import write_json

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS / "results" / "market-maker-ledger.json"
PAGE = DOCS / "strategies" / "market-maker.md"
LEDGER = ("<!-- ledger -->", "<!-- /ledger -->")
VOLS = (0.15, 0.30, 0.45)
RULES = {
    "every step": "delta",
    "every day": "delta:every=2",
    "at 500 shares": "band:width=0.05,to=centre",
    "once": "static",
}
PARTS = ("gamma", "theta", "unhedged", "fees", "rest")
EXAMPLE, SHOWN = "at 500 shares", 10  # whose path is printed, and how many of its 40 steps
Array = NDArray[np.float64]
Document = dict[str, Any]


def scenario_at(vol: float) -> Scenario:
    """The preset where that vol is realised; calls stay marked at 0.30."""
    return load_scenario("market-maker", {"market.sigma": str(vol)})


def steps_of(scenario: Scenario, episodes: Episodes, rule: str) -> dict[str, Array]:
    """What every step ``[T, N]`` brought by the Taylor terms of the calls' mark, money.

    ``dV = Theta dt + Delta dS + Gamma dS^2 / 2 + rest``; the shares make ``h dS``, so that
    ``(Delta + h) dS`` is unhedged. The parts add up to the P&L.
    """
    arrays = episodes.numpy()
    outcome = rollout(scenario, episodes, parse_baseline(rule), record=True)
    held = np.asarray(outcome.holding)[..., 0]
    trade = np.diff(held, axis=0, prepend=0.0 * held[:1])
    move, dt = np.diff(arrays.spot, axis=0), np.diff(arrays.times, axis=0)
    value = arrays.mark + arrays.cash_flow
    parts = {
        "gamma": 0.5 * arrays.gamma[:-1] * move**2,
        "theta": arrays.theta[:-1] * dt,
        "unhedged": (arrays.delta[:-1] + held) * move,
        "fees": -scenario.costs[0][0].charge(trade, arrays.price[:-1, :, 0], arrays.ops),
    }
    own = parts["theta"] + parts["gamma"] + arrays.delta[:-1] * move
    parts["rest"] = value[1:] - arrays.mark[:-1] - own
    parts["pnl"] = np.diff(np.asarray(outcome.wealth), axis=0)
    return parts | {"held": held, "trade": trade}


def account(scenario: Scenario, episodes: Episodes, rule: str) -> Document:
    """The means of the parts over paths, and of P&L its spread and tail."""
    steps = steps_of(scenario, episodes, rule)
    pnl = steps["pnl"].sum(axis=0)
    mean = statistics.mean(pnl)
    tail = statistics.risk(scenario.objective, -pnl)
    return {
        "mean": mean.value,
        "mean_interval": [mean.low, mean.high],
        "std": float(pnl.std()),
        "risk": tail.value,
        "risk_interval": [tail.low, tail.high],
        "worst": float(pnl.min()),
        "trades": float((steps["trade"] != 0).sum(axis=0).mean()),
        **{part: float(steps[part].sum(axis=0).mean()) for part in PARTS},
    }


def example(scenario: Scenario, episodes: Episodes, rule: str) -> list[Document]:
    """The steps of the path of median P&L."""
    steps, arrays = steps_of(scenario, episodes, rule), episodes.numpy()
    pnl = steps["pnl"].sum(axis=0)
    j = int(np.argsort(pnl)[len(pnl) // 2])
    size = scenario.position.size
    return [
        {
            "step": t,
            "spot": float(arrays.spot[t, j]),
            "next_spot": float(arrays.spot[t + 1, j]),
            "delta": float(arrays.delta[t, j] / size),
            **{key: float(steps[key][t, j]) for key in ("trade", "held", *PARTS, "pnl")},
        }
        for t in range(episodes.steps)
    ]


def hand(scenario: Scenario, episodes: Episodes) -> Document:
    """The arithmetic at the start, per trading day and for one $2 move."""
    arrays, days = episodes.numpy(), 20
    gamma, theta = float(arrays.gamma[0, 0]), float(arrays.theta[0, 0])
    day = -theta * scenario.calendar.horizon / days
    fee = float(scenario.costs[0][0].charge(1.0, 100.0, arrays.ops))
    return {
        "delta": float(arrays.delta[0, 0] / scenario.position.size),
        "gamma": gamma,
        "gamma_of_2": 0.5 * gamma * 2**2,
        "shares_of_2": gamma * 2,
        "theta_day": day,
        "theta_total": day * days,
        "breakeven_move": (2 * day / gamma) ** 0.5,
        "fees": fee * episodes.steps,
    }


def measure() -> Document:
    """Every vol under every rule on the first evaluation block, and the example."""
    document: Document = {
        "command": "python docs/market_maker.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "accounts": {},
    }
    for vol in VOLS:
        scenario = scenario_at(vol)
        episodes = evaluation_block(scenario, 0, 0)
        document["paths"] = episodes.paths
        document["accounts"][f"{vol:.2f}"] = {
            name: account(scenario, episodes, rule) for name, rule in RULES.items()
        }
        if vol == scenario_at(0.3).market.volatility:
            document["hand"] = hand(scenario, episodes)
            document["example"] = example(scenario, episodes, RULES[EXAMPLE])
    return document


def ledger(document: Document) -> str:
    """The page's tables."""
    lines = [
        f"Measured by `{document['command']}` on {document['paths']:,} paths; money is $, means "
        "over paths. The calls are bought and marked at a vol of 0.30.",
        "",
        "| realised | adjusted | trades | gamma | theta | unhedged | fees | rest | P&L | 95 % | "
        "std | CVaR 95 |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for vol, rules in document["accounts"].items():
        for name, row in rules.items():
            parts = " | ".join(f"{row[part]:+,.0f}" for part in PARTS)
            low, high = row["mean_interval"]
            lines.append(
                f"| {vol} | {name} | {row['trades']:.1f} | {parts} | {row['mean']:+,.0f} | "
                f"[{low:+,.0f}, {high:+,.0f}] | {row['std']:,.0f} | {row['risk']:,.0f} |"
            )
    return "\n".join([*lines, "", *_path(document["example"])])


def _path(steps: list[Document]) -> list[str]:
    """The example's first steps, and the sum of all."""
    lines = [
        f"One path at a realised vol of 0.30, adjusted {EXAMPLE}, that of median P&L: its first "
        f"{SHOWN // 2} days, and the sum of all {len(steps) // 2}.",
        "",
        "| half-day | spot | to | delta | traded | held | gamma | theta | unhedged | fee | rest | "
        "P&L |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['step'] + 1} | {row['spot']:.2f} | {row['next_spot']:.2f} | {row['delta']:.3f} | "
        f"{row['trade']:+,.0f} | {row['held']:,.0f} | {_money([row])} |"
        for row in steps[:SHOWN]
    ]
    traded = sum(abs(row["trade"]) for row in steps)
    ends = f"{steps[0]['spot']:.2f} | {steps[-1]['next_spot']:.2f}"
    return [
        *lines,
        f"| all {len(steps)} | {ends} | | {traded:,.0f} either way | | {_money(steps)} |",
    ]


def _money(rows: list[Document]) -> str:
    return " | ".join(f"{sum(row[part] for row in rows):+,.0f}" for part in (*PARTS, "pnl"))


def main() -> None:
    """Measure, write the results and the page's tables."""
    document = measure()
    write_json(RESULTS, document)
    put_in(PAGE, LEDGER, ledger(document))


if __name__ == "__main__":
    main()
