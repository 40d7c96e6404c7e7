"""Hull and White's delta, deltas at a forecast vol, and deltas with a target."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from deephedge.baselines import Baseline, DeltaHedge, MinimumVarianceHedge, parse_baseline
from deephedge.baselines.hull_white import HullWhiteHedge, fitted, least_variance
from deephedge.baselines.vol_forecast import VolForecastHedge
from deephedge.envs import Episodes, Known, Scenario, load_scenario, parse_scenario, simulate
from deephedge.envs.markets import Replay
from deephedge.envs.markets.history import Recording
from deephedge.envs.namespace import X
from deephedge.envs.rollout import rollout

Array = NDArray[np.float64]
Tree = dict[str, Any]

HESTON = {"kind": "heston", "kappa": 2.0, "theta": 0.04, "variance": 0.04, "vol_of_vol": 0.5}
HESTON |= {"rho": -0.7}
GBM = {"kind": "gbm", "sigma": 0.2}
GARCH = {"kind": "garch", "model": "garch", "gamma": 0.0, "alpha": 0.15, "beta": 0.8}
GARCH |= {"omega": 8e-6, "period": 1 / 365}
FLAT, MARKET, MODEL = (
    {"kind": "black-scholes", "vol": 0.2},
    {"kind": "market-vol"},
    {"kind": "model"},
)
FUTURE = {"kind": "future", "tenor": 0.5, "basis": 0.1}
BOOK = [
    {"quantity": -1.0, "claim": {"kind": "call", "strike": 100.0}},
    {"quantity": 1.5, "claim": {"kind": "put", "strike": 95.0, "maturity": 0.1}},
    {"quantity": -0.5, "claim": {"kind": "put", "strike": 102.0, "maturity": 0.5}},
]


def scenario_of(
    market: Tree,
    marking: Tree,
    legs: list[Tree] | None = None,
    instrument: Tree | None = None,
    days: float = 91.25,
    steps: int = 60,
) -> Scenario:
    return parse_scenario(
        {
            "name": "vol",
            "market": market,
            "calendar": {"kind": "uniform", "days": days, "steps": steps},
            "position": {"legs": legs or BOOK[:1]},
            "hedges": [{"instrument": instrument or {"kind": "underlying"}}],
            "marking": marking,
            "objective": {"kind": "cvar", "level": 0.95},
        }
    )


RECORDED = Replay(paths=Recording(values=np.array([[100.0, 90.0], [101.0, 95.0], [99.0, 96.0]])))
DATA = scenario_of(GBM, FLAT, steps=2).model_copy(update={"market": RECORDED})


def episodes_of(scenario: Scenario, paths: int = 20, seed: int = 3) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(seed))


def held(scenario: Scenario, rule: Baseline, paths: int = 20) -> Array:
    outcome = rollout(scenario, episodes_of(scenario, paths), rule, record=True)
    holding: Array = outcome.holding[..., -1]
    return holding


def terms(scenario: Scenario, episodes: Episodes, t: int, vol: Array) -> Array:
    """Black-Scholes delta of the book and what a, b and c multiply, by SciPy, ``[4, N]``."""
    r, q = scenario.market.rate, scenario.market.dividends[0]
    spot, now = episodes.spot[t].numpy(), float(episodes.times[t, 0])
    total = np.zeros((4, len(spot)))
    for leg in scenario.position.legs:
        claim = leg.claim
        end = float(episodes.times[-1, 0]) if claim.maturity is None else claim.maturity
        if (tau := end - now) < 1e-9:
            continue
        strike, sign = claim.strike, claim.sign  # type: ignore[attr-defined]
        d = (np.log(spot / strike) + (r - q) * tau) / vol / math.sqrt(tau)
        d = d + vol * math.sqrt(tau) / 2
        call = math.exp(-q * tau) * norm.cdf(d)
        bell = math.exp(-q * tau) * norm.pdf(d)  # vega / (S sqrt(tau))
        delta = call - math.exp(-q * tau) * (sign < 0)
        total += leg.quantity * np.stack([delta, bell, bell * call, bell * call**2])
    return total


# --- Hull and White ----------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", [None, FUTURE], ids=["stock", "future"])
@pytest.mark.parametrize("marking", [FLAT, MARKET, MODEL], ids=["flat", "quoted", "model"])
def test_hull_white_is_the_formula(marking: Tree, instrument: Tree | None) -> None:
    """Calls and puts, legs paid on the way and alive at the end, however the book is marked."""
    market = HESTON | {"rate": 0.05, "dividend": 0.02}
    legs = [*BOOK[:1], BOOK[1] | {"claim": {"kind": "put", "strike": 95.0, "maturity": 0.125}}]
    scenario = scenario_of(market, marking, [*legs, BOOK[2]], instrument, steps=4)
    episodes = episodes_of(scenario)
    ours = held(scenario, HullWhiteHedge(a=-0.3, b=0.4, c=0.2))
    for t in range(4):
        vol = episodes.vol[0 if len(episodes.vol) == 1 else t].numpy()
        delta, a, b, c = terms(scenario, episodes, t, vol)
        expected = -(delta - 0.3 * a + 0.4 * b + 0.2 * c)
        units = ours[t] * episodes.hedge_delta[t, :, 0].numpy()
        assert np.allclose(units, expected, rtol=0, atol=1e-9)


def test_coefficients_are_found_again() -> None:
    """In P&L that they have been put into, by an independent least squares."""
    generator = np.random.default_rng(1)
    columns = generator.normal(size=(3, 5000)) + np.array([[0.5], [0.0], [-2.0]])
    error = 7.0 - 0.3 * columns[0] + 0.2 * columns[1] + 0.1 * columns[2]
    found = least_variance(error, list(columns))
    assert np.allclose(found, (0.3, -0.2, -0.1), rtol=0, atol=1e-12)
    noisy = least_variance(error + 0.1 * generator.normal(size=5000), list(columns))
    assert np.allclose(noisy, (0.3, -0.2, -0.1), rtol=0, atol=4 * 0.1 / math.sqrt(5000))


@pytest.mark.slow
def test_the_fit_is_that_of_option_prices_day_by_day() -> None:
    """Hull and White's own regression, on the model's prices, gives the same extra delta."""
    scenario = scenario_of(HESTON, MODEL, days=45.0, steps=30)
    episodes = episodes_of(scenario, 3000)
    value = episodes.mark.numpy() + np.cumsum(episodes.cash_flow.numpy(), axis=0)
    moves = np.diff(episodes.spot.numpy(), axis=0)
    rows = [terms(scenario, episodes, t, episodes.vol[t].numpy()) for t in range(30)]
    design = np.concatenate([row[1:] * moves[t] for t, row in enumerate(rows)], axis=1)
    error = np.concatenate(
        [value[t + 1] - value[t] - row[0] * moves[t] for t, row in enumerate(rows)]
    )
    theirs = np.linalg.lstsq(design.T, error, rcond=None)[0]
    ours = np.array(fitted(scenario))
    delta = np.linspace(0.15, 0.85, 15)
    quadratic = np.stack([np.ones(15), delta, delta**2], axis=1)
    assert (quadratic @ theirs < -0.1).all()  # vol rises when the price falls
    assert np.allclose(quadratic @ ours, quadratic @ theirs, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("marking", "gain"),
    [(MARKET, 0.92), pytest.param(FLAT, 0.97, marks=pytest.mark.slow)],
    ids=["quoted", "flat"],
)
def test_hull_white_under_heston(marking: Tree, gain: float) -> None:
    """Std 0.99 (quoted marks) beside 1.12 for delta, 1.00 for minimum-variance; flat 1.04, 1.10.

    Fitted on its own paths, judged on others.
    """
    scenario = scenario_of(HESTON, marking, steps=30)
    episodes = episodes_of(scenario, 5000)
    rules = HullWhiteHedge(), DeltaHedge(), MinimumVarianceHedge()
    ours, delta, minimal = (rollout(scenario, episodes, rule).pnl for rule in rules)
    assert ours.std() < gain * delta.std()
    squares = (ours - ours.mean()) ** 2 - (minimal - minimal.mean()) ** 2
    error = squares.std() / math.sqrt(len(squares)) / 2 / ours.std()
    assert ours.std() < 1.005 * minimal.std() + 2 * error


def test_the_marking_of_the_model_changes_nothing() -> None:
    """The model's partial delta would be worse: the quoted vol's is what is corrected."""
    quoted, model = (scenario_of(HESTON, m, days=20.0, steps=4) for m in (MARKET, MODEL))
    assert fitted(quoted) == fitted(model)
    assert np.allclose(
        held(quoted, HullWhiteHedge()), held(model, HullWhiteHedge()), rtol=0, atol=1e-12
    )


# --- a forecast vol ----------------------------------------------------------------------------


class Reads:
    """A rule's own state, date by date."""

    name = "reads"

    def __init__(self, rule: VolForecastHedge) -> None:
        self.rule = rule
        self.variance: list[Array] = []

    def start(self, n: int) -> Any:
        return self.rule.start(n)

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        held, state = self.rule.act(known, state)
        self.variance.append(np.broadcast_to(state[0], known.spot.shape).copy())
        return held, state


