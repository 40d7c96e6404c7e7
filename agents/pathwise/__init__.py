"""Deep hedging by the gradient of the risk through the ledger."""

from .deep_hedging import DeepHedging

__all__ = ["DeepHedging"]
