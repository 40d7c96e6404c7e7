"""Scenarios as YAML: presets, files, overrides by key path, one clear line for every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from deephedge.envs import (
    Scenario,
    ScenarioError,
    dump_scenario,
    load_scenario,
    parse_scenario,
    preset_names,
)
from deephedge.envs.markets import GeometricBrownianMotion, Market, Uniform
from deephedge.envs.presets import read_yaml

Make = Callable[..., Scenario]


def test_the_presets_of_the_first_release_are_there() -> None:
    assert set(preset_names()) >= {
        "short-call",
        "short-call-jumps",
        "short-put-jumps",
        "short-straddle-jumps",
        "gamma-hedge-jumps",
        "book-jumps",
    }
    assert preset_names() == sorted(preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_be_written_out_and_read_back(name: str, tmp_path: Path) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert len(scenario.description) > 20
    file = tmp_path / "copy.yaml"
    file.write_text(dump_scenario(scenario), encoding="utf-8")
    for source in (file, str(file)):
        assert load_scenario(source) == scenario
    # Every value is in it: none is left to a default that a release may move.
    assert read_yaml(file.read_text(), name) == json.loads(scenario.model_dump_json())


@pytest.mark.parametrize("seed", range(30))
def test_any_scenario_can_be_written_out_and_read_back(
    seed: int, random_scenario: Make, tmp_path: Path
) -> None:
    scenario = random_scenario(seed)
    file = tmp_path / "scenario.yaml"
    file.write_text(dump_scenario(scenario))
    assert load_scenario(file) == scenario
    assert dump_scenario(load_scenario(file)) == dump_scenario(scenario)


def test_short_call_is_the_problem_of_the_issue() -> None:
    scenario = load_scenario("short-call")
    assert scenario.market == GeometricBrownianMotion(spot=100, sigma=0.2)
    assert scenario.calendar.steps == 30
    assert scenario.calendar.horizon == 30 / 365
    assert [leg.model_dump() for leg in scenario.position.legs] == [
        {"quantity": -1, "claim": {"kind": "call", "asset": 0, "strike": 100, "maturity": None}}
    ]
    assert [cost.model_dump() for cost in scenario.hedges[0].costs] == [
        {"kind": "proportional", "rate": 0.002}
    ]
    assert not scenario.liquidate
    assert scenario.objective.model_dump() == {"kind": "entropic", "aversion": 0.1}
    jumps = load_scenario("short-call-jumps").market.model_dump()
    wanted = {"sigma": 0.15, "intensity": 1.2, "jump_mean": -0.07, "jump_std": 0.05}
    assert {key: jumps[key] for key in wanted} == wanted
    assert len(load_scenario("book-jumps").position.legs) == 6


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("+7", 7),
        ("010", 10),
        ("089", 89),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-01-01", "2026-01-01"),
        ("'1'", "1"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    read = read_yaml(f"key: {text}", "test")["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("name", ["no", "1e-3", "010", "null", "true", "~", "", "a: b", "- x", "é"])
def test_strings_that_look_like_something_else_come_back_as_strings(name: str) -> None:
    scenario = load_scenario("short-call").model_copy(update={"name": name})
    assert parse_scenario(read_yaml(dump_scenario(scenario), "test")).name == name


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("market.sigma", "0.3", lambda s: s.market.sigma == 0.3),
        ("market.sigma", "1e-1", lambda s: s.market.sigma == 0.1),
        (
            "market.sigma",
            "{low: 0.1, high: 0.3}",
            lambda s: s.market.sigma == Uniform(low=0.1, high=0.3),
        ),
        ("market.rate", "1", lambda s: s.market.rate == 1.0),
        ("liquidate", "true", lambda s: s.liquidate),
        ("liquidate", "True", lambda s: s.liquidate),
        ("loss_limit", "2.5", lambda s: s.loss_limit == 2.5),
        ("loss_limit", "null", lambda s: s.loss_limit is None),
        ("objective.aversion", "2", lambda s: s.objective.aversion == 2),
        ("marking.vol", "0.25", lambda s: s.marking.vol == 0.25),
        ("position.legs.0.quantity", "-3", lambda s: s.position.legs[0].quantity == -3),
        ("position.premium", "0", lambda s: s.position.premium == 0),
        ("hedges.0.costs.0", "{kind: fixed, fee: 1}", lambda s: s.hedges[0].costs[0].fee == 1),
        ("hedges.0.costs.0.rate", "0", lambda s: s.hedges[0].costs[0].rate == 0),
        ("hedges.0.limits.lot", "0.1", lambda s: s.hedges[0].limits.lot == 0.1),
        ("view.reward.kind", "accounting", lambda s: s.view.reward.kind == "accounting"),
        ("name", "no", lambda s: s.name == "no"),
    ],
)
def test_an_override_sets_one_key(key: str, value: str, read: Callable[[Any], bool]) -> None:
    changed, plain = load_scenario("short-call", {key: value}), load_scenario("short-call")
    assert read(changed)
    assert plain == load_scenario("short-call")  # the preset is not what was changed


WRONG: list[tuple[dict[str, str], str]] = [
    # A value that cannot be
    ({"market.sigma": "-0.2"}, "market.sigma -0.2: input should be greater than or equal to 0"),
    ({"market.sigma": "{low: 0.3, high: 0.1}"}, "market.sigma: low 0.3 must be below high 0.1"),
    ({"market.spot": "0"}, "market.spot 0: input should be greater than 0"),
    ({"marking.vol": "-1"}, "marking.vol -1: input should be greater than or equal to 0"),
    (
        {"position.legs.0.claim.strike": "0"},
        "position.legs.0.claim.strike 0: input should be greater than 0",
    ),
    (
        {"position.legs.0.claim.maturity": "0.001"},
        "position.legs.0: maturity 0.001 years is before the first step, 0.00273973 years",
    ),
    (
        {"position.legs.0.claim.maturity": "0.0123"},
        "maturity 0.0123 years falls between the dates 0.0109589 and 0.0136986: choose one",
    ),
    ({"position.legs.0.quantity": "0"}, "position.legs.0.quantity: a leg of quantity 0 is no leg"),
    (
        {"position.legs": "[]"},
        "position: legs has no leg and there is no flow: list at least 1 leg",
    ),
    ({"hedges": "[]"}, "hedges: tuple should have at least 1 item"),
    ({"hedges.0.costs.0.rate": "-1"}, "hedges.0.costs.0.rate -1: input should be greater than"),
    ({"calendar.steps": "0"}, "calendar.steps 0: input should be greater than or equal to 1"),
    ({"calendar.days": "-30"}, "calendar.days -30: input should be greater than 0"),
    ({"loss_limit": "0"}, "loss_limit 0: input should be greater than 0"),
    ({"objective.aversion": "0"}, "objective.aversion 0: input should be greater than 0"),
    ({"objective": "{kind: cvar, level: 1}"}, "objective.level 1: input should be less than 1"),
    # Bounds that contradict each other
    (
        {"hedges.0.limits": "{lower: 1, upper: -1}"},
        "hedges.0.limits: lower 1 must be below upper -1",
    ),
    ({"hedges.0.limits": "{lower: 1, upper: 2}"}, "hedges.0.limits: [1, 2] must contain 0"),
    ({"hedges.0.limits": "{lot: 5}"}, "hedges.0.limits: no lot of 5 fits between -2 and 2"),
    ({"hedges.0.limits": "{lot: 0.5, max_trade: 0.1}"}, "max_trade 0.1 is below one lot of 0.5"),
    # Numbers that are none
    ({"market.sigma": ".nan"}, "market.sigma '.nan': input should be a valid number"),
    ({"market.drift": ".inf"}, "market.drift '.inf': input should be a valid number"),
    ({"market.rate": "1e999"}, "market.rate inf: input should be a finite number"),
    # Wrong types
    ({"market.sigma": "'0.2'"}, "market.sigma '0.2': input should be a valid number"),
    ({"market": "3"}, "market 3: input should be a valid dictionary"),
    ({"market": "null"}, "market None: input should be a valid dictionary"),
    ({"calendar.steps": "3.5"}, "calendar.steps 3.5: input should be a valid integer"),
    ({"calendar.steps": "true"}, "calendar.steps True: input should be a valid integer"),
    ({"liquidate": "no"}, "liquidate 'no': input should be a valid boolean"),
    ({"name": "7"}, "name 7: input should be a valid string"),
    ({"position.premium": "marks"}, "position.premium 'marks': "),
    # Names that do not exist
    ({"markt.sigma": "1"}, "markt: unknown key: did you mean 'market'?"),
    ({"market.sigm": "1"}, "market.sigm: unknown key: did you mean 'sigma'?"),
    ({"market.volatility": "1"}, "market.volatility: unknown key: "),
    ({"market.sigma": "{lo: 0.1, high: 0.2}"}, "market.sigma.low: is missing"),
    (
        {"market.sigma": "{low: 0.1, high: 0.2, hig: 1}"},
        "market.sigma.hig: unknown key: did you mean 'high'?",
    ),
    ({"hedges.0.cost": "[]"}, "hedges.0.cost: unknown key: did you mean 'costs'?"),
    ({"hedges.0.costs.0.rat": "1"}, "hedges.0.costs.0.rat: unknown key: did you mean 'rate'?"),
    ({"position.legs.0.claim.strke": "1"}, "strke: unknown key: did you mean 'strike'?"),
    ({"view.action": "{kind: band, reech: 1}"}, "view.action.reech: unknown key: did you mean"),
    (
        {"view.action": "{kind: discrete, of: {kind: band, rech: 1}}"},
        "of.rech: unknown key: did you mean 'reach'?",
    ),
    ({"market.kind": "gbmm"}, "market: unknown kind 'gbmm': did you mean 'gbm'?"),
    ({"market.kind": "9"}, "market: unknown kind '9': choose one of bates, bootstrap, "),
    (
        {"marking.kind": "blackscholes"},
        "marking: unknown kind 'blackscholes': did you mean 'black-scholes'?",
    ),
    ({"position.legs.0.claim.kind": "cal"}, "claim: unknown kind 'cal': did you mean 'call'?"),
    ({"view.features": "[time_lef]"}, "unknown feature 'time_lef': did you mean 'time_left'?"),
    ({"market": "{}"}, "market: a 'kind' is needed"),
    ({"objective": "{kind: cvar}"}, "objective.level: is missing"),
    # Key paths that lead nowhere
    (
        {"position.legs.1.quantity": "1"},
        "position.legs.1.quantity: '1' is not one of the 1 entries",
    ),
    ({"position.legs.first.quantity": "1"}, "'first' is not one of the 1 entries from 0"),
    ({"market.sigma.low": "1"}, "market.sigma.low: 'low' is inside 0.2, which has no keys"),
    ({"": "1"}, ": unknown key"),
    ({"market..sigma": "1"}, "market.: unknown key"),
    # What is no YAML
    ({"market.sigma": "[0.1"}, "market.sigma: not YAML: "),
    ({"market.sigma": "!!int x"}, "market.sigma: not YAML: "),
    ({"market.sigma": "!!python/name:os.system"}, "market.sigma: not YAML: "),
    # Rules between parts
    ({"view.action": "{kind: discrete, levels: 300}"}, "90000 choices, more than 256"),
    (
        {"calendar": "{kind: trading-days, steps: 9}", "position.legs.0.claim.maturity": "0.01"},
        "leave maturities out",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[str(changes) for changes, _ in WRONG])
def test_a_mistake_is_one_line_with_the_key_the_value_and_the_rule(
    changes: dict[str, str], message: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("short-call", changes)
    assert isinstance(caught.value, ValueError)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_several_mistakes_are_counted() -> None:
    with pytest.raises(ScenarioError, match=r"market.sigma -1: .* \(and 1 more\)$"):
        load_scenario("short-call", {"market.sigma": "-1", "loss_limit": "-1"})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("short-cal", "unknown preset 'short-cal': did you mean 'short-call'?"),
        ("zzz", "unknown preset 'zzz': choose one of american-put, "),
        ("", "unknown preset '': choose one of "),
        ("no-such-file.yaml", "no-such-file.yaml: cannot be read: "),
        ("../short-call", "unknown preset '../short-call'"),
    ],
)
def test_an_unknown_source_is_refused(name: str, message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(name)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a mapping of keys was expected, not NoneType"),
        (b"- 1\n- 2\n", "a mapping of keys was expected, not list"),
        (b"name: [1", "not YAML"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"name: x\n", "market: is missing (and 5 more)"),
        (b"a: &a [*a, *a]\n", "name: is missing (and 7 more)"),
        (b"? [1, 2]\n: 3\n", "not YAML"),
        (b"[" * 1500, "not YAML"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_data_may_be_parsed_and_must_be_a_mapping() -> None:
    tree = json.loads(load_scenario("short-call").model_dump_json())
    assert parse_scenario(tree) == load_scenario("short-call")
    tree["market"]["sigma"] = float("nan")
    with pytest.raises(ScenarioError, match=r"^mine: market.sigma nan: input should be a finite"):
        parse_scenario(tree, "mine")
    tree["market"]["sigma"] = lambda: 0.2
    with pytest.raises(ScenarioError, match=r"market.sigma <function"):
        parse_scenario(tree)
    with pytest.raises(ScenarioError, match="should be a valid dictionary"):
        parse_scenario([1, 2])


def test_what_python_alone_can_hold_is_not_written_out() -> None:
    class Callback(GeometricBrownianMotion):
        kind: Literal["callback"] = "callback"  # type: ignore[assignment]
        hook: Callable[[], float]

    try:
        market = Callback(hook=lambda: 0.0)
        scenario = Scenario(**{**dict(load_scenario("short-call")), "market": market})
        assert scenario.market is market
        with pytest.raises(ScenarioError, match=r"cannot be saved: .* Python only .*function"):
            dump_scenario(scenario)
    finally:
        del Market.kinds["callback"]


def test_the_dump_is_read_alike_by_any_yaml_reader() -> None:
    """Nothing in it means one thing in YAML 1.1 and another in 1.2."""
    for name in preset_names():
        text = dump_scenario(load_scenario(name))
        assert yaml.safe_load(text) == read_yaml(text, name)


def test_what_is_off_can_be_given_key_by_key() -> None:
    scenario = load_scenario("short-call", {"hedges.0.impact.transient": "0.001"})
    impact = scenario.hedges[0].impact
    assert impact is not None and impact.transient == 0.001
