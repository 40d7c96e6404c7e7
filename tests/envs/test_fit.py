"""Fits to return series: parameters recovered, errors that mean what they say, bad data refused."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import linalg, stats

from deephedge.envs.markets import GeometricBrownianMotion, Market, Merton
from deephedge.envs.markets.fit import Fit, maximise
from deephedge.envs.markets.garch import Garch
from deephedge.envs.markets.regime_switching import (
    Regime,
    RegimeSwitching,
    hamilton,
    stationary,
)

DAY = 1 / 252
SIGMAS = 4.0
Floats = NDArray[np.float64]

GBM = GeometricBrownianMotion(drift=0.12, sigma=0.22)
MERTON = Merton(drift=0.1, sigma=0.15, intensity=8.0, jump_mean=-0.03, jump_std=0.04)
PLAIN = Garch(model="garch", omega=2e-6, alpha=0.08, beta=0.9, gamma=0.0, drift=0.1)
GJR = Garch(model="gjr", omega=2e-6, alpha=0.03, beta=0.88, gamma=0.13, drift=0.1)
NGARCH = Garch(model="ngarch", omega=2e-6, alpha=0.06, beta=0.85, gamma=0.8, drift=0.1)
TAILS: dict[str, Any] = {"innovations": "student", "degrees": 6.0}
REGIMES = RegimeSwitching(
    regimes=(Regime(drift=0.15, sigma=0.1), Regime(drift=-0.2, sigma=0.3)),
    rates=((-2.0, 2.0), (5.0, -5.0)),
)
CASES: dict[str, tuple[Market, dict[str, Any]]] = {
    "gbm": (GBM, {}),
    "merton": (MERTON, {}),
    "garch": (PLAIN, {"model": "garch"}),
    "gjr": (GJR, {"model": "gjr"}),
    "gjr-student": (GJR.model_copy(update=TAILS), {"innovations": "student"}),
    "ngarch": (NGARCH, {"model": "ngarch"}),
    "ngarch-student": (
        NGARCH.model_copy(update=TAILS),
        {"model": "ngarch", "innovations": "student"},
    ),
    "regimes": (REGIMES, {}),
}
each_case = pytest.mark.parametrize(("market", "options"), CASES.values(), ids=list(CASES))


def series(market: Market, observations: int, seed: int, count: int = 1) -> Floats:
    """Log-returns ``[observations, count]``."""
    times = torch.arange(observations + 1, dtype=torch.float64)[:, None] * DAY
    paths = market.simulate(times, count, torch.Generator().manual_seed(seed))
    return paths.log_spot.diff(dim=0).numpy()


def fit(market: Market, log_returns: Any, options: dict[str, Any]) -> Fit[Any]:
    fitted = type(market).fit(log_returns, DAY, **options)  # type: ignore[attr-defined]
    assert isinstance(fitted, Fit)
    return fitted


def value(market: Market, name: str) -> float:
    """``regimes.0.sigma`` and the like."""
    found: Any = market
    for key in name.split("."):
        found = found[int(key)] if key.isdigit() else getattr(found, key)
    return float(found)


# Recovery ---------------------------------------------------------------------------------------


@each_case
def test_known_parameters_are_recovered(market: Market, options: dict[str, Any]) -> None:
    fitted = fit(market, series(market, 4000, seed=1)[:, 0], options)
    assert type(fitted.market) is type(market)
    assert fitted.observations == 4000
    assert fitted.aic == pytest.approx(2 * len(fitted.errors) - 2 * fitted.log_likelihood)
    for name, error in fitted.errors.items():
        assert 0 < error < math.inf, name
        assert abs(value(fitted.market, name) - value(market, name)) < SIGMAS * error, name
    # What was fitted runs, and says its vol.
    assert fitted.market.volatility == pytest.approx(market.volatility, rel=0.3)
    assert np.isfinite(series(fitted.market, 5, seed=2)).all()


def spread(market: Market, options: dict[str, Any], observations: int, count: int) -> None:
    """The errors agree with the spread of the estimates, and the estimates with the truth."""
    columns = series(market, observations, seed=3, count=count).T
    fits = [fit(market, column, options) for column in columns]
    for name in fits[0].errors:
        estimates = np.array([value(one.market, name) for one in fits])
        claimed = float(np.median([one.errors[name] for one in fits]))
        ratio = estimates.std(ddof=1) / claimed
        # A standard deviation of n normals is off by 1 / sqrt(2 n); estimates have heavier tails.
        assert abs(math.log(ratio)) < SIGMAS * 1.3 / (2 * count) ** 0.5, (name, ratio)
        bias = abs(estimates.mean() - value(market, name)) / claimed
        assert bias < 0.4 + SIGMAS / count**0.5, (name, bias)


@pytest.mark.parametrize(
    ("case", "observations", "count"),
    [("gbm", 500, 200), pytest.param("merton", 2000, 12, marks=pytest.mark.slow)],
)
def test_errors_are_the_spread_over_replications(case: str, observations: int, count: int) -> None:
    spread(*CASES[case], observations, count)


@pytest.mark.slow
@pytest.mark.parametrize("case", list(CASES))
def test_errors_are_the_spread_over_many_replications(case: str) -> None:
    spread(*CASES[case], 4000, 60)


def test_merton_and_gbm_errors_by_hand() -> None:
    fitted = fit(GBM, series(GBM, 1000, seed=4)[:, 0], {})
    sigma = fitted.market.sigma
    assert fitted.errors["sigma"] == pytest.approx(sigma / 2000**0.5)
    assert fitted.errors["drift"] == pytest.approx(
        math.hypot(sigma / (1000 * DAY) ** 0.5, sigma * sigma / 2000**0.5)
    )
    returns = series(GBM, 1000, seed=4)[:, 0]
    law = stats.norm((fitted.market.drift - sigma**2 / 2) * DAY, sigma * DAY**0.5)
    assert fitted.log_likelihood == pytest.approx(law.logpdf(returns).sum())


# The machinery ----------------------------------------------------------------------------------


def test_maximise_gives_the_information_of_a_known_likelihood() -> None:
    """A gamma law: the errors are those of its Fisher information, in its own parameters."""
    sample = np.random.default_rng(0).gamma(3.0, 0.5, 20_000)

    def log_likelihood(p: Floats) -> float:
        return float(np.sum(stats.gamma.logpdf(sample, p[0], scale=p[1])))

    found = maximise(log_likelihood, np.exp, [[0.0, 0.0]], ["shape", "scale"], len(sample))
    a, b = found.parameters["shape"], found.parameters["scale"]
    from scipy.special import polygamma

    fisher = len(sample) * np.array([[polygamma(1, a), 1 / b], [1 / b, a / b**2]])
    exact = np.diag(np.linalg.inv(fisher)) ** 0.5
    assert [found.errors["shape"], found.errors["scale"]] == pytest.approx(exact, rel=1e-3)
    shape, _, scale = stats.gamma.fit(sample, floc=0)
    assert (a, b) == (pytest.approx(shape, rel=1e-5), pytest.approx(scale, rel=1e-5))


def test_a_parameter_at_its_bound_has_no_error() -> None:
    sample = np.random.default_rng(1).normal(0.0, 1.0, 500)
    mean = float(sample.mean())

    def log_likelihood(p: Floats) -> float:  # its second parameter wants to be 0
        return float(-((sample - mean - p[0]) ** 2).sum() / 2 - 1000 * p[1])

    def natural(theta: Floats) -> Floats:
        return np.array([theta[0], math.exp(theta[1])])

    found = maximise(log_likelihood, natural, [[0.3, 0.0]], ["mean", "rest"], 500)
    assert found.errors["mean"] == pytest.approx(1 / 500**0.5, rel=1e-4)
    assert math.isnan(found.errors["rest"])
    with pytest.raises(ValueError, match="nowhere finite"):
        maximise(lambda p: math.nan, natural, [[0.3, 0.0]], ["mean", "rest"], 500)


@pytest.mark.parametrize("observations", [2, 7, 64, 501])
def test_hamiltons_product_is_his_recursion(observations: int) -> None:
    rng = np.random.default_rng(2)
    Q = np.array([[-3.0, 2.0, 1.0], [4.0, -9.0, 5.0], [0.5, 0.5, -1.0]])
    P, first = linalg.expm(Q * 0.02), stationary(Q)
    mean, sd = np.array([0.1, 0.0, -0.3]), np.array([0.5, 1.0, 3.0])
    returns = rng.normal(0, 1.5, observations)
    law, total = first, 0.0
    for r in returns:
        law = law * stats.norm.pdf(r, mean, sd)
        total += math.log(law.sum())
        law = law / law.sum() @ P
    assert hamilton(returns, mean, sd, P, first) == pytest.approx(total, rel=1e-12)


def test_ngarch_and_arch_agree_where_they_meet() -> None:
    """Without leverage in the data NGARCH nests GARCH: its likelihood is as high, gamma near 0."""
    returns = series(PLAIN, 3000, seed=5)[:, 0]
    plain, wider = (Garch.fit(returns, DAY, model) for model in ("garch", "ngarch"))  # type: ignore[arg-type]
    # They start the variance differently, which is worth a little.
    assert -1.0 < wider.log_likelihood - plain.log_likelihood < 8.0
    assert abs(wider.market.gamma) < SIGMAS * wider.errors["gamma"]
    for name in ("omega", "alpha", "beta"):
        gap = abs(getattr(plain.market, name) - getattr(wider.market, name))
        assert gap < plain.errors[name]
        assert wider.errors[name] == pytest.approx(plain.errors[name], rel=0.3)


# Data -------------------------------------------------------------------------------------------


def sp500() -> Floats:
    import arch.data.sp500

    closes = arch.data.sp500.load()["Adj Close"].to_numpy()
    return np.asarray(np.diff(np.log(closes)))


def test_a_gjr_at_its_bound_is_a_market() -> None:
    """Returns without memory: arch's optimum has alpha + gamma = -3e-9, which is 0 and no fault."""
    pytest.importorskip("arch")
    returns = 0.01 * np.random.default_rng(0).standard_normal(500)
    with np.errstate(invalid="ignore"):  # a parameter at its bound has no standard error
        market = Garch.fit(returns, 1 / 252).market
    assert market.alpha + market.gamma == 0.0 and market.persistence < 1


