"""A paper's table as data: its settings as scenarios, its numbers, and what is run beside them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ...agents import AgentSettings, agent_settings
from ...envs import Scenario
from ...envs.part import Part
from ...envs.presets import parse_scenario, read_yaml
from .measures import MEASURES

Method = Literal["rule", "model-free", "pathwise"]
Tree = dict[str, Any]


class Published(Part):
    """A row of the paper.

    Attributes:
        method: how its hedge was found: a rule, a model-free learner, a pathwise gradient.
        figures: by measure, in the paper's unit.
        error: the standard error of the judged figure, as far as it is known.
    """

    method: Method
    figures: dict[str, float]
    error: Annotated[float, Field(ge=0)] = 0.0


class Learner(Part):
    """An agent that is trained in every cell.

    Attributes:
        name: the row's.
        agent: the algorithm.
        episodes: paths played in a training.
        settings: changes of the algorithm's defaults.
        train: what is different in the scenario it is trained on, such as its view; its policy is
            judged on the cell's own.
    """

    name: str
    agent: str
    episodes: Annotated[int, Field(ge=1)]
    settings: Tree = Field(default_factory=dict)
    train: Tree = Field(default_factory=dict)

    def settings_of(self, scenario: Scenario, steps: int | None = None) -> AgentSettings:
        """How it is trained on a scenario, for ``steps`` environment steps if given."""
        dates = len(scenario.calendar.decisions)
        return agent_settings(
            self.agent, **self.settings, steps=self.episodes * dates if steps is None else steps
        )


class Cell(Part):
    """One setting of the paper.

    Attributes:
        name: how it is asked for.
        set: what is different from the paper's common scenario.
        published: the paper's rows.
        must: the most that a row's figure may be, by row and measure.
    """

    name: str
    set: Tree = Field(default_factory=dict)
    published: dict[str, Published] = Field(default_factory=dict)
    must: dict[str, dict[str, float]] = Field(default_factory=dict)


class Paper(Part):
    """A paper's table.

    Attributes:
        name: how it is asked for.
        title: authors, title, year.
        source: where its numbers were read.
        conventions: what was the paper's choice, and where ours differs.
        unit: of the figures: ``premium``, percent of the position's price at 0, or ``money``.
        measures: the columns.
        judged: the one that rows are compared by; lower is better.
        tolerance: of a reproduced figure, in the unit.
        scenario: what all cells share, as a scenario's tree.
        hedgers: the rules run in every cell.
        learners: the agents trained in every cell.
        cells: the settings.
    """

    name: str
    title: str
    source: str
    conventions: Annotated[tuple[str, ...], Field(strict=False)] = ()
    unit: Literal["premium", "money"]
    measures: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    judged: str
    tolerance: Annotated[float, Field(gt=0)]
    scenario: Tree
    hedgers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    learners: Annotated[tuple[Learner, ...], Field(strict=False)] = ()
    cells: Annotated[tuple[Cell, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _known(self) -> Paper:
        unknown = {self.judged, *self.measures} - set(MEASURES)
        if unknown:
            raise ValueError(f"unknown measures {sorted(unknown)}: choose of {', '.join(MEASURES)}")
        return self

    def cell(self, name: str) -> Cell:
        """A cell by its name.

        Raises:
            ValueError: for an unknown one, naming the nearest.
        """
        by_name = {cell.name: cell for cell in self.cells}
        if name not in by_name:
            raise ValueError(f"{self.name}: unknown cell {name!r}{_nearest(name, list(by_name))}")
        return by_name[name]

    def scenario_of(self, cell: Cell, changes: Mapping[str, Any] | None = None) -> Scenario:
        """A cell's scenario, with a learner's ``changes``."""
        tree = merged(merged(self.scenario, cell.set), changes or {})
        return parse_scenario({"name": f"{self.name} {cell.name}", **tree}, self.name)


def merged(old: Any, new: Any) -> Any:
    """``old`` with the changes ``new``: mappings are merged, all else replaced.

    A mapping of another ``kind`` is replaced too; numbers for keys are places in a list.
    """
    if not isinstance(new, Mapping) or new.get("kind", _kind(old)) != _kind(old):
        return new
    if isinstance(old, list) and new:
        return [merged(item, new[i]) if i in new else item for i, item in enumerate(old)]
    if not isinstance(old, Mapping):
        return dict(new)
    changed = {key: merged(old[key], value) if key in old else value for key, value in new.items()}
    return {**old, **changed}


def _kind(tree: Any) -> Any:
    return tree.get("kind") if isinstance(tree, Mapping) else None


def paper_names() -> list[str]:
    """The reproductions, sorted."""
    folder = resources.files(__package__)
    return sorted(
        f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")
    )


def read_paper(name: str) -> Paper:
    """A reproduction by its name.

    Raises:
        ValueError: for an unknown one, naming the nearest.
    """
    if name not in paper_names():
        raise ValueError(f"unknown reproduction {name!r}{_nearest(name, paper_names())}")
    text = (resources.files(__package__) / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return Paper.model_validate({"name": name, **read_yaml(text, name)})
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{name}: {key}: {fault['msg']}") from None


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
    return f": did you mean {near[0]!r}?" if near else f": choose one of {', '.join(known)}"