def variances(scenario: Scenario, rule: VolForecastHedge, episodes: Episodes) -> Array:
    reads = Reads(rule)
    rollout(scenario, episodes, reads)
    return np.stack(reads.variance)


@pytest.mark.parametrize("market", [GBM, GARCH], ids=["gbm", "garch"])
@pytest.mark.parametrize("by", ["ewma", "garch"])
def test_forecasts_by_hand(by: str, market: Tree) -> None:
    """One path at a time; a garch market lends its numbers, and its steps are the days."""
    scenario = scenario_of(market, FLAT, BOOK, days=73.0, steps=16)
    episodes = episodes_of(scenario, 5)
    rule = VolForecastHedge.model_validate({"by": by})
    ours = held(scenario, rule, 5)
    beta, phi = (0.94, 1.0) if by == "ewma" else (0.9, 0.98)
    day = 1 / 252
    if by == "garch" and market is GARCH:
        beta, phi, day = 0.8, 0.95, 73 / 365 / 16
    dt = 73 / 365 / 16
    m = dt / day
    log_spot = episodes.log_spot.numpy()
    for path in range(5):
        v = 0.04
        for t in range(16):
            if t:
                news = (log_spot[t, path] - log_spot[t - 1, path]) ** 2 / dt
                v = beta**m * v + (phi**m - beta**m) * news + (1 - phi**m) * 0.04
            mean, n = v, m * (16 - t)
            if phi < 1:
                mean = 0.04 + (v - 0.04) * (1 - phi**n) / (n * (1 - phi))
            expected = -terms(scenario, episodes, t, np.array(math.sqrt(mean)))[0, path]
            assert ours[t, path] == pytest.approx(expected, abs=1e-9)


