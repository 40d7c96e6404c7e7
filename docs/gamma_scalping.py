"""What gamma scalping captures: ``python docs/gamma_scalping.py``, a minute.

On `gamma-scalping` and its dear twin: rehedging by time, by move and in a band, at the vol of the
marks and at the vol that is realised, with costs. Writes ``docs/results/gamma-capture.json`` and
the table of the page.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from make_figures import put_in

from deephedge import load_scenario
from deephedge.baselines import parse_baseline
from deephedge.envs import rollout
from deephedge.experiments.evaluation import evaluation_block
from deephedge.experiments.gamma_scalping import scalp, vol_integral
from deephedge.experiments.whole_files import write_json

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS / "results" / "gamma-capture.json"
PAGE = DOCS / "strategies" / "gamma-scalping.md"
CAPTURE = ("<!-- capture -->", "<!-- /capture -->")
PRESETS = {"gamma-scalping": 0.25, "gamma-scalping-dear": 0.2}
RULES = ("delta", "delta:every=5", "delta:move=2", "band:width=0.03")
Document = dict[str, Any]


def account(preset: str, vol: float) -> Document:
    """Every rule at both vols, on the first evaluation block."""
    scenario = load_scenario(preset)
    episodes = evaluation_block(scenario, 0, 0)
    rows, found = {}, None
    for rule in RULES:
        for name in (rule, f"{rule}{',' if ':' in rule else ':'}vol={vol}"):
            outcome = rollout(scenario, episodes, parse_baseline(name))
            found = scalp(scenario, episodes, outcome.pnl, vol)
            rows[name] = {
                "pnl": found.pnl.value,
                "pnl_interval": [found.pnl.low, found.pnl.high],
                "std": float(outcome.pnl.std()),
                "cost": float(outcome.cost.mean()),
                "trades": float(outcome.trades.mean()),
                "capture": found.capture.value,
                "of_theta": found.pnl.value / found.theta_bill.value,
            }
    assert found is not None
    return {
        "edge": found.edge,
        "vol_integral": float(vol_integral(scenario, episodes, vol).mean()),
        "gamma_gains": found.gamma_gains.value,
        "theta_bill": found.theta_bill.value,
        "paths": episodes.paths,
        "rules": rows,
    }


def measure() -> Document:
    """Both presets."""
    return {
        "command": "python docs/gamma_scalping.py",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        "accounts": {preset: account(preset, vol) for preset, vol in PRESETS.items()},
    }


def table(document: Document) -> str:
    """The page's tables."""
    paths = next(iter(document["accounts"].values()))["paths"]
    lines = [f"Measured by `{document['command']}` on {paths:,} paths, costs included."]
    for preset, found in document["accounts"].items():
        lines += [
            "",
            f"`{preset}`: edge {found['edge']:+.3f}, the integral {found['vol_integral']:+.3f}; "
            f"moves brought {found['gamma_gains']:.3f} and waiting cost "
            f"{found['theta_bill']:.3f} on average.",
            "",
            "| hedged | trades | cost | P&L | 95 % | std | P&L / theta bill | capture |",
            "|---|---|---|---|---|---|---|---|",
        ]
        for name, row in found["rules"].items():
            low, high = row["pnl_interval"]
            lines.append(
                f"| `{name}` | {row['trades']:.1f} | {row['cost']:.3f} | {row['pnl']:+.3f} | "
                f"[{low:+.3f}, {high:+.3f}] | {row['std']:.3f} | {row['of_theta']:+.1%} | "
                f"{row['capture']:.0%} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure, write the results and the page's tables."""
    document = measure()
    write_json(RESULTS, document)
    put_in(PAGE, CAPTURE, table(document))


if __name__ == "__main__":
    main()
