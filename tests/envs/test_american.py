"""American puts: QuantLib, central differences, bounds, limits, and paths that are stopped."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deephedge.envs.instruments.american import AmericanPut
from deephedge.envs.instruments.claim import Path
from deephedge.envs.markets import GeometricBrownianMotion, MarketPaths
from deephedge.envs.pricing import Greeks, black_scholes
from deephedge.envs.pricing.american import american_put, exercise_boundary, exercised
from deephedge.envs.pricing.terms import Terms

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # SWIG's types have no __module__, which Python 3.12 reports
    import QuantLib as ql  # noqa: N813

FLOAT64 = torch.float64
Numbers = float | Tensor


def terms(
    spot: Numbers,
    tau: Numbers,
    vol: Numbers,
    rate: float = 0.05,
    dividend: float = 0.0,
    dtype: torch.dtype = FLOAT64,
) -> Terms:
    """One date, and a contract for every path."""
    columns = torch.broadcast_tensors(
        *(torch.as_tensor(x, dtype=FLOAT64).reshape(-1) for x in (spot, tau, vol))
    )
    spots, taus, vols = (column[None] for column in columns)
    paths = MarketPaths(torch.zeros_like(taus), spots.to(dtype), spots.log().to(dtype), vols)
    return Terms(paths, taus[0], rate, (dividend,), (vols.to(dtype),))


def put(spot: Numbers, tau: Numbers, vol: Numbers, rate: float, dividend: float) -> Greeks:
    """Struck at 100; each Greek ``[N]``."""
    greeks = american_put(terms(spot, tau, vol, rate, dividend), 100.0)
    return Greeks(*(values[0] for values in greeks[:5]))


def boundary(tau: Numbers, vol: Numbers, rate: float, dividend: float) -> Tensor:
    columns = (torch.as_tensor(x, dtype=FLOAT64).reshape(-1) for x in (tau, vol))
    return exercise_boundary(100.0, *torch.broadcast_tensors(*columns), rate, dividend)


# QuantLib ---------------------------------------------------------------------------------------

MARKETS = [(0.05, 0.0), (0.05, 0.02), (0.02, 0.06), (0.1, 0.1), (0.01, -0.02), (0.2, 0.0)]
NEVER = [(0.0, 0.0), (0.0, 0.03), (-0.01, 0.02)]
CONTRACTS = list(
    itertools.product((7, 30, 365, 1825), (0.08, 0.2, 0.6), (75.0, 90.0, 100.0, 120.0))
)


@pytest.fixture(scope="module")
def quantlib_day() -> Iterator[ql.Date]:
    """A fixed evaluation date; QuantLib keeps it in a global, which is put back."""
    settings = ql.Settings.instance()
    before, today = settings.evaluationDate, ql.Date(2, 1, 2024)
    settings.evaluationDate = today
    yield today
    settings.evaluationDate = before


def quantlib_price(
    today: ql.Date, spot: float, days: int, vol: float, rate: float, dividend: float
) -> float:
    count = ql.Actual365Fixed()
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(spot)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, dividend, count)),
        ql.YieldTermStructureHandle(ql.FlatForward(today, rate, count)),
        ql.BlackVolTermStructureHandle(ql.BlackConstantVol(today, ql.NullCalendar(), vol, count)),
    )
    payoff = ql.PlainVanillaPayoff(ql.Option.Put, 100.0)
    option = ql.VanillaOption(payoff, ql.AmericanExercise(today, today + days))
    scheme = ql.QdFpAmericanEngine.highPrecisionScheme()
    option.setPricingEngine(ql.QdFpAmericanEngine(process, scheme))
    return float(option.NPV())


@pytest.mark.parametrize(
    ("rate", "dividend"),
    [*MARKETS[:2], *(pytest.param(*each, marks=pytest.mark.slow) for each in MARKETS[2:]), *NEVER],
)
def test_agrees_with_quantlib(rate: float, dividend: float, quantlib_day: ql.Date) -> None:
    exact = torch.tensor(
        [quantlib_price(quantlib_day, s, d, v, rate, dividend) for d, v, s in CONTRACTS],
        dtype=FLOAT64,
    )
    days, vol, spot = (torch.tensor(c, dtype=FLOAT64) for c in zip(*CONTRACTS, strict=True))
    alone = torch.stack([put(s, d / 365, v, rate, dividend).price[0] for d, v, s in CONTRACTS])
    assert float((alone - exact).abs().max()) < 3e-5  # 3e-7 of spot
    # From one boundary for all vols and times up to five years.
    together = put(spot, days / 365, vol, rate, dividend).price
    assert float((together - exact).abs().max()) < 3e-4


def test_a_finite_difference_grid_of_another_library_agrees(quantlib_day: ql.Date) -> None:
    """QuantLib's engine is this method too, so a partial differential equation is asked as well."""
    count = ql.Actual365Fixed()
    for spot, (rate, dividend) in itertools.product((90.0, 110.0), MARKETS[:3]):
        process = ql.BlackScholesMertonProcess(
            ql.QuoteHandle(ql.SimpleQuote(spot)),
            ql.YieldTermStructureHandle(ql.FlatForward(quantlib_day, dividend, count)),
            ql.YieldTermStructureHandle(ql.FlatForward(quantlib_day, rate, count)),
            ql.BlackVolTermStructureHandle(
                ql.BlackConstantVol(quantlib_day, ql.NullCalendar(), 0.25, count)
            ),
        )
        payoff = ql.PlainVanillaPayoff(ql.Option.Put, 100.0)
        option = ql.VanillaOption(payoff, ql.AmericanExercise(quantlib_day, quantlib_day + 365))
        option.setPricingEngine(ql.FdBlackScholesVanillaEngine(process, 500, 500))
        ours = put(spot, 1.0, 0.25, rate, dividend)
        assert float(ours.price) == pytest.approx(option.NPV(), abs=2e-3)
        assert float(ours.delta) == pytest.approx(option.delta(), abs=2e-4)
        assert float(ours.gamma) == pytest.approx(option.gamma(), abs=2e-4)
        assert float(ours.theta) == pytest.approx(option.theta(), abs=2e-2)