def test_a_weekend_counts_for_the_days_that_it_has() -> None:
    """On dates of each path's own."""
    tree = scenario_of(GBM, FLAT).model_dump(mode="json")
    scenario = parse_scenario(tree | {"calendar": {"kind": "trading-days", "steps": 10}})
    episodes = episodes_of(scenario)
    found = variances(scenario, VolForecastHedge(decay=0.9), episodes)
    dt = np.diff(episodes.times.numpy(), axis=0)
    returns, v = np.diff(episodes.log_spot.numpy(), axis=0), np.full(20, 0.04)
    for t in range(10):
        assert np.allclose(found[t], v, rtol=1e-12, atol=0)
        kept = 0.9 ** (252 * dt[t])
        v = kept * v + (1 - kept) * returns[t] ** 2 / dt[t]
    assert dt.max() > 2.9 * dt.min()


def test_where_vol_is_constant_the_forecast_tends_to_it() -> None:
    """From a quoted 0.3 to sigma = 0.2: mean and spread of an EWMA of squared normals."""
    scenario = scenario_of(GBM, FLAT | {"vol": 0.3}, days=182.5, steps=126)
    episodes = episodes_of(scenario, 1500)
    found = variances(scenario, VolForecastHedge(), episodes)
    for t in (0, 10, 60, 125):
        mean = 0.04 + (0.09 - 0.04) * 0.94**t
        variance = 2 * 0.04**2 * 0.06 / 1.94 * (1 - 0.94 ** (2 * t))
        error = math.sqrt(variance / 1500)
        assert found[t].mean() == pytest.approx(mean, abs=4 * error + 1e-6)  # drift: 1e-6
        assert found[t].var() == pytest.approx(variance, rel=0.2, abs=1e-12)


def test_the_variance_of_a_garch_market_is_found_again() -> None:
    """Up to the drift within a day."""
    scenario = scenario_of(GARCH, FLAT | {"vol": 0.242}, days=60.0, steps=60)
    episodes = episodes_of(scenario, 3000)
    rule = VolForecastHedge(by="garch")
    found = variances(scenario, rule, episodes)
    assert scenario.market.volatility == pytest.approx(0.2416, abs=1e-4)
    true = episodes.latents["variance"][:-1].numpy()
    assert (found - true).std() < 0.02 * true.std()


@pytest.mark.parametrize("by", ["ewma", "garch"])
def test_a_forecast_beats_a_quoted_vol_that_stands_still(by: str) -> None:
    """Std 0.906 and 0.911 beside 0.991, in a GJR market of vol 0.19 with marks at 0.27.

    Marked at the vol that the market quotes delta has 0.892, and in the garch market above the
    forecast is the quoted vol: there is nothing to gain.
    """
    market = {"kind": "garch", "period": 1 / 365}
    scenario = scenario_of(market, FLAT | {"vol": 0.27}, days=60.0, steps=60)
    episodes = episodes_of(scenario, 10_000)
    rules = VolForecastHedge.model_validate({"by": by}), DeltaHedge()
    ours, delta = (rollout(scenario, episodes, rule).pnl for rule in rules)
    squares = (delta - delta.mean()) ** 2 - (ours - ours.mean()) ** 2
    assert squares.mean() > 4 * squares.std() / math.sqrt(len(squares))


