"""Two critics: the mean and the mean square of the remaining cost."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...envs import Scenario, View
from ...envs.objectives import MeanStd, MeanVariance
from .actor_critic import RiskActorCritic
from .replay import Transitions


class TwoCritic(RiskActorCritic):
    """Mean + c std or mean-variance from Q1 = E[C] and Q2 = E[C^2] of the remaining cost C.

    With the step's cost c, and a prime for the next date under the target policy: Q1 is fitted to
    c + Q1', Q2 to c^2 + 2 c Q1' + Q2'. Q2 is held as Q1^2 + s^2 with a network for s >= 0, so that
    the root never meets a negative number, and its target less Q1^2 is (c + Q1' - Q1)^2 + s'^2,
    which has the same mean and less noise. The actor lowers Q1 + c s, or Q1 + a s^2 / 2.

    The slope of the mean comes from a third network, fitted to the paired reward: it is the same
    expectation up to what no action changes. Nothing is taken off the cost whose spread is learned.

    Source: Cao, Chen, Hull, Poulos, "Deep hedging of derivatives using reinforcement learning",
    2021, section 4. Evidence: tests/agents/test_risk_critics.py (moments against Monte Carlo, a
    closed form).

    Raises:
        ValueError: for an objective that two moments do not give (`check`).
    """

    @classmethod
    def check(cls, scenario: Scenario, view: View) -> None:
        """Refuse what the critics cannot learn.

        Raises:
            ValueError: for an objective other than mean-std and mean-variance, and as its parent.
        """
        if not isinstance(scenario.objective, MeanStd | MeanVariance):
            raise ValueError(
                f"agent two-critic knows a mean and a variance, which do not give the "
                f"{scenario.objective.label}: take mean-std or mean-variance, or train "
                "quantile-critic"
            )
        super().check(scenario, view)

    def moments(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """E[C] and E[C^2] of the remaining cost, ``[n]`` each, in money scales (squared)."""
        mean, _, deviation = self._read(self.critic, observations, actions)
        return mean, mean * mean + deviation * deviation

    def _read(
        self, critic: Any, observations: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, paired mean and standard deviation, ``[n]`` each."""
        mean, paired, raw = critic(observations, self.leads_to(observations, actions))
        return mean[:, 0], paired[:, 0], functional.softplus(raw[:, 0])

    def critic_loss(self, data: Transitions) -> Tensor:
        """The mean square misfits of the three networks."""
        mean, paired, deviation = self._read(self.critic, data.observations, data.actions)
        with torch.no_grad():
            going = 1.0 - data.dones[:, 0]
            actions = self.actor_target(data.next_observations)
            ahead = self._read(self.critic_target, data.next_observations, actions)
            cost = going * ahead[0] - data.pnl[:, 0]
            paired_cost = going * ahead[1] - data.paired[:, 0]
            square = (cost - mean) ** 2 + going * ahead[2] ** 2
        return (
            functional.mse_loss(mean, cost)
            + functional.mse_loss(paired, paired_cost)
            + functional.mse_loss(deviation * deviation, square)
        )

    def risk(self, data: Transitions, actions: Tensor) -> Tensor:
        """Q1 + c s, or Q1 + a s^2 / 2; with "start" the mean of the pointwise loss."""
        cost, paired, deviation = self._read(self.critic, data.observations, actions)
        mean = paired + (cost - paired).detach() - data.earned[:, 0]
        objective, money = self.problem.objective, 1.0 / self.problem.scale
        assert isinstance(objective, MeanStd | MeanVariance)
        theta = [value / money for value in self.problem.theta]
        if self.commitment == "each-date" and isinstance(objective, MeanStd):
            return mean + objective.weight * deviation
        variance = deviation * deviation
        if self.commitment == "start":
            variance = variance + (mean - theta[0]) ** 2
        if isinstance(objective, MeanStd):
            return mean + 0.5 * objective.weight * (variance / theta[1] + theta[1])
        return mean + 0.5 * objective.aversion * money * variance
