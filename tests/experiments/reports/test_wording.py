"""The verdict says what the numbers say, for better and for worse alike."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deephedge.baselines import BandHedge, DeltaHedge, NoHedge
from deephedge.envs import Scenario
from deephedge.experiments import statistics
from deephedge.experiments.evaluation import Evaluation, summarise
from deephedge.experiments.reports.wording import digits, interval, number, standing, verdict
from deephedge.experiments.statistics import Estimate

PATHS = 4000
COMMON, NONE, BAND, PPO = np.random.default_rng(0).normal(size=(4, PATHS))

Judge = Callable[..., Evaluation]


class Policy:
    """A hedger that is no baseline; it is not asked to hedge."""

    def __init__(self, name: str) -> None:
        self.name = name

    def start(self, n: int) -> Any: ...

    def act(self, known: Any, state: Any) -> Any: ...


def above(gain: float, own: NDArray[np.float64]) -> NDArray[np.float64]:
    """P&L that is ``gain`` above delta's but for a little noise of its own."""
    return np.asarray(COMMON + gain + 0.05 * own)


@pytest.fixture
def judge(brief: Callable[..., Scenario]) -> Judge:
    """``judge(ppo=gain, band=gain)``: hedgers that do better than delta by a gain."""
    scenario = brief("short-call", **{"objective.aversion": "0.1"})

    def make(
        ppo: float | None = None, band: float | None = None, twice: bool = False
    ) -> Evaluation:
        hedgers: list[Any] = [NoHedge(), DeltaHedge()]
        pnl = [3 * NONE, COMMON]
        if band is not None:
            hedgers, pnl = [*hedgers, BandHedge()], [*pnl, above(band, BAND)]
        if ppo is not None:
            hedgers, pnl = [*hedgers, Policy("ppo")], [*pnl, above(ppo, PPO)]
        if twice:
            hedgers, pnl = [*hedgers, Policy("copy")], [*pnl, pnl[-1]]
        flat = {key: np.ones(PATHS) for key in ("cost", "turnover", "trades", "breach")}
        samples = [{"pnl": each, **flat} for each in pnl]
        return Evaluation(scenario, PATHS, 0, summarise(scenario, hedgers, samples))

    return make


def gap(evaluation: Evaluation, one: str, other: str) -> str:
    """The size of a paired difference with its interval, as the verdict writes it."""
    results = [evaluation.result(name) for name in (one, other)]
    objective = evaluation.scenario.objective
    found = statistics.difference(objective, *(-result.pnl for result in results))
    assert found.low is not None
    assert found.high is not None
    n = digits([result.risk for result in evaluation.hedgers])
    ends = sorted((abs(found.low), abs(found.high)))
    return f"{abs(found.value):.{n}f} [{ends[0]:.{n}f}, {ends[1]:.{n}f}]"


def test_a_policy_that_beats_every_rule(judge: Judge) -> None:
    found = judge(ppo=0.3, band=0.1)
    risk = found.result("ppo").risk
    n = digits([result.risk for result in found.hedgers])
    low, high = number(risk.low or 0.0, n), number(risk.high or 0.0, n)
    assert verdict(found) == (
        f"ppo has the lowest risk, {number(risk.value, n)} [{low}, {high}], "
        f"{gap(found, 'ppo', 'delta')} below delta; band, the best rule, is "
        f"{gap(found, 'band', 'ppo')} above ppo and {gap(found, 'band', 'delta')} below delta."
    )


def test_a_policy_that_beats_delta_but_not_the_best_rule(judge: Judge) -> None:
    found = judge(ppo=0.1, band=0.3)
    said = verdict(found)
    assert said.startswith("band has the lowest risk, ")
    assert said.endswith(
        f"; ppo, the best policy, is {gap(found, 'ppo', 'band')} above band and "
        f"{gap(found, 'ppo', 'delta')} below delta."
    )


def test_a_policy_that_is_worse_than_delta(judge: Judge) -> None:
    found = judge(ppo=-0.2, band=-0.1)
    said = verdict(found)
    assert said.startswith("delta has the lowest risk, ")
    assert said.endswith(f"; ppo, the best policy, is {gap(found, 'ppo', 'delta')} above delta.")
    assert "below" not in said


