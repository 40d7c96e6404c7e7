"""Calibration: known parameters are recovered, noise has its error, bad surfaces are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from deephedge.envs.markets.bates import Bates
from deephedge.envs.markets.heston import Heston
from deephedge.envs.markets.sabr import Sabr
from deephedge.envs.pricing.calibration import Calibration, Model, Surface, calibrate

STRIKES = np.array([70.0, 80.0, 90.0, 95.0, 100.0, 105.0, 110.0, 120.0, 130.0])
MATURITIES = np.array([1 / 12, 0.25, 0.5, 1.0, 2.0])
HESTON = Heston(kappa=3.0, theta=0.06, vol_of_vol=0.8, rho=-0.6, variance=0.03)
MODELS: dict[str, tuple[Model, Model | None]] = {
    "heston": (HESTON, None),
    "heston-wild": (Heston(kappa=1.0, theta=0.04, vol_of_vol=2.0, rho=-0.7, variance=0.04), None),
    "bates": (
        Bates(
            kappa=2.0,
            theta=0.05,
            vol_of_vol=0.4,
            rho=-0.5,
            variance=0.03,
            intensity=0.7,
            jump_mean=-0.15,
            jump_std=0.1,
        ),
        None,
    ),
    "sabr": (Sabr(alpha=0.25, rho=-0.4, nu=0.6), None),
    "sabr-beta": (Sabr(alpha=2.5, beta=0.5, rho=-0.3, nu=0.6), Sabr(alpha=1.0, beta=0.5)),
}
DEAR = ("bates", "heston-wild")  # they take seconds


def surface_of(market: Model) -> Surface:
    """45 vols, on forwards that grow at 3 %."""
    strikes, maturities = (y.ravel() for y in np.meshgrid(STRIKES, MATURITIES))
    forwards = 100 * np.exp(0.03 * maturities)
    blank = Surface(strikes, maturities, np.full(strikes.size, 0.2), forwards, spot=100.0)
    prices = blank.puts(market) * strikes * 0.97
    return Surface.from_prices(
        prices, strikes, maturities, forwards, signs=-1, spot=100.0, discounts=0.97
    )


def misses(found: Calibration, market: Model) -> dict[str, float]:
    return {name: getattr(found.market, name) - getattr(market, name) for name in found.errors}


@pytest.mark.parametrize(
    ("market", "start"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.slow] if name in DEAR else [])
        for name, case in MODELS.items()
    ],
)
def test_parameters_are_recovered_from_their_surface(market: Model, start: Model | None) -> None:
    found = calibrate(type(market), surface_of(market), start)
    assert found.rmse < 1e-8
    assert found.at_bounds == ()
    for name, miss in misses(found, market).items():
        assert abs(miss) < 1e-6 * max(1.0, abs(getattr(market, name))), name


def noisy(market: Model, noise: float, rng: np.random.Generator) -> Surface:
    clean = surface_of(market)
    vols = np.asarray(clean.vols) + noise * rng.standard_normal(np.size(clean.vols))
    return Surface(clean.strikes, clean.maturities, vols, clean.forwards, spot=100.0)


@pytest.mark.slow
def test_noise_moves_parameters_by_their_standard_errors() -> None:
    market, rng, noise = Sabr(alpha=0.25, rho=-0.4, nu=0.6), np.random.default_rng(0), 1e-3
    scores = []
    for _ in range(60):
        found = calibrate(Sabr, noisy(market, noise, rng))
        assert found.rmse == pytest.approx(noise, rel=0.5)
        scores.append([miss / found.errors[name] for name, miss in misses(found, market).items()])
    # The root mean square of 60 standard scores is 1 within four times 1 / sqrt(120).
    assert np.abs(np.sqrt(np.mean(np.square(scores), axis=0)) - 1).max() < 4 / math.sqrt(120)


def test_weights_choose_what_is_met() -> None:
    """A quote that no model meets does harm according to its weight."""
    clean = surface_of(Sabr(alpha=0.25, rho=-0.4, nu=0.6))
    vols, weights = np.array(clean.vols), np.ones(np.size(clean.vols))
    vols[10] += 0.2
    found = {}
    for weight in (1.0, 1e-8):
        weights[10] = weight
        off = Surface(clean.strikes, clean.maturities, vols, clean.forwards, 100.0, weights)
        found[weight] = calibrate(Sabr, off).market.alpha  # type: ignore[union-attr]
    assert abs(found[1.0] - 0.25) > 1e-3
    assert found[1e-8] == pytest.approx(0.25, abs=1e-6)


def test_the_rest_comes_from_the_start_without_its_premiums() -> None:
    start = HESTON.model_copy(update={"rate": 0.03, "drift": 0.2, "variance_premium": -1.0})
    found = calibrate(Heston, surface_of(HESTON), start)
    assert found.market.rate == 0.03
    assert found.market.variance_premium == 0.0  # type: ignore[union-attr]
    assert abs(misses(found, HESTON)["kappa"]) < 1e-5


def test_a_parameter_that_little_determines_has_a_large_error() -> None:
    """Without vol of vol there is no smile, and no correlation to be seen."""
    flat = Sabr(alpha=0.25, rho=-0.4, nu=1e-3)
    found = calibrate(Sabr, noisy(flat, 1e-3, np.random.default_rng(1)), start=flat)
    assert found.errors["rho"] > 1.0


GOOD: dict[str, Any] = {
    "strikes": [90.0, 100.0, 110.0],
    "maturities": [1.0, 1.0, 1.0],
    "vols": [0.2, 0.2, 0.2],
    "forwards": 100.0,
    "spot": 100.0,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strikes": [90.0, 100.0]}, r"strikes has shape \(2,\): give 3 numbers"),
        ({"vols": [0.2, math.nan, 0.2]}, "vols holds nan: every entry must be finite"),
        ({"maturities": [1.0, 0.0, 1.0]}, "maturities holds 0.0"),
        ({"weights": -1.0}, "weights holds -1.0"),
        ({"spot": 0.0}, "spot holds 0.0"),
    ],
)
def test_bad_surfaces_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Surface(**GOOD | change)


def test_bad_prices_and_too_few_quotes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"prices\[1\] = 1.0 has no implied vol \(below\): drop"):
        Surface.from_prices([12.0, 1.0, 4.0], [90.0, 95.0, 110.0], 1.0, 100.0, signs=1, spot=100.0)
    with pytest.raises(ValueError, match="3 quotes cannot give 5 parameters: add quotes"):
        calibrate(Heston, Surface(**GOOD))
    with pytest.raises(ValueError, match="start is Sabr: give Heston"):
        calibrate(Heston, surface_of(HESTON), Sabr())
