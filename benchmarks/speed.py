"""How fast the simulator is, in absolute figures and beside ``torch.randn`` in the same run.

    .venv/bin/python benchmarks/speed.py [--json benchmarks/results/speed.json]

Every figure is the best of several repeats. What is measured and why: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from deephedge.agents import agent_settings, train_agent
from deephedge.envs import load_scenario, simulate
from deephedge.experiments.bench import (
    Work,
    learning,
    machine,
    single_environment,
    vector_environment,
)

NUMBERS = (30, 100_000)  # the yardstick: torch.randn of this shape
PATHS, BLOCK = 100_000, 4096  # episodes, drawn in the blocks in which environments draw them
ENVIRONMENTS = 4096
LEARNING_STEPS = 1_000_000
PEER, PEER_NEEDS = "hedging-gym==0.0.2", "scipy<1.13"  # its jax wants a scipy of its own time
PEER_CODE = """
import json, time
import gymnasium, hedging_gym, numpy
env = gymnasium.make("CallHedgingBSCont-v0", s0=100.0, strike=100.0, expiry=30 / 365, r=0.0,
                     mu=0.0, sigma=0.2, n_steps=30).unwrapped
action, best = numpy.array([-0.5], dtype=numpy.float32), {"episodes": 1e9, "steps": 1e9}
env.reset(seed=0)
for _ in range(10):
    steps, inside, start = 0, 0.0, time.perf_counter()
    for _ in range(5):
        env.reset()
        begin, ended = time.perf_counter(), False
        while not ended:
            ended = env.step(action)[2]
            steps += 1
        inside += time.perf_counter() - begin
    best["episodes"] = min(best["episodes"], (time.perf_counter() - start) / steps)
    best["steps"] = min(best["steps"], inside / steps)
print(json.dumps({"with_resets": 1 / best["episodes"], "steps_alone": 1 / best["steps"]}))
"""


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        what: in words.
        value: steps per second, or seconds.
        unit: ``steps/s`` or ``s``.
        ratio: a rate over that of randn's numbers, a time over randn's.
        must: what it has to reach on two idle cores, in the ratio's or the value's terms.
        aim: what it is hoped to reach.
    """

    what: str
    value: float
    unit: str
    ratio: float
    must: str = ""
    aim: str = ""


def best_of(repeats: int, work: Callable[[], object]) -> float:
    """The least seconds that ``work`` took."""
    least = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        least = min(least, time.perf_counter() - start)
    return least


def yardstick() -> float:
    return best_of(40, lambda: torch.randn(*NUMBERS))


def rate(repeats: int, work: Work) -> float:
    """The best rate of a work of ``deephedge bench``, which says what is in it."""
    work.run()
    return work.count / best_of(repeats, work.run)


def training_rate() -> float:
    """The whole of `train_agent`: set-up, all iterations, the evaluations and their charts."""
    settings = agent_settings("ppo", steps=LEARNING_STEPS)
    return LEARNING_STEPS / best_of(1, lambda: train_agent(load_scenario("short-call"), settings))


def episodes_seconds(name: str, block: int) -> float:
    """Seconds for 100,000 episodes with marks, Greeks and features, float32."""
    scenario, generator = load_scenario(name), torch.Generator().manual_seed(0)

    def draw() -> None:
        for start in range(0, PATHS, block):
            paths = min(block, PATHS - start)
            episodes = simulate(scenario, paths, generator, torch.float32)
            episodes.features(scenario.features)

    draw()
    return best_of(25, draw)


def peer_rates(python: str | None) -> dict[str, float] | str:
    """Steps per second of PyPI's hedging-gym as published, or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            if python is None:
                venv.create(folder, with_pip=True)
                python = str(Path(folder) / "bin" / "python")
                install = [python, "-m", "pip", "install", "-q", PEER, PEER_NEEDS]
                subprocess.run(install, check=True, capture_output=True, timeout=600)
            run = [python, "-W", "ignore", "-c", PEER_CODE]
            done = subprocess.run(
                run,
                check=True,
                capture_output=True,
                text=True,
                timeout=600,
                env=os.environ | {"JAX_PLATFORMS": "cpu"},
            )
        except (OSError, subprocess.SubprocessError) as error:
            return f"{PEER} could not be installed or run: {type(error).__name__}"
        rates: dict[str, float] = json.loads(done.stdout)
        return rates


def measure(peer_python: str | None, with_peer: bool) -> tuple[float, list[Figure], str]:
    """The yardstick's seconds, all figures, and a note on the peer."""
    before, scenario = yardstick(), load_scenario("short-call")
    vector, single = vector_environment(scenario, ENVIRONMENTS), single_environment(scenario, 6000)
    ppo = learning(scenario, "ppo", None)
    rates = {
        f"vector environment, {ENVIRONMENTS:,} paths": (rate(200, vector), "10 M", "30 M"),
        "single environment": (rate(40, single), "100 k", "200 k"),
        "SB3 PPO with learning": (rate(8, ppo), "120 k", "200 k"),
        "train_agent (PPO, evaluations included)": (training_rate(), "", ""),
    }
    times = {
        "100,000 episodes, GBM": (episodes_seconds("short-call", BLOCK), "12 x", "6 x"),
        "100,000 episodes, Merton": (episodes_seconds("short-call-jumps", BLOCK), "20 x", "10 x"),
        "100,000 episodes, GBM, in one batch": (episodes_seconds("short-call", PATHS), "", ""),
    }
    peer = peer_rates(peer_python) if with_peer else "not asked for"
    note = peer if isinstance(peer, str) else ""
    if not isinstance(peer, str):
        rates[f"{PEER}, one environment"] = (peer["with_resets"], "", "")
        rates[f"{PEER}, its steps without resets"] = (peer["steps_alone"], "", "")
    randn = min(before, yardstick())
    per_number = randn / (NUMBERS[0] * NUMBERS[1])
    figures = [
        Figure(what, rate, "steps/s", rate * per_number, must, aim)
        for what, (rate, must, aim) in rates.items()
    ]
    figures += [
        Figure(what, seconds, "s", seconds / randn, must, aim)
        for what, (seconds, must, aim) in times.items()
    ]
    return randn, figures, note


def table(randn: float, figures: list[Figure], note: str) -> str:
    lines = [
        f"{'torch.randn(30, 100000)':<46}{1000 * randn:>12.2f} ms",
        f"{'':<46}{'':>15}{'x randn':>12}{'must':>8}{'aim':>8}",
    ]
    for f in figures:
        value = f"{f.value:>12,.0f} /s" if f.unit == "steps/s" else f"{1000 * f.value:>12.1f} ms"
        lines.append(f"{f.what:<46}{value}{f.ratio:>12.4g}{f.must:>8}{f.aim:>8}")
    return "\n".join([*lines, *([f"peer: {note}"] if note else [])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--threads", type=int, default=2, help="torch threads (2)")
    parser.add_argument("--no-peer", action="store_true", help="leave hedging-gym out")
    parser.add_argument("--peer-python", help="an interpreter that has hedging-gym already")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    randn, figures, note = measure(options.peer_python, not options.no_peer)
    print(table(randn, figures, note), file=sys.stdout)
    if options.json is not None:
        document = {
            "machine": machine(),
            "randn_seconds": randn,
            "figures": [asdict(figure) for figure in figures],
            "peer_note": note,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
