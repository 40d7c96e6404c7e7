"""The signature of a path: its iterated integrals, a summary of its past in a few numbers."""

from __future__ import annotations

import torch
from torch import Tensor

DEPTH = 3


def words(channels: int) -> int:
    """How many numbers `signature` gives, ``d + d^2 + d^3``."""
    return sum(channels**level for level in range(1, DEPTH + 1))


def signature(path: Tensor) -> Tensor:
    """The signature of the straight lines through ``path [T+1, ..., d]`` up to each date, depth 3.

    The number of the word ij is the integral of dx_i dx_j over all r < s up to t; by length, then
    in the order of the words, ``[T+1, ..., d + d^2 + d^3]``. A step D continues what was before by
    Chen's identity, S (x) exp(D), whose terms are running sums:

        S1 = sum D,   S2 = sum S1 D + D D / 2,   S3 = sum S2 D + S1 D D / 2 + D D D / 6,

    with S1, S2 at the start of the step. It does not depend on how fast the path is run through.

    Source: Chen, "Iterated integrals and exponential homomorphisms", 1954; Lyons, "Rough paths,
    signatures and the modelling of functions on streams", 2014. Evidence:
    tests/envs/test_signature.py.
    """
    step = path.diff(dim=0)
    twice = _product(step, step)
    first = _sum(step)
    second = _sum(_product(first[:-1], step) + twice / 2)
    third = _sum(
        _product(second[:-1], step) + _product(first[:-1], twice) / 2 + _product(step, twice) / 6
    )
    return torch.cat([first, second, third], -1)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """All words of a left and a right one, ``[..., a]`` and ``[..., b]`` to ``[..., a b]``."""
    return (left[..., :, None] * right[..., None, :]).flatten(-2)


def _sum(steps: Tensor) -> Tensor:
    """Running sums, 0 before the first step."""
    return torch.cat([torch.zeros_like(steps[:1]), steps.cumsum(0)])
