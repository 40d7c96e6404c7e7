"""The few operations that are not plain operators, for floats, NumPy arrays and torch tensors.

The ledger, the costs, the actions and the rewards are written once against `Namespace`; every
operation here is exact or the same kernel in `SCALAR` and `NUMPY`, so that the scalar and the
vector environment agree bit for bit (tests/envs/test_faces.py).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

X = Any  # a float, a NumPy array [N] or a torch tensor [N]; a caller keeps to one of them


class Namespace(Protocol):
    """What an array library must offer to carry the ledger."""

    def abs(self, x: X) -> X:
        """|x|."""

    def exp(self, x: X) -> X:
        """e^x."""

    def minimum(self, x: X, y: X) -> X:
        """The smaller, elementwise."""

    def maximum(self, x: X, y: X) -> X:
        """The larger, elementwise."""

    def clip(self, x: X, low: X, high: X) -> X:
        """`x` within two numbers: one pass where the two above take two."""

    def between(self, x: X, first: X, second: X) -> X:
        """`x` within two edges that may come in either order: the middle one of the three."""

    def where(self, condition: X, x: X, y: X) -> X:
        """`x` where the condition holds, else `y`."""

    def round(self, x: X) -> X:
        """The nearest whole number, halves to even."""


class _Scalar:
    """Python floats: an environment of one path spends its time outside array dispatch."""

    abs = staticmethod(abs)

    @staticmethod
    def minimum(x: float, y: float) -> float:
        return y if y < x else x  # half the time of min

    @staticmethod
    def maximum(x: float, y: float) -> float:
        return y if y > x else x

    @staticmethod
    def clip(x: float, low: float, high: float) -> float:
        return low if x < low else high if x > high else x

    @staticmethod
    def between(x: float, first: float, second: float) -> float:
        lower, upper = (second, first) if second < first else (first, second)
        return lower if x < lower else upper if x > upper else x

    @staticmethod
    def exp(x: float) -> float:
        # math.exp and NumPy's vector kernel differ in the last bit; the vector face uses NumPy's.
        return float(np.exp(x))

    @staticmethod
    def where(condition: bool, x: float, y: float) -> float:
        return x if condition else y

    @staticmethod
    def round(x: float) -> float:
        return float(round(x))


class _NumPy:
    abs = staticmethod(np.abs)
    exp = staticmethod(np.exp)
    minimum = staticmethod(np.minimum)
    maximum = staticmethod(np.maximum)
    where = staticmethod(np.where)
    round = staticmethod(np.rint)

    @staticmethod
    def clip(x: X, low: float, high: float) -> X:
        return x.clip(low, high)  # what np.clip calls in the end

    @staticmethod
    def between(x: X, first: X, second: X) -> X:
        return np.minimum(np.maximum(x, np.minimum(first, second)), np.maximum(first, second))


class _Between(torch.autograd.Function):
    """One operation in a gradient where four would each compare, choose and add."""

    @staticmethod
    def forward(ctx: Any, x: X, first: X, second: X) -> X:
        middle = torch.clamp(x, torch.minimum(first, second), torch.maximum(first, second))
        ctx.save_for_backward(middle == x, middle == first)
        return middle

    @staticmethod
    def backward(ctx: Any, gradient: X) -> Any:
        inside, at_first = ctx.saved_tensors
        of_x = gradient * inside
        of_edges = gradient - of_x
        of_first = of_edges * at_first
        return of_x, of_first, of_edges - of_first


class _Torch:
    abs = staticmethod(torch.abs)
    exp = staticmethod(torch.exp)
    round = staticmethod(torch.round)

    @staticmethod
    def minimum(x: X, y: X) -> X:
        return torch.clamp(x, max=y) if isinstance(x, torch.Tensor) else torch.clamp(y, max=x)

    @staticmethod
    def maximum(x: X, y: X) -> X:
        return torch.clamp(x, min=y) if isinstance(x, torch.Tensor) else torch.clamp(y, min=x)

    @staticmethod
    def clip(x: X, low: float, high: float) -> X:
        return torch.clamp(x, min=low, max=high)

    @staticmethod
    def between(x: X, first: X, second: X) -> X:
        return _Between.apply(x, first, second)  # type: ignore[no-untyped-call]

    @staticmethod
    def where(condition: X, x: X, y: X) -> X:
        return torch.where(torch.as_tensor(condition), x, y)


SCALAR: Namespace = _Scalar()
NUMPY: Namespace = _NumPy()
TORCH: Namespace = _Torch()
