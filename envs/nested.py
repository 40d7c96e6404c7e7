"""Arrays in nested tuples and dictionaries, null where there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def mapped(change: Callable[..., Any], *values: Any) -> Any:
    """``change`` of the arrays that stand at one place of all ``values``, of one structure.

    Null where any of them is null.
    """
    first = values[0]
    if first is None or (len(values) > 1 and any(value is None for value in values)):
        return None
    if isinstance(first, tuple):
        entries = [mapped(change, *each) for each in zip(*values, strict=True)]
        return type(first)(*entries) if hasattr(first, "_fields") else tuple(entries)
    if isinstance(first, dict):
        return {key: mapped(change, *[value[key] for value in values]) for key in first}
    return change(*values)


def arrays(value: Any) -> list[Any]:
    """The arrays in a nested value, in order."""
    if value is None:
        return []
    if isinstance(value, tuple):
        return [array for entry in value for array in arrays(entry)]
    return [value]
