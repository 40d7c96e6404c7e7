"""GARCH: moments in closed form, memory, leverage, clipped tails, Duan's pricing measure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import integrate, stats
from torch import Tensor

from deephedge.envs.calendar import TradingDaysCalendar
from deephedge.envs.markets import MarketPaths
from deephedge.envs.markets.garch import Garch

PATHS = 40_000
SIGMAS = 4.0
ALPHA = 1e-5
DAY = 1 / 252
Floats = NDArray[np.float64]

# Shocks are larger than those of data, so that the tests have something to see.
PLAIN = Garch(model="garch", omega=1e-5, alpha=0.12, beta=0.78, gamma=0.0)
GJR = Garch(model="gjr", omega=1e-5, alpha=0.03, beta=0.78, gamma=0.18)
NGARCH = Garch(model="ngarch", omega=1e-5, alpha=0.07, beta=0.75, gamma=0.9)
STUDENT = GJR.model_copy(update={"innovations": "student", "degrees": 4.5})
MARKETS = {"garch": PLAIN, "gjr": GJR, "ngarch": NGARCH, "student": STUDENT}
each_market = pytest.mark.parametrize("market", MARKETS.values(), ids=list(MARKETS))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def days(steps: int, length: float = DAY) -> Tensor:
    return torch.arange(steps + 1, dtype=torch.float64)[:, None] * length


DATES: dict[str, Tensor] = {
    "one step": days(1),
    "20 days": days(20),
    "half days": days(40, DAY / 2),
    "weeks": days(8, 5 * DAY),
    "weekends by path": TradingDaysCalendar(steps=8).times(PATHS, generator(99)),
}
each_dates = pytest.mark.parametrize("times", DATES.values(), ids=list(DATES))


def simulate(
    market: Garch,
    times: Tensor,
    seed: int = 1,
    dtype: torch.dtype = torch.float64,
    paths: int = PATHS,
) -> MarketPaths:
    return market.simulate(times, paths, generator(seed), dtype)


def z_scores(samples: Floats, expected: float | Floats) -> Floats:
    error = samples.std(axis=-1) / samples.shape[-1] ** 0.5
    return np.abs(samples.mean(axis=-1) - expected) / np.maximum(error, 1e-300)


def shocks(market: Garch, times: Tensor, seed: int, paths: int = PATHS) -> tuple[Floats, Floats]:
    """sqrt(v) z and v of normal innovations, ``[T, N]``."""
    simulated = simulate(market, times, seed, paths=paths)
    v = simulated.latents["variance"][:-1] * times.diff(dim=0)
    moves = simulated.log_spot.diff(dim=0) - market.drift * times.diff(dim=0) + v / 2
    return (moves - market.premium * v.sqrt()).numpy(), v.numpy()


# Mean and variance ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@each_dates
@each_market
def test_mean_and_variance_on_any_calendar(
    market: Garch, times: Tensor, dtype: torch.dtype
) -> None:
    market = market.model_copy(update={"drift": 0.3})
    paths = simulate(market, times, dtype=dtype)
    variance = paths.latents["variance"]
    assert variance.shape == paths.spot.shape == (len(times), PATHS)
    assert variance.dtype == paths.spot.dtype == paths.implied_vol.dtype == dtype
    relative = paths.spot.double() * torch.exp(-0.3 * times) / market.spot
    assert z_scores(relative[1:].numpy(), 1.0).max() < SIGMAS
    gains = (relative.diff(dim=0) * (variance[:-1] > variance[0])).numpy()[1:]
    assert z_scores(gains, 0.0).max(initial=0.0) < SIGMAS
    # Per year the variance is the same on every calendar.
    annual = market.omega / (1 - market.persistence) * 252
    assert z_scores(variance[1:].double().numpy(), annual).max() < SIGMAS
    log_return = paths.log_spot.double().diff(dim=0)
    log_return = (
        log_return - log_return.mean(dim=1, keepdim=True)
        if times.shape[1] == 1
        else (log_return - (0.3 - variance[:-1].double() / 2) * times.diff(dim=0))
    )
    scaled = (log_return**2 / times.diff(dim=0)).numpy()
    assert z_scores(scaled, annual).max() < SIGMAS
    assert market.volatility == pytest.approx(annual**0.5)


@each_market
def test_a_start_away_from_the_mean_returns_to_it(market: Garch) -> None:
    """E[h_t] = mean + persistence^t (h_0 - mean); the quoted vol is its average to the end."""
    market = market.model_copy(update={"variance": 0.16})
    mean, phi = market.stationary * 252, market.persistence
    times = DATES["20 days"]
    paths = simulate(market, times, seed=17)
    expected = mean + phi ** np.arange(21) * (0.16 - mean)
    assert z_scores(paths.latents["variance"].numpy()[1:], expected[1:]).max() < SIGMAS
    assert float(paths.implied_vol[0, 0]) == pytest.approx(expected[:20].mean() ** 0.5)
    torch.testing.assert_close(paths.implied_vol[-1], paths.latents["variance"][-1].sqrt())


@pytest.mark.parametrize("dates", ["20 days", "weekends by path"])
@each_market
def test_the_quoted_vol_expects_the_variance_to_come(market: Garch, dates: str) -> None:
    times = DATES[dates]
    paths = simulate(market, times, seed=3)
    variance, dt = paths.latents["variance"], times.diff(dim=0)
    for date in (0, len(dt) // 2, len(dt) - 1):
        average = (variance[date:-1] * dt[date:]).sum(dim=0) / dt[date:].sum(dim=0)
        surprise = (average - paths.implied_vol[date] ** 2).numpy()
        high = (variance[date] > variance[date].median()).numpy()
        for known in (np.ones(PATHS), high, ~high):
            if known.any() and surprise.std() > 1e-12:
                assert z_scores(surprise * known, 0.0) < SIGMAS
    last = paths.implied_vol[len(dt) - 1] - variance[len(dt) - 1].sqrt()
    assert last.abs().max() < 1e-12  # one step before the end the variance is known


# Memory -----------------------------------------------------------------------------------------


def test_squared_returns_remember_as_bollerslev_says() -> None:
    """rho_1 = alpha (1 - alpha beta - beta^2) / (1 - 2 alpha beta - beta^2), then phi^k."""
    r, _ = shocks(PLAIN, days(200), seed=4, paths=10_000)
    squared = r[120:] ** 2 - PLAIN.stationary  # the start is forgotten
    a, b = PLAIN.alpha, PLAIN.beta
    first = a * (1 - a * b - b * b) / (1 - 2 * a * b - b * b)
    for lag in (1, 2, 5, 15):
        rho = first * (a + b) ** (lag - 1)
        excess = (squared[:-lag] * squared[lag:] - rho * squared[:-lag] ** 2).mean(axis=0)
        assert z_scores(excess, 0.0) < SIGMAS
        wrong = (squared[:-lag] * squared[lag:] - 1.5 * rho * squared[:-lag] ** 2).mean(axis=0)
        assert z_scores(wrong, 0.0) > SIGMAS


def test_kurtosis_is_bollerslevs() -> None:
    """3 (1 - phi^2) / (1 - phi^2 - 2 alpha^2)."""
    r, _ = shocks(PLAIN, days(200), seed=5, paths=10_000)
    phi, alpha = PLAIN.persistence, PLAIN.alpha
    kurtosis = 3 * (1 - phi**2) / (1 - phi**2 - 2 * alpha**2)
    assert kurtosis > 3.4
    fourth = (r[120:] ** 4).mean(axis=0)
    assert z_scores(fourth, kurtosis * PLAIN.stationary**2) < SIGMAS
    assert z_scores(fourth, 3 * PLAIN.stationary**2) > SIGMAS


def test_leverage_has_its_sign_and_size() -> None:
    """E[r_t h_{t+1}]: 0, gamma E[z^3; z < 0] E[h^1.5] and -2 alpha gamma E[h^1.5]."""
    half = -math.sqrt(2 / math.pi)  # E[z^3; z < 0]
    for market, slope in ((PLAIN, 0.0), (GJR, 0.18 * half), (NGARCH, -2 * 0.07 * 0.9)):
        r, v = shocks(market, days(30), seed=6)
        product = (r[:-1] * v[1:] - slope * v[:-1] ** 1.5).mean(axis=0)
        assert z_scores(product, 0.0) < SIGMAS
        leverage = (r[:-1] * r[1:] ** 2).mean(axis=0)
        assert z_scores(leverage, 0.0) < SIGMAS if not slope else leverage.mean() < 0
        if slope:
            assert z_scores(leverage, 0.0) > SIGMAS


@each_market
def test_variance_follows_the_recursion(market: Garch) -> None:
    """Rebuilt from the returns alone, on steps of one period."""
    if market.innovations == "student":
        return
    r, v = shocks(market, days(30), seed=7, paths=50)
    h = np.full(50, market.stationary)
    for shock, variance in zip(r, v, strict=True):
        np.testing.assert_allclose(variance, h, rtol=1e-9)
        if market.model == "ngarch":
            news = market.alpha * (shock - market.gamma * h**0.5) ** 2
        else:
            asymmetry = market.gamma * (shock < 0)
            news = (market.alpha + asymmetry) * shock**2
        h = market.omega + news + market.beta * h


@pytest.mark.parametrize("market", [PLAIN, GJR], ids=["garch", "gjr"])
def test_variance_is_that_of_the_arch_package(market: Garch) -> None:
    from arch import arch_model

    r, v = shocks(market, days(1500), seed=8, paths=1)
    r, v = r[:, 0] * 100, v[:, 0] * 1e4
    asymmetric = int(market.model == "gjr")
    model = arch_model(r, mean="Zero", vol="GARCH", p=1, o=asymmetric, q=1, rescale=False)
    gamma = [market.gamma] * asymmetric
    fixed = model.fix([market.omega * 1e4, market.alpha, *gamma, market.beta])
    # The packages start the variance differently; 500 days later nothing is left of that.
    np.testing.assert_allclose(fixed.conditional_volatility[500:] ** 2, v[500:], rtol=1e-8)


# Student innovations ----------------------------------------------------------------------------


def clipped(degrees: float) -> Any:
    """The law of the clipped innovation: expectation of a function, by quadrature."""
    root = math.sqrt(degrees / (degrees - 2))
    law = stats.t(degrees)

    def moment(function: Any, scale: float = 1.0) -> float:
        def both(x: float) -> float:
            return float((function(x / root * scale) + function(-x / root * scale)) * law.pdf(x))

        inside = sum(
            integrate.quad(both, low * root, high * root, epsabs=1e-13, epsrel=1e-11)[0]
            for low, high in ((0, 1), (1, 4), (4, 10))
        )
        edge = 10 * scale
        return float(inside + (function(edge) + function(-edge)) * law.sf(10 * root))

    return moment


@pytest.mark.parametrize("degrees", [2.3, 4.0, 8.0])
def test_log_moment_of_the_clipped_law(degrees: float) -> None:
    market = GJR.model_copy(update={"innovations": "student", "degrees": degrees})
    moment = clipped(degrees)
    scale = moment(lambda x: x * x) ** -0.5
    vols = [1e-4, 0.006, 0.02, 0.07, 0.4, 2.0]
    ours = market._log_moment(torch.tensor([vols], dtype=torch.float64))[0].tolist()
    for vol, value in zip(vols, ours, strict=True):
        exact = math.log(moment(lambda x, s=vol: math.exp(s * x), scale))
        assert value == pytest.approx(exact, rel=2e-5, abs=1e-12)


@pytest.mark.parametrize("degrees", [2.3, 4.0, 8.0])
def test_student_innovations_have_variance_one_and_the_tails_of_t(degrees: float) -> None:
    market = GJR.model_copy(update={"innovations": "student", "degrees": degrees})
    z = market._draw((5, 200_000), generator(9), torch.float64).flatten()
    scale = clipped(degrees)(lambda x: x * x) ** -0.5
    assert float(z.abs().max()) <= 10 * scale * (1 + 1e-12)
    assert z_scores(z.numpy(), 0.0) < SIGMAS
    assert z_scores((z**2).numpy(), 1.0) < SIGMAS
    root = math.sqrt((degrees - 2) / degrees) * scale
    inside = z[z.abs() < 9.99 * scale] / root
    edge = 9.99 * scale / root
    chance = stats.t.cdf(edge, degrees) - stats.t.cdf(-edge, degrees)

    def law(x: Floats) -> Floats:
        return (stats.t.cdf(x, degrees) - stats.t.cdf(-edge, degrees)) / chance

    assert stats.kstest(inside[::10].numpy(), law).pvalue > ALPHA


def test_single_precision_students_are_finite() -> None:
    market = GJR.model_copy(update={"innovations": "student", "degrees": 2.1})
    z = market._draw((50, 100_000), generator(10), torch.float32)
    assert z.isfinite().all()


# Pricing measure --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["garch", "ngarch"])
def test_duans_measure_prices_what_the_likelihood_ratio_prices(model: str) -> None:
    """E_P[L payoff] = E_Q[payoff], L the product of exp(-lambda z - lambda^2 / 2)."""
    base = PLAIN if model == "garch" else NGARCH
    lam = 0.15
    market = base.model_copy(
        update={"premium": lam, "drift": 0.05 - 0.02, "rate": 0.05, "dividend": 0.02}
    )
    times = days(25)
    pricing = market.risk_neutral()
    assert (pricing.model, pricing.premium) == ("ngarch", 0.0)
    assert pricing.gamma == pytest.approx(market.gamma + lam)
    r, v = shocks(market, times, seed=11)
    ratio = np.exp((-lam * r / v**0.5 - lam**2 / 2).sum(axis=0))
    spot_p = simulate(market, times, seed=11).spot[-1].numpy()
    spot_q = simulate(pricing, times, seed=12).spot[-1].numpy()
    for strike in (90.0, 100.0, 105.0):
        physical = ratio * np.maximum(strike - spot_p, 0)
        priced = np.maximum(strike - spot_q, 0)
        error = math.hypot(physical.std(), priced.std()) / PATHS**0.5
        assert abs(physical.mean() - priced.mean()) < SIGMAS * error
    assert z_scores(spot_q, 100 * math.exp(0.03 * 25 / 252)) < SIGMAS
    # The quote is the pricing measure's expectation, whichever measure the paths are of.
    quotes = [simulate(m, times, paths=2).implied_vol[0, 0] for m in (market, pricing)]
    phi = pricing.persistence
    mean = pricing.omega / (1 - phi) * 252
    start = market.stationary * 252
    expected = np.mean(mean + phi ** np.arange(25) * (start - mean)) ** 0.5
    assert float(quotes[0]) == pytest.approx(expected)
    assert float(quotes[1]) == pytest.approx(mean**0.5)


def test_a_premium_is_expected() -> None:
    market = NGARCH.model_copy(update={"premium": 0.1, "drift": 0.04})
    for times in (DATES["20 days"], DATES["weekends by path"]):
        paths = simulate(market, times, seed=13)
        assert paths.expected is not None
        v = paths.latents["variance"][:-1] * times.diff(dim=0)
        torch.testing.assert_close(
            paths.expected, torch.exp(0.1 * v.sqrt() + 0.04 * times.diff(dim=0))
        )
        growth = (paths.spot[1:] / paths.spot[:-1] - paths.expected).numpy()
        assert z_scores(growth, 0.0).max() < SIGMAS
    assert simulate(NGARCH, DATES["one step"], paths=2).expected is None


def test_the_pricing_form_without_a_premium_keeps_the_news() -> None:
    for market in MARKETS.values():
        market = market.model_copy(update={"rate": 0.05, "dividend": 0.01, "drift": 0.2})
        assert market.risk_neutral() == market.model_copy(update={"drift": 0.05 - 0.01})


@pytest.mark.parametrize("market", [GJR, STUDENT], ids=["gjr", "student"])
def test_kinds_without_a_pricing_form_say_so(market: Garch) -> None:
    with pytest.raises(TypeError, match=r"no pricing form at premium 0\.1: take garch or ngarch"):
        market.model_copy(update={"premium": 0.1}).risk_neutral()


# Randomness, refusals ---------------------------------------------------------------------------


@each_market
def test_paths_are_a_function_of_the_generator_alone(market: Garch) -> None:
    for times in DATES.values():
        torch.manual_seed(0)
        state = torch.get_rng_state()
        first, second, other = (simulate(market, times, seed) for seed in (14, 14, 15))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first.spot, second.spot)
        assert torch.equal(first.implied_vol, second.implied_vol)
        assert (first.spot[-1] != other.spot[-1]).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"omega": 0.0}, "omega"),
        ({"alpha": -0.1}, "alpha"),
        ({"alpha": 0.5, "beta": 0.5, "gamma": 0.0}, "persistence 1: variance has no"),
        ({"model": "gjr", "alpha": 0.1, "beta": 0.85, "gamma": 0.1}, "persistence 1"),
        ({"model": "ngarch", "alpha": 0.1, "beta": 0.8, "gamma": 1.1}, "persistence 1.021"),
        ({"model": "garch"}, "model garch has no gamma"),
        ({"model": "gjr", "alpha": 0.02, "gamma": -0.1}, "makes variances negative"),
        ({"innovations": "student"}, "degrees belong to student"),
        ({"degrees": 5.0}, "degrees belong to student"),
        ({"innovations": "student", "degrees": 2.0}, "degrees"),
        ({"variance": 0.0}, "variance"),
        (
            {"model": "ngarch", "alpha": 0.1, "beta": 0.8, "gamma": 0.9, "premium": 0.2},
            "under the pricing measure",
        ),
    ],
)
def test_impossible_markets_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Garch.model_validate(values)


def test_a_constant_mean_of_the_log_return() -> None:
    """E[r] = drift dt in calm and in wild months alike; the price earns half the variance more."""
    fields = {"omega": 2e-4, "alpha": 0.05, "beta": 0.6, "gamma": 0.3, "period": 1 / 12}
    market = Garch(drift=0.06, mean="log-return", **fields)
    times = torch.arange(13, dtype=torch.float64)[:, None] / 12
    paths = market.simulate(times, 50_000, torch.Generator().manual_seed(5))
    returns, variance = paths.log_spot.diff(dim=0), paths.latents["variance"][:-1]
    for part in (variance < variance.median(), variance >= variance.median()):
        chosen = returns[part]
        assert abs(chosen.mean() - 0.06 / 12) < 4 * chosen.std() / len(chosen) ** 0.5
    assert paths.expected is not None
    torch.testing.assert_close(paths.expected, torch.exp((0.06 + variance / 2) / 12))
    luck = paths.spot[1:] / paths.spot[:-1] - paths.expected
    assert (luck.mean(dim=1).abs() < 4 * luck.std(dim=1) / 50_000**0.5).all()
    assert market.risk_neutral() == Garch(drift=0.0, **fields)
