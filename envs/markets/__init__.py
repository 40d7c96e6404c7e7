"""Markets: the stochastic models, or the data, that prices come from."""

from .bates import Bates
from .bootstrap import Bootstrap
from .correlated import Asset, Breakdown, CorrelatedGBM, CorrelatedMerton, JumpingAsset
from .deal import Deal
from .defaultable import Defaultable
from .fit import Fit
from .garch import Garch
from .gbm import GeometricBrownianMotion
from .heston import Heston
from .kou import Kou
from .market import Market, MarketPaths, Uniform, Walk
from .merton import Merton
from .regime_switching import Regime, RegimeSwitching
from .replay import Replay
from .rough_bergomi import RoughBergomi
from .sabr import Sabr
from .stochastic_implied_vol import StochasticImpliedVol

__all__ = [
    "Asset",
    "Bates",
    "Bootstrap",
    "Breakdown",
    "CorrelatedGBM",
    "CorrelatedMerton",
    "Deal",
    "Defaultable",
    "Fit",
    "Garch",
    "GeometricBrownianMotion",
    "Heston",
    "JumpingAsset",
    "Kou",
    "Market",
    "MarketPaths",
    "Merton",
    "Regime",
    "RegimeSwitching",
    "Replay",
    "RoughBergomi",
    "Sabr",
    "StochasticImpliedVol",
    "Uniform",
    "Walk",
]
