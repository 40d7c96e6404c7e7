"""The view: how a learner sees and steers a scenario."""

from __future__ import annotations

import difflib
from typing import Annotated

from pydantic import Field, field_validator

from .action import ActionMap, BandAction
from .observation import FEATURES
from .own_features import OWN_FEATURES
from .part import Part
from .rewards import Reward, TelescopedReward


class View(Part):
    """Features, action map and reward; a scenario suggests one, an agent may replace it.

    ``features`` null is the default set: time left, moneyness, delta, gamma, holding, what varies
    in the scenario (vol, step length, listed options) and, unless the objective is entropic, P&L so
    far.
    """

    features: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] | None = None
    action: ActionMap = BandAction()
    reward: Reward = TelescopedReward()

    @field_validator("features")
    @classmethod
    def _known(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = [*FEATURES, *OWN_FEATURES]
        for name in names or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
                raise ValueError(f"unknown feature {name!r}: did you mean {near[0]!r}?")
        if names is not None and len(set(names)) < len(names):
            raise ValueError(f"a feature stands twice in {list(names)}: name each once")
        return names
