"""Doing nothing, and doing one thing once."""

from __future__ import annotations

from typing import Any, Literal

from ..envs.hedger import Known
from ..envs.namespace import X
from .baseline import Baseline, delta_one_only


class NoHedge(Baseline):
    """Holds nothing."""

    kind: Literal["none"] = "none"

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h = 0``."""
        return 0.0 * known.holding, None


class StaticHedge(Baseline):
    """Buys the delta of the start and holds it to the end."""

    kind: Literal["static"] = "static"

    def holdings(self, known: Known, state: Any) -> tuple[X, Any]:
        """``h_t = -Delta_0``; a future that expires is replaced."""
        target = delta_one_only(known, known.neutral) if known.t == 0 else state
        return target, target
