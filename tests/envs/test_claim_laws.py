"""Laws that every closed form obeys, on paths: the state of the path is what they test most.

At maturity a mark is the payoff; discounted marks are martingales; hedging by delta takes the risk
away; the Black-Scholes equation; central differences at a fixed state; parities; finite everywhere.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from deephedge.envs.instruments.asian import Asian, AsianCall, AsianPut
from deephedge.envs.instruments.barrier import BarrierCall, BarrierOption, BarrierPut
from deephedge.envs.instruments.claim import Call, Claim, Path, Put
from deephedge.envs.instruments.digital import DigitalCall, DigitalPut
from deephedge.envs.instruments.forward_start import ForwardStartCall, ForwardStartPut
from deephedge.envs.instruments.lookback import (
    FloatingLookbackCall,
    FloatingLookbackPut,
    Lookback,
    LookbackCall,
    LookbackPut,
)
from deephedge.envs.instruments.path_claim import PathClaim
from deephedge.envs.instruments.variance_swap import VarianceSwap
from deephedge.envs.markets import GeometricBrownianMotion, MarketPaths
from deephedge.envs.pricing import Greeks
from deephedge.envs.pricing.barrier import continuous_barrier
from deephedge.envs.pricing.closed_form import closed_form
from deephedge.envs.pricing.lookback import beyond
from deephedge.envs.pricing.terms import Terms

FLOAT64 = torch.float64
RATE, DIVIDEND, SIGMA = 0.05, 0.02, 0.3
GRID = torch.linspace(0, 0.25, 26, dtype=FLOAT64)[:, None]

BARRIERS: list[Claim] = [
    kind(strike=99.0, barrier=level, direction=direction, knock=knock)  # type: ignore[arg-type]
    for kind in (BarrierCall, BarrierPut)
    for level, direction in ((88.0, "down"), (115.0, "up"))
    for knock in ("in", "out")
]
LOOKBACKS: list[Claim] = [
    LookbackCall(strike=104.0),
    LookbackPut(strike=97.0),
    LookbackCall(strike=90.0),
    FloatingLookbackCall(),
    FloatingLookbackPut(),
]
OTHERS: list[Claim] = [
    Call(strike=103.0),
    DigitalCall(strike=103.0, cash=20.0),
    DigitalPut(strike=98.0, cash=20.0),
    AsianCall(strike=101.0),
    AsianPut(strike=101.0),
    AsianCall(strike=101.0, average="geometric"),
    AsianPut(strike=101.0, average="geometric"),
    ForwardStartCall(start=0.1, moneyness=1.02),
    ForwardStartPut(start=0.1, moneyness=1.02),
    VarianceSwap(strike_vol=0.25, notional=100.0),
]
CLAIMS = [*OTHERS, *BARRIERS, *LOOKBACKS]


def name(claim: Claim) -> str:
    fields = claim.model_dump(exclude={"kind", "maturity", "asset"})
    kind: str = claim.kind  # type: ignore[attr-defined]
    return "-".join([kind, *(str(value) for value in fields.values())])


over_claims = pytest.mark.parametrize("claim", CLAIMS, ids=name)


def terms_of(paths: MarketPaths, rate: float = RATE, dividend: float = DIVIDEND) -> Terms:
    vol = paths.implied_vol.to(paths.spot.dtype)
    return Terms(paths, paths.times[-1], rate, (dividend,), (vol,))


def simulated(
    paths: int, seed: int, times: Tensor = GRID, clock: Tensor | None = None
) -> MarketPaths:
    market = GeometricBrownianMotion(
        drift=RATE - DIVIDEND, rate=RATE, dividend=DIVIDEND, sigma=SIGMA
    )
    generator = torch.Generator().manual_seed(seed)
    return market.simulate(times, paths, generator, FLOAT64, clock)


def with_weekends() -> tuple[Tensor, Tensor]:
    """Three-day gaps that count for one and a quarter days of variance."""
    gaps = torch.tensor([1.0, 1.0, 1.0, 1.0, 3.0] * 5, dtype=FLOAT64)[:, None] / 140
    worth = torch.where(gaps > 1.5 / 140, 1.25 / 140, gaps)
    start = torch.zeros((1, 1), dtype=FLOAT64)
    return torch.cat([start, gaps.cumsum(0)]), torch.cat([start, worth.cumsum(0)])


def paid(claim: Claim, paths: MarketPaths) -> Tensor:
    return claim.payoff(Path(paths.times, paths.spot, (paths.spot,)))


# Along paths ------------------------------------------------------------------------------------


@over_claims
def test_at_maturity_a_mark_is_the_payoff(claim: Claim) -> None:
    paths = simulated(2000, 1)
    greeks = closed_form(claim, terms_of(paths))
    torch.testing.assert_close(greeks.price[-1], paid(claim, paths), rtol=0, atol=1e-9)
    for values in greeks[:5]:
        assert values.shape == paths.spot.shape
        assert values.isfinite().all()


@over_claims
def test_a_maturity_within_the_paths_ends_them_there(claim: Claim) -> None:
    """Nothing after it is read, and claims on the path are worth 0 from then on."""
    paths = simulated(50, 2, *with_weekends())
    last = 16
    cut = replace(
        paths,
        times=paths.times[: last + 1],
        clock=None if paths.clock is None else paths.clock[: last + 1],
        spot=paths.spot[: last + 1],
        log_spot=paths.log_spot[: last + 1],
    )
    whole = closed_form(claim, replace(terms_of(paths), maturity=paths.times[last]))
    for values, expected in zip(whole[:5], closed_form(claim, terms_of(cut))[:5], strict=True):
        torch.testing.assert_close(values[: last + 1], expected, rtol=1e-12, atol=1e-12)
        assert not claim.path_dependent or not values[last + 1 :].any()


# Money by which the correction for watched dates is known to be off, at worst over these claims.
BIAS = dict.fromkeys(map(name, BARRIERS), 0.03) | dict.fromkeys(map(name, LOOKBACKS), 0.06)


@pytest.mark.parametrize("calendar", ["even", pytest.param("weekends", marks=pytest.mark.slow)])
@over_claims
def test_discounted_marks_are_martingales(claim: Claim, calendar: str) -> None:
    """From any date on, on average and on those paths alone that have risen, fallen or ranged."""
    times, clock = with_weekends() if calendar == "weekends" else (GRID, None)
    paths = simulated(8_000, 3, times, clock)
    discount = torch.exp(-RATE * times)
    values = discount * closed_form(claim, terms_of(paths)).price
    final = discount[-1] * paid(claim, paths)
    for t in (0, 1, 5, 12, 20, 24):
        drift = final - values[t]
        spread = paths.log_spot[: t + 1].amax(0) - paths.log_spot[: t + 1].amin(0)
        up = paths.spot[t] > paths.spot[0]
        subsets = [torch.ones_like(up), up, ~up, spread > spread.median()]
        for subset in subsets if t else subsets[:1]:
            sample = drift[subset]
            error = float(sample.std()) / math.sqrt(len(sample))
            allowed = 4 * error + BIAS.get(name(claim), 0.0)
            assert abs(float(sample.mean())) < allowed + 1e-9, t


@over_claims
def test_hedging_by_delta_takes_the_risk_away(claim: Claim) -> None:
    """The hedged P&L is 0 on average; what is left of its spread is the gaps between dates."""
    paths = simulated(4_000, 4)
    greeks = closed_form(claim, terms_of(paths))
    discount = torch.exp(-RATE * GRID)
    values = discount * greeks.price
    asset = discount * paths.spot
    gains = asset[1:] * torch.exp(DIVIDEND * GRID.diff(dim=0)) - asset[:-1]
    unhedged = values[-1] - values[0]
    hedged = unhedged - (greeks.delta[:-1] * gains).sum(dim=0)
    error = 4 * float(hedged.std()) / math.sqrt(4_000)
    assert abs(float(hedged.mean())) < error + BIAS.get(name(claim), 0.0)
    if isinstance(claim, VarianceSwap):  # its risk is gamma's, not delta's
        after_gamma = hedged - 0.5 * (
            discount[:-1] * greeks.gamma[:-1] * (paths.spot.diff(dim=0).square())
        ).sum(dim=0)
        assert after_gamma.std() < 0.1 * hedged.std()
    else:
        jumps_at_an_edge = "digital" in name(claim) or "-out" in name(claim)
        assert hedged.std() < (0.65 if jumps_at_an_edge else 0.35) * unhedged.std()


@over_claims
def test_the_black_scholes_equation(claim: Claim) -> None:
    """theta + (r - q) S delta + vol^2 S^2 gamma / 2 = r V at a fixed state, on both calendars."""
    if isinstance(claim, Asian) and claim.average == "arithmetic":
        pytest.skip("a bound, whose optimal conditioning changes with time")
    for times, clock in ((GRID, None), with_weekends()):
        paths = simulated(200, 5, times, clock)
        terms = terms_of(paths)
        g = closed_form(claim, terms)
        spot = paths.spot
        variance = terms.vol.square() * spot.square() * g.gamma
        left = g.theta + (RATE - DIVIDEND) * spot * g.delta + variance / 2
        size = 1 + (spot.square() * g.gamma).abs() + g.theta.abs()
        if isinstance(claim, ForwardStartCall | ForwardStartPut):
            before = (times <= claim.start - 1e-9).sum()
            assert (left - RATE * g.price)[before:-1].abs().max() < 1e-9 * size.max()
            g0 = (g.theta - DIVIDEND * g.price)[:before]
            assert g0.abs().max() < 1e-9 * size.max()
            continue
        assert ((left - RATE * g.price) / size)[:-1].abs().max() < 1e-9


# Derivatives ------------------------------------------------------------------------------------

STATE = [100.0, 97.0, 104.0, 100.5, 101.0, 99.0]  # today is date 3, the spot inside its range
TODAY = 3


def at_state(claim: Claim, move: float = 0.0, sigma: float = SIGMA, later: float = 0.0) -> Greeks:
    """Today's values, all as scalars: the spot moved after its fixing, the vol, or the time."""
    spots, times = list(STATE), [0.0, 0.05, 0.1, 0.15, 0.2, 0.25]
    moved = spots[TODAY] + move
    if isinstance(claim, Asian):  # the first fixing makes good for it: what is known stays
        arithmetic = claim.average == "arithmetic"
        spots[1] = spots[1] - move if arithmetic else spots[1] * spots[TODAY] / moved
    spots[TODAY] = moved
    times[TODAY] += later
    spot, dates = (torch.tensor(x, dtype=FLOAT64)[:, None] for x in (spots, times))
    vol = torch.full((1, 1), sigma, dtype=FLOAT64)
    greeks = closed_form(claim, terms_of(MarketPaths(dates, spot, spot.log(), vol)))
    price, delta, gamma, vega, theta = (values[TODAY, 0] for values in greeks[:5])
    return Greeks(price, delta, gamma, vega, theta)


