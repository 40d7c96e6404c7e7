"""Pricing: values and Greeks of claims on market paths."""

from .black_scholes import Greeks, HigherGreeks, black_scholes, higher_greeks
from .calibration import Calibration, Surface, calibrate
from .closed_form import closed_form
from .implied_vol import ImpliedVol, implied_vol
from .marking import ConstantVolMarking, MarketVolMarking, Marking, ModelMarking
from .model_price import model_price
from .monte_carlo import monte_carlo_price

__all__ = [
    "Calibration",
    "ConstantVolMarking",
    "Greeks",
    "HigherGreeks",
    "ImpliedVol",
    "MarketVolMarking",
    "Marking",
    "ModelMarking",
    "Surface",
    "black_scholes",
    "calibrate",
    "closed_form",
    "higher_greeks",
    "implied_vol",
    "model_price",
    "monte_carlo_price",
]
