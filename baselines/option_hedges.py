"""Hedges that trade the listed options: position gamma or vega first, then delta."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field

from ..envs.hedger import Known, stack
from ..envs.ledger import ordered_sum
from ..envs.namespace import X
from ..envs.scenario import Scenario
from .baseline import Baseline

TINY = 1e-30  # a squared Greek below it is none; float32 holds it


class OptionHedge(Baseline):
    """Neutralises one Greek with the options, then delta with the delta-one instruments.

    One Greek leaves several options free: they share it by least squares, the smallest holdings
    that neutralise it. Near its expiry an option's Greek vanishes and the ratio explodes, so every
    holding stays within ``cap``. ``fraction`` is the share of the trade to that ratio which is
    done, and no option is traded until its ratio is off by more than ``band``; both ``cap`` and
    ``band`` are in position sizes (the sum of ``|quantity|``). Delta is closed at every date, for
    the options that the limits let it hold, where something closes their asset's delta. A settled
    option is held no more.
    """

    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    cap: Annotated[float, Field(gt=0)] = 2.0
    band: Annotated[float, Field(ge=0)] = 0.0

    @abstractmethod
    def exposures(self, known: Known) -> tuple[X, X]:
        """The Greek of the position, ``[N]``, and of the instruments, ``[N, K]``."""

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``n_k = -G g_k / sum_j g_j^2`` of the options, then ``-(Delta + n . delta)``."""
        options = self._options(known)
        return stack((*options, *_closing(known, options))), None

    def _options(self, known: Known) -> tuple[X, ...]:
        """The option holdings, each ``[N]``, within the scenario's limits."""
        ops, size, count = known.ops, known.contract.size, known.contract.options
        greek, each = self.exposures(known)
        total = ops.maximum(ordered_sum([each[:, k] ** 2 for k in range(count)]), TINY)
        chosen = []
        for k, held in enumerate(known.account.holding[:count]):
            ratio = ops.clip(-greek * each[:, k] / total, -self.cap * size, self.cap * size)
            mixed = self.fraction * ratio + (1 - self.fraction) * held
            target = ops.where(ops.abs(ratio - held) > self.band * size, mixed, held)
            chosen.append(known.scenario.limits[k].apply(target, held, ops))
        return tuple(chosen)

    def refusal(self, scenario: Scenario) -> str | None:
        """For a scenario with options, whose Greeks are of one asset."""
        contract = scenario.contract
        if not contract.options:
            return (
                "the scenario has no options: list one in hedges (listed-option or "
                "rolled-option), or take delta"
            )
        claims = [leg.claim for leg in scenario.position.legs]
        assets = {number for claim in claims for number in (claim.asset, claim.reach)}
        assets.update(contract.assets[: contract.options])
        if len(assets) > 1:
            return (
                f"position and options are on assets {sorted(assets)}: their Greeks are not of one "
                "asset and do not add up, so take delta"
            )
        return None


class DeltaGammaHedge(OptionHedge):
    """Makes position gamma, then delta, neutral.

    Source: Hull, "Options, Futures, and Other Derivatives", 2021, chapter 19. Evidence:
    tests/baselines/test_greek_hedges.py (the book's Greeks after the trade; what it does to the
    hedging error).
    """

    kind: Literal["delta-gamma"] = "delta-gamma"

    def exposures(self, known: Known) -> tuple[X, X]:
        """Gamma."""
        return known.gamma, known.hedge_gamma


class DeltaVegaHedge(OptionHedge):
    """Makes position vega, then delta, neutral.

    Vega is to the vol that the marking moves: the quoted one, or the model's state, where a
    neutral book needs no correction for vol that moves with the price.
    Source: Hull, "Options, Futures, and Other Derivatives", 2021, chapter 19; Cao et al., "Gamma
    and vega hedging using deep distributional reinforcement learning", 2023. Evidence:
    tests/baselines/test_greek_hedges.py (the book's Greeks after the trade; a call under Heston).
    """

    kind: Literal["delta-vega"] = "delta-vega"

    def exposures(self, known: Known) -> tuple[X, X]:
        """Vega."""
        return known.vega, known.hedge_vega


def _closing(known: Known, options: tuple[X, ...]) -> list[X]:
    """The delta-one holdings that make position plus ``options`` delta-neutral."""
    contract, delta = known.contract, known.hedge_delta
    columns = []
    for j, asset in enumerate(contract.assets[contract.options :]):
        k = contract.options + j
        own = [n * delta[:, i] for i, n in enumerate(options) if contract.assets[i] == asset]
        column = known.neutral[:, j]
        columns.append(column - ordered_sum(own) / delta[:, k] if own else column)
    return columns
