"""A network's step in a rollout as one autograd operation.

Each date of a differentiable rollout calls the network once. As one operation it needs no
concatenation of the observation, no gradient to the market's features and no copy for the ReLU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class Activation(NamedTuple):
    """An activation, and its gradient from its value."""

    value_: Callable[[Tensor], Tensor]  # in place
    gradient_: Callable[[Tensor, Tensor], Tensor]  # in place of the first


_ATEN = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(
        torch.relu_, lambda g, y: _ATEN.threshold_backward.grad_input(g, y, 0, grad_input=g)
    ),
    nn.Tanh: Activation(
        torch.tanh_, lambda g, y: _ATEN.tanh_backward.grad_input(g, y, grad_input=g)
    ),
}


def dense(
    layers: nn.Sequential, activation: Activation, market: Tensor, own: list[Tensor]
) -> tuple[Tensor, ...]:
    """``clip(MLP(observation), -1, 1)``, each number ``[N]``.

    Args:
        layers: linear ones with activations between.
        activation: the one that stands there.
        market: ``[N, F]``, its last columns unfilled: ``own`` is written there.
        own: columns ``[N]`` that gradients flow to.

    Evidence: equal to the plain network and its gradient in tests/agents/test_dense.py.
    """
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    parameters = [p for layer in linear for p in (layer.weight, layer.bias)]
    numbers: tuple[Tensor, ...] = _Dense.apply(  # type: ignore[no-untyped-call]
        activation, market, len(own), *own, *parameters
    )
    return numbers


class _Dense(torch.autograd.Function):
    """Forward keeps each layer's value, backward goes through them in turn."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, market: Tensor, owned: int, *rest: Tensor) -> Any:
        own, parameters = rest[:owned], rest[owned:]
        first = market.shape[-1] - owned
        for column, value in enumerate(own, start=first):
            market[:, column] = value
        values = [market]
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            values.append(activation.value_(torch.addmm(bias, values[-1], weight.t())))
        raw = torch.addmm(parameters[-1][:, None], parameters[-2], values[-1].t())
        action = raw.clamp(-1.0, 1.0)
        # Not `save_for_backward`: its check would take the next date's columns for a change of
        # these, as all dates are one block. Each is written once.
        ctx.saved = activation, first, values, raw == action, parameters[:-1:2]
        return action.unbind(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        activation, first, values, inside, weights = ctx.saved
        last = torch.stack(gradients).mul_(inside)  # [width, N]
        found = [last.sum(1), last @ values[-1]]
        gradient = _outer(last, weights[-1])
        for layer in range(len(weights) - 2, -1, -1):
            gradient = activation.gradient_(gradient, values[layer + 1])
            found += [gradient.sum(0), _pull(gradient, values[layer])]
            if layer > 0:
                gradient = gradient @ weights[layer]
        own = weights[0][:, first:].t().contiguous() @ gradient.t()
        return None, None, None, *own.unbind(0), *reversed(found)


def _outer(last: Tensor, weight: Tensor) -> Tensor:
    """``last^T weight``: of one row each by broadcasting, which the library does faster."""
    return last.t() * weight if len(last) == 1 else last.t() @ weight


def _pull(gradient: Tensor, value: Tensor) -> Tensor:
    """``gradient^T value``: with few columns the other way round, which the library does faster."""
    if value.shape[1] < gradient.shape[1]:
        return (value.t() @ gradient).t()
    return gradient.t() @ value
