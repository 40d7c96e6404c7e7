"""Deep hedging by the gradient of the risk through the ledger."""

from .deep_hedging import DeepHedging
from .policy import PathwisePolicy

__all__ = ["DeepHedging", "PathwisePolicy"]
