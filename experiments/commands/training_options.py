"""How an agent is trained, from the command line: its base, its model and its training paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ...baselines import parse_baseline
from ...envs import Variation
from ...envs.presets import parsed

Vary = Annotated[
    list[str] | None,
    typer.Option(
        "--vary",
        metavar="KEY=LOW..HIGH",
        help="Draw training paths over a range: aversion=0.01..1, cost=0.25..4 (a multiplier; the "
        "policy sees both), or a key such as market.sigma=0.15..0.25. May be repeated.",
    ),
]
WorstOf = Annotated[
    list[str] | None,
    typer.Option(
        "--worst-of",
        metavar="KEY=VALUE[,KEY=VALUE]",
        help="Train for the worst of a set: a variant, such as market.sigma=0.3. Repeat for each.",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Build the action on a baseline, such as whalley-wilmott or delta-vega.",
    ),
]
Imitate = Annotated[
    str | None, typer.Option(metavar="NAME", help="Copy a baseline first, such as band:width=0.2.")
]


def setting_changes(
    steps: int | None = None,
    vary: Sequence[str] | None = None,
    worst_of: Sequence[str] | None = None,
    base: str | None = None,
    imitate: str | None = None,
) -> dict[str, Any]:
    """What the options change in an agent's settings.

    Raises:
        ValueError: as in `variation_of`, and for an unknown baseline.
    """
    changes: dict[str, Any] = {} if steps is None else {"steps": steps}
    rules = {"base": base, "imitate": imitate}
    changes |= {key: parse_baseline(name) for key, name in rules.items() if name is not None}
    return changes | ({"vary": variation_of(vary, worst_of)} if vary or worst_of else {})


def variation_of(vary: Sequence[str] | None, worst_of: Sequence[str] | None) -> Variation:
    """The variation that the options describe.

    Raises:
        ValueError: for an option that cannot be read or drawn, in one line that quotes it.
    """
    found: dict[str, Any] = {"uniform": {}, "worst_of": [_variant(item) for item in worst_of or []]}
    for item in vary or []:
        key, ends = _range(item)
        place = found if key in ("aversion", "cost") else found["uniform"]
        if key in place:
            raise ValueError(f"--vary {item!r}: {key} stands twice; give one range")
        place[key] = ends
    try:
        return Variation.model_validate(found)
    except ValidationError as error:
        fault = error.errors()[0]
        place = [str(part) for part in fault["loc"] if part != "uniform"]
        reason = fault["msg"].removeprefix("Value error, ")
        raise ValueError(": ".join([*place, reason])) from None


def _range(item: str) -> tuple[str, tuple[float, float]]:
    key, _, ends = item.partition("=")
    low, _, high = ends.partition("..")
    try:
        return key, (float(low), float(high))
    except ValueError:
        raise ValueError(f"--vary {item!r}: give KEY=LOW..HIGH, such as cost=0.5..2") from None


def _variant(item: str) -> dict[str, Any]:
    changes = {}
    for part in item.split(","):
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise ValueError(
                f"--worst-of {item!r}: give KEY=VALUE[,KEY=VALUE], such as market.sigma=0.3"
            )
        changes[key] = parsed(value, key)
    return changes
