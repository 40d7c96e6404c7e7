"""Where and why a hedger's holdings differ from those of a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs import Episodes, Hedger, Known, Outcome, Scenario
from ..envs.desk import Desk
from ..envs.namespace import NUMPY, X
from ..envs.tape import Tape

MONEYNESS = (-np.inf, -1.5, -0.5, 0.5, 1.5, np.inf)  # standard deviations of the time left
TIMES = (0.0, 1 / 3, 2 / 3, 1.0)  # shares of the episode that are left
LEAST = 1e-12
ROUNDING = 1e-9  # units: a trade that is none

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """Decisions in one bucket: how far the holding h_t is from the reference r_t, in units.

    h_t - r_t = lean + inertia (h_{t-1} - r_t) + rest, by least squares over the bucket.

    Attributes:
        moneyness: the bucket of log(S / K) over vol sqrt(time to maturity).
        time_left: the bucket of the share of the episode that is left.
        share: of all decisions.
        absolute: the mean of ``|h_t - r_t|``.
        mean: of h_t - r_t.
        untraded: the share of these decisions that left the holding as it was.
        needless: the share that traded where the reference leaves the holding as it was.
        missed: the share that left the holding where the reference trades.
        lean: how far it aims beside the reference.
        inertia: how much of the old distance it keeps: 1 never trades, 0 goes all the way.
    """

    moneyness: tuple[float, float]
    time_left: tuple[float, float]
    share: float
    absolute: float
    mean: float
    untraded: float
    needless: float
    missed: float
    lean: float
    inertia: float


class Beside:
    """A hedger with another one at its side, who is asked at every decision and not heeded.

    Attributes:
        name: the hedger's.
        asked: where the other would go from the hedger's own holdings, ``[N, K]`` by date.
    """

    def __init__(self, hedger: Hedger, other: Hedger) -> None:
        self.name, self._hedger, self._other = hedger.name, hedger, other
        self.asked: list[Floats] = []

    def start(self, n: int) -> tuple[Any, Any]:
        """The states of both."""
        self.asked = []
        return self._hedger.start(n), self._other.start(n)

    def act(self, known: Known, state: tuple[Any, Any]) -> tuple[X, tuple[Any, Any]]:
        """The hedger's holdings."""
        answer, beside = self._other.act(known, state[1])
        self.asked.append(np.array(answer, dtype=np.float64))
        holdings, own = self._hedger.act(known, state[0])
        return holdings, (own, beside)


def delta_holdings(scenario: Scenario, episodes: Episodes, outcome: Outcome) -> Floats:
    """The delta-neutral holding of the first delta-one instrument beside the options held."""
    desk, tape, held = Desk(scenario, NUMPY), Tape.of(episodes), np.asarray(outcome.holding)
    options = range(scenario.contract.options)
    return np.stack(
        [desk.neutral(tape, t, [held[t, :, k] for k in options])[0] for t in range(tape.steps)]
    )


def differences(
    scenario: Scenario, episodes: Episodes, outcome: Outcome, reference: Floats
) -> list[Difference]:
    """The buckets of moneyness and time left, the largest mean absolute difference first.

    Holdings are those of the first delta-one instrument, ``reference [T, N]`` too; paths that have
    stopped are left out. Evidence: tests/experiments/test_explanation.py.
    """
    held = np.asarray(outcome.holding)[..., scenario.contract.options]
    before = np.concatenate([np.zeros_like(held[:1]), held[:-1]])
    moneyness, left = _standing(scenario, episodes)
    going = np.asarray(outcome.going)
    found = []
    for money in pairwise(MONEYNESS):
        for time in pairwise(TIMES):
            inside = (moneyness >= money[0]) & (moneyness < money[1]) & going
            inside &= (left > time[0]) & (left <= time[1])
            if not inside.any():
                continue
            gap, old = (held - reference)[inside], (before - reference)[inside]
            rests, asked = (held == before)[inside], np.abs(old) > ROUNDING
            spread = old - old.mean()
            variance = float((spread**2).mean())
            inertia = float((spread * gap).mean()) / variance if variance > LEAST else 0.0
            found.append(
                Difference(
                    money,
                    time,
                    share=float(inside.sum() / going.sum()),
                    absolute=float(np.abs(gap).mean()),
                    mean=float(gap.mean()),
                    untraded=float(rests.mean()),
                    needless=float((~rests & ~asked).mean()),
                    missed=float((rests & asked).mean()),
                    lean=float(gap.mean() - inertia * old.mean()),
                    inertia=inertia,
                )
            )
    return sorted(found, key=lambda each: -each.absolute)


def overall(found: Sequence[Mapping[str, Any]]) -> str:
    """All buckets together in a line, from `Difference`s as plain data."""
    means = {
        name: sum(each["share"] * each[name] for each in found)
        for name in ("absolute", "untraded", "needless", "missed")
    }
    shares = ", ".join(f"{means[name]:.1%} {name}" for name in ("untraded", "needless", "missed"))
    return f"over all decisions mean |h - r| {means['absolute']:.4f}, {shares}."


def _standing(scenario: Scenario, episodes: Episodes) -> tuple[Floats, Floats]:
    """Moneyness and the share of the episode that is left, at every decision, ``[T, N]``."""
    arrays, contract = episodes.numpy(), scenario.contract
    strike = contract.strikes[0] if contract.strikes else contract.spots[0]
    given = contract.maturities[0] if contract.maturities else None
    end = arrays.times[-1] if given is None else given
    time_left = np.maximum(end - arrays.times[:-1], LEAST)
    vol = arrays.vol[:-1] if len(arrays.vol) > 1 else arrays.vol
    total = np.maximum(vol * np.sqrt(time_left), LEAST)
    moneyness = np.log(arrays.spot[:-1] / strike) / total
    left = 1.0 - arrays.times[:-1] / arrays.times[-1]
    return moneyness, np.broadcast_to(left, moneyness.shape)