# Derivatives ------------------------------------------------------------------------------------

GRID = [
    torch.tensor(column, dtype=FLOAT64)
    for column in zip(
        *itertools.product((80.0, 92.0, 97.0, 100.0, 120.0, 150.0), (0.02, 0.25, 2.0), (0.1, 0.7)),
        strict=True,
    )
]


@pytest.mark.parametrize(("rate", "dividend"), [*MARKETS[:4], (0.03, -0.02), (0.0, 0.02)])
def test_greeks_are_central_differences(rate: float, dividend: float) -> None:
    spot, tau, vol = GRID
    ours = put(spot, tau, vol, rate, dividend)
    h = {"spot": 1e-4 * spot, "tau": 1e-4 * tau, "vol": 1e-4 * vol}

    def central(name: str, **moves: Tensor) -> Tensor:
        (move,) = moves.values()
        ends = []
        for sign in (1, -1):
            x = {"spot": spot, "tau": tau, "vol": vol}
            x = {key: value + sign * moves.get(key, 0.0) for key, value in x.items()}
            ends.append(getattr(put(x["spot"], x["tau"], x["vol"], rate, dividend), name))
        return (ends[0] - ends[1]) / (2 * move)

    # Closer to the boundary than this a difference straddles it.
    held = spot > 1.003 * boundary(tau, vol, rate, dividend)
    expected = {
        "delta": central("price", spot=h["spot"]),
        "gamma": central("delta", spot=h["spot"]),
        "vega": central("price", vol=h["vol"]),
        "theta": -central("price", tau=h["tau"]),
    }
    tolerance = {"delta": 2e-6, "gamma": 1e-5, "vega": 1e-4, "theta": 2e-3}
    for name, values in expected.items():
        error = (getattr(ours, name) - values)[held].abs().max()
        assert float(error) < tolerance[name], name


