"""Calibration: the parameters of a model that give an option surface."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from torch import Tensor

from ..markets.bates import Bates
from ..markets.heston import Heston
from ..markets.sabr import Sabr
from .characteristic import law_of
from .fourier import black, cosine
from .implied_vol import Reason, implied_vol
from .sabr import hagan_vol

Array = NDArray[np.float64]
Model = Heston | Bates | Sabr

_BOUNDS = {
    "kappa": (1e-3, 50.0),
    "theta": (1e-6, 4.0),
    "vol_of_vol": (1e-3, 10.0),
    "rho": (-0.999, 0.999),
    "variance": (1e-6, 4.0),
    "intensity": (1e-6, 50.0),
    "jump_mean": (-2.0, 2.0),
    "jump_std": (1e-4, 1.5),
    "alpha": (1e-8, np.inf),
    "nu": (1e-4, 10.0),
}
_DIFFUSION = ("kappa", "theta", "vol_of_vol", "rho", "variance")
_PARAMETERS: dict[type[Model], tuple[str, ...]] = {
    Heston: _DIFFUSION,
    Bates: (*_DIFFUSION, "intensity", "jump_mean", "jump_std"),
    Sabr: ("alpha", "rho", "nu"),
}


@dataclass(frozen=True)
class Surface:
    """Quoted vols, each ``[Q]``, one entry an option.

    Attributes:
        strikes: money.
        maturities: years.
        vols: lognormal implied vols per sqrt(year).
        forwards: for the option's maturity, money; a number stands for all.
        spot: money.
        weights: of the squared errors in vol.

    Raises:
        ValueError: naming the field, if a number is missing, not positive or one too few.
    """

    strikes: ArrayLike
    maturities: ArrayLike
    vols: ArrayLike
    forwards: ArrayLike
    spot: float
    weights: ArrayLike = field(default=1.0)

    def __post_init__(self) -> None:
        count = np.size(self.vols)
        for item in fields(self):
            values = np.asarray(getattr(self, item.name), dtype=float)
            if values.ndim > 1 or values.size not in (1, count):
                raise ValueError(f"{item.name} has shape {values.shape}: give {count} numbers")
            if not (np.isfinite(values) & (values > 0)).all():
                bad = float(values[~(np.isfinite(values) & (values > 0))].flat[0])
                raise ValueError(f"{item.name} holds {bad}: every entry must be finite, above 0")
            if item.name != "spot":
                object.__setattr__(self, item.name, np.broadcast_to(values, (count,)).copy())

    def puts(self, market: Model) -> Array:
        """Undiscounted puts in units of their strikes ``[Q]`` in a model, under its own measure."""
        result: Array = _Quotes(self).model(market).numpy()
        return result

    @classmethod
    def from_prices(
        cls,
        prices: ArrayLike,
        strikes: ArrayLike,
        maturities: ArrayLike,
        forwards: ArrayLike,
        *,
        signs: ArrayLike,
        spot: float,
        discounts: ArrayLike = 1.0,
        weights: ArrayLike = 1.0,
    ) -> Surface:
        """The surface of option prices; ``signs`` are +1 for a call, -1 for a put.

        Raises:
            ValueError: if a price has no implied vol, saying which and why.
        """
        price, strike, tau, forward, sign, discount = (
            torch.as_tensor(np.array(y, dtype=float))
            for y in (prices, strikes, maturities, forwards, signs, discounts)
        )
        found = implied_vol(price, forward, strike, tau, sign=sign, discount=discount)
        if bool((found.reason != 0).any()):
            first = int(found.reason.nonzero()[0])
            reason = Reason(int(found.reason[first])).name.lower()
            raise ValueError(
                f"prices[{first}] = {float(price.expand_as(found.vol)[first])} has no implied vol "
                f"({reason}): drop or mend the quote"
            )
        return cls(strikes, maturities, found.vol.numpy(), forwards, spot, weights)


@dataclass(frozen=True)
class Calibration:
    """What a calibration found.

    Attributes:
        market: the model, its premiums 0: parameters under the pricing measure.
        residuals: model less quoted vol, ``[Q]``.
        rmse: their root mean square.
        errors: the standard error of each parameter, were the residuals independent with one
            variance; infinite where the surface does not determine it.
        at_bounds: the parameters that ended at a bound of the search.
        evaluations: surfaces priced, those of the Jacobian not counted.
    """

    market: Model
    residuals: Array
    rmse: float
    errors: dict[str, float]
    at_bounds: tuple[str, ...]
    evaluations: int


def calibrate(kind: type[Model], surface: Surface, start: Model | None = None) -> Calibration:
    """Least squares in vega-weighted prices, which to first order are vols.

    Every parameter of Heston or Bates is sought; of SABR alpha, rho and nu. What is not
    sought (beta, rate, ...) comes from ``start``, its premiums taken off. The method is scipy's
    trust region within bounds, its Jacobian by central differences. Evidence:
    tests/envs/test_calibration.py (parameters recovered from their own surfaces).

    Args:
        kind: `Heston`, `Bates` or `Sabr`.
        surface: what is to be met.
        start: where the search begins; null: the model's defaults at the surface's mean vol.

    Raises:
        ValueError: if there are fewer quotes than parameters, ``start`` is of another kind, or the
            search does not end.
    """
    names = _PARAMETERS[kind]
    count = np.size(surface.vols)
    if count < len(names):
        raise ValueError(f"{count} quotes cannot give {len(names)} parameters: add quotes")
    if start is not None and type(start) is not kind:
        raise ValueError(f"start is {type(start).__name__}: give {kind.__name__}")
    fair = (start or _start(kind, surface)).risk_neutral()
    quotes = _Quotes(surface)
    low, high = np.array([_BOUNDS[name] for name in names]).T

    def market(x: Array) -> Model:
        return cast(Model, fair.model_copy(update=dict(zip(names, x.tolist(), strict=True))))

    def errors(x: Array) -> Array:
        return quotes.errors(market(x))

    first = np.array([getattr(fair, name) for name in names])
    found = optimize.least_squares(
        errors,
        np.clip(first, low + 1e-9, high - 1e-9),
        jac="3-point",
        bounds=(low, high),
        x_scale="jac",
        ftol=1e-14,
        xtol=1e-12,
        gtol=1e-14,
        max_nfev=400,
    )
    if found.status == 0:
        raise ValueError(
            f"no {kind.__name__} found in {found.nfev} rounds (rmse {_rms(found.fun):.2g} of vol): "
            "give a start nearer to the surface"
        )
    residuals = quotes.residuals(market(found.x))
    close = 1e-6 * np.minimum(1, high - low)
    return Calibration(
        market=market(found.x),
        residuals=residuals,
        rmse=_rms(residuals),
        errors=dict(zip(names, _standard_errors(found, count).tolist(), strict=True)),
        at_bounds=tuple(
            name
            for name, x, a, b, c in zip(names, found.x, low, high, close, strict=True)
            if x - a < c or b - x < c
        ),
        evaluations=int(found.nfev),
    )


def _start(kind: type[Model], surface: Surface) -> Model:
    """The defaults, at the level of the surface."""
    vol, spot = float(np.mean(np.asarray(surface.vols))), surface.spot
    if kind is Sabr:
        return Sabr(spot=spot, alpha=vol)
    return kind(spot=spot, variance=vol**2, theta=vol**2)  # type: ignore[call-arg]


def _standard_errors(found: Any, count: int) -> Array:
    """Roots of the diagonal of s^2 (J^T J)^-1."""
    freedom = count - len(found.x)
    if not freedom:
        return np.full(len(found.x), np.inf)
    _, sizes, directions = np.linalg.svd(found.jac, full_matrices=False)
    with np.errstate(divide="ignore"):
        spread = np.where(sizes > 1e-12 * sizes[0], 1 / sizes, np.inf)
    scaled = directions.T * spread
    scaled = np.where(np.isfinite(scaled), scaled, np.where(directions.T == 0, 0, np.inf))
    result: Array = np.sqrt(2 * found.cost / freedom * (scaled**2).sum(axis=1))
    return result


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


class _Quotes:
    """A surface as tensors, one group of options a maturity."""

    def __init__(self, surface: Surface) -> None:
        self.spot = surface.spot
        self.strike, self.tau, self.vol, self.forward, self.weight = (
            torch.as_tensor(np.array(y, dtype=float))
            for y in (
                surface.strikes,
                surface.maturities,
                surface.vols,
                surface.forwards,
                surface.weights,
            )
        )
        self.x = (self.forward / self.strike).log()
        root = self.tau.sqrt()
        quoted = black(self.x, self.vol * root, "put")
        self.put = quoted.value
        # Far from the money vega vanishes and a price says nothing about the vol.
        self.vega = (quoted.by_variance * root).clamp(min=1e-6)

    def errors(self, market: Model) -> Array:
        """In vol, weighted, ``[Q]``."""
        error = (self.model(market) - self.put) / self.vega * self.weight.sqrt()
        result: Array = error.numpy()
        return result

    def residuals(self, market: Model) -> Array:
        """Model less quoted vol."""
        price, root = self.model(market), torch.ones_like(self.x)
        forward = self.x.exp()
        found = implied_vol(price, forward, root, self.tau, sign=-1).vol
        # In the wings a model's time value may be less than its rounding: vols by vega there.
        linear = self.vol + (price - self.put) / self.vega
        result: Array = (torch.where(found.isnan(), linear, found) - self.vol).numpy()
        return result

    def model(self, market: Model) -> Tensor:
        """Puts in units of their strikes."""
        if isinstance(market, Sabr):
            at = torch.full_like(self.x, self.spot).log()
            vol = hagan_vol(
                at,
                at - self.x,
                torch.full_like(self.x, market.alpha),
                self.tau,
                beta=market.beta,
                rho=market.rho,
                nu=market.nu,
            )
            return black(self.x, vol * self.tau.sqrt(), "put").value
        law = law_of(market)
        vol = torch.tensor([market.variance], dtype=torch.float64).sqrt()
        prices = torch.empty_like(self.x)
        for tau in sorted(set(self.tau.tolist())):
            here = self.tau == tau
            prices[here] = cosine(law, self.x[None, here], tau, vol, "put").value[0]
        return prices
