"""Options that are bought at the start and kept."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from ..envs.episodes import simulate
from ..envs.frictions import Execution, Financing
from ..envs.hedger import Known, stack
from ..envs.instruments import Instrument, ListedOption
from ..envs.markets import Replay
from ..envs.namespace import X
from ..envs.rollout import rollout
from ..envs.scenario import Hedge, Scenario
from ..envs.view import View
from .baseline import Baseline

PATHS, SEED = 8192, 0  # of the law on which the weights are fitted
# Of the spot: how far a unit's P&L is taken to be off, in every instrument independently, so that
# options that pay on next to no path are not bought by the hundred.
DOUBT = 1e-4
PROBE = 1e-3  # units of an instrument whose P&L is looked at alone


class StaticOptionsHedge(Baseline):
    """Buys options and underlying at the start and keeps them: the static hedge of least variance.

    Carr and Wu span a European claim by shorter options: in one-factor markets C(S, t; K, T) =
    int w(k) C(S, t; k, u) dk with w(k) = d2C/dk2 (k, u; K, T), for all t up to u. A quadrature of
    it asks for strikes at its own nodes. Here the strikes are those that are listed, so the weights
    n are those of least squares: var(P&L of the position + sum of n_k P&L of a unit of instrument
    k) is least over the law of the episode, within the holdings' bounds, on 8192 paths drawn once,
    without costs. With Carr and Wu's strikes they are near Carr and Wu's weights. No remainder can
    be smaller, the underlying joins in, puts will do for calls, and the market may have
    several factors: then what the options cannot span remains.
    Source: Carr and Wu, "Static hedging of standard options", 2014.
    Evidence: tests/baselines/test_static_options.py (Gauss-Hermite weights; a claim on the list is
    bought; the error against daily delta with and without jumps).
    """

    kind: Literal["static-options"] = "static-options"

    def refusal(self, scenario: Scenario) -> str | None:
        """For listed options that live to the end of the episode."""
        options = scenario.hedges[: scenario.contract.options]
        if isinstance(scenario.market, Replay):
            return "it would be fitted on the recorded paths that judge it: take static"
        if not options:
            return "the scenario has no options to hold: list some in hedges, or take static"
        for k, hedge in enumerate(options):
            if not _lives_to_the_end(scenario, hedge.instrument):
                return (
                    f"hedges.{k}: it does not live to the end of the episode: list a listed-option "
                    "that matures then or later"
                )
        return None

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``n`` at every date."""
        one = 0.0 * known.spot + 1.0
        return stack(tuple(n * one for n in static_weights(known.scenario))), None


def _lives_to_the_end(scenario: Scenario, instrument: Instrument) -> bool:
    if not isinstance(instrument, ListedOption):
        return False
    calendar, maturity = scenario.calendar, instrument.option.maturity
    return maturity is None or maturity > calendar.horizon * (1 - 1e-6 / calendar.steps)


class _Unit:
    """Holds ``PROBE`` of one instrument and nothing else; of none where ``k`` is null."""

    name = "unit"

    def __init__(self, k: int | None) -> None:
        self.k = k

    def start(self, n: int) -> None:
        """No memory."""

    def act(self, known: Known, state: None) -> tuple[X, None]:
        held = 0.0 * known.holding
        if self.k is not None:
            held[:, self.k] = PROBE
        return held, None


@lru_cache(maxsize=32)
def static_weights(scenario: Scenario) -> tuple[float, ...]:
    """Units of each instrument held from the start to the end that leave the least variance."""
    free = tuple(Hedge(instrument=hedge.instrument) for hedge in scenario.hedges)
    changes = {"hedges": free, "liquidate": False, "loss_limit": None}
    at_will = {"execution": Execution(), "financing": Financing(), "view": View()}
    costless = scenario.model_copy(update=changes | at_will)
    episodes = simulate(costless, PATHS, torch.Generator().manual_seed(SEED))

    def pnl(k: int | None) -> NDArray[np.float64]:
        total: NDArray[np.float64] = rollout(costless, episodes, _Unit(k)).pnl
        return np.asarray(total - total.mean())

    position = pnl(None)
    units = np.stack([(pnl(k) - position) / PROBE for k in range(len(free))], axis=-1)
    doubt = DOUBT * scenario.market.spot * np.sqrt(PATHS) * np.eye(len(free))
    known = np.concatenate([position, np.zeros(len(free))])
    q, r = np.linalg.qr(np.concatenate([units, doubt]))
    lower, upper = zip(*((limits.lower, limits.upper) for limits in scenario.limits), strict=True)
    fitted = lsq_linear(r, -q.T @ known, bounds=(lower, upper))
    return tuple(float(n) for n in fitted.x)
