"""Parts and kinds: checked, frozen, told apart by name, and open to a user's own."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from deephedge.envs import HedgingVectorEnv, Scenario, load_scenario, parse_scenario, simulate
from deephedge.envs.action import ActionMap
from deephedge.envs.calendar import Calendar
from deephedge.envs.costs import Cost, ProportionalCost
from deephedge.envs.instruments import Claim, Instrument
from deephedge.envs.markets import Market, Merton, Walk
from deephedge.envs.namespace import Namespace, X
from deephedge.envs.objectives import Objective
from deephedge.envs.part import Kind, Part
from deephedge.envs.pricing import Marking
from deephedge.envs.rewards import Reward
from deephedge.envs.scenario import Hedge

FAMILIES: dict[type[Kind], set[str]] = {
    Calendar: {"uniform", "trading-days"},
    Market: {"gbm", "merton"},
    Claim: {"call", "put"},
    Instrument: {"underlying", "listed-option"},
    Cost: {"proportional", "fixed", "per-unit", "quadratic"},
    Marking: {"black-scholes", "market-vol"},
    ActionMap: {"target", "trade", "residual", "band", "discrete"},
    Reward: {"telescoped", "kolm-ritter", "accounting", "cash-flow"},
}


class Shape(Kind):
    """A family of this file, which no scenario holds."""


class Circle(Shape):
    kind: Literal["circle"] = "circle"
    radius: float


class Ring(Circle):
    kind: Literal["ring"] = "ring"  # type: ignore[assignment]
    inner: float = 0.0


class Drawing(Part):
    shape: Shape
    others: tuple[Shape, ...] = ()


@pytest.fixture
def own_kinds() -> Iterator[None]:
    """Forget the kinds that a test registers in the package's families."""
    before = {family: dict(family.kinds) for family in [*FAMILIES, Objective, Shape]}
    yield
    for family, kinds in before.items():
        family.kinds.clear()
        family.kinds.update(kinds)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_a_family_knows_its_kinds_and_no_others(family: type[Kind]) -> None:
    assert set(family.kinds) >= FAMILIES[family]
    assert all(issubclass(kind, family) for kind in family.kinds.values())
    others = [other for other in FAMILIES if other is not family]
    assert not any(set(family.kinds) & set(other.kinds) for other in others)


def test_a_field_of_a_family_takes_any_kind_by_name_or_as_an_object() -> None:
    assert Drawing.model_validate({"shape": {"kind": "ring", "radius": 2.0}}).shape == Ring(
        radius=2
    )
    assert Drawing(shape=Circle(radius=1)).shape == Circle(radius=1)


def test_a_kind_declared_later_is_taken_by_a_field_declared_earlier(own_kinds: None) -> None:
    class Square(Shape):
        kind: Literal["square"] = "square"
        side: float

    drawing = Drawing.model_validate({"shape": {"kind": "square", "side": 1.0}})
    assert isinstance(drawing.shape, Square)
    assert Drawing(shape=Square(side=1.0)) == drawing
    assert Drawing.model_validate_json(drawing.model_dump_json()) == drawing
    assert "square" in json.dumps(Drawing.model_json_schema())


def test_what_is_written_has_every_field_of_the_kind() -> None:
    drawing = Drawing(shape=Ring(radius=2.0, inner=1.0))
    assert drawing.model_dump()["shape"] == {"kind": "ring", "radius": 2.0, "inner": 1.0}
    assert Drawing.model_validate(drawing.model_dump()) == drawing


