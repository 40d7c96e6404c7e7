"""What a pathwise gradient is taken through where the P&L jumps with the holdings.

A gradient does not see a jump: not the fee that starts with a trade, not a lot, not the moment when
a loss limit ends an episode. Training then plays a smooth version of the desk; every evaluation
plays the exact one.

- A fee or a commission's minimum is spread over small trades (`Cost.smoothed`), and a trigger is
  reached gradually, over a width that falls from `WIDEST` to `NARROWEST` position sizes.
- A lot is kept, and its gradient is that of the number before it was rounded (straight through;
  Bengio, Leonard, Courville, "Estimating or propagating gradients through stochastic neurons",
  2013).
- A loss limit and a margin call are left out: a policy learns what to do as if the episode went on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...envs import Scenario, View
from ...envs.action import Centre, TriggerAction
from ...envs.costs import Cost
from ...envs.desk import Desk
from ...envs.namespace import SCALAR, TORCH, Namespace, X

WIDEST, NARROWEST = 0.05, 0.02  # position sizes, at the start and at the end of a training
SMALL_TRADE = 1e-12  # units; a cost that is still there jumps, even a root's is at a millionth


class SurrogateDesk(Desk):
    """A desk whose every line has a gradient; without jumps it is the desk itself.

    Evidence: tests/agents/test_surrogate.py.
    """

    def __init__(self, scenario: Scenario, view: View | None = None) -> None:
        super().__init__(scenario, STRAIGHT_THROUGH, view)
        self._exact, self._size = self.costs, self.contract.size
        self.loss_limit = None
        if self.margin is not None:
            self.margin = self.margin.model_copy(update={"maintenance": 0.0})
        self.narrow(1.0)

    def narrow(self, remaining: float) -> None:
        """Set the width for what remains of the training, 1 at its start and 0 at its end."""
        width = self._size * WIDEST ** max(remaining, 0.0) * NARROWEST ** (1 - max(remaining, 0.0))
        self.costs: Any = tuple(
            tuple(_Smooth(cost, width) if jumps(cost, self.scenario) else cost for cost in costs)
            for costs in self._exact
        )
        if isinstance(self.view.action, TriggerAction):
            self.action: Any = _Gradual(self.view.action, width)


class _Smooth:
    """A cost in its smooth version."""

    def __init__(self, cost: Cost, width: float) -> None:
        self._cost, self._width = cost, width

    def charge(self, trade: X, price: X, ops: Namespace) -> X:
        return self._cost.smoothed(trade, price, self._width, ops)


class _Gradual:
    """A trigger that moves the holding by a share that grows from 0 to 1 about its slack."""

    def __init__(self, trigger: TriggerAction, width: float) -> None:
        self._trigger, self._width = trigger, width
        self.built_on = trigger.built_on

    def target(
        self,
        action: tuple[X, ...],
        holding: X,
        centre: Centre,
        bounds: tuple[float, float],
        size: float,
        ops: Namespace,
    ) -> X:
        edge, slack = self._trigger.parts(action, holding, centre, size, ops)
        beyond = ops.abs(edge - holding) - slack
        return holding + torch.sigmoid(beyond / self._width) * (edge - holding)


class _StraightThrough(type(TORCH)):  # type: ignore[misc]
    """Torch, whose rounding has the gradient of its argument."""

    @staticmethod
    def round(x: Tensor) -> Tensor:
        return x + (torch.round(x) - x).detach()


STRAIGHT_THROUGH: Namespace = _StraightThrough()


def jumps(cost: Cost, scenario: Scenario) -> bool:
    """Whether a cost stays where the trade goes to 0."""
    spot = scenario.contract.spot
    return bool(cost.charge(SMALL_TRADE, spot, SCALAR) > 1e-5 * cost.charge(1.0, spot, SCALAR))


def check_pathwise(scenario: Scenario, agent: str) -> None:
    """Refuse a scenario that no pathwise gradient can be taken of, not even of a smooth version.

    Raises:
        ValueError: for a cost that stays as the trade goes to 0 and has no smooth version, naming
            its key; for an objective without a pointwise loss, from the objective.
    """
    if not scenario.objective.trainable:
        scenario.objective.pointwise(0.0, (), SCALAR)
    keys = [
        f"hedges.{k}.costs.{i}"
        for k, costs in enumerate(scenario.costs)
        for i, cost in enumerate(costs)
        if jumps(cost, scenario) and type(cost).smoothed is Cost.smoothed
    ]
    if keys:
        raise ValueError(
            f"agent {agent}: {', '.join(keys)}: the cost jumps at the smallest trade, which a "
            "pathwise gradient does not see: give its kind a smoothed version, or train ppo"
        )
