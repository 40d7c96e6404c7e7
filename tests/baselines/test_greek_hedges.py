"""Minimum-variance delta, delta-gamma and delta-vega: their formulas, and what they are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deephedge.baselines import Baseline, DeltaHedge, parse_baseline
from deephedge.baselines.minimum_variance import MinimumVarianceHedge
from deephedge.baselines.option_hedges import (
    DeltaGammaHedge,
    DeltaGammaVegaHedge,
    DeltaVegaHedge,
    OptionHedge,
)
from deephedge.envs import Episodes, Known, Scenario, load_scenario, parse_scenario, simulate
from deephedge.envs.namespace import X
from deephedge.envs.rollout import Outcome, rollout

Array = NDArray[np.float64]
Tree = dict[str, Any]

QUARTER = 91.25  # days
HESTON = {"kind": "heston", "kappa": 2.0, "theta": 0.04, "variance": 0.04, "vol_of_vol": 0.5}
HESTON |= {"rho": -0.7}
BATES = HESTON | {"kind": "bates", "intensity": 0.5}
SABR = {"kind": "sabr", "alpha": 2.0, "beta": 0.5, "rho": -0.5, "nu": 0.8}
GBM = {"kind": "gbm", "sigma": 0.2}
FLAT, MARKET, MODEL = (
    {"kind": "black-scholes", "vol": 0.2},
    {"kind": "market-vol"},
    {"kind": "model"},
)
WIDE = {"lower": -1000.0, "upper": 1000.0}
STOCK = {"instrument": {"kind": "underlying"}, "limits": WIDE}
FUTURE = {"instrument": {"kind": "future", "tenor": 0.5, "basis": 0.1}, "limits": WIDE}


def call(strike: float = 100.0, **more: Any) -> Tree:
    return {"kind": "call", "strike": strike, **more}


def listed(strike: float, maturity: float, limits: Tree = WIDE, **more: Any) -> Tree:
    option = {"kind": "call", "strike": strike, "maturity": maturity, **more}
    return {"instrument": {"kind": "listed-option", "option": option}, "limits": limits}


HALF_YEAR = listed(100.0, 0.5)


def scenario_of(
    market: Tree,
    marking: Tree,
    *hedges: Tree,
    claim: Tree | None = None,
    quantity: float = -1.0,
    days: float = QUARTER,
    steps: int = 63,
) -> Scenario:
    return parse_scenario(
        {
            "name": "greeks",
            "market": market,
            "calendar": {"kind": "uniform", "days": days, "steps": steps},
            "position": {"legs": [{"quantity": quantity, "claim": claim or call()}]},
            "hedges": list(hedges or [STOCK]),
            "marking": marking,
            "objective": {"kind": "cvar", "level": 0.95},
        }
    )


def episodes_of(scenario: Scenario, paths: int = 64, seed: int = 0) -> Episodes:
    return simulate(scenario, paths, torch.Generator().manual_seed(seed))


def played(scenario: Scenario, baseline: Baseline, paths: int = 64, seed: int = 0) -> Outcome:
    return rollout(scenario, episodes_of(scenario, paths, seed), baseline, record=True)


def first_holding(scenario: Scenario, baseline: Baseline) -> float:
    return float(played(scenario, baseline, 1).holding[0, 0, -1])


# Minimum variance


@pytest.mark.parametrize("strike", [90.0, 100.0, 110.0])
@pytest.mark.parametrize(
    "market",
    [
        *(HESTON, HESTON | {"variance": 0.09, "rho": 0.4}, HESTON | {"variance_premium": -1.0}),
        *(BATES, SABR, SABR | {"beta": 1.0, "alpha": 0.3, "rho": 0.3}),
    ],
    ids=["heston", "heston up", "heston premium", "bates", "sabr", "sabr lognormal"],
)
def test_it_is_the_regression_of_model_prices_on_the_spot(market: Tree, strike: float) -> None:
    """Over a step of a hundredth of a day, where nothing jumps."""
    claim = call(strike, maturity=0.25)
    scenario = scenario_of(market, MODEL, claim=claim, days=0.01, steps=1)
    episodes = episodes_of(scenario, 20_000)
    calm = np.ones(20_000, bool) if episodes.jump is None else episodes.jump[1].numpy() == 0
    move = (episodes.spot[1] - episodes.spot[0]).numpy()[calm]
    paid = episodes.cash_flow[1].numpy()[calm]
    (slope, _), covariance = np.polyfit(move, paid, 1, cov=True)
    error = 4 * float(np.sqrt(covariance[0, 0]))
    assert error < 0.007
    assert first_holding(scenario, MinimumVarianceHedge()) == pytest.approx(-slope, abs=error)
    assert abs(first_holding(scenario, DeltaHedge()) + slope) > 5 * error


@pytest.mark.parametrize(
    "market",
    [
        *(HESTON | {"vol_of_vol": 0.02, "kappa": kappa} for kappa in (0.5, 12.0)),
        HESTON | {"vol_of_vol": 0.02, "variance_premium": 6.0, "theta": 0.16},
        BATES | {"vol_of_vol": 0.02, "intensity": 0.0},
        *(SABR | {"nu": 0.05, "beta": b, "alpha": 0.2 * 100 ** (1 - b)} for b in (0.4, 1.0)),
    ],
    ids=["heston", "fast heston", "heston premium", "bates", "sabr", "sabr lognormal"],
)
@pytest.mark.parametrize("marking", [FLAT, MARKET], ids=["constant", "quoted"])
def test_from_black_scholes_greeks_it_is_the_same_at_the_money(market: Tree, marking: Tree) -> None:
    """To first order in the vol of vol, which is low here."""
    hedge, delta = MinimumVarianceHedge(), DeltaHedge()
    exact = first_holding(scenario_of(market, MODEL, steps=2), hedge)
    quoted = scenario_of(market, marking, steps=2)
    approximate, plain = first_holding(quoted, hedge), first_holding(quoted, delta)
    assert approximate - plain == pytest.approx(exact - plain, rel=0.01)


@pytest.mark.slow
def test_short_call_under_heston() -> None:
    """Found elsewhere (shared/reference/strategies.md, (3)): 1.157, 1.358 and 0.409.

    Ours are 1.10, 1.31 and, marked at the quoted vol, 0.42 (in the model 0.31); so they are with
    other schemes, steps and drifts.
    """
    deltas, minimal, vegas = {}, {}, {}
    for name, marking in (("flat", FLAT), ("quoted", MARKET), ("model", MODEL)):
        scenario = scenario_of(HESTON, marking, HALF_YEAR, STOCK)
        episodes = episodes_of(scenario, 4000)
        for into, baseline in (
            *((deltas, DeltaHedge()), (minimal, MinimumVarianceHedge())),
            *[(vegas, DeltaVegaHedge())],
        ):
            into[name] = float(rollout(scenario, episodes, baseline).pnl.std())
        if name == "model":
            assert float(episodes.premium[0]) == pytest.approx(3.773, abs=5e-4)
    assert deltas["flat"] == pytest.approx(1.157, rel=0.07)
    assert deltas["model"] == pytest.approx(1.358, rel=0.05)
    assert minimal["model"] < 0.92 * min(deltas.values())
    assert minimal["flat"] < 0.97 * deltas["flat"]
    assert minimal["quoted"] < 0.92 * deltas["quoted"]
    assert vegas["quoted"] == pytest.approx(0.409, rel=0.05)
    assert vegas["model"] < 0.33 * min(deltas.values())


@pytest.mark.parametrize(
    "market",
    [GBM, {"kind": "merton"}, {"kind": "kou"}, {"kind": "regime-switching"}],
    ids=lambda market: market["kind"],
)
def test_it_would_be_delta_where_vol_does_not_move_with_the_price(market: Tree) -> None:
    with pytest.raises(ValueError, match="vol does not move with the price, so that it is delta"):
        played(scenario_of(market, FLAT), MinimumVarianceHedge())


def test_without_correlation_it_is_delta() -> None:
    scenario = scenario_of(HESTON | {"rho": 0.0}, FLAT)
    holdings = [played(scenario, b).holding for b in (MinimumVarianceHedge(), DeltaHedge())]
    assert np.array_equal(*holdings)


def test_it_refuses_what_it_does_not_know() -> None:
    for market in ({"kind": "rough-bergomi"}, {"kind": "stochastic-implied-vol"}):
        with pytest.raises(ValueError, match=r"does not know how the vol of .* take delta"):
            played(scenario_of(market, MARKET), MinimumVarianceHedge())


@pytest.mark.parametrize(
    "marking",
    [pytest.param(FLAT, id="constant"), pytest.param(MODEL, id="model", marks=pytest.mark.slow)],
)
def test_it_counts_in_futures(marking: Tree) -> None:
    in_stock, in_futures = scenario_of(HESTON, marking), scenario_of(HESTON, marking, FUTURE)
    stock, future = (played(s, MinimumVarianceHedge()).holding for s in (in_stock, in_futures))
    delta = episodes_of(in_futures).hedge_delta[:-1].numpy()
    assert delta.min() > 1.01
    assert np.allclose(future * delta, stock, rtol=0, atol=1e-12)


def test_a_variance_of_nothing_leaves_delta() -> None:
    scenario = scenario_of(HESTON | {"variance": 0.0}, MODEL)
    hedges = MinimumVarianceHedge(), DeltaHedge()
    assert first_holding(scenario, hedges[0]) == first_holding(scenario, hedges[1])
    still = scenario_of(HESTON | {"vol_of_vol": 0.0, "variance": 0.0, "theta": 0.0}, MARKET)
    assert np.isfinite(played(still, hedges[0]).pnl).all()


def test_latent_states_are_shown_as_they_are_at_t() -> None:
    scenario = scenario_of(HESTON, MODEL)
    episodes = episodes_of(scenario)
    dates = []

    class Reading:
        name = "reading"

        def start(self, n: int) -> None:
            return None

        def act(self, known: Known, state: None) -> tuple[X, None]:
            variance = known.latent("variance")
            assert np.array_equal(variance, episodes.latents["variance"][known.t].numpy())
            with pytest.raises(ValueError, match="read-only"):
                variance[0] = 1.0
            with pytest.raises(ValueError, match="no latent 'alpha': this market's are variance"):
                known.latent("alpha")
            dates.append(known.t)
            return 0.0 * known.holding, None

    rollout(scenario, episodes, Reading())
    assert len(dates) == 63


# Delta-gamma and delta-vega


def book(scenario: Scenario, episodes: Episodes, holding: Array, greek: str) -> Array:
    """Position plus holdings, ``[T, N]``."""
    own = getattr(episodes, greek)[:-1].numpy()
    each: Array = getattr(episodes, f"hedge_{greek}")[:-1].numpy()
    total: Array = own + (holding * each).sum(-1)
    return total


@pytest.mark.parametrize("closing", [STOCK, FUTURE], ids=["stock", "future"])
@pytest.mark.parametrize("options", [1, 2])
@pytest.mark.parametrize("greek", ["gamma", "vega"])
@pytest.mark.parametrize(
    ("market", "marking"), [pytest.param(HESTON, MODEL, marks=pytest.mark.slow), (GBM, FLAT)]
)
def test_the_book_is_neutral_after_the_trade(
    market: Tree, marking: Tree, greek: str, options: int, closing: Tree
) -> None:
    hedges = [HALF_YEAR, listed(105.0, 0.5)][:options]
    scenario = scenario_of(market | {"rate": 0.03}, marking, *hedges, closing)
    episodes = episodes_of(scenario)
    baseline = parse_baseline(f"delta-{greek}:cap=3")
    holding = rollout(scenario, episodes, baseline, record=True).holding
    assert np.abs(book(scenario, episodes, holding, "delta")).max() < 1e-11
    free = (np.abs(holding[..., :-1]) < 3).all(-1)
    assert 0.8 < free.mean()
    own = np.abs(getattr(episodes, greek).numpy()).max()
    assert np.abs(book(scenario, episodes, holding, greek)[free]).max() < 1e-11 * own
    assert np.abs(holding[..., :-1]).max() <= 3
    assert (greek == "gamma") == bool((~free).any())


def test_several_options_share_it_by_least_squares() -> None:
    hedges = [HALF_YEAR, listed(110.0, 0.4), listed(90.0, 0.3)]
    scenario = scenario_of(GBM, FLAT, *hedges, STOCK)
    episodes = episodes_of(scenario, 4)
    holding = rollout(scenario, episodes, DeltaVegaHedge(cap=1000), record=True).holding
    for t in range(0, 63, 7):
        for path in range(4):
            row = episodes.hedge_vega[t, path, :3].numpy()[None]
            wanted = -episodes.vega[t, path : path + 1].numpy()
            smallest = np.linalg.lstsq(row, wanted, rcond=None)[0]
            assert np.allclose(holding[t, path, :3], smallest, rtol=0, atol=1e-12)


def test_the_limits_of_an_option_leave_delta_closed() -> None:
    """Delta is closed for what may be held, not for what the ratio asked for."""
    tight = {"lower": -0.2, "upper": 0.3, "lot": 0.1}
    scenario = scenario_of(GBM, FLAT, listed(100.0, 0.5, tight), STOCK)
    episodes = episodes_of(scenario)
    outcome = rollout(scenario, episodes, DeltaVegaHedge(), record=True)
    assert outcome.holding[..., 0].max() == pytest.approx(0.3)
    assert np.abs(book(scenario, episodes, outcome.holding, "delta")).max() < 1e-12
    assert outcome.clipped.max() == 0


@pytest.mark.parametrize("quantity", [-5.0, 5.0])
def test_the_cap_is_in_position_sizes(quantity: float) -> None:
    scenario = scenario_of(GBM, FLAT, HALF_YEAR, STOCK, quantity=quantity)
    full = played(scenario, DeltaGammaHedge(cap=100)).holding[..., 0]
    assert np.abs(full).max() > 10
    capped = played(scenario, DeltaGammaHedge(cap=1.5)).holding[..., 0]
    assert np.array_equal(capped, full.clip(-7.5, 7.5))


@pytest.mark.parametrize("baseline", [DeltaGammaHedge(), DeltaVegaHedge(aversion=1.0)])
def test_options_that_settle_and_options_that_roll(baseline: OptionHedge) -> None:
    rolled = {"instrument": {"kind": "rolled-option", "option": "put", "tenor": 28 / 364}}
    inside = listed(100.0, 28 / 364)
    market = GBM | {"rate": 0.02}
    scenario = scenario_of(market, FLAT, inside, rolled, STOCK, days=365 * 63 / 364 / 0.7, steps=90)
    episodes = episodes_of(scenario)
    outcome = rollout(scenario, episodes, baseline, record=True)
    settled = np.array([episodes.settled(t)[0] for t in range(90)])
    assert settled.any() and not outcome.holding[settled][..., 0].any()
    assert outcome.holding[~settled][..., 0].any() and np.isfinite(outcome.pnl).all()
    assert np.abs(book(scenario, episodes, outcome.holding, "delta")).max() < 1e-11
    assert np.abs(outcome.holding[..., :2]).max() <= 2


def test_gamma_hedging_cuts_what_daily_rebalancing_leaves() -> None:
    """Under GBM at the true vol, where the error is all gamma's."""
    scenario = scenario_of(GBM, FLAT, HALF_YEAR, STOCK)
    episodes = episodes_of(scenario, 10_000)
    delta, gamma = (
        float(rollout(scenario, episodes, b).pnl.std()) for b in (DeltaHedge(), DeltaGammaHedge())
    )
    assert gamma < 0.5 * delta