@pytest.mark.parametrize(
    ("shape", "place", "rule"),
    [
        ({"kind": "circle", "radius": "2"}, ("shape", "radius"), "float_type"),
        ({"kind": "circle", "radius": True}, ("shape", "radius"), "float_type"),
        ({"kind": "circle", "radius": float("nan")}, ("shape", "radius"), "finite_number"),
        ({"kind": "circle", "radius": float("inf")}, ("shape", "radius"), "finite_number"),
        ({"kind": "circle"}, ("shape", "radius"), "missing"),
        ({"kind": "circle", "radius": 1.0, "colour": 1}, ("shape", "colour"), "extra_forbidden"),
        ({"kind": "cube", "radius": 1.0}, ("shape",), "union_tag_invalid"),
        ({"kind": ["circle"], "radius": 1.0}, ("shape",), "union_tag_invalid"),
        ({"kind": "gbm"}, ("shape",), "union_tag_invalid"),
        ({"radius": 1.0}, ("shape",), "union_tag_not_found"),
        (lambda: 1.0, ("shape",), "model_type"),
        (Merton(), ("shape",), "model_type"),
        (None, ("shape",), "model_type"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(
    shape: Any, place: tuple[str, ...], rule: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate({"shape": shape})
    assert [(fault["loc"], fault["type"]) for fault in caught.value.errors()] == [(place, rule)]


def test_a_part_cannot_be_changed_and_equals_its_like() -> None:
    circle = Circle(radius=1.0)
    with pytest.raises(ValidationError, match="frozen"):
        circle.radius = 2.0
    assert circle == Circle(radius=1.0) != Circle(radius=2.0)
    assert hash(circle) == hash(Circle(radius=1.0))


def test_every_part_of_a_scenario_may_be_a_users_own(
    own_kinds: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where parts nest (costs in hedges, claims in legs, the reward in the view) as at the top."""
    (tmp_path / "own_deephedge_kinds.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("own_deephedge_kinds")
    changes = {
        "market": "{kind: own-market, spot: 100, sigma: 0.2}",
        "calendar": "{kind: own-calendar, steps: 5, days: 5}",
        "position.legs.0.claim": "{kind: own-claim, strike: 100}",
        "hedges.0.costs": "[{kind: own-cost, rate: 0.1}]",
        "marking": "{kind: own-marking, vol: 0.2}",
        "objective": "{kind: own-objective, level: 0.9}",
        "view.action": "{kind: own-action}",
        "view.reward": "{kind: own-reward}",
    }
    scenario = load_scenario("short-call", changes)
    assert parse_scenario(json.loads(scenario.model_dump_json())) == scenario
    schema = json.dumps(Scenario.model_json_schema())
    assert len(set(re.findall('"const": "(own-[a-z]+)"', schema))) == len(changes)
    env = HedgingVectorEnv(2, scenario)
    env.reset(seed=0)
    *_, info = env.step(np.ones((2, 1), dtype=np.float32))
    assert info["cost"].tolist() == pytest.approx([0.1 * 2 * 100] * 2)


PLUGIN = """
from __future__ import annotations
from typing import Literal
from deephedge.envs.action import TargetAction
from deephedge.envs.calendar import UniformCalendar
from deephedge.envs.costs import ProportionalCost
from deephedge.envs.instruments import Call
from deephedge.envs.markets import GeometricBrownianMotion
from deephedge.envs.objectives import CVaR
from deephedge.envs.pricing import ConstantVolMarking
from deephedge.envs.rewards import AccountingReward

class OwnMarket(GeometricBrownianMotion):
    kind: Literal["own-market"] = "own-market"
class OwnCalendar(UniformCalendar):
    kind: Literal["own-calendar"] = "own-calendar"
class OwnClaim(Call):
    kind: Literal["own-claim"] = "own-claim"
class OwnCost(ProportionalCost):
    kind: Literal["own-cost"] = "own-cost"
class OwnMarking(ConstantVolMarking):
    kind: Literal["own-marking"] = "own-marking"
class OwnObjective(CVaR):
    kind: Literal["own-objective"] = "own-objective"
class OwnAction(TargetAction):
    kind: Literal["own-action"] = "own-action"
class OwnReward(AccountingReward):
    kind: Literal["own-reward"] = "own-reward"
"""


def test_a_kind_that_holds_a_callable_runs(own_kinds: None) -> None:
    class Bent(Market):
        kind: Literal["bent"] = "bent"
        bend: Callable[[torch.Tensor], torch.Tensor]

        def walk(
            self,
            clock: torch.Tensor,
            paths: int,
            generator: torch.Generator,
            dtype: torch.dtype,
        ) -> Walk:
            spot = self.bend(clock.expand(-1, paths).to(dtype)) + self.spot
            return Walk(spot.log(), implied_vol=torch.full((1, 1), 0.2, dtype=dtype))

        @property
        def volatility(self) -> float:
            return 0.2

    plain = load_scenario("short-call")
    scenario = Scenario(**{**dict(plain), "market": Bent(bend=lambda t: 10 * t)})
    episodes = simulate(scenario, 3, torch.Generator())
    assert torch.allclose(episodes.spot[-1], torch.tensor(100 + 10 * 30 / 365).double())


def test_a_users_own_cost_in_python_is_taken_as_it_is(own_kinds: None) -> None:
    class Tax(Cost):
        kind: Literal["tax"] = "tax"

        def charge(self, trade: X, price: X, ops: Namespace) -> X:
            return 0.0 * price

    hedge = load_scenario("short-call").hedges[0]
    assert isinstance(hedge.costs[0], ProportionalCost)
    assert Hedge(instrument=hedge.instrument, costs=(Tax(),)).costs == (Tax(),)
