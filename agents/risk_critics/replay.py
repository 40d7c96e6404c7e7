"""Replay for critics of the remaining P&L: the P&L so far comes with every transition."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from ...envs.rewards import AccountingReward, RewardStep
from ..replay import HedgingReplayBuffer


class Transitions(NamedTuple):
    """A batch of n transitions; money is in money scales of the scenario.

    Attributes:
        observations: ``[n, F]``.
        actions: ``[n, width]``.
        next_observations: ``[n, F]``.
        dones: 1 where the episode ended, else 0, ``[n, 1]``.
        pnl: the step's P&L, luck and all, ``[n, 1]``.
        paired: the reward, whose mean ranks actions as that of ``pnl`` does, ``[n, 1]``.
        earned: the P&L before the step, ``[n, 1]``.
    """

    observations: Tensor
    actions: Tensor
    next_observations: Tensor
    dones: Tensor
    pnl: Tensor
    paired: Tensor
    earned: Tensor


class PnlReplayBuffer(HedgingReplayBuffer):
    """Samples `Transitions` from the stored books."""

    def _get_samples(  # type: ignore[override]
        self, batch_inds: NDArray[Any], env: VecNormalize | None = None
    ) -> Transitions:
        at = np.random.randint(0, self.n_envs, len(batch_inds))  # noqa: NPY002 - as SB3 draws
        problem = self._env.problem
        step = RewardStep(*self.books[batch_inds, at].T)
        objective, theta, ops = problem.objective, problem.theta, problem.ops
        money = (
            AccountingReward().value(step, objective, theta, ops),
            problem.reward.value(step, objective, theta, ops),
            step.wealth_before,
        )
        rows = (
            self.observations[batch_inds, at],
            self.actions[batch_inds, at],
            self.next_observations[batch_inds, at],
            self.dones[batch_inds, at].reshape(-1, 1),
            *[(m * problem.scale).astype(np.float32).reshape(-1, 1) for m in money],
        )
        return Transitions(*map(self.to_torch, rows))