def test_the_second_asset_of_two() -> None:
    """Options and position on asset 1: its underlying closes delta and the other holds nothing."""
    market = {
        "kind": "correlated-gbm",
        "others": [{"sigma": 0.3}],
        "correlation": [[1, 0.5], [0.5, 1]],
    }
    first, second = STOCK, {"instrument": {"kind": "underlying", "asset": 1}, "limits": WIDE}
    hedges = [listed(100.0, 0.5, asset=1), first, second]
    scenario = scenario_of(market, FLAT, *hedges, claim=call(asset=1))
    episodes = episodes_of(scenario)
    holding = rollout(scenario, episodes, DeltaVegaHedge(), record=True).holding
    assert not holding[..., 1].any() and holding[..., 0].any()
    total = episodes.other_deltas[0][:-1].numpy() + holding[..., 2]
    total = total + holding[..., 0] * episodes.hedge_delta[:-1, :, 0].numpy()
    assert np.abs(total).max() < 1e-12
    mixed = scenario_of(market, FLAT, *hedges, claim=call(asset=0))
    with pytest.raises(ValueError, match=r"on assets \[0, 1\]: their Greeks .* take delta"):
        played(mixed, DeltaVegaHedge())


@pytest.mark.parametrize("baseline", [DeltaGammaHedge(), DeltaVegaHedge()], ids=lambda b: b.name)
def test_without_options_there_is_nothing_to_trade(baseline: OptionHedge) -> None:
    message = f"hedger '{baseline.name}': the scenario has no options: list one in hedges"
    with pytest.raises(ValueError, match=message):
        played(load_scenario("short-call"), baseline)