def test_implied_is_delta_at_the_quoted_vol_for_books_marked_in_the_model() -> None:
    quoted, model = (scenario_of(HESTON, m, days=20.0, steps=4) for m in (MARKET, MODEL))
    ours = held(model, VolForecastHedge(by="implied"))
    assert np.allclose(ours, held(quoted, DeltaHedge()), rtol=0, atol=1e-12)
    assert np.abs(ours - held(model, DeltaHedge())).max() > 0.01


# --- targets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("instrument", [None, FUTURE], ids=["stock", "future"])
@pytest.mark.parametrize("target", [0.1, -0.25])
def test_the_net_delta_is_the_target(target: float, instrument: Tree | None) -> None:
    """The book's size is 3: a target of 0.1 is 0.3 units."""
    scenario = scenario_of(GBM, FLAT, BOOK, instrument, steps=40, days=73.0)
    episodes = episodes_of(scenario)
    own = episodes.hedge_delta[:-1, :, 0].numpy()

    def net(rule: str) -> Array:
        holding = held(scenario, parse_baseline(rule))
        return episodes.delta[:-1].numpy() + holding * own - 3 * target

    assert np.abs(net(f"delta:target={target}")).max() < 1e-12
    assert np.abs(net(f"delta:every=4,target={target}")[::4]).max() < 1e-12
    assert np.abs(net(f"delta:move=0,target={target}")).max() < 1e-12
    for to in ("edge", "centre"):
        off = np.abs(net(f"band:width=0.05,to={to},target={target}")) / own
        assert 0.05 < off.max() < 0.15 + 1e-12


def test_no_target_is_delta_and_several_assets_have_none() -> None:
    assert parse_baseline("delta:target=0.0") == DeltaHedge()
    exchange = load_scenario("exchange-option")
    for rule in ("delta:target=0.1", "band:target=0.1"):
        refusal = parse_baseline(rule).refusal(exchange)
        assert refusal == "target is the delta of one asset and the market has 2: leave it out"
    for name in ("delta", "band", "delta:every=3"):
        assert parse_baseline(name).refusal(exchange) is None


# --- what they refuse, torch, extremes ---------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "scenario", "message"),
    [
        ("hull-white", scenario_of(GBM, FLAT), "in gbm vol does not move with the price"),
        (
            "hull-white",
            scenario_of({"kind": "regime-switching"}, FLAT),
            "in regime-switching vol does not move with the price",
        ),
        ("hull-white", DATA, "replay is data, and there is no model to fit it on: give a, b"),
        ("hull-white", load_scenario("american-put"), "knows calls and puts, not AmericanPut"),
        ("hull-white", load_scenario("exchange-option"), "for one asset and the market has 2"),
        ("vol-forecast", load_scenario("american-put"), "knows calls and puts, not AmericanPut"),
        ("vol-forecast", load_scenario("exchange-option"), "one asset and the market has 2"),
        ("vol-forecast:by=implied", scenario_of(HESTON, MARKET), "so that by=implied is delta"),
        ("vol-forecast:by=garch,alpha=0.1,beta=0.9", scenario_of(GBM, FLAT), "no long run"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_they_refuse_in_one_line(rule: str, scenario: Scenario, message: str) -> None:
    refusal = parse_baseline(rule).refusal(scenario)
    assert refusal is not None and message in refusal and refusal[0].islower()
    assert "\n" not in refusal


def test_coefficients_come_together() -> None:
    assert parse_baseline("hull-white:a=-0.25,b=-0.1,c=0.1").refusal(scenario_of(GBM, FLAT)) is None
    for text in ("hull-white:a=1", "hull-white:c=1", "hull-white:a=1,b=2"):
        with pytest.raises(ValueError, match="c: give a, b and c together, or none of them"):
            parse_baseline(text)


@pytest.mark.parametrize(
    "rule",
    [
        *("hull-white:a=-0.3,b=0.4,c=0.2", "vol-forecast", "vol-forecast:by=garch"),
        *("delta:target=0.2", "band:target=-0.1"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("vol", [0.2, 0.0])
def test_the_same_in_torch_and_finite(rule: str, dtype: torch.dtype, vol: float) -> None:
    scenario = scenario_of(GBM, FLAT | {"vol": vol}, BOOK, steps=20, days=73.0)
    episodes = simulate(scenario, 20, torch.Generator().manual_seed(0), dtype)
    tensors = rollout(scenario, episodes, parse_baseline(rule), differentiable=True).pnl
    exact = rollout(scenario, episodes, parse_baseline(rule)).pnl
    assert isinstance(tensors, torch.Tensor) and tensors.dtype == dtype
    within = 1e-9 if dtype == torch.float64 else 0.02
    assert np.isfinite(exact).all()
    assert np.allclose(exact, tensors.numpy(), rtol=0, atol=within)
