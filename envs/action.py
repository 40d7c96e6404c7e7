"""How a learner's action in [-1, 1] becomes a target holding."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from .contract import Contract
from .namespace import Namespace, X
from .part import Kind
from .rule import Rule

MAX_CHOICES = 256
Centre = tuple[X, X] | None
Reach = Annotated[float, Field(gt=0)]


class ActionMap(Kind):
    """Maps the numbers a policy gives for one instrument to that instrument's target holding.

    Instruments are set in the scenario's order with the underlying last, so that its ``centre``
    knows the option holdings just chosen. A centre is a lower and an upper edge, the same number
    where there is no ``base``: the delta-neutral holding. An option then has none (null), and its
    present holding stands in for it. With a base they are the edges of the base's no-trade region
    (`base_edges`), and the underlying's are moved by the delta of the options held beyond the
    base's. ``reach`` is in position sizes (the sum of ``|quantity|``).
    """

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers per instrument."""

    @property
    def built_on(self) -> Rule | None:
        """The base, null where the map has none."""
        return None

    def steered(self, contract: Contract) -> int:
        """How many of the scenario's hedges it gives numbers for, the first ones."""
        return contract.hedges

    def refusal(self, contract: Contract) -> str | None:
        """Why the hedges do not fit it, with the mend; null where they do."""
        return None

    @abstractmethod
    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        """The target holding for ``action`` (``width`` numbers in [-1, 1]), before any limit.

        Element by element: numbers, ``[N]``, or all dates at once, ``[T, N]``.
        """


class TargetAction(ActionMap):
    """The holding as a fraction of its bounds: -1 is the lower one, 1 the upper one."""

    kind: Literal["target"] = "target"

    @property
    def width(self) -> int:
        """One number: the fraction."""
        return 1

    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        """``lower + (1 + a) / 2 (upper - lower)``."""
        lower, upper = bounds
        return lower + (0.5 * (upper - lower)) * (1.0 + action[0])


class TradeAction(ActionMap):
    """The trade itself, up to ``reach`` position sizes either way."""

    kind: Literal["trade"] = "trade"
    reach: Reach = 1.0

    @property
    def width(self) -> int:
        """One number: the trade."""
        return 1

    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        """``holding + reach a``."""
        return holding + (self.reach * size) * action[0]


class ResidualAction(ActionMap):
    """What a base hedger holds plus a bounded correction; without a base the centre plus that."""

    kind: Literal["residual"] = "residual"
    reach: Reach = 0.3
    base: Rule | None = None

    @property
    def built_on(self) -> Rule | None:
        """The base."""
        return self.base

    @property
    def width(self) -> int:
        """One number: the correction."""
        return 1

    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        """``clip(holding, centre) + reach a``."""
        if centre is None:
            return holding + (self.reach * size) * action[0]
        lower, upper = centre
        held = lower if lower is upper else ops.minimum(ops.maximum(holding, lower), upper)
        return held + (self.reach * size) * action[0]


class BandAction(ActionMap):
    """A lower and an upper edge around the centre; trade to the nearest edge, only when outside.

    The form of the optimum under proportional costs. Source: Davis, Panas and Zariphopoulou,
    "European Option Pricing with Transaction Costs", 1993; Imaki et al., "No-Transaction Band
    Network", 2021. The edges are free: each may lie anywhere within ``reach`` of the centre's own.
    At action 0 they stand ``rest`` apart from it, so that an untrained policy trades little;
    without a centre they both stand at the present holding. With a base that has a band of its own
    the edges are additive corrections of that band.
    """

    kind: Literal["band"] = "band"
    reach: Reach = 1.0
    rest: Annotated[float, Field(ge=0)] = 0.1
    base: Rule | None = None

    @property
    def built_on(self) -> Rule | None:
        """The base."""
        return self.base

    @property
    def width(self) -> int:
        """Two numbers: the edges."""
        return 2

    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        """``clip(holding, lower - rest + reach a0, upper + rest + reach a1)``, edges in order."""
        return ops.between(holding, *self.edges(action, holding, centre, size))

    def edges(self, action: tuple[X, ...], holding: X, centre: Centre, size: float) -> tuple[X, X]:
        """The two edges in units of the instrument; the lower one may come second."""
        reach = self.reach * size
        if centre is None:
            # No rest: nothing is traded at action 0 anyway, and a width about the present holding
            # would hide every small trade from the gradient, so that no option is ever bought.
            return holding + reach * action[0], holding + reach * action[1]
        rest = self.rest * size
        return (centre[0] - rest) + reach * action[0], (centre[1] + rest) + reach * action[1]