def test_below_the_boundary_the_put_is_what_exercise_pays() -> None:
    edge = float(boundary(0.5, 0.2, 0.05, 0.02))
    below = put(edge - torch.tensor([1e-9, 1.0, 30.0]).double(), 0.5, 0.2, 0.05, 0.02)
    claim = AmericanPut(strike=100.0)
    pays = claim.exercise_value(edge - torch.tensor([1e-9, 1.0, 30.0]).double())
    torch.testing.assert_close(below.price, pays)
    assert below.delta.tolist() == [-1.0, -1.0, -1.0]
    for values in (below.gamma, below.vega, below.theta):
        assert values.tolist() == [0.0, 0.0, 0.0]
    # Smooth pasting; gamma jumps to what the Black-Scholes equation leaves there.
    above = put(edge + 1e-3, 0.5, 0.2, 0.05, 0.02)
    assert float(above.delta) == pytest.approx(-1.0, abs=2e-4)
    jump = 2 * (0.05 * 100 - 0.02 * edge) / (0.2 * edge) ** 2
    assert float(put(edge * 1.001, 0.5, 0.2, 0.05, 0.02).gamma) == pytest.approx(jump, rel=0.03)


def test_payoff_is_the_put_at_maturity() -> None:
    spot = torch.tensor([[100.0, 100.0], [90.0, 130.0]])
    claim = AmericanPut(strike=100.0)
    assert claim.payoff(Path(torch.tensor([[0.0], [1.0]]), spot)).tolist() == [10.0, 0.0]
    assert claim.exercisable


# The boundary -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "dividend"), [*MARKETS, (0.001, 0.0)])
def test_boundary_falls_from_its_limit_to_the_perpetual_one(rate: float, dividend: float) -> None:
    tau = torch.linspace(0, 1, 101, dtype=FLOAT64) ** 2 * 400 / rate**0.5
    for sigma in (0.1, 0.3, 0.8):
        edge = boundary(tau, sigma, rate, dividend)
        limit = 100 * min(1.0, rate / dividend) if dividend > 0 else 100.0
        drift = rate - dividend - sigma**2 / 2
        power = (drift + math.sqrt(drift**2 + 2 * rate * sigma**2)) / sigma**2
        perpetual = 100 * power / (1 + power)
        assert float(edge[0]) == pytest.approx(limit, rel=1e-6)
        assert float(edge[-1]) == pytest.approx(perpetual, rel=2e-3)
        short = boundary(torch.linspace(1e-3, 1.0, 101, dtype=FLOAT64), sigma, rate, dividend)
        assert float(short.diff().max()) < 1e-6


def test_there_is_no_boundary_where_waiting_costs_nothing() -> None:
    for rate, dividend in NEVER:
        assert float(boundary(1.0, 0.2, rate, dividend)) == 0
        spot = torch.tensor([50.0, 100.0], dtype=FLOAT64)
        european = black_scholes(
            spot.log(), 100.0, *(torch.tensor(x).double() for x in (1.0, 0.2)),
            sign=-1, rate=rate, dividend=dividend,
        )  # fmt: skip
        torch.testing.assert_close(put(spot, 1.0, 0.2, rate, dividend).price, european.price)


def test_two_boundaries_are_refused() -> None:
    with pytest.raises(ValueError, match="two exercise boundaries"):
        put(100.0, 1.0, 0.2, -0.02, -0.05)


# Laws -------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    spot=st.floats(1, 1e4),
    tau=st.floats(0, 10),
    vol=st.floats(0, 2),
    rate=st.floats(0, 0.2),
    dividend=st.floats(0, 0.2),
)
def test_no_arbitrage_bounds(
    spot: float, tau: float, vol: float, rate: float, dividend: float
) -> None:
    spots = torch.tensor([spot, spot, 1.01 * spot], dtype=FLOAT64)
    taus = torch.tensor([tau, 2 * tau + 0.1, tau], dtype=FLOAT64)
    g = put(spots, taus, vol, rate, dividend)
    asked = (torch.tensor(x, dtype=FLOAT64) for x in (math.log(spot), tau, vol))
    log_spot, *others = asked
    european = black_scholes(log_spot, 100.0, *others, sign=-1, rate=rate, dividend=dividend)
    small = 1e-4 * 100
    price = float(g.price[0])
    assert max(100 - spot - 1e-9, float(european.price) - small) <= price <= 100 + small
    assert float(g.price[1]) >= price - small  # more time is worth more
    assert -0.01 * spot - small <= float(g.price[2]) - price <= small  # delta is in [-1, 0]
    for values in g[:5]:
        assert values.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("rate", "dividend"), [*MARKETS, *NEVER])
