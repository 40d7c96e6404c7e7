"""Objectives: what a hedge is judged by, as a risk of its losses (lower is better).

Losses L = -P&L [N] and risks are in money; moments are a population's (ddof = 0). Evidence, and
the laws that each kind obeys (monotone, convex, cash-invariant): tests/envs/test_objectives.py.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from .namespace import NUMPY, Namespace, X
from .part import Kind
from .sample import Losses, centred, checked, lower_quantile, rank

Theta = tuple[float, ...]

LARGEST_EXPONENT = 60.0  # e^60 = 1e26 still squares in double and fits float32
SMALLEST_STD = 1e-6  # money: keeps the mean-std loss finite on a sample that does not vary
HEAVIEST_PATH = 0.01  # share of an entropic estimate beyond which one path decides it
FAIR_SHARES = 10  # but among few paths, such as months, each weighs much: 1 / N is its fair share
HEAVIEST_EVER = 0.2  # however few they are
SMALLEST_TAIL = 5  # paths beyond the level: with 2 a CVaR's interval covers 88 % for 95 %


class Objective(Kind):
    """A risk measure of the loss L = -P&L.

    Most have the form rho(L) = min over theta of E[l_theta(L)], an optimised certainty equivalent
    (Ben-Tal and Teboulle, "An old-new concept of convex risk measures", 2007): training lowers the
    mean of `pointwise` with theta fixed, and refits theta to the latest losses in between.
    """

    trainable: ClassVar[bool] = True  # has a pointwise loss
    has_theta: ClassVar[bool] = True  # the pointwise loss has parameters, to be refitted
    needs_pnl: ClassVar[bool] = True  # the best hedge depends on the P&L so far: observe it

    @property
    @abstractmethod
    def label(self) -> str:
        """The name for tables and figures."""

    @abstractmethod
    def risk(self, losses: Losses) -> float:
        """The risk of a sample [N].

        Raises:
            ValueError: if the sample is empty, not one-dimensional or not finite.
        """

    @abstractmethod
    def theta(self, losses: Losses) -> Theta:
        """The parameters of `pointwise` that belong to a sample [N]; errors as in `risk`."""

    @abstractmethod
    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """l_theta(L), elementwise: what a learner minimises the mean of.

        Args:
            loss: a float, an array or a tensor, in the namespace `ops`.
            theta: as returned by `theta`.
            ops: the namespace of `loss`. `SCALAR` and `NUMPY` agree bit for bit.
        """

    def influence(self, losses: Losses) -> Losses:
        """The influence function of `risk` at each loss of a sample [N]; its mean is 0.

        Its mean square over N is the variance of the estimated risk (the delta method; Hampel,
        "The influence curve and its role in robust estimation", 1974). Where the risk is a minimum
        over theta, theta's own error drops out to first order (envelope theorem).
        """
        return centred(self.pointwise(losses, self.theta(losses), NUMPY))

    def caution(self, losses: Losses) -> str | None:
        """Why an interval about the risk of this sample would not be honest, or None."""
        return None


class Entropic(Objective):
    """log E[exp(a L)] / a: the certainty equivalent of exponential utility with aversion a.

    Foellmer and Schied, "Convex measures of risk and trading constraints", 2002. Under a lognormal
    law the entropic risk of a short call ever held with fewer than one share is infinite in theory:
    the loss grows with the spot, and exp(a S) has no mean. Its estimate grows with the sample.
    """

    kind: Literal["entropic"] = "entropic"
    aversion: float = Field(gt=0, description="1 / money")
    needs_pnl: ClassVar[bool] = False  # P&L so far is a constant factor of exp(a L)

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return f"entropic risk (aversion {self.aversion:g})"

    def risk(self, losses: Losses) -> float:
        """The risk of a sample [N], by log-sum-exp about the largest loss; no loss overflows it."""
        losses = checked(losses)
        largest = losses.max()
        # expm1 and log1p keep the digits where a (L - largest) is small.
        mean = np.expm1(self.aversion * (losses - largest)).mean()
        return float(largest + np.log1p(mean) / self.aversion)

    def theta(self, losses: Losses) -> Theta:
        """The risk itself."""
        return (self.risk(losses),)

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """The value theta + (exp(a (L - theta)) - 1) / a; beyond an exponent of 60, its tangent.

        A tangent and not a flat cap: a catastrophic path must still pull a gradient. The risk of a
        sample is the minimum all the same, as a (L - theta) <= log N at its own theta.
        """
        exponent = self.aversion * (loss - theta[0])
        capped = ops.minimum(exponent, LARGEST_EXPONENT)
        growth = ops.exp(capped) * (1.0 + (exponent - capped))
        return theta[0] + (growth - 1.0) / self.aversion

    def largest_weight(self, losses: Losses) -> float:
        """The share of sum exp(a L) that is due to the largest loss of a sample [N], in (0, 1]."""
        losses = checked(losses)
        return float(1.0 / np.exp(self.aversion * (losses - losses.max())).sum())

    def caution(self, losses: Losses) -> str | None:
        """Says so where one path weighs more than 1 % of the estimate and 10 times its fair share.

        Up to there the interval covers 93 to 95 % at 60 to 1,000 normal losses
        (tests/experiments/history/test_backtest.py).
        """
        weight = self.largest_weight(losses)
        limit = max(HEAVIEST_PATH, min(FAIR_SHARES / len(losses), HEAVIEST_EVER))
        if weight <= limit:
            return None
        return (
            f"one path carries {100 * weight:.3g} % of this entropic risk "
            f"(more than {100 * limit:.3g} %): take more paths or a lower aversion"
        )


class CVaR(Objective):
    """The mean of the worst 1 - level of the losses (expected shortfall).

    Rockafellar and Uryasev, "Optimization of conditional value-at-risk", 2000, eq. 4, and, where
    N (1 - level) is not whole or losses tie, "Conditional value-at-risk for general loss
    distributions", 2002, theorem 10: the boundary path counts in part.
    """

    kind: Literal["cvar"] = "cvar"
    level: float = Field(gt=0, lt=1)

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return f"CVaR {100 * self.level:g} %"

    def risk(self, losses: Losses) -> float:
        """The risk of a sample [N], exact for any N * level."""
        return float(self.pointwise(losses, self.theta(losses), NUMPY).mean())

    def theta(self, losses: Losses) -> Theta:
        """The lower quantile at the level."""
        return (lower_quantile(losses, self.level),)

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """The value theta + max(L - theta, 0) / (1 - level)."""
        return theta[0] + ops.maximum(loss - theta[0], 0.0) / (1.0 - self.level)

    def caution(self, losses: Losses) -> str | None:
        """Says so where fewer than 5 paths lie beyond the level."""
        tail = len(losses) - rank(len(losses), self.level)
        if tail >= SMALLEST_TAIL:
            return None
        return (
            f"{tail} of {len(losses)} paths lie beyond the {self.label} level "
            f"(fewer than {SMALLEST_TAIL}): take more paths or a lower level"
        )


class MeanStd(Objective):
    """E[L] + c std(L).

    As a minimum: c std = min over m, s of c E[(L - m)^2 / s + s] / 2, by the inequality of the
    arithmetic and geometric means. Not monotone: a gain far below the centre is punished.
    """

    kind: Literal["mean-std"] = "mean-std"
    weight: float = Field(ge=0)

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return f"mean + {self.weight:g} std"

    def risk(self, losses: Losses) -> float:
        """The risk of a sample [N]."""
        losses = checked(losses)
        return float(losses.mean() + self.weight * losses.std())

    def theta(self, losses: Losses) -> Theta:
        """The mean and the standard deviation, the latter at least `SMALLEST_STD`."""
        losses = checked(losses)
        return float(losses.mean()), max(float(losses.std()), SMALLEST_STD)

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """L + c ((L - m)^2 / s + s) / 2 with theta = (m, s)."""
        centre, scale = theta
        distance = loss - centre
        return loss + 0.5 * self.weight * (distance * distance / scale + scale)


class MeanVariance(Objective):
    """E[L] + a var(L) / 2, a in 1 / money.

    As a minimum: var = min over m of E[(L - m)^2]. The second-order expansion of the entropic risk
    in its aversion. Not monotone: a gain far below the centre is punished.
    """

    kind: Literal["mean-variance"] = "mean-variance"
    aversion: float = Field(gt=0, description="1 / money")

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return f"mean-variance (aversion {self.aversion:g})"

    def risk(self, losses: Losses) -> float:
        """The risk of a sample [N]."""
        losses = checked(losses)
        return float(losses.mean() + 0.5 * self.aversion * losses.var())

    def theta(self, losses: Losses) -> Theta:
        """The mean."""
        return (float(checked(losses).mean()),)

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """L + a (L - m)^2 / 2 with theta = (m,)."""
        distance = loss - theta[0]
        return loss + 0.5 * self.aversion * distance * distance


class RootMeanSquare(Objective):
    """The family without theta: the root of the mean of a pointwise loss in money squared.

    Not cash-invariant: adding cash changes the risk by at most that cash, and not by that cash.
    """

    has_theta: ClassVar[bool] = False

    def risk(self, losses: Losses) -> float:
        """The root of the mean of `pointwise` over a sample [N]; it has the same minimiser."""
        return math.sqrt(self.pointwise(checked(losses), (), NUMPY).mean())

    def theta(self, losses: Losses) -> Theta:
        """None: the loss has no parameter."""
        return ()

    def influence(self, losses: Losses) -> Losses:
        """(l(L) - rho^2) / (2 rho), by the chain rule; 0 where every pointwise loss is 0."""
        twice = 2.0 * self.risk(losses)
        spread = centred(self.pointwise(losses, (), NUMPY))
        return spread / twice if twice > 0.0 else spread


class Quadratic(RootMeanSquare):
    """sqrt(E[L^2]): the distance from a perfect hedge, where a gain is an error too.

    Schweizer, "Variance-optimal hedging in discrete time", 1995, as a root, hence in money.
    """

    kind: Literal["quadratic"] = "quadratic"

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return "quadratic risk"

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """L^2."""
        return loss * loss


class SemiQuadratic(RootMeanSquare):
    """sqrt(E[max(L, 0)^2]): as quadratic, with gains free.

    Carbonneau, "Deep hedging of long-term financial derivatives", 2021 (the semi-mean-square
    error), as a root, hence in money.
    """

    kind: Literal["semi-quadratic"] = "semi-quadratic"

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return "semi-quadratic risk"

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """max(L, 0)^2."""
        shortfall = ops.maximum(loss, 0.0)
        return shortfall * shortfall


class Expectile(Objective):
    """The root e of level * E[max(L - e, 0)] = (1 - level) * E[max(e - L, 0)].

    Newey and Powell, "Asymmetric least squares estimation and testing", 1987; for levels above
    one half the one coherent risk measure that is elicitable (Bellini, Klar, Mueller and Rosazza
    Gianin, "Generalized quantiles as risk measures", 2014).
    """

    kind: Literal["expectile"] = "expectile"
    level: float = Field(gt=0.5, lt=1)

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return f"expectile {100 * self.level:g} %"

    def risk(self, losses: Losses) -> float:
        """The risk of a sample [N], exact: between two order statistics the condition is linear."""
        losses = checked(losses)
        mean = losses.mean()
        ordered = np.sort(losses - mean)
        below, total = np.cumsum(ordered), ordered.sum()
        number = np.arange(1, len(ordered) + 1)
        excess = total - below - (len(ordered) - number) * ordered
        shortage = number * ordered - below
        # The condition falls with e: the root lies right of every order statistic with a balance
        # of at least 0, of which the smallest is always one.
        k = max(int(np.count_nonzero(self.level * excess >= (1.0 - self.level) * shortage)), 1)
        weighted = self.level * (total - below[k - 1]) + (1.0 - self.level) * below[k - 1]
        return float(mean + weighted / (self.level * (len(ordered) - k) + (1.0 - self.level) * k))

    def theta(self, losses: Losses) -> Theta:
        """The risk itself."""
        return (self.risk(losses),)

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """L + b max(L - theta, 0) with b = (2 level - 1) / (1 - level).

        It is theta + the first-order condition / (1 - level), and no minimum over theta: its mean
        equals theta exactly where theta is the expectile, and the risk is at most theta if and only
        if the mean is. With theta fixed at the risk of the hedge so far, a hedge whose mean is
        below theta is therefore one of lower risk.
        """
        excess = ops.maximum(loss - theta[0], 0.0)
        return loss + (2.0 * self.level - 1.0) / (1.0 - self.level) * excess

    def influence(self, losses: Losses) -> Losses:
        """The first-order condition at each loss, over minus its derivative in e."""
        losses = checked(losses)
        distance = losses - self.risk(losses)
        weight = np.where(distance > 0.0, self.level, 1.0 - self.level)
        return centred(weight * distance / weight.mean())


class VaR(Objective):
    """The lower quantile of the loss; reported, and bounded from above by the CVaR at its level."""

    kind: Literal["var"] = "var"
    level: float = Field(gt=0, lt=1)
    trainable: ClassVar[bool] = False
    has_theta: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return f"VaR {100 * self.level:g} %"

    def risk(self, losses: Losses) -> float:
        """The risk of a sample [N]: the smallest loss with at least level * N losses up to it."""
        return lower_quantile(losses, self.level)

    def theta(self, losses: Losses) -> Theta:
        """None: there is no pointwise loss."""
        return ()

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """Refused with a ValueError, always."""
        raise ValueError(
            f"{self.label} has no pointwise loss to train on: it is reported only, and trained "
            f"only through a quantile critic. Train on {{kind: cvar, level: {self.level:g}}}"
        )

    def influence(self, losses: Losses) -> Losses:
        """(1{L > q} - P(L > q)) / f(q), for differences between hedgers.

        1 / f is the slope of the order statistics within two binomial standard deviations (Bloch
        and Gastwirth, "On a simple estimate of the reciprocal of the density function", 1968).
        """
        losses = checked(losses)
        n, k = len(losses), rank(len(losses), self.level)
        reach = math.ceil(2.0 * math.sqrt(n * self.level * (1.0 - self.level)))
        low, high = max(k - reach, 1), min(k + reach, n)
        ordered = np.partition(losses, [low - 1, k - 1, high - 1])
        inverse_density = (ordered[high - 1] - ordered[low - 1]) * n / max(high - low, 1)
        return centred(inverse_density * (losses > ordered[k - 1]))
