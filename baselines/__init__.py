"""Baselines: the hedges that every learned policy is compared with."""

from .baseline import Baseline, baseline_kinds, parse_baseline
from .delta import BandHedge, DeltaHedge
from .passive import NoHedge, StaticHedge

__all__ = [
    "BandHedge",
    "Baseline",
    "DeltaHedge",
    "NoHedge",
    "StaticHedge",
    "baseline_kinds",
    "parse_baseline",
]
