"""What a baseline is, and how one is named at the command line."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from typing import Any

import numpy as np
from pydantic import ValidationError

from ..envs.hedger import Known
from ..envs.namespace import X
from ..envs.part import Kind


class Baseline(Kind):
    """A rule without learning: a `Hedger` whose parameters are checked like any part's."""

    @property
    def name(self) -> str:
        """As the command line spells it: ``delta``, ``band:width=0.05``."""
        options = self.model_dump(exclude={"kind"}, exclude_defaults=True)
        text = ",".join(f"{key}={value:g}" for key, value in options.items())
        kind: str = getattr(self, "kind")  # noqa: B009 - declared by the kinds
        return f"{kind}:{text}" if text else kind

    def start(self, n: int) -> Any:
        """No memory."""
        return None

    @abstractmethod
    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """Target holdings ``[N, K]`` over (t, t+1], and the next state."""


def underlying_only(known: Known, holding: X) -> X:
    """Holdings ``[N, K]`` of no listed option and ``holding [N]`` of the underlying."""
    holdings = np.zeros((len(holding), known.contract.instruments))
    holdings[:, -1] = holding
    return holdings


def baseline_kinds() -> dict[str, type[Baseline]]:
    """Every baseline by its name."""
    return {name: kind for name, kind in Baseline.kinds.items() if issubclass(kind, Baseline)}


def parse_baseline(text: str) -> Baseline:
    """A baseline from ``kind`` or ``kind:option=value,...``.

    Raises:
        ValueError: for an unknown kind or option, or an impossible value, in one line.
    """
    kind, _, rest = text.partition(":")
    kinds = baseline_kinds()
    if kind not in kinds:
        near = difflib.get_close_matches(kind, kinds, n=1, cutoff=0.3)
        mend = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(kinds)}"
        raise ValueError(f"unknown hedger {kind!r}: {mend}")
    options: dict[str, Any] = {}
    for part in rest.split(",") if rest else []:
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"hedger {text!r}: {part!r} is not option=value")
        options[key] = _number(text, key, value)
    try:
        return kinds[kind].model_validate(options)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        known = ", ".join(name for name in kinds[kind].model_fields if name != "kind") or "none"
        raise ValueError(
            f"hedger {text!r}: {key}: {fault['msg'].lower()} (its options: {known})"
        ) from None


def _number(text: str, key: str, value: str) -> int | float:
    for read in (int, float):
        try:
            return read(value)
        except ValueError:
            continue
    raise ValueError(f"hedger {text!r}: {key}={value!r} is not a number")
