"""Speed on this machine, every figure beside a bound that is measured in the same run."""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from torch import nn

from ..agents import AgentSettings, agent_settings
from ..agents.factory import make_model
from ..agents.random_state import global_generators
from ..baselines import BandHedge, DeltaHedge
from ..envs import Hedger, HedgingEnv, HedgingVectorEnv, Scenario, rollout, simulate
from ..envs.episodes import market_paths

LIBRARIES = ("deephedge", "torch", "numpy", "gymnasium", "stable_baselines3")
LEAST = 5  # repeats of everything, however slow


@dataclass(frozen=True)
class Sizes:
    """How much is done at a time; smaller numbers only to see that it runs.

    Attributes:
        paths: simulated and hedged at a time, and environments of a vector environment.
        single: steps of the single environment at a time.
        numbers: that `torch.randn` draws at a time, about as many as a simulation needs.
        environments: of an agent; null is its own number.
    """

    paths: int = 4096
    single: int = 3000
    numbers: int = 122_880
    environments: int | None = None


@dataclass(frozen=True)
class Work:
    """A piece of work to be timed.

    Attributes:
        what: in words.
        unit: what there are ``count`` of in one call of ``run``.
        bound: the work that is its bound; null for a bound itself.
    """

    what: str
    unit: str
    count: int
    run: Callable[[], object]
    bound: Work | None = None

    def rate(self) -> float:
        """Units per second of one call."""
        start = time.perf_counter()
        self.run()
        return self.count / (time.perf_counter() - start)


@dataclass(frozen=True)
class Figure:
    """How fast a work is: units per second, the median of the repeats and their quartiles.

    Attributes:
        bound: the name of its bound; null for a bound itself.
        ratio: to the bound's rate, the median of the repeats, before each of which the bound was
            timed: a busy machine slows both.
    """

    what: str
    unit: str
    rate: float
    low: float
    high: float
    repeats: int
    bound: str | None = None
    ratio: float | None = None


def bench(
    scenario: Scenario,
    seconds: float = 60.0,
    sizes: Sizes | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Time everything in about ``seconds``.

    A bound is work that cannot be left out and nothing else: the random numbers of a simulation
    (`torch.randn`), an environment of Python that does nothing, the network of an agent forward and
    backward once on as many rows. On another machine a ratio changes less than a rate. Evidence:
    the tests see to the document's form and to what is counted, never to how fast it is.

    Returns:
        ``scenario``, ``machine`` and ``figures``, plain data.
    """
    works = everything(scenario, Sizes() if sizes is None else sizes)
    figures = []
    for i, work in enumerate(works):
        figures.append(timed(work, seconds / len(works)))
        if progress is not None:
            progress(i + 1, len(works))
    return {
        "scenario": scenario.name,
        "machine": machine(),
        "figures": [vars(figure) for figure in figures],
    }


def timed(work: Work, seconds: float) -> Figure:
    """The work's figure from as many repeats as fit into the seconds, `LEAST` at least."""
    work.run()  # the first call also builds what lasts
    rates: list[float] = []
    ratios: list[float] = []
    end = time.perf_counter() + seconds
    while len(rates) < LEAST or time.perf_counter() < end:
        beside = None if work.bound is None else work.bound.rate()
        rates.append(work.rate())
        ratios += [] if beside is None else [rates[-1] / beside]
    low, rate, high = (float(rate) for rate in np.quantile(rates, [0.25, 0.5, 0.75]))
    bound = None if work.bound is None else work.bound.what
    ratio = float(np.median(ratios)) if ratios else None
    return Figure(work.what, work.unit, rate, low, high, len(rates), bound, ratio)


def everything(scenario: Scenario, sizes: Sizes) -> list[Work]:
    """The bounds and what is measured by them."""
    numbers, idle = random_numbers(sizes.numbers), idle_environment(sizes.single)
    works = [
        numbers,
        idle,
        *simulations(scenario, sizes.paths, numbers),
        vector_environment(scenario, sizes.paths, numbers),
        single_environment(scenario, sizes.single, idle),
        *(hedging(scenario, rule, sizes.paths, numbers) for rule in (DeltaHedge(), BandHedge())),
    ]
    for agent in ("deep-hedging", "ppo"):
        work = learning(scenario, agent, sizes.environments)
        assert work.bound is not None
        works += [work.bound, work]
    return works


def random_numbers(count: int) -> Work:
    """The bound of all that draws paths."""
    return Work("torch.randn", "numbers", count, lambda: torch.randn(count))


def idle_environment(count: int) -> Work:
    """An environment's step with nothing in it but a fresh observation."""

    class Idle:
        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return np.zeros(5, dtype=np.float32), 0.0, False, False, {}

    idle = Idle()

    def run() -> None:
        for _ in range(count):
            idle.step(0.0)

    return Work("idle environment", "steps", count, run)


def simulations(scenario: Scenario, paths: int, bound: Work) -> list[Work]:
    """Prices alone, and whole episodes with marks, Greeks and features, float32."""
    generator, count = torch.Generator().manual_seed(0), paths * scenario.calendar.steps

    def prices() -> None:
        market_paths(scenario, paths, generator, torch.float32)

    def episodes() -> None:
        simulate(scenario, paths, generator, torch.float32).features(scenario.features)

    return [
        Work("prices", "path-steps", count, prices, bound),
        Work("episodes: marks, Greeks, features", "path-steps", count, episodes, bound),
    ]


def vector_environment(scenario: Scenario, environments: int, bound: Work | None = None) -> Work:
    """Two episodes of a vector environment, the simulation of new paths included."""
    env = HedgingVectorEnv(environments, scenario)
    env.reset(seed=0)
    steps = len(scenario.calendar.decisions)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(steps)]

    def run() -> None:
        for action in actions + actions:
            env.step(action)

    return Work("vector environment", "steps", 2 * steps * environments, run, bound)


