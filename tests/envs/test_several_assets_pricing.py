"""Exchange and basket options: quadrature, Monte Carlo, central differences, limits."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from deephedge.envs.instruments.claim import Call, Claim, Path, Put
from deephedge.envs.instruments.several_assets import BasketCall, BasketPut, Exchange
from deephedge.envs.markets import MarketPaths
from deephedge.envs.pricing import Greeks
from deephedge.envs.pricing.closed_form import closed_form
from deephedge.envs.pricing.terms import Terms

FLOAT64 = torch.float64
RATE = 0.04
DIVIDENDS = (0.01, 0.03, 0.0)
CORRELATION = torch.tensor([[1.0, 0.5, 0.2], [0.5, 1.0, -0.3], [0.2, -0.3, 1.0]], dtype=FLOAT64)


def terms(
    spots: tuple[float, ...] = (100.0, 60.0, 40.0),
    vols: tuple[float, ...] = (0.2, 0.3, 0.4),
    tau: float = 0.5,
    dtype: torch.dtype = FLOAT64,
) -> Terms:
    times = torch.tensor([[0.0], [tau]], dtype=FLOAT64)
    quoted = tuple(torch.full((1, 1), vol, dtype=dtype) for vol in vols)
    log_spots = [torch.full((2, 1), s, dtype=FLOAT64).log().to(dtype) for s in spots]
    assets = [MarketPaths(times, x.exp(), x, v) for x, v in zip(log_spots, quoted, strict=True)]
    paths = replace(assets[0], others=tuple(assets[1:]))
    return Terms(paths, times[-1], RATE, DIVIDENDS, quoted, CORRELATION)


def now(claim: Claim, world: Terms) -> Greeks:
    g = closed_form(claim, world.on(claim.asset))
    price, delta, gamma, vega, theta = (values[0, 0] for values in g[:5])
    others = tuple((j, values[0, 0]) for j, values in g.others)
    return Greeks(price, delta, gamma, vega, theta, others)


CLAIMS: list[Claim] = [
    Exchange(asset=0, other=1, ratio=1.6),
    Exchange(asset=2, other=0, ratio=0.45),
    BasketCall(strike=185.0, weights=(1.0, 0.8, 1.0)),
    BasketPut(strike=185.0, weights=(1.0, 0.8, 1.0), asset=1),
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_greeks_are_central_differences(claim: Claim) -> None:
    spots, vols, h = [100.0, 60.0, 40.0], [0.2, 0.3, 0.4], 1e-4
    g = now(claim, terms())

    def bumped(asset: int) -> list[Greeks]:
        return [
            now(claim, terms(tuple(s + sign * h * (j == asset) for j, s in enumerate(spots))))
            for sign in (1, -1)
        ]

    up, down = bumped(claim.asset)
    assert float(g.delta) == pytest.approx(float(up.price - down.price) / (2 * h), abs=1e-6)
    assert float(g.gamma) == pytest.approx(float(up.delta - down.delta) / (2 * h), abs=1e-6)
    assert {j for j, _ in g.others} | {claim.asset} == (
        {claim.asset, claim.other} if isinstance(claim, Exchange) else {0, 1, 2}
    )
    for asset, delta in g.others:
        up, down = bumped(asset)
        assert float(delta) == pytest.approx(float(up.price - down.price) / (2 * h), abs=1e-6)
    up, down = (now(claim, terms(vols=tuple(v + s * h for v in vols))) for s in (1, -1))
    assert float(g.vega) == pytest.approx(float(up.price - down.price) / (2 * h), abs=1e-5)
    up, down = (now(claim, terms(tau=0.5 - s * h)) for s in (1, -1))
    assert float(g.theta) == pytest.approx(float(up.price - down.price) / (2 * h), abs=1e-5)


def test_a_basket_of_one_is_the_vanilla_option() -> None:
    for basket, vanilla in ((BasketCall, Call), (BasketPut, Put)):
        ours = closed_form(basket(strike=110.0, weights=(2.0,)), terms())
        theirs = closed_form(vanilla(strike=55.0), terms())
        for a, b in zip(ours[:5], theirs[:5], strict=True):
            torch.testing.assert_close(a[0], 2 * b[0], rtol=1e-9, atol=1e-9)


def exact_basket(strike: float, weights: tuple[float, float], tau: float) -> float:
    """A call on two assets: Black-Scholes in the first, given the second, by quadrature."""
    z, h = np.linspace(-9, 9, 4001, retstep=True)
    rho, (s, o), (a, b) = 0.5, (100.0, 60.0), (0.2, 0.3)
    second = weights[1] * o * np.exp((RATE - 0.03 - b * b / 2) * tau + b * math.sqrt(tau) * z)
    mean = math.log(weights[0] * s) + (RATE - 0.01 - a * a / 2) * tau + a * rho * math.sqrt(tau) * z
    sd = a * math.sqrt((1 - rho * rho) * tau)
    forward, k = np.exp(mean + sd * sd / 2), strike - second
    d1 = (mean + sd * sd - np.log(np.maximum(k, 1e-300))) / sd
    given = forward * stats.norm.cdf(d1) - k * stats.norm.cdf(d1 - sd)
    paid = np.where(k > 0, given, forward - k)
    return float(math.exp(-RATE * tau) * h * (paid * stats.norm.pdf(z)).sum())


def test_baskets_are_near_their_quadrature() -> None:
    worst = 0.0
    for strike, tau in itertools.product((140.0, 160.0, 180.0), (0.1, 1.0)):
        claim = BasketCall(strike=strike, weights=(1.0, 1.0))
        error = float(now(claim, terms(tau=tau)).price) - exact_basket(strike, (1.0, 1.0), tau)
        worst = max(worst, abs(error) / 160.0)
    assert worst < 4e-4


@pytest.mark.parametrize("claim", CLAIMS)
def test_near_monte_carlo(claim: Claim) -> None:
    rng = torch.Generator().manual_seed(5)
    z = torch.randn((3, 100_000), generator=rng, dtype=FLOAT64)
    z = torch.linalg.cholesky(CORRELATION) @ torch.cat([z, -z], dim=1)
    spots = [
        s * torch.exp((RATE - q - v * v / 2) * 0.5 + v * math.sqrt(0.5) * shock)[None]
        for s, q, v, shock in zip(
            (100.0, 60.0, 40.0), DIVIDENDS, (0.2, 0.3, 0.4), z.unbind(), strict=True
        )
    ]
    path = Path(torch.tensor([[0.5]]), spots[claim.asset], tuple(spots))
    sample = math.exp(-RATE * 0.5) * claim.payoff(path)
    pairs = sample.reshape(2, -1).mean(dim=0)
    error = 4 * float(pairs.std()) / math.sqrt(len(pairs))
    bias = 0.0 if isinstance(claim, Exchange) else 2e-4 * 188
    assert float(now(claim, terms()).price) == pytest.approx(float(pairs.mean()), abs=error + bias)


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_the_payoff_at_expiry_and_finite_everywhere(claim: Claim, dtype: torch.dtype) -> None:
    for spots, vols, tau in itertools.product(
        ((100.0, 60.0, 40.0), (1e-30, 1e12, 1.0), (1e12, 1e-30, 1e-30), (100.0, 62.5, 1e6)),
        ((0.0, 0.0, 0.0), (0.2, 0.2, 0.2), (1e-8, 3.0, 20.0)),
        (1e-9, 0.5, 30.0),
    ):
        g = closed_form(claim, terms(spots, vols, tau, dtype).on(claim.asset))
        for values in (*g[:5], *(delta for _, delta in g.others)):
            assert values.isfinite().all(), (spots, vols, tau)
            assert values.dtype == dtype
            assert values.shape == (2, 1)
        ends = [torch.full((1, 1), s, dtype=FLOAT64) for s in spots]
        paid = claim.payoff(Path(torch.zeros(1, 1), ends[claim.asset], tuple(ends)))
        digits = 1e-9 if dtype == FLOAT64 else 1e-5
        torch.testing.assert_close(
            g.price[-1].double(), paid, rtol=digits, atol=digits * max(spots)
        )


def test_several_assets_need_their_correlation() -> None:
    lone = replace(terms(), correlation=None)
    for claim in CLAIMS:
        with pytest.raises(ValueError, match="needs their correlation: choose a market"):
            closed_form(claim, lone.on(claim.asset))


def test_exchange_for_a_worthless_asset_is_the_asset() -> None:
    world = terms(spots=(100.0, 1e-20, 40.0))
    g = now(Exchange(ratio=1.0), world)
    assert float(g.price) == pytest.approx(100 * math.exp(-0.01 * 0.5))
    assert float(g.gamma) == 0.0


def test_perfectly_correlated_twins_are_never_exchanged_at_a_gain() -> None:
    ones = torch.ones((3, 3), dtype=FLOAT64)
    same = replace(terms((100.0, 100.0, 1.0), (0.2, 0.2, 0.2)), correlation=ones)
    same = replace(same, dividends=(0.0, 0.0, 0.0))
    g = now(Exchange(), same)
    values: tuple[Tensor, ...] = (g.price, g.vega, g.gamma)
    assert [float(v) for v in values] == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
