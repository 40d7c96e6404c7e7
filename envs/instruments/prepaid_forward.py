"""The prepaid forward: a share that is held to a date."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from .claim import Claim, Path


class PrepaidForward(Claim):
    """Pays ``S_T``: a share without the dividends until then, so that a book may hold the asset.

    Evidence: tests/envs/test_claims.py, tests/envs/test_model_price.py.
    """

    kind: Literal["prepaid-forward"] = "prepaid-forward"

    def payoff(self, path: Path) -> Tensor:
        """``S_T``."""
        return path.spot[-1]