class TriggerAction(BandAction):
    """A band that is left alone until the holding is ``slack`` outside it; then to its edge.

    The form of the optimum where every trade pays a fee: it is worth a fee only from some distance
    on, and then trades further. Source: Eastham and Hastings, "Optimal Impulse Control of
    Portfolios", 1988; Whalley and Wilmott, "Optimal hedging of options with small but arbitrary
    transaction cost structure", 1999. At action 0 edges and slack are each ``rest``.
    """

    kind: Literal["trigger"] = "trigger"  # type: ignore[assignment]

    @property
    def width(self) -> int:
        """Three numbers: the edges and the slack."""
        return 3

    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        """The band's target where it is more than the slack away, else the holding."""
        edge, slack = self.parts(action, holding, centre, size, ops)
        return ops.where(ops.abs(edge - holding) > slack, edge, holding)

    def parts(
        self, action: tuple[X, ...], holding: X, centre: Centre, size: float, ops: Namespace
    ) -> tuple[X, X]:
        """The band's target, and ``max(rest + reach a2, 0)`` position sizes."""
        edge = ops.between(holding, *self.edges(action, holding, centre, size))
        slack = ops.maximum(self.rest * size + (self.reach * size) * action[2], 0.0)
        return edge, slack


class GreekAction(ActionMap):
    """The fraction of the option trade that neutralises a Greek; delta is closed by itself.

    For one option and the underlying. 1 makes position and options held neutral in the ``greek``,
    -1 trades no option. The trade ends at the option's bounds.
    Source: Cao, Chen, Farghadani, Hull, Poulos, Wang and Yuan, "Gamma and vega hedging using deep
    distributional reinforcement learning", 2023, section 3. Evidence: tests/envs/test_greek.py.
    """

    kind: Literal["greek"] = "greek"
    greek: Literal["gamma", "vega"] = "gamma"

    @property
    def width(self) -> int:
        """One number: the fraction."""
        return 1

    def steered(self, contract: Contract) -> int:
        """The options."""
        return len(contract.listings)

    def refusal(self, contract: Contract) -> str | None:
        """For one option on the one asset."""
        options, assets = len(contract.listings), len(contract.spots)
        if (options, assets) == (1, 1):
            return None
        return (
            f"greek with {options} options and {assets} assets: it trades one option on the one "
            "asset, so choose band, or hedge with one"
        )

    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        """``holding + (1 + a) / 2 (neutral - holding)``; of the underlying the neutral holding."""
        assert centre is not None
        if not action:
            return centre[0]
        neutral = ops.clip(centre[0], *bounds)
        return holding + (0.5 + 0.5 * action[0]) * (neutral - holding)


Continuous = TargetAction | TradeAction | ResidualAction | BandAction | TriggerAction | GreekAction


class DiscreteAction(ActionMap):
    """One flat choice: ``levels`` evenly spaced values in [-1, 1] for every number of ``of``."""

    kind: Literal["discrete"] = "discrete"
    levels: Annotated[int, Field(ge=2)] = 9
    of: Annotated[Continuous, Field(discriminator="kind")] = BandAction(reach=0.5)

    @model_validator(mode="after")
    def _countable(self) -> DiscreteAction:
        self.table(1)
        return self

    def table(self, instruments: int) -> NDArray[np.float32]:
        """The action of each choice, ``[choices, instruments * width]``.

        Raises:
            ValueError: when there are more than 256 choices.
        """
        numbers = instruments * self.of.width
        choices = self.levels**numbers
        if choices > MAX_CHOICES:
            raise ValueError(
                f"{self.levels} levels for {numbers} numbers are {choices} choices, more than "
                f"{MAX_CHOICES}: lower levels, or use a continuous action"
            )
        grid = np.linspace(-1, 1, self.levels, dtype=np.float32)
        return np.array(list(itertools.product(grid, repeat=numbers)), dtype=np.float32)

    @property
    def width(self) -> int:
        """As many as the map it chooses from."""
        return self.of.width

    @property
    def built_on(self) -> Rule | None:
        """The base of the map it chooses from."""
        return self.of.built_on

    def steered(self, contract: Contract) -> int:
        """As many as the map it chooses from."""
        return self.of.steered(contract)

    def refusal(self, contract: Contract) -> str | None:
        """That of the map it chooses from."""
        return self.of.refusal(contract)

    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        """The target of the continuous map; the environment has looked the choice up in `table`."""
        return self.of.target(action, holding, centre, bounds, size, ops)