def test_the_sp500_gives_sane_values() -> None:
    """1999 to 2018: 19 % vol, leverage, persistence near 1, calm and wild regimes."""
    returns = sp500()
    gbm = GeometricBrownianMotion.fit(returns, DAY)
    assert gbm.market.sigma == pytest.approx(0.19, abs=0.01)
    gjr = Garch.fit(returns, DAY)
    assert 0.97 < gjr.market.persistence < 1
    assert 0.1 < gjr.market.gamma < 0.25
    assert 0.13 < gjr.market.volatility < 0.22
    student = Garch.fit(returns, DAY, innovations="student")
    assert 5 < float(student.market.degrees or 0) < 11
    ngarch = Garch.fit(returns, DAY, "ngarch")
    assert 0.8 < ngarch.market.gamma < 2.0
    regimes = RegimeSwitching.fit(returns, DAY)
    calm, wild = regimes.market.regimes
    assert 0.08 < calm.sigma < 0.14 < 0.22 < wild.sigma < 0.36
    assert regimes.market.volatility == pytest.approx(0.19, abs=0.015)
    merton = Merton.fit(returns, DAY)
    assert merton.market.volatility == pytest.approx(0.19, abs=0.01)
    order = [student.aic, gjr.aic, regimes.aic, merton.aic, gbm.aic]
    assert order == sorted(order)


