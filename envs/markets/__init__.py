"""Markets: the stochastic models that prices come from."""

from .gbm import GeometricBrownianMotion
from .market import Market, MarketPaths, Uniform, Walk
from .merton import Merton

__all__ = ["GeometricBrownianMotion", "Market", "MarketPaths", "Merton", "Uniform", "Walk"]
