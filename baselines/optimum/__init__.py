"""The provable optimum: what no hedger can beat."""

from .optimum import NoKnownOptimumError, Optimum
from .solve import bid_ask, known_optimum, solve

__all__ = ["NoKnownOptimumError", "Optimum", "bid_ask", "known_optimum", "solve"]
