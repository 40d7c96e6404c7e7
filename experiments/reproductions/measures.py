"""The columns of published tables, as estimates with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from numpy import float64
from numpy.typing import NDArray

from ...envs.objectives import Objective, VaR
from .. import statistics
from ..evaluation import HedgerResult
from ..statistics import Estimate


@dataclass(frozen=True)
class Sample:
    """What a figure is made of: a hedger's result, delta's P&L ``[N]``, the objective."""

    result: HedgerResult
    delta: NDArray[float64]
    objective: Objective


@dataclass(frozen=True)
class Measure:
    """A column.

    Attributes:
        meaning: in words.
        of: the estimate, in money.
        scales: whether it is money, to be quoted in the table's unit.
    """

    meaning: str
    of: Callable[[Sample], Estimate]
    scales: bool = True


MEASURES: dict[str, Measure] = {
    "loss": Measure("mean of the loss", lambda s: statistics.mean(-s.result.pnl)),
    "pnl": Measure("mean of the P&L", lambda s: s.result.mean),
    "std": Measure("standard deviation of the P&L", lambda s: s.result.std),
    "risk": Measure("the scenario's risk", lambda s: s.result.risk),
    "var_95": Measure("95 % VaR of the loss", lambda s: s.result.var_95),
    "cvar_95": Measure("95 % CVaR of the loss", lambda s: s.result.cvar_95),
    "ratio": Measure(
        "risk over that of delta, on the same paths",
        lambda s: statistics.ratio(s.objective, -s.result.pnl, -s.delta),
        scales=False,
    ),
    "percentile": Measure("1 % quantile of the P&L", lambda s: _percentile(s)),
}


def _percentile(sample: Sample) -> Estimate:
    loss = statistics.risk(VaR(level=0.99), -sample.result.pnl)
    low, high = (None if end is None else -end for end in (loss.high, loss.low))
    return Estimate(-loss.value, low, high, loss.warning)


def scaled(estimate: Estimate, unit: float) -> Estimate:
    """The estimate over ``unit``, which is positive."""
    low, high = (None if end is None else end / unit for end in (estimate.low, estimate.high))
    return Estimate(estimate.value / unit, low, high, estimate.warning)
