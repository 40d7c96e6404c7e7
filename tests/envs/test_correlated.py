"""Several assets: each one's law, their correlations, common jumps, Margrabe, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from deephedge.envs.calendar import TradingDaysCalendar
from deephedge.envs.markets import Merton
from deephedge.envs.markets.correlated import (
    Asset,
    CorrelatedGBM,
    CorrelatedMarket,
    CorrelatedMerton,
    JumpingAsset,
    triangle,
)

PATHS = 40_000
ALPHA = 1e-5
SIGMAS = 4.0

MATRIX = ((1.0, 0.6, -0.3), (0.6, 1.0, 0.2), (-0.3, 0.2, 1.0))
GBM = CorrelatedGBM(
    drift=0.1,
    rate=0.04,
    dividend=0.01,
    sigma=0.3,
    others=(
        Asset(spot=50.0, drift=-0.2, dividend=0.03, sigma=0.15),
        Asset(spot=7.0, drift=0.05, sigma=0.5),
    ),
    correlation=MATRIX,
)
MERTON = CorrelatedMerton(
    drift=0.1,
    sigma=0.15,
    intensity=4.0,
    jump_mean=-0.08,
    jump_std=0.06,
    own_intensity=2.0,
    others=(
        JumpingAsset(spot=40.0, drift=-0.1, sigma=0.25, jump_mean=0.05, jump_std=0.1),
        JumpingAsset(
            spot=250.0, sigma=0.1, jump_mean=-0.02, jump_std=0.04, own_intensity=6.0, dividend=0.02
        ),
    ),
    correlation=MATRIX,
    jump_correlation=-0.4,
    jump_premium=0.5,
)
MARKETS: dict[str, CorrelatedMarket] = {"gbm": GBM, "merton": MERTON}
each_market = pytest.mark.parametrize("market", MARKETS.values(), ids=list(MARKETS))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def column(*dates: float) -> Tensor:
    return torch.tensor(dates, dtype=torch.float64)[:, None]


DATES: dict[str, Tensor] = {
    "one step": column(0.0, 1.0),
    "uneven": column(0.0, 0.001, 0.05, 0.3, 0.31, 1.0),
    "weekends by path": TradingDaysCalendar(steps=8).times(PATHS, generator(99)),
}
each_dates = pytest.mark.parametrize("times", DATES.values(), ids=list(DATES))


def z_scores(samples: NDArray[np.float64], expected: Any) -> NDArray[np.float64]:
    """How many standard errors the means over the last axis lie from the expectation."""
    error = samples.std(axis=-1) / samples.shape[-1] ** 0.5
    return np.abs(samples.mean(axis=-1) - expected) / error


def log_returns(market: CorrelatedMarket, times: Tensor, seed: int) -> NDArray[np.float64]:
    """Over all steps, [A, N]."""
    assets = market.simulate(times, PATHS, generator(seed)).assets
    return np.stack([(a.log_spot[-1] - a.log_spot[0]).numpy() for a in assets])


def covariance(market: CorrelatedMarket) -> NDArray[np.float64]:
    """Of a year's log-returns, pair by pair from the definition of the market."""
    every = (market, *market.others)
    result = np.empty((3, 3))
    for i, a in enumerate(every):
        for j, b in enumerate(every):
            result[i, j] = MATRIX[i][j] * a.sigma * b.sigma  # type: ignore[attr-defined]
            if isinstance(market, CorrelatedMerton):
                together = 1.0 if i == j else -0.4
                product = a.jump_mean * b.jump_mean + together * a.jump_std * b.jump_std  # type: ignore[attr-defined]
                own = a.own_intensity if i == j else 0.0  # type: ignore[attr-defined]
                result[i, j] += (market.intensity + own) * product
    return result


@each_dates
@each_market
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_each_expected_spot_grows_at_its_drift(
    market: CorrelatedMarket, times: Tensor, dtype: torch.dtype
) -> None:
    assets = market.simulate(times, PATHS, generator(1), dtype).assets
    assert len(assets) == 3
    for paths, spot, drift in zip(assets, market.spots, market.drifts, strict=True):
        assert paths.spot.dtype == dtype
        assert paths.spot.is_contiguous()
        assert float((paths.spot[0] - spot).abs().max()) < 1e-4 * spot
        relative = paths.spot.double() * torch.exp(-drift * times) / spot
        assert z_scores(relative[1:].numpy(), 1.0).max() < SIGMAS


@each_market
def test_no_asset_foretells_the_move_of_another(market: CorrelatedMarket) -> None:
    fair = market.risk_neutral()
    assert fair.drifts == tuple(fair.rate - dividend for dividend in fair.dividends)
    times = DATES["uneven"]
    assets = fair.simulate(times, PATHS, generator(2)).assets
    worth = [
        a.spot * torch.exp((dividend - fair.rate) * times)
        for a, dividend in zip(assets, fair.dividends, strict=True)
    ]
    for moving in worth:
        for seen in worth:
            gains = moving.diff(dim=0) * (seen / seen[0] - 1)[:-1]
            assert z_scores(gains[1:].numpy(), 0.0).max() < SIGMAS


