"""Several scenarios from one: a grid over values of its parameters."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from ..envs import Scenario
from ..envs.presets import changed, parsed


def over(scenario: Scenario, grids: Sequence[str]) -> dict[str, Scenario]:
    """The scenarios of a grid by label, from texts such as ``market.sigma=0.15,0.2,0.3``.

    Several texts are crossed. Keys before one ``=`` move together, with one value for all:
    ``market.sigma,marking.vol=0.15,0.2``.

    Raises:
        ValueError: for a text that cannot be read; `ScenarioError` for an unknown key or an
            impossible value.
    """
    if not grids:
        return {scenario.name: scenario}
    axes = [_axis(text) for text in grids]
    keys = [axis[0][0] for axis in axes]
    short = [key.rpartition(".")[2] for key in keys]
    shown = keys if len(set(short)) < len(short) else short
    found = {}
    for values in itertools.product(*[axis[1] for axis in axes]):
        changes = {k: v for axis, v in zip(axes, values, strict=True) for k in axis[0]}
        label = ", ".join(f"{key}={value}" for key, value in zip(shown, values, strict=True))
        found[label] = changed(scenario, changes)
    return found


def _axis(text: str) -> tuple[list[str], list[Any]]:
    left, equals, right = text.partition("=")
    keys = left.split(",")
    values = parsed(f"[{right}]", left)
    if not (equals and all(keys) and isinstance(values, list) and values):
        raise ValueError(f"--over {text!r}: give KEY=V1,V2,... such as market.sigma=0.15,0.2,0.3")
    return keys, values
