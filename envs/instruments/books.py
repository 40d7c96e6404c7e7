"""Books: the common combinations of calls and puts, as legs of a position."""

from __future__ import annotations

from itertools import pairwise

from .claim import Call, Put
from .position import Leg

Legs = tuple[Leg, ...]


def straddle(strike: float, quantity: float = 1.0, maturity: float | None = None) -> Legs:
    """A call and a put at one strike; a negative ``quantity`` is short.

    Evidence for all of them: tests/envs/test_claims.py.
    """
    return strangle(strike, strike, quantity, maturity)


def strangle(low: float, high: float, quantity: float = 1.0, maturity: float | None = None) -> Legs:
    """A put at ``low`` and a call at ``high``.

    Raises:
        ValueError: if ``low`` is above ``high``.
    """
    _rising(low, high, strictly=False)
    return (_put(low, quantity, maturity), _call(high, quantity, maturity))


def call_spread(
    low: float, high: float, quantity: float = 1.0, maturity: float | None = None
) -> Legs:
    """A call at ``low`` less one at ``high``: pays between 0 and ``high - low``.

    Raises:
        ValueError: if the strikes do not rise.
    """
    _rising(low, high)
    return (_call(low, quantity, maturity), _call(high, -quantity, maturity))


def put_spread(
    low: float, high: float, quantity: float = 1.0, maturity: float | None = None
) -> Legs:
    """A put at ``high`` less one at ``low``: pays between 0 and ``high - low``.

    Raises:
        ValueError: if the strikes do not rise.
    """
    _rising(low, high)
    return (_put(high, quantity, maturity), _put(low, -quantity, maturity))


def risk_reversal(
    low: float, high: float, quantity: float = 1.0, maturity: float | None = None
) -> Legs:
    """A call at ``high`` less a put at ``low``.

    Raises:
        ValueError: if the strikes do not rise.
    """
    _rising(low, high)
    return (_call(high, quantity, maturity), _put(low, -quantity, maturity))


def butterfly(
    low: float, middle: float, high: float, quantity: float = 1.0, maturity: float | None = None
) -> Legs:
    """Calls that pay ``middle - low`` at the middle strike and nothing beyond the outer ones.

    The wings need not be equally wide.

    Raises:
        ValueError: if the strikes do not rise.
    """
    _rising(low, middle, high)
    upper = quantity * (middle - low) / (high - middle)
    return (
        _call(low, quantity, maturity),
        _call(middle, -quantity - upper, maturity),
        _call(high, upper, maturity),
    )


def _call(strike: float, quantity: float, maturity: float | None) -> Leg:
    return Leg(quantity=quantity, claim=Call(strike=strike, maturity=maturity))


def _put(strike: float, quantity: float, maturity: float | None) -> Leg:
    return Leg(quantity=quantity, claim=Put(strike=strike, maturity=maturity))


def _rising(*strikes: float, strictly: bool = True) -> None:
    if any(b < a or (strictly and a == b) for a, b in pairwise(strikes)):
        shown = ", ".join(f"{strike:g}" for strike in strikes)
        raise ValueError(f"strikes {shown} do not rise: give the lowest first")
