"""The scenario: frozen, complete, one JSON schema with every kind, rules between its parts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from deephedge.envs import Scenario, View, load_scenario, preset_names
from deephedge.envs.action import ActionMap
from deephedge.envs.calendar import Calendar
from deephedge.envs.costs import Cost
from deephedge.envs.instruments import Claim, Instrument
from deephedge.envs.markets import Market
from deephedge.envs.objectives import Objective
from deephedge.envs.part import Kind
from deephedge.envs.pricing import Marking
from deephedge.envs.rewards import Reward

FAMILIES: list[type[Kind]] = [
    *(Calendar, Market, Claim, Instrument, Cost, Marking, ActionMap, Reward, Objective)
]


def tree(name: str = "short-call") -> dict[str, Any]:
    data: dict[str, Any] = json.loads(load_scenario(name).model_dump_json())
    return data


def test_the_json_schema_offers_every_kind_of_every_family() -> None:
    schema = json.dumps(Scenario.model_json_schema())
    for family in FAMILIES:
        assert family.kinds
        for name in family.kinds:
            assert f'"const": "{name}"' in schema, name
    for key in Scenario.model_fields:
        assert f'"{key}"' in schema


def test_the_schema_says_what_a_number_may_be() -> None:
    schema = Scenario.model_json_schema()
    (call,) = [
        kind
        for kind in schema["$defs"]["Leg"]["properties"]["claim"]["oneOf"]
        if kind["title"] == "Call"
    ]
    assert call["properties"]["strike"]["exclusiveMinimum"] == 0
    assert call["additionalProperties"] is False
    assert call["required"] == ["strike"]


@pytest.mark.parametrize("name", preset_names())
def test_python_json_and_plain_data_are_one_description(name: str) -> None:
    scenario = load_scenario(name)
    assert Scenario.model_validate(tree(name)) == scenario
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario
    assert Scenario(**dict(scenario)) == scenario
    assert hash(scenario) == hash(load_scenario(name))  # a scenario can be a key


def test_a_scenario_cannot_be_changed() -> None:
    scenario = load_scenario("short-call")
    with pytest.raises(ValidationError, match="frozen"):
        scenario.liquidate = True
    with pytest.raises(ValidationError, match="frozen"):
        scenario.market.spot = 1.0


@pytest.mark.parametrize(
    "instruments", [[], ["option"], ["stock", "stock"], ["stock", "option"]], ids=str
)
def test_the_underlying_comes_last_and_once(instruments: list[str]) -> None:
    kinds = {
        "stock": {"kind": "underlying"},
        "option": {"kind": "listed-option", "option": {"kind": "call", "strike": 100.0}},
    }
    data = tree() | {"hedges": [{"instrument": kinds[name]} for name in instruments]}
    with pytest.raises(ValidationError, match=r"future, last|keep one of them|at least 1 item"):
        Scenario.model_validate(data)


@pytest.mark.parametrize(
    ("steps", "every", "maturity", "fits"),
    [
        (30, 1, 7, True),
        (30, 1, 30, True),
        (30, 1, 31, True),
        (30, 1, 41.5, True),
        (30, 1, 7.5, False),
        (30, 1, 0.5, False),
        (30, 5, 10, True),
        (30, 5, 7, False),
        (30, 5, 30, True),
        (30, 5, 37, True),  # beyond the end it need not be a decision date
        (32, 5, 32, True),  # the end is a date even when it is no multiple
        (32, 5, 31, False),
    ],
)
def test_a_listed_option_matures_on_a_decision_date_or_outlives_the_episode(
    steps: int, every: int, maturity: float, fits: bool
) -> None:
    data = tree("gamma-hedge-jumps")
    data["calendar"] |= {"steps": steps, "days": float(steps), "decide_every": every}
    data["hedges"][0]["instrument"]["option"]["maturity"] = maturity / 365
    if fits:
        Scenario.model_validate(data)
    else:
        with pytest.raises(ValidationError, match=r"hedges\.0: maturity .* (between|before)"):
            Scenario.model_validate(data)


def test_a_leg_may_mature_between_decisions_but_on_a_market_date() -> None:
    data = tree()
    data["calendar"]["decide_every"] = 5
    for days, fits in ((7, True), (7.5, False)):
        data["position"]["legs"][0]["claim"]["maturity"] = days / 365
        if fits:
            Scenario.model_validate(data)
        else:
            with pytest.raises(ValidationError, match="falls between the dates"):
                Scenario.model_validate(data)


def test_limits_are_finite_everywhere() -> None:
    scenario = load_scenario("book-jumps")
    option, underlying = scenario.limits
    assert (option.lower, option.upper) == (-14.0, 14.0)  # two position sizes of 7 either side
    assert (underlying.lower, underlying.upper) == (-6.0, 6.0)


def test_the_contract_is_the_scale_of_the_problem() -> None:
    contract = load_scenario("book-jumps").contract
    assert contract.size == 7.0
    assert contract.strikes == (100, 105, 95, 90, 110, 100)
    assert contract.maturities[2:5] == (30 / 365, None, None)
    assert (contract.options, contract.instruments, contract.steps) == (1, 2, 60)
    thin = load_scenario("short-call", {"calendar.decide_every": "7"}).contract
    assert thin.steps == 5
    fair = load_scenario("short-call").contract.scale
    assert fair == pytest.approx(2.28715, rel=0.01)  # about the price of the option


def test_what_a_learner_sees_by_default_is_what_varies() -> None:
    assert load_scenario("short-call").features == (
        *("time_left", "moneyness", "delta", "gamma", "holding", "gap"),
    )
    assert "vol" in load_scenario("sp500-call").features
    assert "step_length" in load_scenario("sp500-call").features
    assert "option_price" in load_scenario("gamma-hedge-jumps").features
    assert "pnl" in load_scenario("short-straddle-jumps").features
    view = View(features=("pnl", "delta"))
    assert load_scenario("short-call").features_of(view) == ("delta", "pnl")


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["time_lefd"], "did you mean 'time_left'"),
        (["delta", "delta"], "stands twice"),
        ([], "at least 1 item"),
    ],
)
def test_an_impossible_view_is_refused(features: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Scenario.model_validate(tree() | {"view": {"features": features}})
