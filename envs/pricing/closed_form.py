"""One door to all closed forms: a claim's price and Greeks from its terms."""

from __future__ import annotations

from functools import singledispatch

from ..instruments.asian import Asian
from ..instruments.barrier import BarrierOption
from ..instruments.claim import Claim, EuropeanOption
from ..instruments.convertible_bond import ConvertibleBond
from ..instruments.digital import Digital
from ..instruments.forward_start import ForwardStart
from ..instruments.lookback import Lookback
from ..instruments.prepaid_forward import PrepaidForward
from ..instruments.several_assets import Basket, Exchange
from ..instruments.variance_swap import VarianceSwap
from .asian import asian
from .barrier import barrier
from .black_scholes import Greeks, black_scholes
from .defaultable import convertible_bond
from .digital import digital
from .fixings import until_maturity
from .forward_start import forward_start
from .lookback import lookback
from .prepaid_forward import prepaid_forward
from .several_assets import basket, exchange
from .terms import Terms
from .variance_swap import variance_swap


@singledispatch
def closed_form(claim: Claim, terms: Terms) -> Greeks:
    """The claim's price and Greeks ``[T+1, N]`` in the Black-Scholes world, at every date.

    What the path has done so far counts. Claims on the path are 0 after their maturity. A pricer
    for another kind joins with ``closed_form.register(kind)(pricer)``. Evidence:
    tests/envs/test_claim_laws.py.

    Raises:
        TypeError: for a claim without a closed form.
    """
    raise TypeError(
        f"{type(claim).__name__} has no closed form: mark it by Monte Carlo, or register a pricer "
        "with closed_form.register"
    )


def has_closed_form(claim: Claim) -> bool:
    """Whether `closed_form` knows the claim's kind."""
    return closed_form.dispatch(type(claim)) is not closed_form.dispatch(object)


@closed_form.register
def vanilla(claim: EuropeanOption, terms: Terms) -> Greeks:
    """Black-Scholes at the quoted vol."""
    return black_scholes(
        terms.log_spot,
        claim.strike,
        terms.tau,
        terms.vol,
        sign=claim.sign,
        rate=terms.rate,
        dividend=terms.dividend,
        spot=terms.spot,
    )


closed_form.register(Digital)(digital)
closed_form.register(PrepaidForward)(prepaid_forward)
closed_form.register(ConvertibleBond)(convertible_bond)
closed_form.register(Exchange)(exchange)
closed_form.register(Basket)(basket)
closed_form.register(Asian)(until_maturity(asian))
closed_form.register(BarrierOption)(until_maturity(barrier))
closed_form.register(ForwardStart)(until_maturity(forward_start))
closed_form.register(Lookback)(until_maturity(lookback))
closed_form.register(VarianceSwap)(until_maturity(variance_swap))
