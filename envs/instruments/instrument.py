"""Hedge instruments: what may be traded."""

from __future__ import annotations

from typing import Literal

from ..part import Kind
from .claim import Claim


class Instrument(Kind):
    """Something a hedger may hold."""


class Underlying(Instrument):
    """The underlying itself; pays the market's dividend yield."""

    kind: Literal["underlying"] = "underlying"


class ListedOption(Instrument):
    """A listed option; settles at its maturity, or is still alive when the episode ends."""

    kind: Literal["listed-option"] = "listed-option"
    option: Claim
