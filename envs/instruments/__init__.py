"""Instruments: the claims of a position and what it is hedged with."""

from .american import AmericanPut
from .asian import Asian, AsianCall, AsianPut
from .barrier import BarrierCall, BarrierOption, BarrierPut
from .books import butterfly, call_spread, put_spread, risk_reversal, straddle, strangle
from .claim import Call, CashFlows, Claim, EuropeanOption, Path, Put
from .client_flow import ClientFlow
from .convertible_bond import ConvertibleBond
from .digital import Digital, DigitalCall, DigitalPut
from .forward_start import ForwardStart, ForwardStartCall, ForwardStartPut
from .instrument import (
    DeltaOne,
    Future,
    Instrument,
    ListedOption,
    OnTheRunOption,
    RolledOption,
    SpotStruckOption,
    Underlying,
)
from .lookback import FloatingLookbackCall, FloatingLookbackPut, Lookback, LookbackCall, LookbackPut
from .path_claim import PathClaim
from .position import Leg, Position
from .prepaid_forward import PrepaidForward
from .several_assets import Basket, BasketCall, BasketPut, Exchange
from .variance_swap import VarianceSwap

__all__ = [
    "AmericanPut",
    "Asian",
    "AsianCall",
    "AsianPut",
    "BarrierCall",
    "BarrierOption",
    "BarrierPut",
    "Basket",
    "BasketCall",
    "BasketPut",
    "Call",
    "CashFlows",
    "Claim",
    "ClientFlow",
    "ConvertibleBond",
    "DeltaOne",
    "Digital",
    "DigitalCall",
    "DigitalPut",
    "EuropeanOption",
    "Exchange",
    "FloatingLookbackCall",
    "FloatingLookbackPut",
    "ForwardStart",
    "ForwardStartCall",
    "ForwardStartPut",
    "Future",
    "Instrument",
    "Leg",
    "ListedOption",
    "Lookback",
    "LookbackCall",
    "LookbackPut",
    "OnTheRunOption",
    "Path",
    "PathClaim",
    "Position",
    "PrepaidForward",
    "Put",
    "RolledOption",
    "SpotStruckOption",
    "Underlying",
    "VarianceSwap",
    "butterfly",
    "call_spread",
    "put_spread",
    "risk_reversal",
    "straddle",
    "strangle",
]
