"""The shortfall objective: what falls below a floor counts more than the rest."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from .namespace import NUMPY, Namespace, X
from .objectives import Objective, Theta
from .sample import Losses, checked

FEWEST = 5  # paths beyond the threshold, unless there are none: fewer say little of the mean


class Shortfall(Objective):
    """E[L] + weight E[max(L - threshold, 0)]: the mean, and how far below a floor it falls.

    A book with ``capital`` V0 has V_T = V0 e^{rT} - L at the end, so that the floor is F = V0
    e^{rT} - threshold and the second mean is E[max(F - V_T, 0)], the first lower partial moment.
    Source: Fishburn, "Mean-risk analysis with risk associated with below-target returns", 1977,
    with alpha = 1. It is not cash-invariant: cash moves the loss from the floor. Evidence:
    tests/envs/test_objectives.py.
    """

    kind: Literal["shortfall"] = "shortfall"
    threshold: float = Field(description="money: the loss from which on it counts")
    weight: float = Field(gt=0)
    has_theta: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The name for tables and figures."""
        return f"mean + {self.weight:g} shortfall beyond {self.threshold:.6g}"

    def risk(self, losses: Losses) -> float:
        """The risk of a sample [N]."""
        return float(self.pointwise(checked(losses), (), NUMPY).mean())

    def theta(self, losses: Losses) -> Theta:
        """None: the loss has no parameter."""
        checked(losses)
        return ()

    def pointwise(self, loss: X, theta: Theta, ops: Namespace) -> X:
        """L + weight max(L - threshold, 0)."""
        return loss + self.weight * self.beyond(loss, ops)

    def beyond(self, loss: X, ops: Namespace) -> X:
        """max(L - threshold, 0), elementwise: how far below the floor, money."""
        return ops.maximum(loss - self.threshold, 0.0)

    def caution(self, losses: Losses) -> str | None:
        """Says so where some, but fewer than 5, paths fall below the floor."""
        count = int((checked(losses) > self.threshold).sum())
        if count == 0 or count >= FEWEST:
            return None
        return (
            f"{count} of {len(losses)} paths lose more than {self.threshold:g} "
            f"(fewer than {FEWEST}): take more paths"
        )
