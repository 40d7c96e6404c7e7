"""Makes the committed results anew: ``make results``, about four hours on 2 cores.

With names of `COMMANDS` only those: ``python docs/make_results.py transfer explain-run``.

Each file of ``docs/results`` holds the command, the versions and what the command printed with
``--json``, or what a script of its own has measured.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from deephedge.experiments.reproductions import paper_names

RESULTS = Path(__file__).resolve().parent / "results"
COMMAND = Path(sys.executable).with_name("deephedge")

WALK = (
    "backtest --walk-forward --set 'market={kind: heston}' --hedger static --hedger delta:every=5 "
    "--hedger band:width=best --hedger whalley-wilmott --hedger minimum-variance"
)

# name: (key of the document, command); OUT is a folder that is thrown away afterwards.
COMMANDS = {
    "compare": (
        "evaluations",
        "compare short-call short-call-jumps --agent ppo --agent deep-hedging --seeds 3 "
        "--workers 2 --out OUT/compare",
    ),
    "training": ("evaluation", "train sp500-call --agent ppo --out OUT/ppo"),
    "backtest": (
        "backtest",
        "backtest --hedger OUT/ppo --hedger band --hedger band:width=0.1 --hedger static "
        "--hedger delta:every=5",
    ),
    "transfer": (
        "transfer",
        "transfer short-call --over market.sigma,marking.vol=0.15,0.2,0.3 --to short-call-jumps "
        "--agent deep-hedging --seeds 3 --steps 12000000 --paths 100000 --out OUT/transfer",
    ),
    "rebalancing": (
        "frontier",
        "frontier short-call --set calendar.steps=240 --cost 0.025 --cost 0.05 --cost 0.1 "
        "--cost 0.25 --cost 0.5 --cost 1 --cost 2.5 --paths 100000",
    ),
    "explain": ("explanation", "explain short-call-jumps --hedger whalley-wilmott"),
    "explain-run": (  # needs the runs of transfer
        "explanation",
        "explain short-call-jumps --hedger OUT/transfer/short-call-jumps/deep-hedging-seed0",
    ),
    "stress": ("stress", "stress short-call-jumps --hedger band --paths 20000"),
    "walk-forward": ("backtest", f"{WALK} --agent ppo --agent deep-hedging --steps 1000000"),
    "walk-forward-put": (
        "backtest",
        f"{WALK} --third-fridays --set position.legs.0.claim.kind=put",
    ),
    "walk-forward-straddle": (
        "backtest",
        f"{WALK} --third-fridays --set 'position.legs=[{{quantity: -1, claim: {{kind: call, "
        "strike: 100}}, {quantity: -1, claim: {kind: put, strike: 100}}]'",
    ),
}


SCRIPTS = (
    *("market_checks", "claim_checks", "hagan_error"),
    *("optimum_checks", "cost_scaling", "cost_sweep"),
)


def main() -> None:
    """Run every command and keep what it printed; run the scripts."""
    wanted = sys.argv[1:]
    if not wanted:
        run_scripts()
    out = tempfile.mkdtemp()
    try:
        for name in wanted or COMMANDS:
            key, command = COMMANDS[name]
            words = [str(COMMAND), *shlex.split(command.replace("OUT", out)), "--json"]
            printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            document: dict[str, Any] = {
                "command": f"deephedge {command.replace('OUT', 'runs')}",
                "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
                key: json.loads(printed),
            }
            path = RESULTS / f"{name}.json"
            path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    finally:
        shutil.rmtree(out)


def run_scripts() -> None:
    """What measures by a script of its own, and the published tables."""
    for script in SCRIPTS:
        subprocess.run([sys.executable, str(RESULTS.parent / f"{script}.py")], check=True)
    for paper in paper_names():
        out_file = RESULTS / f"reproduce-{paper}.json"
        words = [str(COMMAND), "reproduce", paper, "--paths", "2000000", "--out", str(out_file)]
        subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
