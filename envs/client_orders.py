"""Client orders: what the flow brings to the hedger on each decision date."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from .instruments import ClientFlow


@dataclass(frozen=True)
class Orders:
    """The orders of every date by moneyness and tenor, the options of one being all alike.

    Attributes:
        flow: what they were drawn from.
        choices: moneyness and tenor of each, J of them.
        bought: options that the hedger buys, ``[T+1, J, N]``.
        sold: that he sells.
    """

    flow: ClientFlow
    choices: tuple[tuple[float, float], ...]
    bought: Tensor
    sold: Tensor


def draw_orders(
    flow: ClientFlow | None, times: Tensor, like: Tensor, generator: torch.Generator
) -> Orders | None:
    """Orders on the dates ``times [T+1, 1 or N]``, for as many paths as ``like [., N]``.

    A Poisson process split by independent coins is independent Poisson processes: every choice of
    moneyness and tenor has its own of either side, of ``intensity dt`` times its probability
    orders. None are dealt on the first date or the last.
    """
    if flow is None:
        return None
    choices = tuple(product(flow.moneyness, flow.tenor))
    mean = flow.intensity / len(choices) * times.diff(dim=0)[:-1, None]
    mean = mean.expand(-1, len(choices), like.shape[1])

    def drawn(probability: float) -> Tensor:
        orders = torch.poisson(probability * mean, generator).to(like.dtype)
        none = torch.zeros_like(orders[:1]) if len(orders) else like.new_zeros(1, *mean.shape[1:])
        return flow.size * torch.cat([none, orders, none])

    sold = drawn(flow.buys)
    return Orders(flow, choices, drawn(1 - flow.buys), sold)
