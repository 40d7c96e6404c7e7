"""Pricing: values and Greeks of claims on market paths."""

from .black_scholes import Greeks, black_scholes
from .marking import ConstantVolMarking, MarketVolMarking, Marking, ModelMarking

__all__ = [
    "ConstantVolMarking",
    "Greeks",
    "MarketVolMarking",
    "Marking",
    "ModelMarking",
    "black_scholes",
]
