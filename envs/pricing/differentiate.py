"""Greeks of a price formula by automatic differentiation, and the formulas' building blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .black_scholes import Greeks

Price = Callable[..., Tensor]

TINY = 1e-12  # total vols below this are taken as expiry
_NORMAL = 40.0  # beyond, the normal distribution function is 0 or 1


def differentiate(
    price: Price,
    tau: Tensor,
    vol: Tensor,
    log_spot: Tensor,
    *others: Tensor,
    indices: tuple[int, ...] = (),
) -> Greeks:
    """Price and Greeks of ``price(tau, vol, log_spot, *others)``, an elementwise formula.

    The formula gets all arguments in float64 and of the full shape, and holds the state of the path
    fixed: delta is the change with the next move of the spot, after today's fixing. The derivative
    in tau is minus theta: dates before the maturity must move along with it. The formula's own
    branches must have finite derivatives where they are not taken; gamma and vega are 0 at expiry
    or without vol, as in `black_scholes`. Evidence: tests/envs/test_differentiate.py.

    Args:
        price: the formula.
        tau: years to maturity, broadcastable to ``[T+1, N]``.
        vol: per sqrt(year), or a move common to all vols, broadcastable to ``[T+1, N]``.
        log_spot: ``[T+1, N]``, of the claim's own asset.
        others: the log-spots of further assets.
        indices: which assets they are.
    """
    arguments = (tau, vol, log_spot, *others)
    shape = torch.broadcast_shapes(*(x.shape for x in arguments))  # type: ignore[no-untyped-call]
    with torch.enable_grad():
        inputs = [x.detach().double().expand(shape).clone().requires_grad_() for x in arguments]
        value = price(*inputs)
        slopes = torch.autograd.grad(value.sum(), inputs, create_graph=True, materialize_grads=True)
        curvature = torch.autograd.grad(slopes[2].sum(), inputs[2])[0]
    by_tau, by_vol, by_log, *further = (slope.detach() for slope in slopes)
    spots = [x.detach().exp().clamp(min=TINY) for x in inputs[2:]]
    deltas = [slope / spot for slope, spot in zip((by_log, *further), spots, strict=True)]
    gamma = (curvature - by_log) / spots[0].square()
    alive = (inputs[1] * inputs[0].sqrt() > TINY).detach()
    dtype = log_spot.dtype
    return Greeks(
        price=value.detach().to(dtype),
        delta=deltas[0].to(dtype),
        gamma=(gamma * alive).to(dtype),
        vega=(by_vol * alive).to(dtype),
        theta=(-by_tau).to(dtype),
        others=tuple((j, delta.to(dtype)) for j, delta in zip(indices, deltas[1:], strict=True)),
    )


def black(log_asset: Tensor, log_cash: Tensor, total: Tensor, sign: int) -> Tensor:
    """The right to swap cash for an asset (``sign`` +1) or an asset for cash (-1).

    From the logarithms of their present values A and C and the total vol s: sign (A N(sign d1) -
    C N(sign d2)), d1 = log(A / C) / s + s / 2, d2 = d1 - s; intrinsic where s is 0. Source: Black,
    "The Pricing of Commodity Contracts", 1976. Evidence: tests/envs/test_differentiate.py.
    """
    s = total.clamp(min=TINY)
    d1 = (log_asset - log_cash) / s + s / 2
    asset = log_asset.exp() * normal(sign * d1)
    return (sign * (asset - log_cash.exp() * normal(sign * (d1 - s)))).clamp(min=0)


def normal(x: Tensor) -> Tensor:
    """The normal distribution function; its derivatives are finite everywhere."""
    probability: Tensor = torch.special.ndtr(x.clamp(-_NORMAL, _NORMAL))
    return probability


def scaled_normal(log_scale: Tensor, x: Tensor) -> Tensor:
    """``exp(log_scale)`` N(x): finite where the one overflows and the other vanishes."""
    product: Tensor = _ScaledNormal.apply(log_scale, x)  # type: ignore[no-untyped-call]
    return product


def root(variance: Tensor) -> Tensor:
    """The square root, with a derivative of 0 at 0."""
    return variance.clamp(min=TINY**2).sqrt()


class _ScaledNormal(torch.autograd.Function):
    """`scaled_normal` with its exact derivatives: torch's own of log N lose all digits far out."""

    @staticmethod
    def forward(ctx: Any, log_scale: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(log_scale, x)
        return _exp(log_scale + torch.special.log_ndtr(x))

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, x = ctx.saved_tensors
        density = _exp(log_scale - x.square() / 2) / math.sqrt(2 * math.pi)
        return slopes[0] * scaled_normal(log_scale, x), slopes[0] * density


def _exp(x: Tensor) -> Tensor:
    return torch.exp(x.clamp(max=600.0))
