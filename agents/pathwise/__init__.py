"""Deep hedging by gradients through the ledger: of whole episodes, or of one step."""

from .deep_bellman import DeepBellman
from .deep_hedging import DeepHedging
from .policy import PathwisePolicy

__all__ = ["DeepBellman", "DeepHedging", "PathwisePolicy"]
