"""Jumps of a Poisson process, scattered over steps and paths."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def scatter(
    jump: Tensor,
    clock: Tensor,
    intensity: float,
    sizes: Callable[[int], Tensor],
    generator: torch.Generator,
) -> Tensor:
    """Add the jumps of all paths to ``jump [T, N]`` and return it.

    Jumps are rare, so the points of the Poisson process on paths x time are drawn (their number,
    then their places, uniform) instead of a count for every step: the same law, far less work.

    Args:
        jump: log-jumps of the steps, on the generator's device; written in place.
        clock: dates in years, ``[T+1, 1 or N]`` from 0.
        intensity: jumps a year.
        sizes: log-jumps ``[n]`` of jump's dtype, drawn for n jumps.
        generator: the source of randomness, which `sizes` is to use too.

    Evidence: tests/envs/test_markets.py.
    """
    paths, device = jump.shape[1], generator.device
    longest = float(clock[-1].max())
    mean = torch.tensor(intensity * longest * paths, dtype=torch.float64, device=device)
    count = int(torch.poisson(mean, generator=generator))
    path = torch.randint(0, paths, (count,), generator=generator, device=device)
    time = torch.rand(count, dtype=torch.float64, generator=generator, device=device) * longest
    size = sizes(count)
    ends = clock[1:] if clock.shape[1] == 1 else clock[1:, path]
    step = (time >= ends).sum(dim=0)
    inside = step < len(jump)
    return jump.index_put_((step[inside], path[inside]), size[inside], accumulate=True)


def normal_sizes(
    mean: float, std: float, generator: torch.Generator, dtype: torch.dtype
) -> Callable[[int], Tensor]:
    """Merton's jumps: normal log-sizes, for `scatter`."""

    def draw(count: int) -> Tensor:
        z = torch.randn(count, dtype=dtype, generator=generator, device=generator.device)
        return z.mul_(std).add_(mean)

    return draw
