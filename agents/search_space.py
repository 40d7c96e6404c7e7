"""What a sweep may change in an algorithm's settings: read from ``sweep.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, model_validator

from ..envs.part import Part
from ..envs.presets import read_yaml
from .settings import AgentSettings, agent_settings

OPTIONS = "options."  # before the name of an SB3 class's own argument


class Range(Part):
    """Any number from ``low`` to ``high``; with ``log`` on a logarithmic scale."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Range:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}; a log's above 0")
        return self


class Choices(Part):
    """One of a few values."""

    choices: Annotated[list[Any], Field(min_length=2)]


Space = dict[str, Range | Choices]


@lru_cache(maxsize=1)
def _spaces() -> dict[str, Space]:
    text = (resources.files(__package__) / "sweep.yaml").read_text(encoding="utf-8")
    return TypeAdapter(dict[str, Space]).validate_python(read_yaml(text, "sweep.yaml"))


def searched() -> list[str]:
    """The algorithms that a sweep knows."""
    return list(_spaces())


def search_space(algorithm: str) -> Space:
    """The settings that a sweep searches, by their key.

    Raises:
        ValueError: for an algorithm without such.
    """
    if algorithm not in _spaces():
        raise ValueError(
            f"agent {algorithm} has no search space: choose one of {', '.join(searched())}"
        )
    return _spaces()[algorithm]


def values_of(settings: AgentSettings, space: Space) -> dict[str, Any]:
    """The settings' own values of what is searched; an option that is not set has none."""
    tree = settings.model_dump(mode="json")
    flat = tree | {OPTIONS + name: value for name, value in settings.options.items()}
    return {key: flat[key] for key in space if key in flat}


def with_values(settings: AgentSettings, values: Mapping[str, Any]) -> AgentSettings:
    """The settings with other values of what is searched.

    Raises:
        ValueError: for an impossible value.
    """
    options = settings.options | {
        key.removeprefix(OPTIONS): value for key, value in values.items() if key.startswith(OPTIONS)
    }
    own = {key: value for key, value in values.items() if not key.startswith(OPTIONS)}
    tree = settings.model_dump(mode="json") | own | {"options": options}
    return agent_settings(tree.pop("algorithm"), **tree)