# Bad input --------------------------------------------------------------------------------------

FITS: dict[str, Callable[..., Fit[Any]]] = {
    "gbm": GeometricBrownianMotion.fit,
    "merton": Merton.fit,
    "gjr": Garch.fit,
    "ngarch": lambda returns, dt: Garch.fit(returns, dt, "ngarch"),
    "regimes": RegimeSwitching.fit,
}
GOOD = np.random.default_rng(3).normal(0, 0.01, 400)


@pytest.mark.parametrize("fitter", FITS.values(), ids=list(FITS))
@pytest.mark.parametrize(
    ("returns", "dt", "message"),
    [
        (np.where(np.arange(400) == 7, np.nan, GOOD), DAY, "log-return 7 is nan"),
        (np.where(np.arange(400) == 9, np.inf, GOOD), DAY, "log-return 9 is inf"),
        (GOOD[:5], DAY, "5 log-returns: give at least"),
        (GOOD[:0], DAY, "0 log-returns: give at least"),
        (np.full(400, 0.01), DAY, "all log-returns are 0.01"),
        (GOOD.reshape(20, 20), DAY, r"shape \(20, 20\)"),
        (GOOD, 0.0, "dt 0.0"),
        (GOOD, math.nan, "dt nan"),
    ],
)
def test_bad_series_are_refused(
    fitter: Callable[..., Fit[Any]], returns: Floats, dt: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        fitter(returns, dt)


def test_one_regime_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        RegimeSwitching.fit(GOOD, DAY, regimes=1)


def test_without_arch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "arch", None)
    with pytest.raises(ImportError, match=r"deephedge\[data\]"):
        Garch.fit(GOOD, DAY)
