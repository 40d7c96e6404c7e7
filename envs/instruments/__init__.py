"""Instruments: the claims of a position and what it is hedged with."""

from .claim import Call, Claim, EuropeanOption, Path, Put
from .instrument import Instrument, ListedOption, Underlying
from .position import Leg, Position

__all__ = [
    "Call",
    "Claim",
    "EuropeanOption",
    "Instrument",
    "Leg",
    "ListedOption",
    "Path",
    "Position",
    "Put",
    "Underlying",
]
