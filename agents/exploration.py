"""Exploration that treats every environment of a batch on its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise


class BatchNoise(VectorizedActionNoise):
    """Independent normal noise for all environments from one draw.

    SB3's own vectorised noise calls Python once per environment and step.
    """

    def __init__(self, std: float, environments: int, numbers: int) -> None:
        super().__init__(NormalActionNoise(np.zeros(numbers), np.full(numbers, std)), 1)
        self._std, self._shape = std, (environments, numbers)

    def reset(self, indices: Iterable[int] | None = None) -> None:
        """No memory."""

    def __call__(self) -> NDArray[Any]:
        """Noise ``[environments, numbers]`` from NumPy's global generator, as SB3's is."""
        noise = np.random.normal(0.0, self._std, self._shape)  # noqa: NPY002
        return noise.astype(np.float32)


class HedgingDQN(DQN):
    """DQN whose environments explore independently: SB3 tosses one coin for all of them."""

    def predict(
        self,
        observation: Any,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """The greedy choice, or at the exploration rate a uniform one, drawn per environment."""
        action, state = self.policy.predict(observation, state, episode_start, True)
        if not deterministic:
            n = np.shape(action)
            explore = np.random.random(n) < self.exploration_rate  # noqa: NPY002
            choices = int(self.action_space.n)  # type: ignore[attr-defined]
            action = np.where(explore, np.random.randint(0, choices, n), action)  # noqa: NPY002
        return action, state


class FallingNoise(BaseCallback):
    """Lets the Gaussian policy's log standard deviation fall linearly, rollout by rollout."""

    def __init__(self, first: float, last: float, total_steps: int) -> None:
        super().__init__()
        self._first, self._last, self._total = first, last, total_steps

    def _on_training_start(self) -> None:
        self.model.policy.log_std.requires_grad_(False)

    def _on_rollout_start(self) -> None:
        done = min(self.num_timesteps / self._total, 1.0)
        self.model.policy.log_std.fill_(  # type: ignore[operator]
            self._first + (self._last - self._first) * done
        )

    def _on_step(self) -> bool:
        return True
