"""Baselines: the hedges that every learned policy is compared with."""

from .baseline import Baseline, baseline_kinds, parse_baseline
from .default_hedges import JumpToDefaultHedge, OverHedge
from .delta import BandHedge, DeltaHedge
from .hoggard_whalley_wilmott import HoggardWhalleyWilmottHedge
from .hull_white import HullWhiteHedge
from .leland import LelandHedge
from .local_risk import LocalRiskHedge
from .merger import ExchangeRatioHedge, KellySize, ProtectivePut
from .minimum_variance import MinimumVarianceHedge
from .optimal import OptimalHedge
from .optimum import NoKnownOptimumError, Optimum, bid_ask, known_optimum, solve
from .option_hedges import DeltaGammaHedge, DeltaGammaVegaHedge, DeltaVegaHedge
from .passive import NoHedge, StaticHedge
from .portfolio_insurance import CppiHedge, ObpiHedge, StopLossHedge
from .put_overlay import PutOverlayHedge
from .static_options import StaticOptionsHedge
from .super_replication import Bound, SuperReplicationHedge, super_replication
from .tuning import TunedHedge, tuned, tuning_paths
from .variance_optimal import VarianceOptimalHedge
from .vol_forecast import VolForecastHedge
from .whalley_wilmott import WhalleyWilmottHedge
from .zakamouline import ZakamoulineHedge

__all__ = [
    "BandHedge",
    "Baseline",
    "Bound",
    "CppiHedge",
    "DeltaGammaHedge",
    "DeltaGammaVegaHedge",
    "DeltaHedge",
    "DeltaVegaHedge",
    "ExchangeRatioHedge",
    "HoggardWhalleyWilmottHedge",
    "HullWhiteHedge",
    "JumpToDefaultHedge",
    "KellySize",
    "LelandHedge",
    "LocalRiskHedge",
    "MinimumVarianceHedge",
    "NoHedge",
    "NoKnownOptimumError",
    "ObpiHedge",
    "OptimalHedge",
    "Optimum",
    "OverHedge",
    "ProtectivePut",
    "PutOverlayHedge",
    "StaticHedge",
    "StaticOptionsHedge",
    "StopLossHedge",
    "SuperReplicationHedge",
    "TunedHedge",
    "VarianceOptimalHedge",
    "VolForecastHedge",
    "WhalleyWilmottHedge",
    "ZakamoulineHedge",
    "baseline_kinds",
    "bid_ask",
    "known_optimum",
    "parse_baseline",
    "solve",
    "super_replication",
    "tuned",
    "tuning_paths",
]
