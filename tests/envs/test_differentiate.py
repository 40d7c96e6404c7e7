"""Greeks by automatic differentiation: those of Black-Scholes, broadcast, finite; the normal."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy import special
from torch import Tensor

from deephedge.envs.pricing import black_scholes
from deephedge.envs.pricing.differentiate import black, differentiate, root, scaled_normal

FLOAT64 = torch.float64
RATE, DIVIDEND = 0.05, 0.02


def call(tau: Tensor, vol: Tensor, log_spot: Tensor) -> Tensor:
    cash = math.log(100.0) - RATE * tau
    return black(log_spot - DIVIDEND * tau, cash, vol * root(tau), 1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_it_finds_the_greeks_of_black_scholes(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    log_spot = math.log(100) + 0.3 * torch.randn((5, 40), generator=generator, dtype=dtype)
    tau = torch.tensor([[1.5], [0.5], [0.1], [0.01], [0.0]], dtype=dtype)
    vols = (torch.full((1, 1), 0.2, dtype=dtype), 0.1 + torch.rand((1, 40), generator=generator))
    for vol in vols:
        found = differentiate(call, tau, vol.to(dtype), log_spot)
        known = black_scholes(
            log_spot.double(),
            100.0,
            tau.double(),
            vol.to(dtype).double(),
            sign=1,
            rate=RATE,
            dividend=DIVIDEND,
        )
        digits = 1e-9 if dtype == torch.float64 else 1e-5
        for name in ("price", "delta", "gamma", "vega", "theta"):
            ours, theirs = getattr(found, name), getattr(known, name)
            assert ours.dtype == dtype
            assert ours.shape == (5, 40)
            torch.testing.assert_close(
                ours.double(), theirs.expand(5, 40), rtol=digits, atol=digits, msg=name
            )


def test_further_assets_have_deltas_and_nothing_leaks() -> None:
    """It works where gradients are off, and leaves none behind."""
    x, y = (torch.full((2, 3), math.log(s), dtype=FLOAT64) for s in (100.0, 50.0))
    tau = torch.full((1, 1), 0.5, dtype=FLOAT64)

    def product(tau: Tensor, vol: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return x.exp().square() * y.exp() * torch.exp(vol - 3 * tau)

    with torch.no_grad():
        g = differentiate(product, tau, 0 * tau + 0.1, x, y, indices=(4,))
    value = 100**2 * 50 * math.exp(0.1 - 1.5)
    ((index, other),) = g.others
    assert index == 4
    for found, expected in (
        (g.price, value),
        (g.delta, 2 * value / 100),
        (g.gamma, 2 * value / 100**2),
        (other, value / 50),
        (g.vega, value),
        (g.theta, 3 * value),
    ):
        assert not found.requires_grad
        torch.testing.assert_close(found, torch.full_like(found, expected))


def test_the_scaled_normal_and_its_derivatives() -> None:
    scales, points = zip(
        *itertools.product((-50.0, 0.0, 30.0), (-9.0, -1.0, 0.0, 2.0, 9.0)), strict=True
    )
    a, x = (torch.tensor(c, dtype=FLOAT64, requires_grad=True) for c in (scales, points))
    value = scaled_normal(a, x)
    expected = torch.exp(a) * torch.from_numpy(special.ndtr(x.detach().numpy()))
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    small = [v[5:10].detach().requires_grad_() for v in (a, x)]
    assert torch.autograd.gradcheck(scaled_normal, small)
    assert torch.autograd.gradgradcheck(scaled_normal, small)


def test_the_scaled_normal_is_finite_where_its_factors_are_not() -> None:
    x = torch.tensor([-1e14, -1e8, -60.0, -30.0, 1e14], dtype=FLOAT64, requires_grad=True)
    a = torch.tensor([1e3, 1e10, 1790.0, 450.0, -1e3], dtype=FLOAT64, requires_grad=True)
    value = scaled_normal(a, x)
    slopes = torch.autograd.grad(value.sum(), (a, x), create_graph=True)
    curves = torch.autograd.grad(slopes[1].sum(), (a, x))
    for tensor in (value, *slopes, *curves):
        assert tensor.isfinite().all()
    assert float(value[3].detach()) == pytest.approx(
        math.exp(450 + special.log_ndtr(-30.0)), rel=1e-10
    )
