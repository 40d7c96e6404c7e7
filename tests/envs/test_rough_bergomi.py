"""Rough Bergomi: its variance, its roughness, its skew, at several steps and on uneven dates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import integrate, stats
from torch import Tensor

from deephedge.envs.calendar import TradingDaysCalendar
from deephedge.envs.markets import MarketPaths, rough_bergomi
from deephedge.envs.markets.rough_bergomi import RoughBergomi

PATHS = 40_000
SIGMAS = 4.0
ALPHA = 1e-5
Floats = NDArray[np.float64]

ROUGH = RoughBergomi(hurst=0.1, eta=1.3, rho=-0.7, forward_variance=0.05)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def even(years: float, steps: int) -> Tensor:
    return torch.linspace(0, years, steps + 1, dtype=torch.float64)[:, None]


def column(*dates: float) -> Tensor:
    return torch.tensor(dates, dtype=torch.float64)[:, None]


DATES: dict[str, Tensor] = {
    "one step": column(0.0, 0.5),
    "12 steps": even(0.5, 12),
    "60 steps": even(0.5, 60),
    "uneven": column(0.0, 0.001, 0.05, 0.05, 0.3, 0.31, 0.5),
    "weekends by path": TradingDaysCalendar(steps=8).times(PATHS, generator(99)),
}
each_dates = pytest.mark.parametrize("times", DATES.values(), ids=list(DATES))


def simulate(
    market: RoughBergomi,
    times: Tensor,
    seed: int = 1,
    dtype: torch.dtype = torch.float64,
    paths: int = PATHS,
) -> MarketPaths:
    return market.simulate(times, paths, generator(seed), dtype)


def z_scores(samples: Floats, expected: float | Floats) -> Floats:
    error = samples.std(axis=-1) / samples.shape[-1] ** 0.5
    return np.abs(samples.mean(axis=-1) - expected) / np.maximum(error, 1e-300)


def kernel(dates: Floats, i: int, j: int, H: float) -> float:
    """The average of (t_i - s)^{H - 1/2} over cell j, by quadrature."""
    low, high = dates[j], dates[j + 1]
    integral, _ = integrate.quad(
        lambda s: (dates[i] - s) ** (H - 0.5), low, high, epsabs=0, epsrel=1e-10
    )
    return float(integral) / (high - low)


def discretised(dates: Floats, s: int, t: int, H: float) -> float:
    """Cov(Y_s, Y_t) of the hybrid scheme: exact on the last cell, averages on the others."""
    dt = np.diff(dates)
    total = sum(kernel(dates, s, j, H) * kernel(dates, t, j, H) * dt[j] for j in range(min(s, t)))
    if s == t:
        last = dt[t - 1]
        total += last ** (2 * H) / (2 * H) - kernel(dates, t, t - 1, H) ** 2 * last
    return 2 * H * float(total)


def exact(s: float, t: float, H: float) -> float:
    """Cov(Y_s, Y_t) of the Riemann-Liouville process, by quadrature; the pole has its own rule."""
    s, t = min(s, t), max(s, t)
    if s == t:
        return t ** (2 * H)
    pole = H - 0.5
    value, _ = integrate.quad(lambda u: (t - u) ** pole, 0, s, weight="alg", wvar=(0, pole))
    return 2 * H * float(value)


def log_variance(market: RoughBergomi, paths: MarketPaths) -> Floats:
    return np.log(paths.latents["variance"].double().numpy() / market.forward_variance)


# Variance ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@each_dates
def test_variance_keeps_its_mean_and_spot_is_a_martingale(
    times: Tensor, dtype: torch.dtype, substeps: int
) -> None:
    market = ROUGH.model_copy(update={"substeps": substeps, "drift": 0.1})
    paths = simulate(market, times, dtype=dtype)
    variance = paths.latents["variance"]
    assert variance.shape == paths.spot.shape == (len(times), PATHS)
    assert variance.dtype == paths.spot.dtype == paths.implied_vol.dtype == dtype
    torch.testing.assert_close(variance[0], variance.new_full((PATHS,), 0.05))
    assert z_scores(variance[1:].double().numpy(), 0.05).max() < SIGMAS
    relative = paths.spot.double() * torch.exp(-0.1 * times) / market.spot
    assert z_scores(relative[1:].numpy(), 1.0).max() < SIGMAS
    signal = (variance > 0.05).double()
    gains = (relative.diff(dim=0) * signal[:-1])[1:].numpy()
    assert z_scores(gains, 0.0).max(initial=0.0) < SIGMAS
    quoted = paths.implied_vol.double().square().numpy()
    assert z_scores(quoted[1:], 0.05).max() < SIGMAS


@pytest.mark.parametrize("dates", list(DATES)[:4])
def test_the_schemes_mean_variance_is_xi_to_the_last_digit(dates: str) -> None:
    """Half the log-variance is level + kernel z + own z': its law gives E[V] exactly."""
    for hurst in (0.07, 0.3, 0.5):
        market = ROUGH.model_copy(update={"hurst": hurst})
        scheme = market._scheme(DATES[dates][:, 0].numpy())
        spread = (scheme.kernel**2).sum(axis=1) + scheme.own[:, 0] ** 2
        np.testing.assert_allclose(np.exp(2 * scheme.level[:, 0] + 2 * spread), 0.05, rtol=1e-12)