def single_environment(scenario: Scenario, count: int, bound: Work | None = None) -> Work:
    """Steps of one environment, resets included."""
    env = HedgingEnv(scenario)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(count)]

    def run() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return Work("single environment", "steps", count, run, bound)


def hedging(scenario: Scenario, rule: Hedger, paths: int, bound: Work) -> Work:
    """A rule over the same episodes, float64."""
    episodes = simulate(scenario, paths, torch.Generator().manual_seed(0))
    count = paths * len(scenario.calendar.decisions)
    run = lambda: rollout(scenario, episodes, rule)  # noqa: E731 - a closure of one line
    return Work(f"rollout of {rule.name}", "path-steps", count, run, bound)


def learning(scenario: Scenario, agent: str, environments: int | None) -> Work:
    """One iteration of an agent's training, evaluations left out; its network alone as bound."""
    changes = {} if environments is None else {"environments": environments}
    settings = agent_settings(agent, **changes)
    with global_generators(0):
        model = make_model(scenario, settings, 0)
        model.set_logger(Logger(folder=None, output_formats=[]))
    dates = len(scenario.calendar.decisions)
    count = settings.environments * getattr(model, "n_steps", dates)
    bound = _network(agent, settings, int(np.prod(model.observation_space.shape or ())))

    def run() -> None:
        with global_generators(0):
            model.learn(count, reset_num_timesteps=False)

    return Work(f"{agent}, learning", "path-steps", count, run, bound)


def _network(agent: str, settings: AgentSettings, inputs: int) -> Work:
    """Forward and backward once through a network of the agent's size."""
    widths = [inputs, *settings.net]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(widths[-1], 2))
    rows = torch.randn(settings.environments, inputs)

    def run() -> None:
        network.zero_grad()
        network(rows).sum().backward()

    return Work(f"network of {agent}, alone", "rows", len(rows), run)


def machine() -> dict[str, Any]:
    """The processor, how many threads torch has, the load and the versions."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def cpu_name() -> str:
    """As Linux says, else as Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "")