EVERY = [
    *(MinimumVarianceHedge(), DeltaGammaHedge(), DeltaVegaHedge()),
    *(DeltaGammaVegaHedge(), DeltaVegaHedge(cap=0.5, aversion=1.0)),
]


@pytest.mark.parametrize(
    ("baseline", "preset"),
    [(baseline, "heston-call") for baseline in EVERY]
    + [(b, p) for b in EVERY[1:] for p in ("gamma-hedge-jumps", "book-jumps")],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_finite_on_the_presets_and_the_same_in_torch(baseline: Baseline, preset: str) -> None:
    scenario = load_scenario(preset)
    if preset == "book-jumps":
        scenario = load_scenario("gamma-hedge-jumps", {"calendar.days": "60"})
    episodes = episodes_of(scenario, 256, seed=3)
    exact = rollout(scenario, episodes, baseline)
    tensors = rollout(scenario, episodes, baseline, differentiable=True)
    assert np.isfinite(exact.pnl).all() and exact.pnl.std() > 0
    assert np.allclose(exact.pnl, tensors.pnl.numpy(), rtol=0, atol=1e-10)


@pytest.mark.parametrize("marking", [FLAT, MODEL], ids=["constant", "model"])
@pytest.mark.parametrize("baseline", EVERY, ids=lambda b: b.name)
def test_finite_in_single_precision(baseline: Baseline, marking: Tree) -> None:
    scenario = scenario_of(HESTON, marking, HALF_YEAR, STOCK, steps=8)
    generator = torch.Generator().manual_seed(1)
    episodes = simulate(scenario, 512, generator, dtype=torch.float32)
    pnl = rollout(scenario, episodes, baseline, differentiable=True).pnl
    assert bool(torch.isfinite(pnl).all())


def test_names() -> None:
    for text, baseline in (
        ("minimum-variance", MinimumVarianceHedge()),
        ("delta-gamma", DeltaGammaHedge()),
        ("delta-vega:cap=1.5", DeltaVegaHedge(cap=1.5)),
        ("delta-gamma-vega:cap=3.0,aversion=0.1", DeltaGammaVegaHedge(cap=3.0, aversion=0.1)),
    ):
        assert parse_baseline(text) == baseline
        assert baseline.name == text
    assert parse_baseline("delta-vega:cap=2") == DeltaVegaHedge()
    for text in ("delta-vega:cap=0", "delta-gamma-vega:aversion=0"):
        with pytest.raises(ValueError, match=text):
            parse_baseline(text)