@pytest.mark.parametrize("hurst", [0.07, 0.3])
@pytest.mark.parametrize("dates", ["one step", "12 steps", "60 steps"])
def test_log_variance_is_normal_with_the_covariance_of_the_scheme(dates: str, hurst: float) -> None:
    market = ROUGH.model_copy(update={"hurst": hurst})
    times = DATES[dates]
    grid, eta = times[:, 0].numpy(), market.eta
    y = log_variance(market, simulate(market, times, seed=2)) / eta
    last = len(grid) - 1
    for date in {1, last // 2, last} - {0}:
        variance = discretised(grid, date, date, hurst)
        centred = y[date] + eta * variance / 2  # the compensator is that of the scheme
        assert z_scores(centred, 0.0) < SIGMAS
        assert z_scores(centred**2, variance) < SIGMAS
        assert stats.kstest(centred / variance**0.5, "norm").pvalue > ALPHA
        other = y[last] + eta * discretised(grid, last, last, hurst) / 2
        assert z_scores(centred * other, discretised(grid, date, last, hurst)) < SIGMAS


def test_the_schemes_covariance_tends_to_the_exact_one() -> None:
    """Relative error of Var and Cov of Y at dt = T/10, T/40, T/160; the first step has none."""
    for hurst in (0.07, 0.3):
        errors = []
        for steps in (10, 40, 160):
            grid = np.linspace(0, 0.5, steps + 1)
            first = discretised(grid, 1, 1, hurst)
            assert first == pytest.approx(grid[1] ** (2 * hurst), rel=1e-8)
            pairs = ((steps, steps), (steps // 2, steps), (steps // 2, steps // 2))
            errors.append(
                max(
                    abs(discretised(grid, i, j, hurst) / exact(grid[i], grid[j], hurst) - 1)
                    for i, j in pairs
                )
            )
        assert errors[0] > errors[1] > errors[2]
        assert errors[2] < 0.001


@pytest.mark.parametrize("steps", [8, 40, 160])
def test_autocovariance_is_that_of_the_fractional_process(steps: int) -> None:
    """Against the exact integral, with the scheme's own bias (as above) and 4 standard errors."""
    market = RoughBergomi(hurst=0.1, eta=1.0)
    times, paths = even(1.0, steps), 20_000
    y = log_variance(market, simulate(market, times, seed=3, paths=paths))
    y = y - y.mean(axis=1, keepdims=True)
    dates = [steps // 4, steps // 2, steps]
    for i, j in itertools.combinations_with_replacement(dates, 2):
        product = y[i] * y[j]
        error = product.std() / paths**0.5
        expected = exact(float(times[i]), float(times[j]), 0.1)
        assert abs(product.mean() - expected) < SIGMAS * error + 0.25 / steps * expected


@pytest.mark.parametrize("times", [DATES["12 steps"], DATES["60 steps"]], ids=["12", "60"])
def test_variance_and_price_share_their_brownian_motion(times: Tensor) -> None:
    """Cov(Y_t, W_t) = sqrt(2H) t^{H + 1/2} / (H + 1/2), at every step size; B is apart."""
    for rho in (-0.7, 0.0, 1.0):
        market = ROUGH.model_copy(update={"rho": rho})
        paths = simulate(market, times, seed=4)
        variance = paths.latents["variance"]
        moves = paths.log_spot.diff(dim=0) + variance[:-1] * times.diff(dim=0) / 2
        w = (moves / variance[:-1].sqrt()).sum(dim=0).numpy()
        y = log_variance(market, paths)[-1] / market.eta
        years, H = float(times[-1]), market.hurst
        expected = rho * (2 * H) ** 0.5 * years ** (H + 0.5) / (H + 0.5)
        assert z_scores(w, 0.0) < SIGMAS
        assert z_scores(w**2, years) < SIGMAS
        assert z_scores(w * (y - y.mean()), expected) < SIGMAS


def test_at_one_half_the_log_variance_is_brownian() -> None:
    market = RoughBergomi(hurst=0.5, eta=0.8, rho=1.0)
    times = DATES["uneven"]
    paths = simulate(market, times, seed=5, paths=100)
    variance = paths.latents["variance"]
    moves = paths.log_spot.diff(dim=0) + variance[:-1] * times.diff(dim=0) / 2
    w = torch.cat([torch.zeros(1, 100), (moves / variance[:-1].sqrt()).cumsum(dim=0)])
    torch.testing.assert_close(variance, 0.04 * torch.exp(0.8 * w - 0.32 * times))
    torch.testing.assert_close(paths.implied_vol, variance.sqrt())  # E_t[V_u] = V_t


# Quoted vol -------------------------------------------------------------------------------------


def test_the_quoted_vol_expects_the_variance_to_come() -> None:
    """E[(average variance to the end - vol^2) g] = 0 for what is known; Riemann sums of V."""
    times, paths = even(0.25, 50), 20_000
    simulated = simulate(ROUGH.model_copy(update={"substeps": 4}), times, seed=6, paths=paths)
    variance, vol = simulated.latents["variance"].numpy(), simulated.implied_vol.numpy()
    assert vol[0] == pytest.approx(0.05**0.5)
    np.testing.assert_allclose(vol[-1], variance[-1] ** 0.5)
    for date in (10, 25, 40):
        average = variance[date + 1 :].mean(axis=0)
        surprise = average - vol[date] ** 2
        size = (variance[date] > np.median(variance[date])).astype(float)
        for known in (np.ones(paths), size, 1 - size):
            error = (surprise * known).std() / paths**0.5
            # The grid's sums differ from the integral by some parts in a hundred.
            assert abs((surprise * known).mean()) < SIGMAS * error + 0.01 * 0.05
        assert np.corrcoef(average, vol[date] ** 2)[0, 1] > 0.3


def test_three_nodes_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for market in (ROUGH, RoughBergomi()):
        few = simulate(market, even(30 / 365, 30), seed=7, paths=2000).implied_vol
        monkeypatch.setattr(rough_bergomi, "NODES", 64)
        many = simulate(market, even(30 / 365, 30), seed=7, paths=2000).implied_vol
        monkeypatch.undo()
        error = (few / many).log().abs()
        assert error.mean() < 0.002
        assert error.max() < 0.05


# Skew -------------------------------------------------------------------------------------------


def conditional(forward: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Call at the money and chance to end above it, given log-forward and variance left."""
    sd = np.sqrt(variance)
    d1 = forward / sd + sd / 2
    above = stats.norm.cdf(d1 - sd)
    return np.exp(forward) * stats.norm.cdf(d1) - above, above


def at_the_money(market: RoughBergomi, times: Tensor, paths: int) -> tuple[float, float]:
    """Implied vol and its slope in log-strike, by conditioning on W (Romano and Touzi, 1997).

    With rho = 1 the simulated log-price is int sqrt(V) dW - int V / 2, and given W the price at
    another rho is lognormal. The same formula at constant variance is the control.
    """
    simulated = simulate(market.model_copy(update={"rho": 1.0}), times, 8, paths=paths)
    years, dt = float(times[-1]), times.diff(dim=0)
    variance = simulated.latents["variance"][:-1]
    moves = simulated.log_spot.diff(dim=0) + variance * dt / 2
    total = (variance * dt).sum(dim=0).numpy()
    stochastic, w = moves.sum(dim=0).numpy(), (moves / variance.sqrt()).sum(dim=0).numpy()
    rho, fixed = market.rho, market.forward_variance * years
    price, above = conditional(rho * stochastic - rho**2 / 2 * total, (1 - rho**2) * total)
    brownian = rho * market.volatility * w - rho**2 / 2 * fixed
    price0, above0 = conditional(brownian, np.full(paths, (1 - rho**2) * fixed))
    root = fixed**0.5
    price = price - price0 + 2 * stats.norm.cdf(root / 2) - 1
    above = above - above0 + stats.norm.cdf(-root / 2)
    vol = float(2 * stats.norm.ppf((price.mean() + 1) / 2)) / years**0.5
    half = vol * years**0.5 / 2
    slope = (stats.norm.cdf(-half) - above.mean()) / (years**0.5 * stats.norm.pdf(half))
    return vol, float(slope)


def left_point(steps: int, hurst: float) -> float:
    """What a left-point sum makes of int t^{H + 1/2} dt, as a ratio: the price's bias in dt."""
    return (
        float((hurst + 1.5) * (np.arange(steps) / steps) ** (hurst + 0.5) @ np.ones(steps)) / steps
    )


def expansion(market: RoughBergomi, years: float) -> float:
    """Bayer, Friz and Gatheral (2016): rho eta sqrt(2H) T^{H-1/2} / (2 (H+1/2) (H+3/2))."""
    H = market.hurst
    slope = market.rho * market.eta * (2 * H) ** 0.5 / (2 * (H + 0.5) * (H + 1.5))
    return float(slope * years ** (H - 0.5))


@pytest.mark.parametrize("steps", [10, 40, 160])
def test_skew_is_that_of_the_expansion_at_small_vol_of_vol(steps: int) -> None:
    market = RoughBergomi(hurst=0.15, eta=0.3, rho=-0.8, forward_variance=0.04)
    for years in (0.1, 0.5):
        vol, slope = at_the_money(market, even(years, steps), 20_000)
        assert slope == pytest.approx(left_point(steps, 0.15) * expansion(market, years), rel=0.03)
        assert vol == pytest.approx(0.2, rel=0.02)


def skew_decay(market: RoughBergomi, dt: float, paths: int) -> float:
    """Slope of log |skew| in log T over maturities of 16, 48 and 144 steps of ``dt``.

    The bias of the left-point sum, known in closed form, is taken out: it is 5 % at 16 steps.
    """
    lengths = np.array([16, 48, 144])
    slopes = [
        at_the_money(market, even(n * dt, n), paths)[1] / left_point(n, market.hurst)
        for n in lengths.tolist()
    ]
    return float(np.polyfit(np.log(lengths * dt), np.log(np.abs(slopes)), 1)[0])


@pytest.mark.parametrize("dt", [1 / 365, 1 / 1460])
def test_skew_decays_as_a_power_of_maturity(dt: float) -> None:
    market = RoughBergomi(hurst=0.1, eta=0.5, rho=-0.7)
    assert skew_decay(market, dt, 20_000) == pytest.approx(market.hurst - 0.5, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("hurst", [0.07, 0.2, 0.35])
@pytest.mark.parametrize("dt", [1 / 365, 1 / 1460, 1 / 5840])
def test_skew_decays_as_a_power_of_maturity_at_every_hurst(dt: float, hurst: float) -> None:
    market = RoughBergomi(hurst=hurst, eta=0.5, rho=-0.7)
    assert skew_decay(market, dt, 100_000) == pytest.approx(hurst - 0.5, abs=0.02)


# Dates, randomness, refusals --------------------------------------------------------------------


def test_paths_with_clocks_of_their_own_follow_them() -> None:
    times = DATES["weekends by path"]
    paths = simulate(ROUGH, times, seed=9)
    columns = torch.unique(times, dim=1)
    assert columns.shape[1] == 5
    for clock in columns.unbind(1):
        own = (times == clock[:, None]).all(dim=0)
        alone = simulate(ROUGH, clock[:, None], seed=10)
        for name in ("log_spot", "implied_vol"):
            a, b = getattr(paths, name)[:, own], getattr(alone, name)
            for date in (1, 4, 8):
                assert stats.ks_2samp(a[date], b[date]).pvalue > ALPHA
        a, b = paths.latents["variance"][:, own], alone.latents["variance"]
        assert stats.ks_2samp(a[5] / a[3], b[5] / b[3]).pvalue > ALPHA


def test_substeps_are_steps_between_the_dates() -> None:
    fine = simulate(ROUGH, even(0.5, 12), seed=11)
    cut = simulate(ROUGH.model_copy(update={"substeps": 3}), even(0.5, 4), seed=11)
    torch.testing.assert_close(cut.log_spot, fine.log_spot[::3])
    torch.testing.assert_close(cut.latents["variance"], fine.latents["variance"][::3])
    torch.testing.assert_close(cut.implied_vol, fine.implied_vol[::3])


def test_paths_are_a_function_of_the_generator_alone() -> None:
    for times in DATES.values():
        torch.manual_seed(0)
        state = torch.get_rng_state()
        first, second, other = (simulate(ROUGH, times, seed) for seed in (12, 12, 13))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first.spot, second.spot)
        assert torch.equal(first.implied_vol, second.implied_vol)
        assert (first.spot[-1] != other.spot[-1]).all()


def test_too_many_clocks_are_refused() -> None:
    times = even(0.5, 4) * torch.linspace(1, 2, 300, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"256 different clocks.*calendar"):
        simulate(ROUGH, times, paths=300)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hurst": 0.0}, "hurst"),
        ({"hurst": 0.51}, "hurst"),
        ({"eta": -1.0}, "eta"),
        ({"rho": 1.1}, "rho"),
        ({"forward_variance": 0.0}, "forward_variance"),
        ({"substeps": 0}, "substeps"),
    ],
)
def test_impossible_markets_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RoughBergomi.model_validate(values)


def test_risk_neutral_and_scale() -> None:
    market = RoughBergomi(drift=0.2, rate=0.05, dividend=0.02, forward_variance=0.09)
    assert market.risk_neutral() == market.model_copy(update={"drift": 0.05 - 0.02})
    assert market.volatility == pytest.approx(0.3)
