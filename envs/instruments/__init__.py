"""Instruments: the claims of a position and what it is hedged with."""

from .claim import Call, Claim, EuropeanOption, Path, Put
from .instrument import DeltaOne, Future, Instrument, ListedOption, RolledOption, Underlying
from .position import Leg, Position

__all__ = [
    "Call",
    "Claim",
    "DeltaOne",
    "EuropeanOption",
    "Future",
    "Instrument",
    "Leg",
    "ListedOption",
    "Path",
    "Position",
    "Put",
    "RolledOption",
    "Underlying",
]
