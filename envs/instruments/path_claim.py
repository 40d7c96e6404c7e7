"""Claims that the user writes in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import WithJsonSchema
from torch import Tensor

from .claim import Claim, Path

Payoff = Annotated[
    Callable[[Path], Tensor],
    WithJsonSchema({"description": "a function of the path, in Python only"}),
]


class PathClaim(Claim):
    """Pays ``function(path) [N]``, any function of the prices up to maturity.

    A scenario with it runs and cannot be saved. Evidence: tests/envs/test_claims.py.
    """

    path_dependent: ClassVar[bool] = True

    kind: Literal["path"] = "path"
    function: Payoff

    def payoff(self, path: Path) -> Tensor:
        """What the function gives.

        Raises:
            ValueError: if that is not one number a path.
        """
        paid = self.function(path)
        if paid.shape != path.spot.shape[1:]:
            raise ValueError(
                f"the payoff has shape {tuple(paid.shape)} and must have one number for each of "
                f"the {path.spot.shape[1]} paths: reduce over the dates, the first dimension"
            )
        return paid
