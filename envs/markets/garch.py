"""GARCH: variance that follows the last returns."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import Field, model_validator
from scipy import special, stats
from torch import Tensor

from .fit import Estimate, Fit, Floats, checked, maximise
from .market import Market, NonNegative, Positive, Walk, accumulate

FEWEST = 250  # log-returns of a fit
CLIP = 10.0  # standard deviations at which a Student innovation is clipped
KNOTS = 1024  # of the table of its log-moment


class Garch(Market):
    """GARCH(1,1), GJR, NGARCH: r = drift dt - log E[e^{sqrt(v) z}] + sqrt(v) z, v = h dt / period.

    ``garch``: h' = omega + alpha z^2 h + beta h; ``gjr``: alpha + gamma where z < 0 in alpha's
    place; ``ngarch``: h' = omega + alpha (z - gamma)^2 h + beta h. One recursion a market step; h
    is the variance of a ``period`` (years), and a step of another length dt has h dt / period: the
    variance per year is the same on every calendar, the memory counts steps. z is ``normal``, or
    ``student``: Student's t of ``degrees``, clipped at 10 standard deviations, as E[e^z] would be
    infinite, and scaled back to variance 1. The ``variance`` at the start is per year; null: the
    stationary mean. With a ``premium`` lambda the market earns lambda sqrt(v) a step beside its
    drift, and z is a normal of mean -lambda under the pricing measure. With ``mean`` log-return it
    is E[r] that is drift dt, calm or wild, and the price earns log E[e^{sqrt(v) z}] beside it.
    Source: Bollerslev, "Generalized Autoregressive Conditional Heteroskedasticity", 1986; Glosten,
    Jagannathan and Runkle, 1993; Engle and Ng, 1993; Duan, "The GARCH Option Pricing Model", 1995.
    Evidence: tests/envs/test_garch.py.
    """

    latents: ClassVar[tuple[str, ...]] = ("variance",)

    kind: Literal["garch"] = "garch"
    model: Literal["garch", "gjr", "ngarch"] = "gjr"
    omega: Positive = 2e-6
    alpha: NonNegative = 0.02
    beta: NonNegative = 0.88
    gamma: float = 0.16
    innovations: Literal["normal", "student"] = "normal"
    degrees: Annotated[float, Field(gt=2)] | None = None
    variance: Positive | None = None
    period: Positive = 1 / 252
    premium: float = 0.0
    mean: Literal["price", "log-return"] = "price"

    @model_validator(mode="after")
    def _possible(self) -> Garch:
        if self.model == "garch" and self.gamma:
            raise ValueError(f"model garch has no gamma: set {self.gamma} to 0 or take gjr, ngarch")
        if self.model == "gjr" and self.alpha + self.gamma < 0:
            raise ValueError(
                f"alpha + gamma is {self.alpha + self.gamma:g} and makes variances negative: "
                "raise gamma to at least -alpha"
            )
        if (self.innovations == "student") != (self.degrees is not None):
            raise ValueError("degrees belong to student innovations: give both or neither")
        for gamma, measure in (
            (self.gamma, ""),
            (self._pricing_gamma, "under the pricing measure"),
        ):
            if gamma is not None and (phi := self._persistence(gamma)) >= 1:
                raise ValueError(
                    f"persistence {phi:.6g} {measure}".rstrip()
                    + ": variance has no stationary mean; lower alpha, beta or gamma"
                )
        return self

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """One recursion a step; the variance at t is that of the step that follows."""
        length = (clock.diff(dim=0) / self.period).to(dtype)
        z = self._draw((len(length), paths), generator, dtype)
        h = z.new_empty((len(clock), paths))
        h[0] = self.stationary if self.variance is None else self.variance * self.period
        for before, after, news in zip(h[:-1].unbind(), h[1:].unbind(), z.unbind(), strict=True):
            torch.mul(before, self._response(news), out=after).add_(self.omega)
        vol = (h[:-1] * length).sqrt_()
        moment = self._log_moment(vol)
        expected = torch.exp(self.premium * vol) if self.premium else None
        increments = z.mul_(vol).sub_(moment)
        if self.premium:
            increments.add_(vol, alpha=self.premium)
        if self.mean == "log-return":
            increments.add_(moment)
            expected = torch.exp(moment) * (1.0 if expected is None else expected)
        variance = h.div_(self.period)
        return Walk(
            accumulate(math.log(self.spot), increments),
            implied_vol=self._quoted(clock, variance),
            latents={"variance": variance},
            expected=expected,
        )

    def risk_neutral(self) -> Garch:
        """Duan's locally risk-neutral form: NGARCH with ``gamma + premium``.

        Raises:
            TypeError: if a premium goes with gjr or with Student innovations: then z is no longer
                of its kind under the pricing measure.
        """
        gamma = self._pricing_gamma
        if gamma is None:
            raise TypeError(
                f"{self.model} with {self.innovations} innovations has no pricing form at premium "
                f"{self.premium:g}: take garch or ngarch with normal ones, or set premium to 0"
            )
        model = "ngarch" if self.premium else self.model
        drift = self.rate - self.dividend
        return self.model_copy(
            update={
                **{"drift": drift, "premium": 0.0, "mean": "price"},
                **{"model": model, "gamma": gamma},
            }
        )

    @classmethod
    def fit(
        cls,
        log_returns: ArrayLike,
        dt: float,
        model: Literal["garch", "gjr", "ngarch"] = "gjr",
        innovations: Literal["normal", "student"] = "normal",
    ) -> Fit[Garch]:
        """Maximum likelihood; ``dt`` years between returns becomes the period.

        garch and gjr by the arch package, ngarch by this project. The drift is that of the mean
        log-return plus half the stationary variance.

        Raises:
            ImportError: without the ``data`` extra (garch and gjr).
            ValueError: if the returns are not finite, fewer than 250 or constant, or the likelihood
                rises to its bound.

        Evidence: tests/envs/test_fit.py.
        """
        returns = checked(log_returns, dt, FEWEST)
        student = innovations == "student"
        estimate = (
            _ngarch(returns, student) if model == "ngarch" else _by_arch(returns, model, student)
        )
        fields: dict[str, Any] = {"gamma": 0.0, **estimate.parameters}
        mean = fields.pop("mean")
        if model == "gjr":  # the optimiser ends as much as 1e-8 beyond the bound alpha + gamma = 0
            fields["gamma"] = max(fields["gamma"], -fields["alpha"])
        market = cls(model=model, innovations=innovations, period=dt, **fields)
        drift = (mean + market.stationary / 2) / dt
        errors = dict(estimate.errors)
        errors["drift"] = errors.pop("mean") / dt
        return Fit(
            market.model_copy(update={"drift": drift}),
            errors,
            estimate.log_likelihood,
            estimate.observations,
        )

    @property
    def persistence(self) -> float:
        """What is left of a shock to the variance one step later."""
        return self._persistence(self.gamma)

    @property
    def stationary(self) -> float:
        """The stationary mean of the variance of a period."""
        return self.omega / (1 - self.persistence)

    @property
    def volatility(self) -> float:
        """Root of the stationary variance per year."""
        return math.sqrt(self.stationary / self.period)

    @property
    def _pricing_gamma(self) -> float | None:
        """Gamma under the pricing measure; null where the kind has no such form."""
        if not self.premium:
            return self.gamma
        applies = self.model != "gjr" and self.innovations == "normal"
        return self.gamma + self.premium if applies else None

    def _persistence(self, gamma: float) -> float:
        if self.model == "gjr":
            return self.alpha + self.beta + gamma / 2
        return self.alpha * (1 + gamma**2) + self.beta

    def _response(self, z: Tensor) -> Tensor:
        """(h' - omega) / h."""
        if self.model == "ngarch":
            return (z - self.gamma).square_().mul_(self.alpha).add_(self.beta)
        if self.model == "gjr":
            slope = (z < 0).to(z.dtype).mul_(self.gamma).add_(self.alpha)
            return z.square().mul_(slope).add_(self.beta)
        return z.square().mul_(self.alpha).add_(self.beta)

    def _quoted(self, clock: Tensor, variance: Tensor) -> Tensor:
        """Root of E_Q[average variance per year to the end]: E[h_{t+k}] decays to its mean."""
        gamma = self._pricing_gamma
        phi = self._persistence(self.gamma if gamma is None else gamma)
        mean = self.omega / (1 - phi) / self.period
        # How much of (h_t - mean) dt the steps to the end will see, summed backwards.
        dt = clock.diff(dim=0)
        weight = torch.ones_like(clock)
        reach = torch.zeros_like(clock[0])
        left = (clock[-1] - clock[:-1]).clamp(min=torch.finfo(clock.dtype).tiny)
        for t in range(len(dt) - 1, -1, -1):
            reach = dt[t] + phi * reach
            weight[t] = reach / left[t]
        return (variance - mean).mul_(weight.to(variance.dtype)).add_(mean).sqrt_()

    def _draw(
        self, shape: tuple[int, int], generator: torch.Generator, dtype: torch.dtype
    ) -> Tensor:
        """Innovations of mean 0 and variance 1."""
        device = generator.device
        if self.degrees is None:
            return torch.randn(shape, generator=generator, dtype=dtype, device=device)
        # Bailey, "Polar Generation of Random Variates with the t-Distribution", 1994.
        u, angle = torch.rand((2, *shape), generator=generator, dtype=dtype, device=device)
        radius = (1 - u).pow_(-2 / self.degrees).sub_(1).mul_(self.degrees).sqrt_()
        t = angle.mul_(2 * math.pi).cos_().mul_(radius)
        scale, limit, _ = _student(self.degrees)
        z: Tensor = t.mul_(scale).clamp_(-limit, limit)
        return z

    def _log_moment(self, vol: Tensor) -> Tensor:
        """The log-moment, log E[e^{vol z}]."""
        if self.degrees is None:
            return vol.square().mul_(0.5)
        # log E / vol^2 is smooth in vol / (1 + vol), which is below 1 for every vol.
        table = vol.new_tensor(_student(self.degrees)[2])
        place = (vol / (1 + vol)).mul_(KNOTS)
        knot = place.floor().clamp_(max=KNOTS - 1)
        index = knot.long()
        low = table[index]
        ratio: Tensor = torch.addcmul(low, table[index + 1] - low, place - knot)
        return ratio.mul_(vol.square())


@lru_cache(maxsize=16)
def _student(degrees: float) -> tuple[float, float, Floats]:
    """Scale of a t variate, limit of the scaled one, and log E[e^{s z}] / s^2 at the knots.

    The knots are s / (1 + s) = 0, 1 / KNOTS, ..., 1; z is the clipped and scaled innovation.
    """
    root = math.sqrt(degrees / (degrees - 2))
    edge = CLIP * root
    x, weight = special.roots_legendre(400)
    x = (x + 1) / 2 * edge
    weight = weight * edge / 2 * stats.t.pdf(x, degrees)
    beyond = float(stats.t.sf(edge, degrees))
    scale = 1 / math.sqrt(2 * (float(weight @ x**2) + beyond * edge**2))
    points = np.append(x, edge) * scale
    log_chance = np.log(np.append(weight, beyond))
    u = np.linspace(0, 1, KNOTS + 1)[1:-1]
    s = (u / (1 - u))[:, None]
    # cosh(s x) = (e^{s x} + e^{-s x}) / 2: the two halves of a symmetric law.
    both = s * points + np.log1p(np.exp(-2 * s * points)) + log_chance
    table = special.logsumexp(both, axis=1) / s[:, 0] ** 2
    return scale, edge * scale, np.concatenate([[0.5], table, [0.0]])


def _by_arch(returns: Floats, model: str, student: bool) -> Estimate:
    """GARCH or GJR by the arch package; its default start of the variance."""
    try:
        from arch import arch_model
    except ImportError as error:
        raise ImportError(
            f"fitting {model} needs the arch package: pip install 'deephedge[data]'"
        ) from error
    scale = 10 / float(returns.std())  # arch is tuned to returns in percent
    asymmetric = int(model == "gjr")
    result = arch_model(
        returns * scale, vol="GARCH", p=1, o=asymmetric, q=1, dist="t" if student else "normal"
    ).fit(disp="off", show_warning=False, cov_type="classic")
    if result.convergence_flag:
        raise ValueError(f"the {model} likelihood has no inner maximum for these returns")
    names = {"mu": "mean", "omega": "omega", "alpha[1]": "alpha", "gamma[1]": "gamma"}
    names |= {"beta[1]": "beta", "nu": "degrees"}
    units = {"mu": 1 / scale, "omega": 1 / scale**2}
    values, errors = (
        {
            name: float(column[key]) * units.get(key, 1.0)
            for key, name in names.items()
            if key in column
        }
        for column in (result.params, result.std_err)
    )
    likelihood = float(result.loglikelihood) + len(returns) * math.log(scale)
    return Estimate(values, errors, likelihood, len(returns))


def _ngarch(returns: Floats, student: bool) -> Estimate:
    """NGARCH by direct maximisation, the variance starting at the sample's."""
    scale = float(returns.std())

    def natural(theta: Floats) -> Floats:
        # From mean, log stationary variance, persistence, alpha's share of it, gamma, degrees.
        phi, share = special.expit(theta[2:4])
        gamma = theta[4]
        alpha = phi * share / (1 + gamma**2)
        omega = scale**2 * np.exp(theta[1]) * (1 - phi)
        tail = [2 + np.exp(theta[5])] if student else []
        return np.array([theta[0] * scale, omega, alpha, phi * (1 - share), gamma, *tail])

    def log_likelihood(parameters: Floats) -> float:
        mean, omega, alpha, beta, gamma = parameters[:5].tolist()
        shocks = returns - mean
        variances, h = [], scale**2
        for shock in shocks.tolist():
            variances.append(h)
            h = omega + alpha * (shock - gamma * math.sqrt(h)) ** 2 + beta * h
        vol = np.sqrt(variances)
        if not student:
            return float(np.sum(stats.norm.logpdf(shocks, 0, vol)))
        degrees = parameters[5]
        return float(np.sum(stats.t.logpdf(shocks, degrees, 0, vol * np.sqrt(1 - 2 / degrees))))

    names = ["mean", "omega", "alpha", "beta", "gamma"] + ["degrees"] * student
    start = [float(returns.mean()) / scale, 0.0, 3.0, -2.2, 0.5] + [1.5] * student
    return maximise(log_likelihood, natural, [start], names, len(returns))
