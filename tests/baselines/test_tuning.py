"""Options chosen on paths of their own: a minimum that is known, and what cannot be tuned."""

from __future__ import annotations

import numpy as np
import pytest

from deephedge.baselines import (
    BandHedge,
    Baseline,
    DeltaHedge,
    HoggardWhalleyWilmottHedge,
    LelandHedge,
    NoHedge,
    WhalleyWilmottHedge,
    ZakamoulineHedge,
    tuned,
    tuning_paths,
)
from deephedge.baselines import tuning as module
from deephedge.envs import load_scenario, rollout, simulate
from deephedge.envs.markets import Replay
from deephedge.envs.stream import Role, generator_of, stream_of


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATHS", 2_000)


@pytest.mark.parametrize(
    ("rule", "option"),
    [(BandHedge(), "width"), (BandHedge(to="centre"), "width"), (DeltaHedge(), "move")],
)
def test_it_is_the_minimum_on_the_tuning_paths(rule: Baseline, option: str) -> None:
    """A second search, over 60 values, finds no risk that is lower by more than a part in 50."""
    scenario = load_scenario("short-call", {"calendar.steps": "10"})
    episodes = tuning_paths(scenario, 3)

    def risk(value: float) -> float:
        trial = type(rule).model_validate(rule.model_dump() | {option: value})
        return scenario.objective.risk(-np.asarray(rollout(scenario, episodes, trial).pnl))

    chosen = tuned(rule, option, scenario, episodes)
    value = getattr(chosen.rule, option)
    least, most = rule.ranges(scenario)[option]
    lowest = min(risk(float(v)) for v in np.geomspace(least, most, 60))
    assert risk(value) < 1.02 * lowest
    assert chosen.name == chosen.rule.name and chosen.option == option


def test_a_whole_number_of_dates() -> None:
    """Without costs more trading is always better; at huge costs none after the first is."""
    free = load_scenario("short-call", {"hedges.0.costs": "[]", "calendar.steps": "10"})
    dear = load_scenario("short-call", {"hedges.0.costs.0.rate": "0.5", "calendar.steps": "10"})
    chosen = [tuned(DeltaHedge(), "every", s, tuning_paths(s, 0)).rule for s in (free, dear)]
    assert chosen == [DeltaHedge(), DeltaHedge(every=10)]


def test_an_aversion_where_the_objective_has_none() -> None:
    scenario = load_scenario("short-straddle-jumps", {"calendar.steps": "10"})
    rule = WhalleyWilmottHedge()
    assert rule.refusal(scenario) is not None
    chosen = tuned(rule, "aversion", scenario, tuning_paths(scenario, 0)).rule
    assert isinstance(chosen, WhalleyWilmottHedge) and chosen.refusal(scenario) is None
    least, most = rule.ranges(scenario)["aversion"]
    assert chosen.aversion is not None and least < chosen.aversion < most


def test_the_paths_are_those_of_no_evaluation() -> None:
    scenario = load_scenario("short-call")
    own = tuning_paths(scenario, 7).spot[-1]
    for role in Role:
        other = simulate(scenario, len(own), generator_of(stream_of(7, role))).spot[-1]
        assert bool((other == own).all()) == (role is Role.TUNING)


def test_it_hedges_as_the_rule_does() -> None:
    scenario = load_scenario("short-call", {"calendar.steps": "5"})
    episodes = tuning_paths(scenario, 0)
    chosen = tuned(DeltaHedge(), "move", scenario, episodes)
    pair = [rollout(scenario, episodes, hedger).pnl for hedger in (chosen, chosen.rule)]
    assert np.array_equal(*pair)


def test_what_cannot_be_tuned() -> None:
    scenario = load_scenario("short-call")
    episodes = tuning_paths(scenario, 0)
    with pytest.raises(ValueError, match="'width' is not tuned; of it is: nothing"):
        tuned(NoHedge(), "width", scenario, episodes)
    with pytest.raises(ValueError, match="'to' is not tuned; of it is: width"):
        tuned(BandHedge(), "to", scenario, episodes)
    recorded = Replay(paths=np.array([[100.0, 100.0], [101.0, 99.0], [102.0, 98.0]]))
    replay = load_scenario("short-call", {"calendar.steps": "2"}).model_copy(
        update={"market": recorded}
    )
    with pytest.raises(ValueError, match="there are no others to choose on"):
        tuning_paths(replay, 0)


def test_a_pair_of_options_that_do_not_go_together_is_one_line() -> None:
    scenario = load_scenario("short-call", {"calendar.steps": "5"})
    with pytest.raises(ValueError, match=r"hedger 'delta:every=2': move: with every 2 too") as told:
        tuned(DeltaHedge(every=2), "move", scenario, tuning_paths(scenario, 0))
    assert "\n" not in str(told.value)


def test_where_no_cost_is_seen_the_rules_that_would_be_delta_are_not_shown() -> None:
    free = load_scenario("short-call", {"hedges.0.costs": "[]"})
    fixed = load_scenario("short-call", {"hedges.0.costs": "[{kind: fixed, fee: 0.1}]"})
    for kind in (LelandHedge, ZakamoulineHedge, HoggardWhalleyWilmottHedge):
        shown = [bool(kind.variants(s)) for s in (load_scenario("short-call"), free, fixed)]
        assert shown == [True, False, False]
    assert [bool(WhalleyWilmottHedge.variants(s)) for s in (free, fixed)] == [False, True]