@over_claims
def test_greeks_are_central_differences(claim: Claim) -> None:
    g, h = at_state(claim), 1e-4
    scale = 100.0 if isinstance(claim, VarianceSwap) else 1.0

    def central(field: str, **bump: float) -> float:
        (size,) = bump.values()
        up, down = (at_state(claim, **{k: s * v for k, v in bump.items()}) for s in (1, -1))
        return float(getattr(up, field) - getattr(down, field)) / (2 * size)

    more, less = at_state(claim, sigma=SIGMA + h), at_state(claim, sigma=SIGMA - h)
    expected = {"vega": float(more.price - less.price) / (2 * h)}
    if not isinstance(claim, VarianceSwap):  # its last return is part of its state
        expected["delta"] = central("price", move=h)
        expected["gamma"] = central("delta", move=h)
    if not isinstance(claim, BarrierOption | Lookback):  # they watch as often all the same
        expected["theta"] = central("price", later=h / 10)
    for field, value in expected.items():
        assert float(getattr(g, field)) == pytest.approx(value, rel=1e-5, abs=1e-6 * scale), field


@pytest.mark.parametrize("sign", [1, -1])
def test_a_variance_swaps_delta_is_that_of_its_next_return(sign: int) -> None:
    """At a spot apart from the last fixing the next squared return starts from the fixing."""
    claim, steps = VarianceSwap(strike_vol=0.2, notional=1.0), 0.05
    g = at_state(claim)
    mean = (RATE - DIVIDEND - SIGMA**2 / 2) * steps
    scale = math.exp(-RATE * 0.1) / 0.25

    def next_square(spot: float) -> float:
        lag = math.log(spot / STATE[TODAY])
        return scale * ((lag + mean) ** 2 + SIGMA**2 * steps)

    h = sign * 1e-3
    spot = STATE[TODAY]
    delta = (next_square(spot + h) - next_square(spot - h)) / (2 * h)
    gamma = (next_square(spot + h) - 2 * next_square(spot) + next_square(spot - h)) / h**2
    assert float(g.delta) == pytest.approx(delta, rel=1e-5)
    assert float(g.gamma) == pytest.approx(gamma, rel=1e-5)


