"""How fast the simulator is, in absolute figures and beside ``torch.randn`` in the same run.

    .venv/bin/python benchmarks/speed.py [--json benchmarks/results/speed.json]

Every figure is the best of several repeats. What is measured and why: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import gymnasium
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

import deephedge
from deephedge.agents import agent_settings, train_agent
from deephedge.agents.factory import make_model
from deephedge.agents.random_state import global_generators
from deephedge.envs import HedgingEnv, HedgingVectorEnv, load_scenario, simulate

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


def vector_rate() -> float:
    """Steps per second of 4,096 environments; new episodes and their paths included."""
    env = HedgingVectorEnv(ENVIRONMENTS, "short-call")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    shape = (30, *env.action_space.shape)  # type: ignore[misc]
    actions = list(rng.uniform(-1, 1, shape).astype(np.float32))

    def two_episodes() -> None:
        for action in actions + actions:
            env.step(action)

    two_episodes()
    return 60 * ENVIRONMENTS / best_of(200, two_episodes)


def single_rate() -> float:
    """Steps per second of one environment; resets included."""
    env = HedgingEnv("short-call")
    env.reset(seed=0)
    actions = list(np.random.default_rng(0).uniform(-1, 1, (6000, 2)).astype(np.float32))

    def episodes() -> None:
        for action in actions:
            if env.step(action)[2]:
                env.reset()

    episodes()
    return len(actions) / best_of(40, episodes)


class Stopwatch(BaseCallback):
    """Seconds of every iteration, a rollout and the updates on it."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[float] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.starts.append(time.perf_counter())


def ppo_rate() -> float:
    """Steps per second of SB3's PPO as `train_agent` sets it up, rollouts and updates."""
    settings = agent_settings("ppo", steps=LEARNING_STEPS)
    watch = Stopwatch()
    with global_generators(0):
        model = make_model(load_scenario("short-call"), settings, 0)
        model.set_logger(Logger(folder=None, output_formats=[]))
        model.learn(settings.steps, callback=watch)
    steps = model.num_timesteps / len(watch.starts)
    return float(steps / np.diff(watch.starts).min())


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
    before = yardstick()
    rates = {
        f"vector environment, {ENVIRONMENTS:,} paths": (vector_rate(), "10 M", "30 M"),
        "single environment": (single_rate(), "100 k", "200 k"),
        "SB3 PPO with learning": (ppo_rate(), "120 k", "200 k"),
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


def machine(threads: int) -> dict[str, object]:
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": threads,
        "load_average_at_the_end": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "deephedge": deephedge.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        "stable_baselines3": stable_baselines3.__version__,
    }


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")


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
            "machine": machine(options.threads),
            "randn_seconds": randn,
            "figures": [asdict(figure) for figure in figures],
            "peer_note": note,
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
