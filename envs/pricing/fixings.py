"""The dates that a path-dependent claim still has ahead of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..instruments import Claim
from ..markets import MarketPaths
from .black_scholes import Greeks
from .terms import Terms

Pricer = Callable[[Any, Terms], Greeks]


def until_maturity(pricer: Pricer) -> Pricer:
    """The pricer on paths that are cut at the claim's maturity; its values are 0 after it.

    Evidence: tests/envs/test_claim_laws.py.
    """

    def priced(claim: Claim, terms: Terms) -> Greeks:
        rows = len(terms.paths.times)
        greeks = pricer(claim, ending_at_maturity(terms))
        if len(greeks.price) == rows:
            return greeks
        price, delta, gamma, vega, theta = (_padded(values, rows) for values in greeks[:5])
        others = tuple((j, _padded(other, rows)) for j, other in greeks.others)
        return Greeks(price, delta, gamma, vega, theta, others)

    return priced


def ending_at_maturity(terms: Terms) -> Terms:
    """The same on paths whose last date is the maturity.

    Raises:
        ValueError: if the maturity is not a date of the paths: the fixings up to it are unknown.
    """
    rows = terms.last + 1
    late = terms.maturity - terms.paths.times[rows - 1]
    if float(late.abs().max()) > 1e-6:
        raise ValueError(
            f"maturity {float(terms.maturity.max()):g} years is not among the dates of the paths, "
            f"which end at {float(terms.paths.times[-1].max()):g}: a claim on the path must mature "
            "within the episode"
        )
    if rows == len(terms.paths.times):
        return terms
    quoted = tuple(vol[:rows] for vol in terms.quoted)
    return replace(terms, paths=until(terms.paths, rows), quoted=quoted)


def pace(terms: Terms) -> Tensor:
    """Years per year of variance over the time left, ``[T+1, 1 or N]``.

    A span of the variance clock times this, times the squared effective vol, is its variance.
    """
    if terms.paths.clock is None:
        return torch.ones_like(terms.tau, dtype=torch.float64)
    variance_tau = terms.variance_tau.double()
    left = variance_tau > 0
    return torch.where(left, terms.tau.double() / variance_tau.where(left, 1.0), 0.0)


def dates_left(terms: Terms) -> Tensor:
    """How many dates follow each date, ``[T+1, 1]``."""
    times = terms.paths.times
    return torch.arange(len(times) - 1, -1, -1, dtype=torch.float64, device=times.device)[:, None]


def ahead(steps: Tensor) -> Tensor:
    """Sums over the steps that follow each date: ``[T, n]`` to ``[T+1, n]``."""
    sums = steps.flip(0).cumsum(dim=0).flip(0)
    return torch.cat([sums, torch.zeros_like(steps[:1])])


def until(paths: MarketPaths, rows: int) -> MarketPaths:
    """The first ``rows`` dates of the paths; what is quoted stays for the end they had."""
    return replace(
        paths,
        times=paths.times[:rows],
        clock=None if paths.clock is None else paths.clock[:rows],
        spot=paths.spot[:rows],
        log_spot=paths.log_spot[:rows],
        implied_vol=paths.implied_vol[:rows],
        skew=None if paths.skew is None else paths.skew[:rows],
        latents={name: values[:rows] for name, values in paths.latents.items()},
        others=tuple(until(other, rows) for other in paths.others),
    )


def _padded(values: Tensor, rows: int) -> Tensor:
    return torch.cat([values, values.new_zeros((rows - len(values), values.shape[1]))])
