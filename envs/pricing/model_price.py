"""Model prices: what a claim is worth in the market's own model, under its pricing measure."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..instruments import Claim, ConvertibleBond, EuropeanOption
from ..instruments.digital import Digital
from ..markets import Deal, Defaultable, GeometricBrownianMotion, Market, Merton, Uniform
from ..markets.bates import Bates
from ..markets.heston import Heston
from ..markets.kou import Kou
from ..markets.sabr import Sabr
from .black_scholes import Greeks, black_scholes
from .characteristic import law_of
from .deal import deal_option
from .defaultable import convertible_bond, defaultable_option
from .fourier import Payoff, Profile, black
from .sabr import hagan
from .tabulation import tabulate
from .terms import Terms

_JUMPING = (Merton, Kou)
_VARYING = (Heston, Bates)


def model_price(claim: Claim, market: Market, terms: Terms) -> Greeks:
    """Price and Greeks ``[T+1, N]`` of a call, put or digital in the market's model.

    Black-Scholes for GBM, the COS method for Merton, Kou, Heston and Bates, Hagan's formula for
    SABR, calls, puts and convertible bonds where the issuer may default, calls and puts on a deal;
    risk-neutral parameters throughout. Vega is the derivative to the vol that the state
    holds: sigma (GBM, Merton, Kou), the root of the variance today (Heston, Bates), alpha
    F^(beta - 1) (SABR). Delta and gamma hold that state: under SABR alpha, so the smile moves
    with the spot. Evidence: tests/envs/test_model_price.py.

    Raises:
        TypeError: for a claim or a market without a model price.
    """
    if not has_model_price(claim, market):
        raise TypeError(no_model_price(claim, market))
    if isinstance(claim, ConvertibleBond):
        assert isinstance(market, Defaultable)
        at_sigma = replace(terms, quoted=(terms.log_spot.new_full((1, 1), market.sigma),))
        return convertible_bond(claim, at_sigma, market.priced_hazard, market.drop)
    if isinstance(market, Defaultable | Deal):
        assert isinstance(claim, EuropeanOption)
        if isinstance(market, Deal):
            return deal_option(claim, market, terms)
        return defaultable_option(claim, market, terms)
    assert isinstance(claim, EuropeanOption | Digital)
    if isinstance(market, GeometricBrownianMotion):
        return _black_scholes(claim, market, terms)
    payoff: Payoff = "put" if isinstance(claim, EuropeanOption) else "below"
    x = terms.log_spot + ((terms.rate - terms.dividend) * terms.tau - math.log(claim.strike))
    if isinstance(market, Sabr):
        profile, vol = _hagan(market, terms, x, payoff)
    else:
        vol = _sigma(market, terms) if isinstance(market, _JUMPING) else _root_variance(terms)
        vol = vol.to(x.dtype)
        profile = tabulate(law_of(market), x, terms.variance_tau, vol, payoff)
    return greeks(profile, claim, terms, vol)


def has_model_price(claim: Claim, market: Market) -> bool:
    """Whether `model_price` knows the pair."""
    if isinstance(market, Defaultable):
        return isinstance(claim, EuropeanOption | ConvertibleBond) and not market.power
    if isinstance(market, Deal):
        return isinstance(claim, EuropeanOption) and _to_the_closing(claim, market)
    priced = (GeometricBrownianMotion, Sabr, *_JUMPING, *_VARYING)
    return isinstance(claim, EuropeanOption | Digital) and isinstance(market, priced)


def _to_the_closing(claim: Claim, market: Deal) -> bool:
    """Whether an option is on the other asset, or on a cash deal and lives to its end."""
    lives = claim.maturity is None or claim.maturity >= market.closing * (1 - 1e-6)
    return bool(claim.asset) or (not market.ratio and lives)


def no_model_price(claim: Claim, market: Market) -> str:
    """What to say where `model_price` does not know the pair."""
    if isinstance(market, Defaultable) and market.power:
        return (
            f"{type(claim).__name__} has no formula at power {market.power:g}, where the hazard "
            "moves with the price: set market.power to 0, or marking to black-scholes"
        )
    if isinstance(market, Deal) and isinstance(claim, EuropeanOption):
        return (
            f"{type(claim).__name__} on a target has a price in cash deals (ratio 0), from their "
            f"closing on ({market.closing:g} years): list it so, or set marking to black-scholes"
        )
    return (
        f"{type(claim).__name__} has no price in the model of {type(market).__name__}: set marking "
        "to market-vol or black-scholes, or give calls, puts or digitals in gbm, merton, kou, "
        "heston, bates or sabr, calls or puts in deal, these and convertible bonds in defaultable"
    )


def greeks(profile: Profile, claim: EuropeanOption | Digital, terms: Terms, vol: Tensor) -> Greeks:
    """A claim's price and Greeks from the profile of its put."""
    tau, spot = terms.tau, terms.spot
    value, first, second, by_variance, by_tau = profile
    side = 1.0
    if isinstance(claim, EuropeanOption):
        unit = claim.strike
        if claim.sign > 0:
            forward = spot * (torch.exp((terms.rate - terms.dividend) * tau) / unit)
            value, first, second = value + forward - 1, first + forward, second + forward
    else:
        unit = claim.cash
        if claim.sign > 0:
            side = -1.0
            value = 1 - value
            first, second = -first, -second
    # The tabulation's error must not leave the bounds that any model keeps.
    value = value.clamp(min=0)
    scale = unit * torch.exp(-terms.rate * tau)
    pace = terms.variance_tau / tau.clamp(min=torch.finfo(tau.dtype).tiny)
    price, slope = scale * value, scale * first
    tiny = spot.clamp(min=1e-12)
    drift = terms.rate - terms.dividend
    return Greeks(
        price=price,
        delta=slope / tiny,
        gamma=scale * (second - first) / tiny / tiny,
        vega=scale * side * 2 * vol * by_variance,
        theta=terms.rate * price - drift * slope - scale * side * pace * by_tau,
    )


