"""The policy of pathwise deep hedging: one network, one action, no noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn

from .dense import ACTIVATIONS, Activation, dense

LAST_LAYER = 0.1  # its first weights are a tenth of torch's own: the first actions are near 0


class PathwisePolicy(BasePolicy):
    """The action ``clip(MLP(observation), -1, 1)``, ``[N, F]`` to ``[N, width]``.

    With ``memory`` the MLP also sees the cells ``h_t = GRU(observation, h_{t-1})`` of a path, which
    are 0 before its first date (Cho et al., "Learning phrase representations using RNN
    encoder-decoder", 2014).

    Gradients flow through it, and it plays, is saved and is loaded as every SB3 policy. No tanh
    bends the output: a network of ReLUs then can keep a holding exactly, which is what the optimum
    does inside its band.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Callable[[float], float],
        net_arch: Sequence[int] = (32, 32),
        activation_fn: type[nn.Module] = nn.ReLU,
        memory: int = 0,
    ) -> None:
        super().__init__(observation_space, action_space)
        assert isinstance(observation_space, spaces.Box) and isinstance(action_space, spaces.Box)
        self._activation = activation_fn
        inputs, outputs = observation_space.shape[0], action_space.shape[0]
        self.cells = nn.GRUCell(inputs, memory) if memory else None
        self.mu = nn.Sequential(
            *create_mlp(inputs + memory, outputs, list(net_arch), activation_fn)
        )
        with torch.no_grad():
            self._last.weight.mul_(LAST_LAYER)
            self._last.bias.zero_()
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr_schedule(1.0))

    def forward(self, observation: Any, memory: Tensor | None = None) -> Tensor:
        """The action in [-1, 1]; of a path's first date where no memory is given."""
        return self._step(observation, memory)[0]

    def play(
        self, market: Tensor, own: list[Tensor], memory: Tensor | None
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The action's numbers ``[N]`` in a rollout, and the memory after; ``own`` goes in last."""
        market = market.to(self._last.weight.dtype)
        if self.dense_activation is not None:
            return dense(self.mu, self.dense_activation, market, own), None
        head = market[:, : market.shape[1] - len(own)]
        observation = torch.cat([head, *(column[:, None] for column in own)], -1)
        action, memory = self._step(observation, memory)
        return action.unbind(-1), memory

    def along(self, observation: Tensor) -> Tensor:
        """The actions ``[T, N, width]`` on whole episodes of observations ``[T, N, F]``."""
        played, memory = [], self.blank(observation.shape[1])
        for seen in observation:
            action, memory = self._step(seen, memory)
            played.append(action)
        return torch.stack(played)

    def blank(self, n: int) -> Tensor | None:
        """The memory ``[n, cells]`` before a path's first date, null without cells."""
        if self.cells is None:
            return None
        return self._last.weight.new_zeros((n, self.cells.hidden_size))

    @property
    def dense_activation(self) -> Activation | None:
        """What stands between the layers, where `Dense` can play the policy; else null."""
        own = type(self).play is PathwisePolicy.play and type(self)._step is PathwisePolicy._step
        if not own or self.cells is not None or len(self.mu) == 1:
            return None
        return ACTIVATIONS.get(self._activation)

    @property
    def _last(self) -> nn.Linear:
        layer = self.mu[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def predict(
        self,
        observation: Any,
        state: tuple[Any, ...] | None = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, tuple[Any, ...] | None]:
        """As in SB3; ``state`` holds the memory ``[N, cells]``, blank where an episode starts."""
        if self.cells is None:
            return super().predict(observation, state, episode_start, deterministic)
        self.set_training_mode(False)
        seen, vectorized = self.obs_to_tensor(observation)
        assert isinstance(seen, Tensor)
        memory = self.blank(len(seen))
        assert memory is not None
        if state is not None:
            memory = torch.as_tensor(state[0], dtype=memory.dtype, device=memory.device)
        if episode_start is not None:
            begun = torch.as_tensor(episode_start, device=memory.device)
            memory = memory.masked_fill(begun[:, None], 0.0)
        with torch.no_grad():
            action, memory = self._step(seen, memory)
        numbers = action.cpu().numpy()
        return numbers if vectorized else np.squeeze(numbers, 0), (memory.cpu().numpy(),)

    def _step(self, observation: Tensor, memory: Tensor | None) -> tuple[Tensor, Any]:
        if self.cells is not None:
            memory = self.cells(observation, memory)
            observation = torch.cat([observation, memory], -1)
        action: Tensor = self.mu(observation)
        return action.clamp(-1.0, 1.0), memory

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        action: Tensor = self(observation)
        return action
