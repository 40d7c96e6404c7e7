"""Rules at their best: an option chosen on paths of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..envs.episodes import Episodes, simulate
from ..envs.hedger import Known
from ..envs.markets import Replay
from ..envs.namespace import X
from ..envs.rollout import rollout
from ..envs.scenario import Scenario
from ..envs.stream import Role, generator_of, stream_of
from .baseline import Baseline, checked

PATHS = 16_384
POINTS = 11  # of the first search, over the whole range
FINER = 7  # of each of the two that follow, between the neighbours of the best
FIGURES = 2  # digits of the option that is chosen


@dataclass(frozen=True)
class TunedHedge:
    """A rule with an option chosen for the scenario's objective; it hedges as ``rule`` does.

    Attributes:
        rule: with the chosen option in it.
        option: the name of the option.
    """

    rule: Baseline
    option: str

    @property
    def name(self) -> str:
        """The rule's: so it can be asked for again, as it is."""
        return self.rule.name

    def start(self, n: int) -> Any:
        """The rule's."""
        return self.rule.start(n)

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """The rule's."""
        return self.rule.act(known, state)


def tuning_paths(scenario: Scenario, seed: int) -> Episodes:
    """Paths to choose on, which no training or evaluation of the seed sees, float64.

    Raises:
        ValueError: for a market that replays recorded paths: there are no others.
    """
    if isinstance(scenario.market, Replay):
        raise ValueError(
            "the market replays recorded paths and there are no others to choose on: give the "
            "option a value"
        )
    return simulate(scenario, PATHS, generator_of(stream_of(seed, Role.TUNING)))


def tuned(rule: Baseline, option: str, scenario: Scenario, episodes: Episodes) -> TunedHedge:
    """The rule with the option that has the least risk on ``episodes``, to two digits.

    A grid of equal ratios over the option's range, then two finer ones about the best: risks are
    flat at their minimum, and a little noise cannot lead far from it. Evidence:
    tests/baselines/test_tuning.py (a minimum that is known; the paths are its own).

    Raises:
        ValueError: for an option that is not tuned, or a rule that does not fit the scenario.
    """
    ranges = rule.ranges(scenario)
    if option not in ranges:
        can = ", ".join(ranges) or "nothing"
        raise ValueError(f"hedger {rule.name!r}: {option!r} is not tuned; of it is: {can}")
    least, most = ranges[option]
    whole = isinstance(least, int)
    seen: dict[float, float] = {}

    def candidate(value: float) -> Baseline:
        return checked(type(rule), rule.model_dump() | {option: value}, rule.name)

    reason = candidate(least).refusal(scenario)
    if reason is not None:
        raise ValueError(f"hedger {rule.name!r}: {reason}")

    def search(low: float, high: float, count: int) -> None:
        values = (float(f"{value:.{FIGURES}g}") for value in np.geomspace(low, high, count))
        for value in dict.fromkeys(round(v) if whole else v for v in values):
            if value not in seen:
                seen[value] = _risk(scenario, episodes, candidate(value))

    search(least, most, POINTS)
    for _ in range(2):
        search(*_about(_best(seen), sorted(seen)), FINER)
    return TunedHedge(candidate(_best(seen)), option)


def _best(risks: dict[float, float]) -> float:
    return min(risks, key=risks.__getitem__)


def _about(best: float, tried: list[float]) -> tuple[float, float]:
    at = tried.index(best)
    return tried[max(at - 1, 0)], tried[min(at + 1, len(tried) - 1)]


def _risk(scenario: Scenario, episodes: Episodes, rule: Baseline) -> float:
    with np.errstate(all="ignore"):
        try:
            loss = -np.asarray(rollout(scenario, episodes, rule).pnl)
        except ValueError:  # a holding that is no number
            return np.inf
    return scenario.objective.risk(loss) if np.isfinite(loss).all() else np.inf