def test_a_variance_swap_is_the_sum_of_its_steps() -> None:
    """Step by step, on a clock of its own: variance and squared mean, at a vol that is quoted."""
    times, clock = with_weekends()
    times, clock = 40 * times, 40 * clock  # long steps, whose squared means count
    paths = simulated(3, 15, times, clock)
    claim, years = VarianceSwap(strike_vol=0.2, notional=7.0), float(times[-1])
    g = closed_form(claim, terms_of(paths))
    squares = paths.log_spot.diff(dim=0).square()
    for t in range(len(times)):
        expected = squares[:t].sum(dim=0)
        for dt, du in zip(times.diff(dim=0)[t:, 0], clock.diff(dim=0)[t:, 0], strict=True):
            mean = (RATE - DIVIDEND) * dt - SIGMA**2 / 2 * du
            expected = expected + SIGMA**2 * du + mean**2
        worth = 7 * math.exp(-RATE * (years - float(times[t]))) * (expected / years - 0.04)
        torch.testing.assert_close(g.price[t], worth, rtol=1e-10, atol=1e-12)


# Parities ---------------------------------------------------------------------------------------


def price(claim: Claim, paths: MarketPaths) -> Tensor:
    return closed_form(claim, terms_of(paths)).price


@pytest.mark.parametrize(("level", "direction"), [(88.0, "down"), (115.0, "up"), (97.0, "up")])
@pytest.mark.parametrize("sign", [1, -1])
def test_in_and_out_are_the_whole(level: float, direction: str, sign: int) -> None:
    paths = simulated(500, 6)
    kind, vanilla = (BarrierCall, Call) if sign > 0 else (BarrierPut, Put)
    parts = [
        price(kind(strike=99.0, barrier=level, direction=direction, knock=knock), paths)  # type: ignore[arg-type]
        for knock in ("in", "out")
    ]
    whole = price(vanilla(strike=99.0), paths)
    torch.testing.assert_close(parts[0] + parts[1], whole, rtol=0, atol=1e-10)
    assert (parts[0] >= 0).all() and (parts[1] >= 0).all()


