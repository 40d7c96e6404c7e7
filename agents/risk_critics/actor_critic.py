"""A deterministic actor that lowers a risk which its critic knows."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from stable_baselines3 import TD3
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import Tensor, nn

from ...envs import Scenario, View
from ...envs.learning import LearningProblem
from ...envs.namespace import TORCH
from ...envs.rewards import AccountingReward, PairedAccountingReward
from ..pathwise.policy import LAST_LAYER
from ..sb3_environment import HedgingVecEnv
from .replay import Transitions

Commitment = Literal["start", "each-date"]


class CautiousPolicy(TD3Policy):
    """TD3's networks; the untrained actor's actions are near 0, where the action map rests."""

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """The actor, and again for its target."""
        actor = super().make_actor(features_extractor)
        last = [layer for layer in actor.mu if isinstance(layer, nn.Linear)][-1]
        with torch.no_grad():
            last.weight.mul_(LAST_LAYER)
            last.bias.zero_()
        return actor


class RiskActorCritic(TD3):
    """TD3's loop, networks and targets around a critic of the remaining P&L's law.

    The actor lowers the scenario's risk of the total loss -(P&L so far + remaining P&L), over the
    law that the critic gives to the rest (gamma = 1). ``commitment`` says which risk:

    - ``start``: E[l_theta(L)], theta fixed at that of the latest finished episodes. It is the risk
      seen from time 0 (pre-commitment), the one that every table here reports.
    - ``each-date``: rho(L) given what is known at the date, as in the papers. Unless the risk is
      entropic or (semi-)quadratic it is not time-consistent: what is best tomorrow is not what
      today's risk wants tomorrow, and the risk from time 0 is not the one that is lowered.

    The critics see where an action leads (`leads_to`), not the action itself. The actor waits
    until ``actor_starts`` of the training is done, for critics that know something.

    Raises:
        ValueError: where the objective or the reward do not fit (`check`); for another commitment.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": CautiousPolicy}

    def __init__(
        self,
        *args: Any,
        commitment: Commitment = "start",
        actor_starts: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if commitment not in get_args(Commitment):
            raise ValueError(f"commitment {commitment!r}: choose start or each-date")
        self.commitment, self.actor_starts = commitment, actor_starts
        super().__init__(*args, **kwargs)

    @classmethod
    def check(cls, scenario: Scenario, view: View) -> None:
        """Refuse what the critic cannot learn.

        Raises:
            ValueError: for a reward that is not the step's P&L.
        """
        if not isinstance(view.reward, AccountingReward | PairedAccountingReward):
            kind = getattr(view.reward, "kind")  # noqa: B009 - declared by the kinds
            raise ValueError(
                f"view.reward {kind!r}: this agent's critics learn the P&L itself: leave the "
                "reward out, or take accounting"
            )

    @property
    def problem(self) -> LearningProblem:
        """What is learned, from the environment."""
        assert isinstance(self.env, HedgingVecEnv)
        return self.env.env.problem

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """So many updates of the critic, and every ``policy_delay``-th time of the actor."""
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
        critic_losses, risks = [], []
        for _ in range(gradient_steps):
            self._n_updates += 1
            assert self.replay_buffer is not None
            data: Any = self.replay_buffer.sample(batch_size)
            loss = self.critic_loss(data)
            self.critic.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.critic.optimizer.step()
            critic_losses.append(loss.item())
            if self._n_updates % self.policy_delay == 0:
                if 1.0 - self._current_progress_remaining >= self.actor_starts:
                    risks.append(self._improve(data))
                polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if risks:
            self.logger.record("train/actor_loss", np.mean(risks))
        if critic_losses:
            self.logger.record("train/critic_loss", np.mean(critic_losses))

    def _improve(self, data: Transitions) -> float:
        """One step of the actor against the critic's risk; that risk, in money scales."""
        risk = self.risk(data, self.actor(data.observations)).mean()
        self.actor.optimizer.zero_grad()
        risk.backward()  # type: ignore[no-untyped-call]
        self.actor.optimizer.step()
        polyak_update(self.actor.parameters(), self.actor_target.parameters(), self.tau)
        return risk.item()

    @abstractmethod
    def critic_loss(self, data: Transitions) -> Tensor:
        """The misfit of the critic to its bootstrapped targets on a batch."""

    @abstractmethod
    def risk(self, data: Transitions, actions: Tensor) -> Tensor:
        """What the actor lowers, ``[n]`` in money scales, for ``actions`` in the batch's states."""

    def leads_to(self, observations: Tensor, actions: Tensor) -> Tensor:
        """What the critics see of ``actions [n, width]``: where the map leads; of the same shape.

        For each instrument its gap to the delta-neutral holding after the trade and, with two
        numbers, the trade, in position sizes, before limits. An edge that does not bind
        then has no slope, and what a holding is worth need not be learned once per edge. The action
        itself where the observation does not hold what the map starts from: with listed options,
        with a base, or without the features holding and gap; and where there are more numbers.
        """
        desk, columns = self.problem.desk, self.problem.columns
        count, width = desk.contract.instruments, desk.width
        if desk.options or desk.action.built_on is not None or width > 2:
            return actions
        gaps = ["gap"] if count == 1 else [f"gap_{k}" for k in range(count)]
        if not {"holding_0", gaps[0]} <= set(columns):
            return actions
        seen: list[Tensor] = []
        for k, name in enumerate(gaps):
            held, gap = (observations[:, columns.index(c)] for c in (f"holding_{k}", name))
            numbers = tuple(actions[:, k * width + i] for i in range(width))
            lower, upper = (bound / desk.contract.size for bound in desk.bounds[k])
            centre = held - gap
            target = desk.action.target(numbers, held, (centre, centre), (lower, upper), 1.0, TORCH)
            seen += [target - centre, target - held][:width]
        return torch.stack(seen, dim=1)
