"""How fast paths are drawn, beside pfhedge, each in a process of its own.

    .venv/bin/python benchmarks/pfhedge.py [--json benchmarks/results/pfhedge.json]

100,000 paths of 30 daily steps in float32 on a CPU, in one batch; marks also in the blocks in which
environments draw them, where the arrays stay in the cache. pfhedge needs numpy < 2, so it
gets a virtual environment of its own, with the torch that this one has; `--peer-python` takes an
interpreter that has it already. The two take turns, so that both meet the same machine; a figure
is the median of the best time of every turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PEER = "pfhedge==0.23.0"
MARKETS = ("gbm", "merton", "heston", "rough-bergomi")
MARKED = "gbm, with a call's marks and first-order Greeks"
BLOCKED = MARKED + ", in blocks of 4,096 paths"
TIMING = """
import json, os, sys, time, warnings
warnings.simplefilter("ignore")
import torch
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
PATHS, STEPS, DT = 100_000, 30, 1 / 365
def measure(work):
    work()
    least = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - start)
    return least
REPEATS = int(sys.argv[1])
"""
PEER_CODE = (
    TIMING
    + """
from pfhedge import stochastic
common = dict(n_paths=PATHS, n_steps=STEPS + 1, dt=DT, dtype=torch.float32)
jumps = dict(jump_per_year=1.2, jump_mean=-0.07, jump_std=0.05)
heston = dict(kappa=2.0, theta=0.04, sigma=0.5, rho=-0.7)
rough = dict(alpha=-0.43, rho=-0.9, eta=1.9, xi=0.04)
work = {
    "gbm": lambda: stochastic.generate_geometric_brownian(sigma=0.2, **common),
    "merton": lambda: stochastic.generate_merton_jump(sigma=0.15, **jumps, **common),
    "heston": lambda: stochastic.generate_heston(init_state=(1.0, 0.04), **heston, **common),
    "rough-bergomi": lambda: stochastic.generate_rough_bergomi(
        init_state=(1.0, 0.04), **rough, **common
    ),
}
print(json.dumps({name: measure(draw) for name, draw in work.items()}))
"""
)
OWN_CODE = (
    TIMING
    + f"""
from deephedge.envs.instruments import Call
from deephedge.envs.markets import Market
from deephedge.envs.pricing import MarketVolMarking
from deephedge.envs import markets
kinds = {{
    "gbm": dict(sigma=0.2),
    "merton": dict(sigma=0.15, intensity=1.2, jump_mean=-0.07, jump_std=0.05),
    "heston": dict(kappa=2.0, theta=0.04, vol_of_vol=0.5, rho=-0.7, variance=0.04),
    "rough-bergomi": dict(hurst=0.07, rho=-0.9, eta=1.9, forward_variance=0.04),
}}
times = torch.arange(STEPS + 1, dtype=torch.float64)[:, None] * DT
generator = torch.Generator().manual_seed(0)
def draw(market, paths=PATHS):
    return market.simulate(times, paths, generator, torch.float32)
def marked(market, paths=PATHS):
    drawn = draw(market, paths)
    return MarketVolMarking().value(Call(strike=100.0), times[-1], market, drawn)
def blocked(market):
    for start in range(0, PATHS, 4096):
        marked(market, min(4096, PATHS - start))
built = {{name: Market.kinds[name](**keys) for name, keys in kinds.items()}}
seconds = {{name: measure(lambda m=m: draw(m)) for name, m in built.items()}}
seconds[{MARKED!r}] = measure(lambda: marked(built["gbm"]))
seconds[{BLOCKED!r}] = measure(lambda: blocked(built["gbm"]))
print(json.dumps(seconds))
"""
)


def run(python: str, code: str, threads: int, repeats: int, *more: str) -> dict[str, float]:
    """What the code prints, seconds by name, from a process with so many threads."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [python, "-I", "-c", code, str(repeats), *more],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=1800,
        env=environment,
    )
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def install(folder: str) -> str:
    """A Python with pfhedge and the torch that runs here."""
    import torch

    venv.create(folder, with_pip=True)
    python = str(Path(folder) / "bin" / "python")
    wanted = [PEER, "numpy<2", f"torch=={torch.__version__.split('+')[0]}"]
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True, timeout=1800)
    return python


def versions(python: str) -> dict[str, str]:
    code = (
        "import json, numpy, torch\n"
        "print(json.dumps({'torch': torch.__version__, 'numpy': numpy.__version__}))"
    )
    done = subprocess.run([python, "-I", "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "load_average_at_the_end": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def options_of(description: str | None, repeats: int) -> argparse.Namespace:
    """The command line of a comparison with pfhedge."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--peer-python", help="an interpreter that has pfhedge already")
    parser.add_argument("--turns", type=int, default=5, help="times the two take turns (5)")
    parser.add_argument(
        "--repeats", type=int, default=repeats, help=f"of which a turn keeps the best ({repeats})"
    )
    return parser.parse_args()


def compare(peer: str, threads: int, turns: int, repeats: int) -> list[dict[str, object]]:
    """Every market's seconds in both, and their ratio; the medians over the turns."""
    own_turns, peer_turns = [], []
    for _ in range(turns):
        own_turns.append(run(sys.executable, OWN_CODE, threads, repeats))
        peer_turns.append(run(peer, PEER_CODE, threads, repeats))
    figures: list[dict[str, object]] = []
    for name in (*MARKETS, MARKED, BLOCKED):
        beside = name if name in MARKETS else "gbm"
        ratios = [o[name] / p[beside] for o, p in zip(own_turns, peer_turns, strict=True)]
        figures.append(
            {
                "what": name,
                "beside": f"{beside}, paths alone",
                "threads": threads,
                "deephedge_seconds": statistics.median(o[name] for o in own_turns),
                "pfhedge_seconds": statistics.median(p[beside] for p in peer_turns),
                "ratio": statistics.median(ratios),
                "ratios": [round(ratio, 4) for ratio in ratios],
                "aim": 1.0 if name in MARKETS else 2.0,
            }
        )
    return figures


def table(figures: list[dict[str, object]]) -> str:
    lines = [f"{'':<76}{'threads':>8}{'deephedge':>12}{'pfhedge':>12}{'ratio':>8}{'aim':>6}"]
    for f in figures:
        own, peer = (
            f"{1000 * float(str(f[k + '_seconds'])):.1f} ms" for k in ("deephedge", "pfhedge")
        )
        ratio = f"{float(str(f['ratio'])):.2f}"
        lines.append(f"{f['what']:<76}{f['threads']:>8}{own:>12}{peer:>12}{ratio:>8}{f['aim']:>6}")
    return "\n".join(lines)


def main() -> None:
    options = options_of(__doc__, repeats=7)
    with tempfile.TemporaryDirectory() as folder:
        peer = options.peer_python or install(folder)
        figures = [
            figure
            for threads in (2, 1)
            for figure in compare(peer, threads, options.turns, options.repeats)
        ]
        peer_versions = versions(peer)
    print(table(figures))
    if options.json is not None:
        document = {
            "command": "benchmarks/pfhedge.py " + " ".join(sys.argv[1:]),
            "machine": machine(),
            "deephedge": versions(sys.executable),
            PEER: peer_versions,
            "figures": figures,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