@each_dates
@each_market
def test_log_returns_have_their_means_and_covariances(
    market: CorrelatedMarket, times: Tensor
) -> None:
    years = times[-1].numpy()
    total = covariance(market)
    returns = log_returns(market, times, 3)
    for i, x in enumerate(returns):
        if isinstance(market, CorrelatedGBM):
            x -= (market.drifts[i] - market.sigmas[i] ** 2 / 2) * years
            assert z_scores(x, 0.0) < SIGMAS
        else:  # the mean has a test of its own, against Merton's market
            x -= x.mean()
    for i in range(3):
        for j in range(3):
            assert z_scores(returns[i] * returns[j] - total[i, j] * years, 0.0) < SIGMAS
    vols = np.sqrt(np.diag(total))
    np.testing.assert_allclose(market.volatilities, vols, rtol=1e-12)
    np.testing.assert_allclose(market.correlation_matrix, total / np.outer(vols, vols), rtol=1e-12)
    assets = market.simulate(DATES["uneven"], 2, generator()).assets
    priced = market.risk_neutral()
    assert isinstance(priced, CorrelatedMarket)
    assert [float(a.implied_vol) for a in assets] == pytest.approx(list(priced.volatilities))
    assert market.volatility == pytest.approx(vols[0])


@each_dates
def test_each_asset_alone_has_mertons_law(times: Tensor) -> None:
    returns = log_returns(MERTON, times, 4)
    for i, asset in enumerate((MERTON, *MERTON.others)):
        assert isinstance(asset, CorrelatedMerton | JumpingAsset)
        alone = Merton(
            spot=asset.spot,
            drift=asset.drift,
            sigma=asset.sigma,
            intensity=MERTON.intensity + asset.own_intensity,
            jump_mean=asset.jump_mean,
            jump_std=asset.jump_std,
        )
        paths = alone.simulate(times, PATHS, generator(5 + i))
        same = (paths.log_spot[-1] - paths.log_spot[0]).numpy()
        assert stats.ks_2samp(returns[i], same).pvalue > ALPHA


def test_any_dates_give_the_same_law() -> None:
    coarse = log_returns(MERTON, column(0, 1), 9)
    fine = log_returns(MERTON, torch.linspace(0, 1, 31, dtype=torch.float64)[:, None], 10)
    for weights in np.vstack([np.eye(3), [[1, -1, 0], [1, 1, -2]]]):
        assert stats.ks_2samp(weights @ coarse, weights @ fine).pvalue > ALPHA


def test_common_jumps_come_at_once_and_own_ones_alone() -> None:
    times = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    rare = MERTON.model_copy(update={"intensity": 0.2, "own_intensity": 0.3})
    jumps = [a.jump for a in rare.simulate(times, PATHS, generator(11)).assets]
    first, second, third = (jump for jump in jumps if jump is not None)
    assert (first[0] == 0).all()
    common = second != 0  # the second asset has no jumps of its own
    number = int(common.sum())
    assert number == pytest.approx(0.2 * PATHS, abs=SIGMAS * (0.2 * PATHS) ** 0.5)
    assert (first[common] != 0).all()
    assert (third[common] != 0).all()
    alone = int(((first != 0) & ~common).sum())
    assert alone == pytest.approx(0.3 * PATHS, abs=SIGMAS * (0.3 * PATHS) ** 0.5)
    # Their sizes are normal and correlated; a few steps hold an own jump as well.
    a, b = first[common].numpy(), second[common].numpy()
    assert stats.kstest(b, "norm", (0.05, 0.1)).pvalue > ALPHA
    assert stats.kstest(a, "norm", (-0.08, 0.06)).pvalue > ALPHA
    assert abs(np.corrcoef(a, b)[0, 1] + 0.4) < SIGMAS * (1 - 0.4**2) / number**0.5


def margrabe(market: CorrelatedGBM, years: float) -> float:
    """The right to give the second asset for the first (Margrabe, 1978), on equal money of each."""
    vol = math.sqrt(
        market.sigmas[0] ** 2
        + market.sigmas[1] ** 2
        - 2 * MATRIX[0][1] * market.sigmas[0] * market.sigmas[1]
    ) * math.sqrt(years)
    a, b = (math.exp(-dividend * years) for dividend in market.dividends[:2])
    d = math.log(a / b) / vol + vol / 2
    return a * stats.norm.cdf(d) - b * stats.norm.cdf(d - vol)


