"""Frictions: what trading and holding cost in reality beside the terms of a cost, each alone."""

from .crowd import Crowd
from .execution import AfterMove, Execution, Halt, ScheduledHalt
from .financing import Counterparty, Financing, Margin
from .impact import Impact
from .spread import WideningSpread

__all__ = [
    "AfterMove",
    "Counterparty",
    "Crowd",
    "Execution",
    "Financing",
    "Halt",
    "Impact",
    "Margin",
    "ScheduledHalt",
    "WideningSpread",
]