@pytest.mark.parametrize("average", ["arithmetic", "geometric"])
def test_asian_call_less_put_is_the_average_forward(average: str) -> None:
    paths = simulated(300, 7, *with_weekends())
    call = AsianCall(strike=101.0, average=average)  # type: ignore[arg-type]
    put = AsianPut(strike=101.0, average=average)  # type: ignore[arg-type]
    free = AsianCall(strike=1e-9, average=average)  # type: ignore[arg-type]
    tau = paths.times[-1] - paths.times
    strike = (101.0 - 1e-9) * torch.exp(-RATE * tau)
    difference = price(call, paths) - price(put, paths)
    torch.testing.assert_close(difference, price(free, paths) - strike, rtol=0, atol=1e-10)
    if average == "arithmetic":
        known = torch.cat([torch.zeros_like(paths.spot[:1]), paths.spot[1:].cumsum(0)])
        years = paths.times[None] - paths.times[:, None]  # from date t to date i
        growth = torch.exp((RATE - DIVIDEND) * years)[..., 0].triu(1).sum(dim=1, keepdim=True)
        mean = (known + paths.spot * growth) / 25
        expected = torch.exp(-RATE * tau) * (mean - 101.0)
        torch.testing.assert_close(difference, expected, rtol=0, atol=1e-10)


def test_a_floating_lookback_is_a_fixed_one_and_a_forward() -> None:
    """max S - S_T = (max S - K)+ + K - S_T for K below every maximum, and so for the minimum."""
    paths = simulated(300, 8)
    tau = paths.times[-1] - paths.times
    cash, asset = torch.exp(-RATE * tau), torch.exp(-DIVIDEND * tau) * paths.spot
    high = price(LookbackCall(strike=90.0), paths) + 90.0 * cash - asset
    torch.testing.assert_close(price(FloatingLookbackPut(), paths), high, rtol=0, atol=1e-9)
    low = price(LookbackPut(strike=110.0), paths) - 110.0 * cash + asset
    torch.testing.assert_close(price(FloatingLookbackCall(), paths), low, rtol=0, atol=1e-9)