def test_a_difference_that_the_paths_do_not_show_is_called_that(judge: Judge) -> None:
    said = verdict(judge(ppo=0.0003, band=0.0))
    assert said.count("not told apart from") == 3
    assert "below" not in said
    assert "above" not in said


def test_with_rules_only_the_next_is_named(judge: Judge) -> None:
    best = verdict(judge(band=0.2))
    assert best.startswith("band has the lowest risk, ")
    assert best.endswith(" below delta.")
    worse = judge(band=-0.2)
    assert verdict(worse).endswith(
        f"; band, the next, is {gap(worse, 'band', 'delta')} above delta."
    )


def test_two_hedgers_that_do_the_same_are_not_told_apart(judge: Judge) -> None:
    found = judge(ppo=0.3, twice=True)
    alike = Evaluation(found.scenario, PATHS, 0, found.hedgers[2:])
    assert "not told apart from ppo (0.0" in verdict(alike)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-2.0, -1.0, "better"),
        (1.0, 2.0, "worse"),
        (-1.0, 1.0, "not told apart"),
        (-1.0, 0.0, "not told apart"),
        (0.0, 1.0, "not told apart"),
        (None, None, "no interval"),
    ],
)
def test_standing_is_told_only_by_an_interval_that_leaves_out_0(
    low: float | None, high: float | None, expected: str
) -> None:
    assert standing(Estimate(-0.5, low, high)) == expected


@pytest.mark.parametrize(
    ("estimates", "expected"),
    [
        ([(0.4537, 0.4512, 0.4562)], 4),  # half-width 0.0025: two figures of it
        ([(0.4537, 0.40, 0.50)], 3),
        ([(9.03, 8.67, 9.43), (17.03, 16.7, 17.4)], 2),
        ([(4213.2, 4100.0, 4300.0)], 0),
        ([(0.42, 0.4199999, 0.4200001)], 4),  # no more than four figures of the value
        ([(0.16, 0.15, 0.17), (0.15, 0.14, 0.16), (10.4, None, None)], 3),
        ([(0.0, 0.0, 0.0)], 1),
        ([(1.5, None, None)], 3),
    ],
)
def test_digits_are_those_the_intervals_allow(
    estimates: list[tuple[float, float | None, float | None]], expected: int
) -> None:
    assert digits([*[Estimate(*each) for each in estimates], None]) == expected


def test_numbers_have_a_real_minus_and_nothing_no_sign() -> None:
    assert number(-1234.567, 2) == "−1,234.57"
    assert number(0.5, 1, signed=True) == "+0.5"
    assert number(-0.0004, 2) == number(0.0004, 2, signed=True) == "0.00"


def test_an_interval_or_the_reason_for_none() -> None:
    assert interval(Estimate(0.5, -0.25, 1.0), 2) == "[−0.25, 1.00]"
    assert interval(Estimate(0.5, -0.25, 1.0), 1, signed=True) == "[−0.2, +1.0]"
    assert interval(Estimate(0.5, None, None), 2) == "no interval"
    assert interval(Estimate(0.5, 0.5, 0.5), 2) == "on every path"


def test_the_optimum_is_what_is_left_to_gain(judge: Judge) -> None:
    found = judge(ppo=0.3, band=0.1)
    plain = verdict(found)
    by_name = {result.name: result for result in found.hedgers}
    best = replace(by_name["ppo"], name="optimal", gap_closed=Estimate(1.0, 1.0, 1.0))
    shares = {r.name: Estimate(0.975 if r.name == "ppo" else 0.5, 0.4, 0.99) for r in found.hedgers}
    known = [replace(r, gap_closed=shares[r.name]) for r in found.hedgers]
    said = verdict(replace(found, hedgers=(best, *known)))
    clause = ", which is 97.5\u00a0% of the way from delta to the optimum"
    assert said.replace(clause, "") == plain and said.count(clause) == 1
    assert said.index(clause) < said.index(";")