def test_finite_on_a_wild_grid(dtype: torch.dtype, rate: float, dividend: float) -> None:
    columns = zip(
        *itertools.product(
            (1e-28, 1e-3, 50.0, 100.0 * (1 - 1e-7), 100.0, 100.0 * (1 + 1e-7), 300.0, 1e14),
            (0.0, 1e-20, 1e-6, 1 / 365, 1.0, 50.0),
            (0.0, 1e-12, 1e-3, 0.2, 3.0),
        ),
        strict=True,
    )
    spot, tau, vol = (torch.tensor(c, dtype=FLOAT64) for c in columns)
    state = terms(spot, tau, vol, rate, dividend, dtype)
    g = american_put(state, 100.0)
    for name, values in zip(Greeks._fields[:5], g[:5], strict=True):
        assert values.dtype == dtype
        assert values.isfinite().all(), name
    assert exercised(state, 100.0).shape == g.price.shape


def test_float32_agrees_with_float64_to_its_digits() -> None:
    spot, tau, vol = GRID
    exact = american_put(terms(spot, tau, vol, 0.05, 0.02), 100.0)
    single = american_put(terms(spot, tau, vol, 0.05, 0.02, torch.float32), 100.0)
    for name, size in {"price": 100.0, "delta": 1.0, "vega": 100.0, "theta": 100.0}.items():
        error = (getattr(single, name).double() - getattr(exact, name)).abs().max() / size
        assert float(error) < 1e-4, name


def test_each_path_may_have_its_own_vol_and_dates() -> None:
    """A block of paths with one vol each gives what each contract gives alone."""
    times = torch.linspace(0, 0.5, 4, dtype=FLOAT64)[:, None]
    vol = torch.tensor([[0.1, 0.2, 0.4]], dtype=FLOAT64)
    spot = torch.tensor([[95.0, 100.0, 90.0]], dtype=FLOAT64).expand(4, 3)
    paths = MarketPaths(times, spot, spot.log(), vol)
    block = american_put(Terms(paths, times[-1], 0.05, (0.02,), (vol,)), 100.0)
    for t, n in itertools.product(range(4), range(3)):
        one = put(spot[t, n], 0.5 - times[t, 0], vol[0, n], 0.05, 0.02)
        for name, tolerance in {"price": 1e-5, "delta": 1e-5, "vega": 1e-2}.items():
            assert float(getattr(block, name)[t, n]) == pytest.approx(
                float(getattr(one, name)), abs=tolerance
            ), name


def test_paths_stopped_at_the_boundary_earn_the_price() -> None:
    """The holder's rule on 100 dates; a year's put loses about 0.01 by not stopping in between."""
    market = GeometricBrownianMotion(sigma=0.25, rate=0.06, dividend=0.01).risk_neutral()
    times = torch.linspace(0, 1, 101, dtype=FLOAT64)[:, None]
    paths = market.simulate(times, 20_000, torch.Generator().manual_seed(7))
    state = Terms(paths, times[-1], 0.06, (0.01,), (paths.implied_vol,))
    price = float(put(100.0, 1.0, 0.25, 0.06, 0.01).price)
    stops = exercised(state, 100.0)
    stops[-1] = True
    at = stops.to(torch.int8).argmax(dim=0)
    spot = paths.spot.gather(0, at[None])[0]
    earned = AmericanPut(strike=100.0).exercise_value(spot) * torch.exp(-0.06 * times[at, 0])
    error = float(earned.std()) / math.sqrt(len(earned))
    assert abs(float(earned.mean()) - price) < 4 * error + 0.01
    assert bool((at < 100).any())
    # Waiting to the end earns the European put, 0.5 less.
    waited = AmericanPut(strike=100.0).exercise_value(paths.spot[-1]) * math.exp(-0.06)
    assert float(waited.mean()) < price - 0.3
