"""The policy of pathwise deep hedging: one network, one action, no noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import create_mlp
from torch import Tensor, nn

from .dense import ACTIVATIONS, dense

LAST_LAYER = 0.1  # its first weights are a tenth of torch's own: the first actions are near 0


class PathwisePolicy(BasePolicy):
    """The action ``clip(MLP(observation), -1, 1)``, ``[..., F]`` to ``[..., width]``.

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
    ) -> None:
        super().__init__(observation_space, action_space)
        assert isinstance(observation_space, spaces.Box) and isinstance(action_space, spaces.Box)
        self._activation = activation_fn
        inputs, outputs = observation_space.shape[0], action_space.shape[0]
        self.mu = nn.Sequential(*create_mlp(inputs, outputs, list(net_arch), activation_fn))
        last = self.mu[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(LAST_LAYER)
            last.bias.zero_()
        self.optimizer = torch.optim.Adam(self.parameters(), lr=lr_schedule(1.0))

    def forward(self, observation: Tensor) -> Tensor:
        """The action in [-1, 1]."""
        action: Tensor = self.mu(observation)
        return action.clamp(-1.0, 1.0)

    def play(self, market: Tensor, own: list[Tensor]) -> tuple[Tensor, ...]:
        """The action's numbers ``[N]`` in a rollout; ``own`` is written into ``market``."""
        market = market.to(self.mu[-1].weight.dtype)
        activation = ACTIVATIONS.get(self._activation)
        if activation is not None and len(self.mu) > 1:
            return dense(self.mu, activation, market, own)
        head = market[:, : market.shape[1] - len(own)]
        return self(torch.cat([head, *(column[:, None] for column in own)], -1)).unbind(-1)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        action: Tensor = self(observation)
        return action
