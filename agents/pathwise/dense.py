"""A network's step in a rollout, forward and back, without autograd's bookkeeping.

Each date of a rollout calls the network once. Written out it needs no concatenation of the
observation, no gradient to the market's features and no copy for the ReLU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Dense:
    """``clip(MLP(observation), -1, 1)`` and its gradient.

    Evidence: equal to the plain network and its gradient in tests/agents/test_dense.py.

    Args:
        parameters: weight and bias of each linear layer in turn, at least two of them.
        activation: the one that stands between.
        owned: how many of the observation's columns, the last ones, gradients flow to.
    """

    def __init__(self, parameters: Sequence[Tensor], activation: Activation, owned: int) -> None:
        self._activation = activation
        self._weights, self._biases = parameters[::2], parameters[1::2]
        self._hidden = [
            (bias, weight.t()) for weight, bias in zip(self._weights, self._biases, strict=True)
        ][:-1]
        self._last_bias = self._biases[-1][:, None]
        self._first = self._weights[0].shape[1] - owned
        self._own = self._weights[0][:, self._first :].t().contiguous()

    def forward(self, market: Tensor, own: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The numbers ``[width, N]``, and what each layer was given, ``[N, F]``.

        ``market`` is ``[N, F]``, its last columns unfilled: ``own``, each ``[N]``, is put there.
        """
        for column, value in enumerate(own, start=self._first):
            market[:, column] = value
        value, values = market, [market]
        for bias, turned in self._hidden:
            value = self._activation.value_(torch.addmm(bias, value, turned))
            values.append(value)
        raw = torch.addmm(self._last_bias, self._weights[-1], value.t())
        return raw.clamp_(-1.0, 1.0), values

    def zeros(self) -> list[Tensor]:
        """What `backward` adds to at first, each like its parameter."""
        pairs = zip(self._weights, self._biases, strict=True)
        return [torch.zeros_like(parameter) for pair in pairs for parameter in pair]

    def backward(self, gradient: Tensor, values: list[Tensor], found: list[Tensor]) -> Tensor:
        """From the gradient to the numbers before their clip to that to the own columns.

        ``[width, N]`` to ``[owned, N]``; those to the parameters are added to ``found``.
        """
        last = len(values) - 1
        weights, biases = found[::2], found[1::2]
        weights[last].addmm_(gradient, values[last])
        biases[last].add_(gradient.sum(1))
        pulled = _outer(gradient, self._weights[last])
        for layer in range(last - 1, -1, -1):
            value = values[layer]
            pulled = self._activation.gradient_(pulled, values[layer + 1])
            if value.shape[1] < pulled.shape[1]:  # the quicker way round of the library's
                weights[layer].t().addmm_(value.t(), pulled)
            else:
                weights[layer].addmm_(pulled.t(), value)
            biases[layer].add_(pulled.sum(0))
            if layer > 0:
                pulled = pulled @ self._weights[layer]
        return self._own @ pulled.t()


def inside(numbers: Tensor) -> Tensor:
    """Where they lie strictly within the clip to [-1, 1]."""
    return numbers.abs() < 1.0


def _outer(gradient: Tensor, weight: Tensor) -> Tensor:
    """``gradient^T weight``: of one row each by broadcasting, which the library does faster."""
    return gradient.t() * weight if len(gradient) == 1 else gradient.t() @ weight


def dense(
    layers: nn.Sequential, activation: Activation, market: Tensor, own: list[Tensor]
) -> tuple[Tensor, ...]:
    """`Dense` as one autograd operation; each number ``[N]``."""
    parameters = parameters_of(layers)
    numbers: tuple[Tensor, ...] = _Dense.apply(  # type: ignore[no-untyped-call]
        activation, market, len(own), *own, *parameters
    )
    return numbers


def parameters_of(layers: nn.Sequential) -> list[Tensor]:
    """Weight and bias of each linear layer."""
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    return [parameter for layer in linear for parameter in (layer.weight, layer.bias)]


class _Dense(torch.autograd.Function):
    """Forward keeps each layer's value, backward goes through them in turn."""

    @staticmethod
    def forward(ctx: Any, activation: Activation, market: Tensor, owned: int, *rest: Tensor) -> Any:
        own, parameters = rest[:owned], rest[owned:]
        network = Dense(parameters, activation, owned)
        numbers, values = network.forward(market, own)
        # Not `save_for_backward`: its check would take the next date's columns for a change of
        # these, as all dates are one block. Each is written once.
        ctx.saved = network, values, inside(numbers)
        return numbers.unbind(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        network, values, free = ctx.saved
        found = network.zeros()
        own = network.backward(torch.stack(gradients).mul_(free), values, found)
        return None, None, None, *own.unbind(0), *found