def _black_scholes(
    claim: EuropeanOption | Digital, market: GeometricBrownianMotion, terms: Terms
) -> Greeks:
    """At the true sigma, which need not be the quoted vol."""
    sigma = terms.own.implied_vol.to(terms.log_spot.dtype)
    if isinstance(claim, EuropeanOption):
        vol = terms.effective(sigma)
        return black_scholes(
            terms.log_spot,
            claim.strike,
            terms.tau,
            vol,
            sign=claim.sign,
            rate=terms.rate,
            dividend=terms.dividend,
            spot=terms.spot,
        )
    tau = terms.variance_tau
    x = terms.log_spot + ((terms.rate - terms.dividend) * terms.tau - math.log(claim.strike))
    root = tau.sqrt()
    profile = black(x, (sigma * root).expand_as(x), "below")
    by_variance = profile.by_variance * root / (2 * sigma.clamp(min=1e-12))
    by_tau = profile.by_variance * sigma / (2 * root.clamp(min=1e-12))
    return greeks(profile._replace(by_variance=by_variance, by_tau=by_tau), claim, terms, sigma)


def _sigma(market: Merton | Kou, terms: Terms) -> Tensor:
    """Of the diffusion, ``[1, 1 or N]``: what the quoted vol holds besides the jumps."""
    if not isinstance(market.sigma, Uniform):
        return terms.log_spot.new_full((1, 1), market.sigma)
    variance = terms.own.implied_vol.double() ** 2 - market.priced_jump_variance
    return variance.clamp(min=0).sqrt()


def _root_variance(terms: Terms) -> Tensor:
    return terms.own.latents["variance"].clamp(min=0).sqrt()


def _hagan(market: Sabr, terms: Terms, x: Tensor, payoff: Payoff) -> tuple[Profile, Tensor]:
    """The profile, and alpha F^(beta - 1).

    F is the spot before drift, as the market draws it; forward and strike are scaled alike. It is
    taken at 1e-8 of the spot at 0 at least, where the market absorbs it.
    """
    times, alpha = terms.paths.times, terms.own.latents["alpha"]
    drift = market.drift * (times - times[:1])
    log_f = (terms.log_spot - drift).clamp(min=math.log(1e-8 * market.spot))
    profile = hagan(
        x,
        log_f,
        alpha,
        terms.variance_tau,
        payoff,
        beta=market.beta,
        rho=market.rho,
        nu=market.nu,
    )
    return profile, (alpha * torch.exp((market.beta - 1) * log_f)).to(x.dtype)
