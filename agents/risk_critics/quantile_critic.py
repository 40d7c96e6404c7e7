"""A critic of the quantiles of the remaining P&L."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from sb3_contrib.common.utils import quantile_huber_loss
from sb3_contrib.tqc.policies import Critic
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn
from torch.nn import functional

from ...envs import Scenario, View
from ...envs.namespace import TORCH
from .actor_critic import CautiousPolicy, RiskActorCritic
from .quantile_risk import risk_of_quantiles
from .replay import Transitions

SHARPNESS = 100.0  # one over Huber's width in money scales: wider, and quantiles are expectiles


class LawCritic(Critic):
    """TQC's quantile network, and one number more: a mean learned from the paired reward."""

    def __init__(self, *, features_dim: int, **arguments: Any) -> None:
        super().__init__(features_dim=features_dim, n_critics=1, **arguments)
        inputs = features_dim + get_action_dim(arguments["action_space"])
        layers = create_mlp(inputs, 1, arguments["net_arch"], arguments["activation_fn"])
        self.mean = nn.Sequential(*layers)

    def law(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """The quantiles at the levels (i + 1/2) / n, ``[batch, n]``, and the mean ``[batch]``."""
        quantiles: Tensor = self(observations, actions)
        mean: Tensor = self.mean(torch.cat([observations, actions], dim=1))
        return quantiles[:, 0], mean[:, 0]


class QuantileCriticPolicy(CautiousPolicy):
    """The deterministic actor beside a `LawCritic`."""

    def __init__(self, *args: Any, n_quantiles: int = 32, **kwargs: Any) -> None:
        self.n_quantiles = n_quantiles
        super().__init__(*args, **kwargs)

    def make_critic(self, features_extractor: Any = None) -> Any:
        """The critic, and again for its target."""
        arguments = self._update_features_extractor(self.critic_kwargs, features_extractor)
        arguments.pop("n_critics")
        return LawCritic(**arguments, n_quantiles=self.n_quantiles).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "n_quantiles": self.n_quantiles}


class QuantileCritic(RiskActorCritic):
    """Any objective, VaR included, from the quantiles of the remaining P&L.

    The critic fits quantiles Z_i(s, a), i = 1 ... n, to the step's P&L + Z_j(s', a') of the target
    policy by quantile regression (Huber's, narrow). The actor lowers the risk of the n equally
    likely losses -(P&L so far + Z_i); with the commitment "start" the mean of their pointwise
    losses. A VaR has none, and is always that of the date.

    The common shift of the quantiles takes its slope from a mean that is fitted to the paired
    reward: the same expectation up to what no action changes. The quantiles themselves are learned
    from the P&L with all its luck, as they must be.

    Source: Cao, Chen, Farghadani, Hull, Poulos, Wang, Yuan, "Gamma and vega hedging using deep
    distributional reinforcement learning", 2023, section 3; Dabney, Rowland, Bellemare, Munos,
    "Distributional reinforcement learning with quantile regression", 2018, algorithm 1. Evidence:
    tests/agents/test_risk_critics.py (quantiles against simulated ones, a closed form).

    Raises:
        ValueError: for an objective without a formula in quantiles (`check`).
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": QuantileCriticPolicy}

    @classmethod
    def check(cls, scenario: Scenario, view: View) -> None:
        """Refuse what the critic cannot learn.

        Raises:
            ValueError: for an objective without a formula in quantiles, and as its parent.
        """
        risk_of_quantiles(scenario.objective, torch.zeros(1, 2))
        super().check(scenario, view)

    def quantiles(self, observations: Tensor, actions: Tensor) -> Tensor:
        """The quantiles of the remaining P&L, ``[batch, n]`` in money scales."""
        critic: Any = self.critic
        law: Tensor = critic.law(observations, self.leads_to(observations, actions))[0]
        return law

    def critic_loss(self, data: Transitions) -> Tensor:
        """The quantile regression of the law and the mean square misfit of the mean."""
        critic: Any = self.critic
        target: Any = self.critic_target
        with torch.no_grad():
            actions = self.actor_target(data.next_observations)
            seen = self.leads_to(data.next_observations, actions)
            ahead, mean_ahead = target.law(data.next_observations, seen)
            going = 1.0 - data.dones
            pnl = data.pnl + going * ahead
            paired = (data.paired + going * mean_ahead[:, None])[:, 0]
        seen = self.leads_to(data.observations, data.actions)
        law, mean = critic.law(data.observations, seen)
        fit = quantile_huber_loss(SHARPNESS * law, SHARPNESS * pnl, sum_over_quantiles=False)
        return fit / SHARPNESS + functional.mse_loss(mean, paired)

    def risk(self, data: Transitions, actions: Tensor) -> Tensor:
        """The risk of the total losses, or the mean of their pointwise losses."""
        critic: Any = self.critic
        law, paired = critic.law(data.observations, self.leads_to(data.observations, actions))
        shift = paired - law.mean(1)
        rest = law + (shift - shift.detach())[:, None]
        objective, money = self.problem.objective, 1.0 / self.problem.scale
        losses = -(data.earned + rest) * money
        if self.commitment == "start" and objective.trainable:
            pointwise: Tensor = objective.pointwise(losses, self.problem.theta, TORCH).mean(1)
            return pointwise / money
        return risk_of_quantiles(objective, losses) / money
