"""A network's step as one operation: the plain network's numbers and gradients."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from deephedge.agents.pathwise.dense import ACTIVATIONS, dense


def network(kind: type[nn.Module], sizes: tuple[int, ...]) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), kind()]
    last = nn.Linear(sizes[-2], sizes[-1])
    with torch.no_grad():
        last.weight.mul_(4.0)
    return nn.Sequential(*layers, last).double()


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(5, 4, 2), (5, 4, 3, 3), (3, 8, 1), (2, 6, 2)])
def test_it_is_the_plain_network(kind: type[nn.Module], sizes: tuple[int, ...]) -> None:
    """Numbers and gradients, to the weights and to two own columns, with numbers that are cut."""
    layers, owned = network(kind, sizes), 2
    market = 3.0 * torch.randn(7, sizes[0], dtype=torch.float64)
    own = [market[:, sizes[0] - owned + i].clone().requires_grad_() for i in range(owned)]
    pull = torch.randn(sizes[-1], 7, dtype=torch.float64)
    inputs = [*own, *layers.parameters()]

    def slopes(numbers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return torch.autograd.grad((torch.stack(numbers) * pull).sum(), inputs)

    plain = layers(torch.cat([market[:, : sizes[0] - owned], torch.stack(own, -1)], -1))
    expected = tuple(plain.clamp(-1, 1).unbind(-1))
    unfilled = market.clone()
    unfilled[:, sizes[0] - owned :] = 0.0
    found = dense(layers, ACTIVATIONS[kind], unfilled, own)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(slopes(found), slopes(expected))
    assert (plain.abs() > 1).any() and (plain.abs() < 1).any()


def test_without_own_columns() -> None:
    layers = network(nn.ReLU, (3, 4, 2))
    market = torch.randn(6, 3, dtype=torch.float64)
    found = dense(layers, ACTIVATIONS[nn.ReLU], market, [])
    torch.testing.assert_close(torch.stack(found, -1), layers(market).clamp(-1, 1))
    torch.stack(found).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in layers.parameters())
