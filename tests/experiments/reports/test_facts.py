"""A scenario in words leaves nothing out."""

import pytest

from deephedge.envs import Scenario, load_scenario, preset_names
from deephedge.envs.part import Part
from deephedge.experiments.reports.facts import definition, facts


def said(scenario: Scenario) -> dict[str, str]:
    return {term: "\n".join(lines) for term, lines in facts(scenario)}


def shown(value: float) -> str:
    return f"{value:g}".replace("-", "−")


@pytest.mark.parametrize("name", preset_names())
def test_every_number_of_a_preset_is_told(name: str) -> None:
    scenario = load_scenario(name)
    words = said(scenario)
    parts: dict[str, Part] = {
        "Market": scenario.market,
        "Marking": scenario.marking,
        "Calendar": scenario.calendar,
    }
    for term, part in parts.items():
        for key, value in part:
            if isinstance(value, float):
                assert f"{key.replace('_', ' ')} {shown(value)}" in words[term]
        assert str(getattr(part, "kind")) in words[term]  # noqa: B009
    lines = len(scenario.position.legs) + (scenario.position.flow is not None) + 1
    assert len(words["Position"].split("\n")) == lines
    assert len(words["Hedged with"].split("\n")) == len(scenario.hedges)
    assert scenario.objective.label in words["Risk"]


def test_a_book_with_everything() -> None:
    scenario = load_scenario(
        "book-jumps",
        {
            "market.sigma": "{low: 0.1, high: 0.2}",
            "hedges.1.costs": "[{kind: fixed, fee: 0.3}, {kind: proportional, rate: 0.002}]",
            "hedges.1.limits": "{lower: -4, upper: 5, max_trade: 2, lot: 0.5}",
            "position.premium": "1.25",
            "calendar.decide_every": "5",
            "loss_limit": "7",
            "liquidate": "false",
        },
    )
    words = said(scenario)
    assert "sigma 0.1 to 0.2 per √year (drawn for every path)" in words["Market"]
    legs = words["Position"].split("\n")
    assert legs[0] == "−2 call: strike 100, expires after 30 days"
    assert legs[4] == "−1 call: strike 110, expires with the episode"
    assert legs[-1] == "premium received: 1.25 money"
    listed, underlying = words["Hedged with"].split("\n")
    assert listed.startswith("listed put: strike 95, expires after 90 days; cost proportional")
    assert underlying == (
        "underlying; cost fixed: fee 0.3 + proportional: rate 0.002 (20 bp of the price); "
        "lower −4, upper 5, max trade 2, lot 0.5"
    )
    assert "a decision every 5 steps" in words["Calendar"]
    assert "counted at mid" in words["Calendar"]
    assert "stopped and liquidated at a loss of 7" in words["Calendar"]


def test_an_objective_is_defined_in_its_own_words() -> None:
    assert definition(load_scenario("short-call").objective).startswith("log E[exp(a L)] / a")
    assert definition(load_scenario("book-jumps").objective).startswith("The mean of the worst")
