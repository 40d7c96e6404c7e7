"""What there is to choose from: scenarios, hedgers, agents, features and the kinds of parts."""

from __future__ import annotations

import re
from typing import get_args

from pydantic.fields import FieldInfo
from stable_baselines3.common.base_class import BaseAlgorithm

from ..agents import agent_names, agent_settings
from ..agents.factory import ALGORITHMS
from ..agents.risk_critics import RiskActorCritic
from ..baselines import Baseline, baseline_kinds
from ..envs import load_scenario, preset_names
from ..envs.observation import FEATURES
from ..envs.own_features import OWN_FEATURES
from ..envs.part import Kind
from .commands.reproduce import reproductions


def whole_catalogue() -> dict[str, dict[str, str]]:
    """Every list by its name: what there is, with a line on each."""
    kinds = {
        re.sub("(?<=.)([A-Z])", r"-\1", family.__name__).lower() + "s": {
            kind: _first_line(cls) for kind, cls in sorted(family.kinds.items())
        }
        for family in Kind.__subclasses__()
    }
    kinds.pop("rules")
    return {
        "scenarios": {name: load_scenario(name).description for name in preset_names()},
        "hedgers": {
            name: " ".join([_first_line(cls), *_options(cls)])
            for name, cls in baseline_kinds().items()
        },
        "agents": {name: _origin(name) for name in agent_names()},
        "reproductions": reproductions(),
        "features": {name: each.meaning for name, each in FEATURES.items()} | OWN_FEATURES,
        **kinds,
    }


def _first_line(thing: type) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0].replace("``", "")


def _options(baseline: type[Baseline]) -> list[str]:
    fields = baseline.model_fields.items()
    return [f"Option {key}={_choices(field)}." for key, field in fields if key != "kind"]


def _choices(field: FieldInfo) -> str:
    """The default; of a few words all of them, the default first; of none what stands for it."""
    words = [word for word in get_args(field.annotation) if isinstance(word, str)]
    if words:
        return "|".join(sorted(words, key=lambda word: word != field.default))
    return (field.description or "number") if field.default is None else str(field.default)


def _origin(agent: str) -> str:
    ours = __name__.partition(".")[0]
    theirs = next(c for c in ALGORITHMS[agent].__mro__ if not c.__module__.startswith(ours))
    library = theirs.__module__.partition(".")[0].replace("_", "-")
    origin = f"{theirs.__name__} of {library}"
    if theirs is BaseAlgorithm or issubclass(ALGORITHMS[agent], RiskActorCritic):  # our own
        origin = _first_line(ALGORITHMS[agent]).rstrip(".")
    return f"{origin}, {agent_settings(agent).steps:,} steps by default"