def test_one_fixing_is_the_vanilla_option() -> None:
    paths = simulated(100, 9, GRID[[0, -1]])
    vanilla = closed_form(Call(strike=103.0), terms_of(paths))
    for claim in (
        AsianCall(strike=103.0),
        AsianCall(strike=103.0, average="geometric"),
        BarrierCall(strike=103.0, barrier=80.0, direction="down", knock="out"),
        LookbackCall(strike=103.0),
    ):
        g = closed_form(claim, terms_of(paths))
        for field in ("price", "delta", "gamma", "vega", "theta"):
            ours, theirs = getattr(g, field)[0], getattr(vanilla, field)[0]
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, msg=field)


def test_a_started_forward_start_is_vanilla_at_its_strike() -> None:
    paths = simulated(1, 10)
    g = closed_form(ForwardStartPut(start=0.1, moneyness=1.02), terms_of(paths))
    vanilla = closed_form(Put(strike=1.02 * float(paths.spot[10, 0])), terms_of(paths))
    for ours, theirs in zip(g[:5], vanilla[:5], strict=True):
        torch.testing.assert_close(ours[10:], theirs[10:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("far", [0.0, 0.05, 0.4])
def test_lookbacks_pass_smoothly_through_equal_rates(side: int, far: float) -> None:
    """From r = q outwards: no jump where the series takes over, none at 0."""
    gaps = torch.tensor([0.0, *torch.logspace(-14, -0.5, 200).tolist()], dtype=FLOAT64)
    one = torch.ones(1, dtype=FLOAT64)
    for sign in (1, -1):
        values = torch.cat(
            [
                beyond(side, one * side * far, one, one * 0.2, 0 * one, float(sign * gap), 0.0)
                * math.exp(sign * float(gap))
                for gap in gaps
            ]
        )
        slope = (values[-1] - values[0]).abs() / gaps[-1] + 1
        assert (values.diff().abs() <= 20 * slope * gaps.diff() + 1e-14).all()
        if side * sign > 0:  # the drift pushes the extremum outwards
            assert (values.diff() >= -1e-14).all()


# Discretely watched ------------------------------------------------------------------------------


def test_watched_dates_move_the_barrier_the_right_way() -> None:
    """A barrier watched rarely is touched less: out is worth more than continuously, in less."""
    paths = simulated(1, 11)
    now = paths.spot[0]
    for claim in BARRIERS:
        assert isinstance(claim, BarrierOption)
        watched = price(claim, paths)[0]
        tau, vol = torch.full_like(now, 0.25), torch.full_like(now, SIGMA)
        always = continuous_barrier(claim, now.log(), tau, vol, RATE, DIVIDEND)
        assert (watched > always) == (claim.knock == "out")


@pytest.mark.slow
@pytest.mark.parametrize("claim", [*BARRIERS, *LOOKBACKS], ids=name)
def test_the_correction_for_dates_is_of_their_order(claim: Claim) -> None:
    """Against Monte Carlo with the delta hedge as control, at 25 dates."""
    paths = simulated(30_000, 14)
    g = closed_form(claim, terms_of(paths))
    discount = torch.exp(-RATE * GRID)
    asset = discount * paths.spot
    gains = asset[1:] * torch.exp(DIVIDEND * GRID.diff(dim=0)) - asset[:-1]
    sample = discount[-1] * paid(claim, paths) - (g.delta[:-1] * gains).sum(dim=0)
    error = float(sample.std()) / math.sqrt(30_000)
    allowed = 0.045 if isinstance(claim, Lookback) else 0.015
    assert abs(float(sample.mean() - g.price[0, 0])) < allowed + 3 * error


# Wild -------------------------------------------------------------------------------------------

WILD_SPOTS = [1e-30, 1e-6, 50.0, 88.0, 99.0, 100.0, 115.0, 200.0, 1e6, 1e12]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@over_claims
def test_finite_on_wild_paths(claim: Claim, dtype: torch.dtype) -> None:
    """Jumps from anywhere to anywhere, onto the barrier and the strike, at vols of 0 to 20."""
    starts, ends = zip(*itertools.product(WILD_SPOTS, WILD_SPOTS), strict=True)
    spot = torch.tensor([starts, starts, ends, ends, starts], dtype=FLOAT64)
    times = torch.tensor([[0.0], [1e-9], [0.01], [2.0], [30.0]], dtype=FLOAT64)
    stops = torch.tensor([[0.0], [0.0], [0.0], [1.0], [1.0]], dtype=FLOAT64)
    for vol in (0.0, 1e-12, 1e-3, 0.3, 20.0):
        quoted = torch.full((1, 1), vol, dtype=dtype)
        paths = MarketPaths(times, spot.to(dtype), spot.log().to(dtype), quoted)
        for clock, rate, dividend in ((None, 0.0, 0.0), (stops, 0.05, 0.02), (None, -0.02, 0.06)):
            g = closed_form(claim, terms_of(replace(paths, clock=clock), rate, dividend))
            for field, values in zip(g._fields, g[:5], strict=False):
                assert values.dtype == dtype
                assert values.isfinite().all(), (field, vol, rate)
            if not isinstance(claim, VarianceSwap):
                assert (g.price >= -1e-6 * spot - 1e-10).all(), (vol, rate)


@over_claims
def test_float32_agrees_with_float64_to_its_digits(claim: Claim) -> None:
    paths = simulated(500, 12)
    paths = replace(paths, spot=paths.log_spot.float().exp().double())  # the same numbers
    paths = replace(paths, log_spot=paths.spot.log())
    exact = closed_form(claim, terms_of(paths))
    single = replace(paths, spot=paths.spot.float(), log_spot=paths.log_spot.float())
    ours = closed_form(claim, terms_of(single))
    error = (ours.price.double() - exact.price)[:-1].abs().max()
    assert error < (2e-2 if "digital" in name(claim) else 2e-4)


positive = st.floats(1.0, 1e4)
rates = st.floats(-0.1, 0.2)


@settings(max_examples=25, deadline=None)
@given(
    spot=positive,
    strike=positive,
    barrier=positive,
    tau=st.floats(0.001, 10),
    vol=st.floats(0, 2),
    rate=rates,
    dividend=rates,
    seed=st.integers(0, 1000),
)
def test_bounds(
    spot: float,
    strike: float,
    barrier: float,
    tau: float,
    vol: float,
    rate: float,
    dividend: float,
    seed: int,
) -> None:
    """Barriers below vanilla, lookbacks above; geometric below arithmetic; digitals add up."""
    market = GeometricBrownianMotion(spot=spot, drift=rate - dividend, sigma=vol)
    times = torch.linspace(0, tau, 6, dtype=FLOAT64)[:, None]
    paths = market.simulate(times, 8, torch.Generator().manual_seed(seed))

    def value(claim: Claim) -> Tensor:
        return closed_form(claim, terms_of(paths, rate, dividend)).price

    left = tau - times
    tiny = 1e-9 * (paths.spot * torch.exp(-dividend * left) + strike * torch.exp(-rate * left))
    call = value(Call(strike=strike))
    for direction, knock in itertools.product(("up", "down"), ("in", "out")):
        part = value(
            BarrierCall(strike=strike, barrier=barrier, direction=direction, knock=knock)  # type: ignore[arg-type]
        )
        assert (part >= 0).all() and (part <= call + tiny).all()
    geometric = value(AsianCall(strike=strike, average="geometric"))
    assert (value(AsianCall(strike=strike)) >= geometric - tiny).all()
    assert (value(LookbackCall(strike=strike)) >= call - tiny).all()
    assert (value(FloatingLookbackCall()) >= -tiny).all()
    cash = value(DigitalCall(strike=strike)) + value(DigitalPut(strike=strike))
    torch.testing.assert_close(cash, torch.exp(-rate * left).expand_as(cash), rtol=1e-9, atol=0)


def test_claims_without_a_formula_or_a_date_are_refused() -> None:
    paths = simulated(2, 13)
    claim = PathClaim(function=lambda path: path.spot[-1])
    with pytest.raises(TypeError, match="PathClaim has no closed form: mark it by Monte Carlo"):
        closed_form(claim, terms_of(paths))
    late = replace(terms_of(paths), maturity=torch.tensor([0.4], dtype=FLOAT64))
    with pytest.raises(ValueError, match=r"maturity 0.4 years is not among .* end at 0.25"):
        closed_form(FloatingLookbackCall(), late)
    between = replace(terms_of(paths), maturity=torch.tensor([0.125], dtype=FLOAT64))
    with pytest.raises(ValueError, match="not among the dates"):
        closed_form(AsianCall(strike=100.0), between)
