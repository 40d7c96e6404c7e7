"""Replay: marked wealth is kept, rewards are computed when sampled, and how often it is sampled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize

from ..envs import HedgingVectorEnv
from ..envs.group_terms import Terms
from ..envs.rewards import RewardStep


class HedgingReplayBuffer(ReplayBuffer):
    """Rewards with the present theta, whatever it was when the transition was stored."""

    def __init__(self, *args: Any, hedging_env: HedgingVectorEnv, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._env = hedging_env
        fields = len(RewardStep._fields)
        self.books = np.zeros((self.buffer_size, self.n_envs, fields), dtype=np.float64)
        self.drawn: NDArray[np.float64] | None = None  # aversion (NaN: not drawn) and group
        if hedging_env.problem.groups is not None:
            self.drawn = np.full((self.buffer_size, self.n_envs, 2), np.nan)

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Store the transition and what it did to the books."""
        assert self._env.reward_step is not None
        for field, value in enumerate(self._env.reward_step):
            self.books[self.pos, :, field] = value
        if self.drawn is not None:
            assert self._env.drawn is not None
            for field, value in enumerate(self._env.drawn):
                self.drawn[self.pos, :, field] = np.nan if value is None else value
        super().add(obs, next_obs, action, reward, done, infos)

    def _get_samples(
        self, batch_inds: NDArray[Any], env: VecNormalize | None = None
    ) -> ReplayBufferSamples:
        at = np.random.randint(0, self.n_envs, len(batch_inds))  # noqa: NPY002 - as SB3 draws
        problem = self._env.problem
        books = self.books[batch_inds, at]
        step = RewardStep(*books.T)
        objective, theta, scale = self._terms(batch_inds, at)
        reward = problem.reward.value(step, objective, theta, problem.ops)
        data = (
            self.observations[batch_inds, at],
            self.actions[batch_inds, at],
            self.next_observations[batch_inds, at],
            self.dones[batch_inds, at].reshape(-1, 1),
            (reward * scale).astype(np.float32).reshape(-1, 1),
        )
        return ReplayBufferSamples(*[self.to_torch(array) for array in data])

    def _terms(self, batch_inds: NDArray[Any], at: NDArray[Any]) -> Terms:
        """What the sampled transitions' rewards are measured with now."""
        problem = self._env.problem
        if self.drawn is None:
            return problem.terms(None, None)
        aversion, group = self.drawn[batch_inds, at].T
        return problem.terms(None if problem.variation.aversion is None else aversion, group)


class ReplayRate(BaseCallback):
    """Sets the gradient steps after every rollout so that each transition earns ``rate`` of them.

    SB3 takes the same whole number after every rollout; here fractions are carried over.
    Transitions of the warm-up earn none.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate
        self._stored = self._taken = 0

    def state(self) -> tuple[int, int]:
        """Transitions that earned gradient steps, and the steps taken."""
        return self._stored, self._taken

    def restore(self, state: tuple[int, int]) -> None:
        """Go on from a `state`."""
        self._stored, self._taken = state

    def _on_rollout_end(self) -> None:
        model = self.model
        assert isinstance(model, OffPolicyAlgorithm)
        learning = self.num_timesteps - model.learning_starts
        if learning <= 0:
            return
        self._stored += min(learning, model.n_envs * self.locals["num_collected_steps"])
        earned = int(self._rate * self._stored + 1e-9)
        model.gradient_steps, self._taken = earned - self._taken, earned

    def _on_step(self) -> bool:
        return True
