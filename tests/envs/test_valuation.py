"""Marks on a clock of variance: what is quoted, what is left of it, and a hedge that is fair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from deephedge.baselines import DeltaHedge
from deephedge.envs import Scenario, mark, parse_scenario, rollout, simulate
from deephedge.envs.instruments import Call
from deephedge.envs.valuation import payoff, settlement, value

Tree = dict[str, Any]
DAY = 1 / 365
HOURS: Tree = {"kind": "trading-hours", "days": 10, "per_day": 4, "overnight": 0.3, "weekend": 0.5}


def scenario(calendar: Tree, *legs: Tree, **changes: Any) -> Scenario:
    claims = legs or ({"kind": "call", "strike": 100.0},)
    tree: Tree = {
        "name": "clock",
        "market": {"kind": "gbm", "sigma": 0.3, "rate": 0.05, "drift": 0.05},
        "calendar": calendar,
        "position": {"legs": [{"quantity": -1, "claim": claim} for claim in claims]},
        "hedges": [{"instrument": {"kind": "underlying"}}],
        "marking": {"kind": "market-vol"},
        "objective": {"kind": "quadratic"},
    }
    return parse_scenario(tree | changes)


def drawn(problem: Scenario, n: int, seed: int = 1) -> Any:
    generator = torch.Generator().manual_seed(seed)
    times = problem.calendar.times(n, generator)
    clock = problem.calendar.clock(times)
    return problem.market.simulate(times, n, generator, torch.float64, clock)


@pytest.mark.parametrize("weekday", [None, 0, 3])
def test_the_quoted_vol_is_per_year_of_variance(weekday: int | None) -> None:
    """Black-Scholes with the variance of the sessions, nights and weekends left, and calendar tau.

    A week of five sessions, four nights and a weekend has 7/365 of a year's variance.
    """
    problem = scenario(HOURS | {"first_weekday": weekday})
    episodes = simulate(problem, 30, torch.Generator().manual_seed(1))
    times = episodes.times.numpy() + np.zeros((40, 30))
    session = 7 / 365 / (5 + 4 * 0.3 + 0.5)
    gaps = np.diff(times, axis=0)
    variance = np.full((39, 30), session / 3)
    variance[3::4] = np.where(gaps[3::4] > 2 * DAY, 0.5, 0.3) * session
    left = np.vstack([variance[::-1].cumsum(axis=0)[::-1], np.zeros((1, 30))])
    total = 0.3 * np.sqrt(left[:-1])
    tau, spot = (times[-1] - times)[:-1], episodes.spot.numpy()[:-1]
    d1 = (np.log(spot / 100) + 0.05 * tau) / total + total / 2
    price = spot * ndtr(d1) - 100 * np.exp(-0.05 * tau) * ndtr(d1 - total)
    np.testing.assert_allclose(episodes.mark[:-1], -price, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(episodes.delta[:-1], -ndtr(d1), rtol=1e-9, atol=1e-10)
    if weekday is None:
        assert len(np.unique(left[0].round(9))) > 1  # weekends fall differently


@pytest.mark.parametrize("weekday", [None, 2])
@pytest.mark.parametrize("every", [1, 4])
def test_a_free_hedge_on_the_clock_has_mean_zero(weekday: int | None, every: int) -> None:
    """The premium is the quoted vol's over the clock; on the calendar's time it would be unfair."""
    problem = scenario(HOURS | {"first_weekday": weekday, "decide_every": every})
    paths = drawn(problem, 20_000)
    outcome = rollout(problem, mark(problem, paths), DeltaHedge())
    error = outcome.pnl.std() / 20_000**0.5
    assert abs(outcome.pnl.mean()) < 4 * error
    assert 4 * error < 0.03
    # The last day is half a day short of whole nights: a mark in calendar time misses by more.
    times = paths.times.numpy()
    clock = problem.calendar.clock(paths.times)
    assert clock is not None
    span, ran = (times[-1] - times[0]).mean(), float((clock[-1] - clock[0]).mean())
    vega = float(mark(problem, paths).vega[0].abs().mean())
    assert vega * 0.3 * abs(np.sqrt(ran / span) - 1) > 4 * error


def test_beyond_the_last_date_a_year_has_a_year_of_variance() -> None:
    """So a listed option that outlives a short episode is marked at the vol that is quoted."""
    calendar = HOURS | {"days": 1, "first_weekday": 1}
    problem = scenario(calendar, {"kind": "call", "strike": 100.0, "maturity": 0.5})
    paths = drawn(problem, 5)
    session = 7 / 365 / (5 + 4 * 0.3 + 0.5)
    left = session + 0.5 - 6.5 / 24 * DAY
    s = 0.3 * np.sqrt(left)
    d1 = 0.05 * 0.5 / s + s / 2
    price = 100 * ndtr(d1) - 100 * np.exp(-0.025) * ndtr(d1 - s)
    np.testing.assert_allclose(mark(problem, paths).mark[0], -price, rtol=1e-9)


def test_when_a_claim_is_settled() -> None:
    times = torch.linspace(0, 1, 13, dtype=torch.float64)[:, None]

    def settled(maturity: float | None) -> int | None:
        return settlement(Call(strike=1.0, maturity=maturity), times)

    assert settled(None) == 12
    assert [settled(m / 12) for m in range(1, 13)] == [*range(1, 13)]
    assert settled(0.08333333) == settled(0.08333334) == 1
    assert settled(1.00000005) == 12
    assert settled(1.001) is None
    assert settled(2.0) is None


def test_a_payoff_reads_the_path_up_to_its_maturity_and_no_further() -> None:
    problem = scenario({"kind": "uniform", "steps": 8, "days": 8})
    paths = drawn(problem, 10)
    claim = Call(strike=99.0, maturity=5 * DAY)
    date = settlement(claim, paths.times)
    assert date == 5
    np.testing.assert_allclose(payoff(claim, paths, 5), (paths.spot[5] - 99).clamp(min=0))
    marks = value(problem, claim, paths).price
    np.testing.assert_allclose(marks[5], payoff(claim, paths, 5), atol=1e-12)
