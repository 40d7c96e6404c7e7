"""Variation of training episodes: aversions, costs and market parameters drawn, or a worst set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from typing import Annotated, Any

import torch
from pydantic import AfterValidator, Field, model_validator
from torch import Tensor

from .episodes import Episodes, simulate
from .nested import mapped
from .objectives import Objective
from .part import Part
from .presets import ScenarioError, changed
from .rewards import TelescopedReward
from .scenario import Scenario
from .view import View

VARIED = ("market.", "marking.")  # what else a scenario holds, the base's own books follow


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    low, high = ends
    if low > high:
        raise ValueError(f"from {low:g} to {high:g}: give the smaller end first")
    return ends


def _positive(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] <= 0:
        raise ValueError(f"from {ends[0]:g}: drawn log-uniformly, so above 0")
    return ends


Range = Annotated[tuple[float, float], Field(strict=False), AfterValidator(_ordered)]
LogRange = Annotated[Range, AfterValidator(_positive)]
Value = bool | int | float | str


class Variation(Part):
    """What differs between the paths of a training batch; nothing by default.

    A batch falls into ``groups`` of paths, path j into group j mod G. Each group has its own draw,
    stratified: of G equal slices of a range, every batch has one draw in each (a Latin hypercube:
    McKay, Beckman and Conover, "A comparison of three methods for selecting values of input
    variables", 1979). Group g's aversion is from slice g, the other draws' slices are shuffled.

    Attributes:
        aversion: of the objective, log-uniform, 1 / money; observed (Murray, Wood, Buehler, Wiese
            and Pakkanen, "Deep hedging: continuous reinforcement learning for hedging of general
            portfolios across multiple risk aversions", 2022).
        cost: a multiplier of all costs, log-uniform; observed.
        uniform: keys of the market or the marking, drawn uniformly and not observed: domain
            randomisation (Tobin et al., "Domain randomization for transferring deep neural
            networks from simulation to the real world", 2017). A market that moves on while the
            marking stays is a model error, on purpose.
        worst_of: variants of the scenario that are weighted adversarially; group g plays variant
            g mod W.
        weight_step: of the exponentiated gradient (`GroupTerms`), per refit.
        groups: G, at least; rounded up to a multiple of W.
    """

    aversion: LogRange | None = None
    cost: LogRange | None = None
    uniform: dict[str, Range] = Field(default_factory=dict)
    worst_of: Annotated[tuple[dict[str, Value], ...], Field(strict=False)] = ()
    weight_step: Annotated[float, Field(gt=0)] = 0.1
    groups: Annotated[int, Field(ge=1)] = 32

    @model_validator(mode="after")
    def _variable(self) -> Variation:
        for key in [*self.uniform, *(key for variant in self.worst_of for key in variant)]:
            if not key.startswith(VARIED):
                raise ValueError(
                    f"key {key!r}: only those of market and marking vary between paths (costs "
                    "and aversions by a multiplier or a range of their own: cost, aversion)"
                )
        if len(self.worst_of) == 1:
            raise ValueError("worst_of has one variant: give two or more, or override the scenario")
        return self

    def __bool__(self) -> bool:
        """Whether anything varies."""
        return bool(self.aversion or self.cost or self.uniform or self.worst_of)

    @cached_property
    def variants(self) -> int:
        """W, how many variants are weighted; 1 without a set."""
        return max(len(self.worst_of), 1)

    @cached_property
    def count(self) -> int:
        """G."""
        return -(-self.groups // self.variants) * self.variants

    def middle_aversions(self) -> list[float] | None:
        """The aversion in the middle of each group's slice, ``[G]``."""
        if self.aversion is None:
            return None
        low, high = self.aversion
        return [low * (high / low) ** ((g + 0.5) / self.count) for g in range(self.count)]

    def variant(self, scenario: Scenario, index: int) -> Scenario:
        """The scenario of one of the weighted set; itself where there is none."""
        return changed(scenario, self.worst_of[index]) if self.worst_of else scenario

    def seen(self, scenario: Scenario, view: View) -> View:
        """The view with what is drawn and observed among its features."""
        drawn = [("aversion", self.aversion), ("cost_level", self.cost)]
        shown = scenario.features_of(view)
        missing = [name for name, ends in drawn if ends is not None and name not in shown]
        return view.model_copy(update={"features": (*missing, *shown)}) if missing else view

    def check(self, scenario: Scenario, view: View) -> None:
        """Refuse what cannot be drawn on this scenario.

        Raises:
            ValueError: for an aversion where the objective or the reward has none, a cost level
                where nothing costs; `ScenarioError` for an unknown key or an impossible value at
                either end of a range.
        """
        objective = scenario.objective
        if self.aversion is not None and not has_aversion(objective):
            raise ValueError(
                f"vary aversion: the objective {objective.label} has no objective.aversion: "
                "choose an entropic or a mean-variance one"
            )
        if self and scenario.moves_prices:
            raise ValueError(
                "vary: a permanent impact marks the scenario itself anew: leave it out"
            )
        if self.aversion is not None and not isinstance(view.reward, TelescopedReward):
            raise ValueError(
                f"vary aversion: a {type(view.reward).__name__} does not depend on it: choose a "
                "telescoped or a paired one"
            )
        if self.cost is not None and scenario.contract.trade_cost == 0.0:
            raise ValueError("vary cost: trading costs nothing: give hedges costs to multiply")
        ends: list[Mapping[str, Value]] = [*self._corners, *self.worst_of]
        for changes in ends:
            try:
                changed(scenario, changes).check_features(view)
            except ScenarioError as error:
                raise ScenarioError(f"vary: {error}") from None

    @property
    def _corners(self) -> list[dict[str, float]]:
        """Every key at its low end, and at its high end."""
        return [{key: ends[i] for key, ends in self.uniform.items()} for i in (0, 1)]


def has_aversion(objective: Objective) -> bool:
    """Whether the objective is one of a family in its aversion."""
    return "aversion" in type(objective).model_fields


def with_aversion(objective: Objective, aversion: Any) -> Objective:
    """The objective at another aversion; an array ``[N]`` gives every path its own.

    ``l_a(L; theta)`` is then elementwise in a, L and theta; `risk` and `theta` want a number.
    Evidence: l_a(L; theta) = l_1(a L; a theta) / a in tests/envs/test_variation.py.
    """
    return objective.model_copy(update={"aversion": aversion})


def draw(
    scenario: Scenario,
    variation: Variation,
    paths: int,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float64,
) -> Episodes:
    """Draw ``paths`` outcomes that vary, on the generator's device.

    Contract and thus feature scaling are those of ``scenario``; premium and marks those of each
    group's own variant. Where only aversion or cost vary, the market paths are those of `simulate`.
    """
    if not variation:
        return simulate(scenario, paths, generator, dtype)
    count, device = variation.count, generator.device

    def strata(shuffled: bool) -> Tensor:
        order = torch.arange(count, device=device)
        if shuffled:
            order = torch.randperm(count, generator=generator, device=device)
        jitter = torch.rand(count, generator=generator, device=device, dtype=torch.float64)
        return (order + jitter) / count

    played = _played(scenario, variation, strata)
    share = -(-paths // len(played))
    parts = [simulate(each, share, generator, dtype) for each in played]
    group = torch.arange(paths, device=device) % count

    def drawn(ends: tuple[float, float] | None, shuffled: bool) -> Tensor | None:
        if ends is None:
            return None
        return (ends[0] * (ends[1] / ends[0]) ** strata(shuffled))[group][None]

    aversion, level = drawn(variation.aversion, False), drawn(variation.cost, True)
    return replace(
        parts[0] if len(parts) == 1 else _interleaved(parts, paths),
        contract=scenario.contract,
        group=group[None],
        aversion=aversion,
        cost_level=None if level is None else level.to(dtype),  # the ledger's
    )


def _played(
    scenario: Scenario, variation: Variation, strata: Callable[[bool], Tensor]
) -> list[Scenario]:
    """The scenarios that paths come from in turn: of every group, every variant, or the one."""
    if not variation.uniform:
        return [variation.variant(scenario, w) for w in range(variation.variants)]
    changes: list[dict[str, Value]] = [{} for _ in range(variation.count)]
    if variation.worst_of:
        changes = [{**variation.worst_of[g % variation.variants]} for g in range(variation.count)]
    for key, (low, high) in variation.uniform.items():
        for group, u in zip(changes, strata(True).tolist(), strict=True):
            group[key] = low + (high - low) * u
    return [changed(scenario, each) for each in changes]


def _interleaved(parts: Sequence[Episodes], paths: int) -> Episodes:
    """The parts' paths in turn: path j is of part j mod P. What no part has stays null."""
    first = parts[0]

    def join(values: Sequence[Any], axis: int) -> Any:
        rows = max(map(len, values))
        if axis and all(v.shape[1] == 1 and torch.equal(v, values[0]) for v in values):
            return values[0]  # all paths share it
        width = first.paths
        whole = [v.expand(rows, width, *v.shape[2:]) if axis else v.expand(width) for v in values]
        stacked = torch.stack(whole, axis + 1).flatten(axis, axis + 1)
        return stacked[:, :paths] if axis else stacked[:paths]

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        found = next((v for v in values if v is not None), None)
        if found is None or name in ("contract", "settles", "relisted", "closed"):
            return values[0]
        if name == "pays":
            return tuple(map(any, zip(*values, strict=True)))
        if name == "frictions":
            return mapped(lambda *each: join(each, 1), *values)
        if isinstance(found, tuple):
            columns = zip(*values, strict=True)
            return tuple(None if any(v is None for v in c) else join(c, 1) for c in columns)
        if isinstance(found, dict):
            shared = [key for key in found if all(key in value for value in values)]
            return {key: join([value[key] for value in values], 1) for key in shared}
        absent = torch.zeros_like(found)  # no growth, no carry, no jump
        prices = [part.price if name == "arrival" else absent for part in parts]
        values = [p if v is None else v for v, p in zip(values, prices, strict=True)]
        return join(values, 0 if name == "premium" else 1)

    return Episodes(**{field.name: joined(field.name) for field in fields(Episodes)})