@pytest.mark.parametrize("dates", ["one step", "uneven"])
def test_an_exchange_option_costs_what_margrabe_says(dates: str) -> None:
    fair = GBM.risk_neutral()
    assets = fair.simulate(DATES[dates], PATHS, generator(12)).assets
    a, b = ((x.spot[-1] / spot).numpy() for x, spot in zip(assets[:2], fair.spots[:2], strict=True))
    payoff = math.exp(-fair.rate) * np.maximum(a - b, 0)
    assert z_scores(payoff, margrabe(fair, 1.0)) < SIGMAS


def test_the_order_of_the_assets_does_not_matter() -> None:
    """The law of a spread is the same when its legs change places."""
    first, second, third = GBM, *GBM.others
    turned = CorrelatedGBM(
        spot=third.spot,
        drift=third.drift,
        sigma=third.sigma,
        others=(
            Asset(spot=first.spot, drift=first.drift, sigma=first.sigma),
            Asset(spot=second.spot, drift=second.drift, sigma=second.sigma),
        ),
        correlation=((1.0, -0.3, 0.2), (-0.3, 1.0, 0.6), (0.2, 0.6, 1.0)),
    )
    x = log_returns(GBM, DATES["uneven"], 13)
    y = log_returns(turned, DATES["uneven"], 14)[[1, 2, 0]]
    for weights in ([1.0, -1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, -0.5]):
        assert stats.ks_2samp(weights @ x, weights @ y).pvalue > ALPHA


def test_the_pricing_measure_takes_the_premium_off_all_jumps() -> None:
    fair = MERTON.risk_neutral()
    assert isinstance(fair, CorrelatedMerton)
    assert (fair.intensity, fair.own_intensity, fair.jump_premium) == (6.0, 3.0, 0.0)
    assert [asset.own_intensity for asset in fair.others] == [0.0, 9.0]
    assert fair.risk_neutral() == fair


def test_perfectly_correlated_assets_move_as_one() -> None:
    for rho in (1.0, -1.0):
        market = CorrelatedGBM(sigma=0.2, others=(Asset(sigma=0.2),), correlation=rho)
        first, second = market.simulate(DATES["uneven"], 500, generator(15)).assets
        noise = [(a.log_spot - a.log_spot.mean(dim=1, keepdim=True)) for a in (first, second)]
        assert float((noise[1] - rho * noise[0]).abs().max()) < 1e-12


def test_the_triangle_of_a_singular_matrix() -> None:
    loadings = np.array([[1.0, 0.0], [0.6, 0.8], [0.8, 0.6], [0.0, 1.0]])
    matrix = loadings @ loadings.T
    L = triangle(matrix)
    np.testing.assert_allclose(L @ L.T, matrix, atol=1e-12)
    assert (np.triu(L, 1) == 0).all()


def test_a_market_that_stands_still_has_no_correlation() -> None:
    market = CorrelatedGBM(sigma=0.0, others=(Asset(sigma=0.2),))
    assert market.correlation_matrix == ((1.0, 0.0), (0.0, 1.0))


def test_paths_are_a_function_of_the_generator_alone() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first, again, other = (
        torch.stack([a.spot for a in MERTON.simulate(DATES["uneven"], 50, generator(seed)).assets])
        for seed in (16, 16, 17)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_market
def test_a_market_survives_json(market: CorrelatedMarket) -> None:
    text = market.model_dump_json()
    assert type(market).model_validate_json(text) == market
    assert "correlated" in text


THREE: dict[str, Any] = {"others": (Asset(), Asset())}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"others": ()}, "at least 1 item"),
        (THREE | {"correlation": 1.5}, "less than or equal to 1"),
        (THREE | {"correlation": -0.6}, "at least -0.5"),
        (THREE | {"correlation": ((1.0, 0.5), (0.5, 1.0))}, "3 rows of 3"),
        (THREE | {"correlation": ((1.0, 0.5, 0.5),) * 2}, "3 rows of 3"),
        (THREE | {"correlation": ((1.0, 0.6, 0.1), (0.5, 1.0, 0.1), (0.1, 0.1, 1.0))}, "symmetric"),
        (
            THREE | {"correlation": ((1.0, 0.5, 0.1), (0.5, 0.9, 0.1), (0.1, 0.1, 1.0))},
            "row 1, column 1: make it 1",
        ),
        (
            THREE | {"correlation": ((1.0, 0.9, -0.9), (0.9, 1.0, 0.9), (-0.9, 0.9, 1.0))},
            "nearer to 0",
        ),
        ({"others": (Asset(spot=50.0),), "sigma": -0.1}, "sigma"),
    ],
)
def test_impossible_markets_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        CorrelatedGBM(**keys)


def test_impossible_jump_correlations_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"jump_correlation has .* at least -0\.5"):
        CorrelatedMerton(others=(JumpingAsset(), JumpingAsset()), jump_correlation=-0.7)
