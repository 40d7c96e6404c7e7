"""Signatures against integrals worked out one inside the other, and their laws."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from deephedge.envs import View, load_scenario, simulate
from deephedge.envs.learning import LearningProblem
from deephedge.envs.namespace import NUMPY
from deephedge.envs.signature import signature, words

D = 2


def drawn(steps: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((steps + 1, D), generator=generator, dtype=torch.float64).cumsum(0)


def by_word(values: Tensor) -> dict[tuple[int, ...], float]:
    names = [word for length in (1, 2, 3) for word in product(range(D), repeat=length)]
    return dict(zip(names, values.tolist(), strict=True))


def integral(path: NDArray[np.float64], word: tuple[int, ...]) -> float:
    """By the trapezoidal rule on a fine grid, innermost first."""
    inner = np.ones(len(path))
    for letter in word:
        moves = np.diff(path[:, letter])
        inner = np.concatenate([[0.0], np.cumsum(0.5 * (inner[1:] + inner[:-1]) * moves)])
    return float(inner[-1])


def test_every_word_is_its_iterated_integral() -> None:
    path = drawn(5)
    grid = np.linspace(0, 5, 20_001)
    fine = np.stack([np.interp(grid, np.arange(6), path[:, i].numpy()) for i in range(D)], -1)
    found = by_word(signature(path)[-1])
    assert len(found) == words(D) == 14
    for word, value in found.items():
        assert value == pytest.approx(integral(fine, word), abs=1e-5), word


def test_chens_identity() -> None:
    """Of a path in two pieces: the sum over all cuts of a word into a first and a last part."""
    path = drawn(7)
    whole, first, last = (by_word(signature(p)[-1]) for p in (path, path[:4], path[3:]))
    for word in whole:
        cuts = range(len(word) + 1)
        parts = [first.get(word[:k], 1.0) * last.get(word[k:], 1.0) for k in cuts]
        assert whole[word] == pytest.approx(sum(parts), abs=1e-10)


def test_products_are_shuffles() -> None:
    found = by_word(signature(drawn(6))[-1])
    for i, j in product(range(D), repeat=2):
        assert found[i,] * found[j,] == pytest.approx(found[i, j] + found[j, i], abs=1e-10)


def test_the_speed_of_the_path_does_not_matter() -> None:
    path = drawn(4)
    halves = torch.stack([(path[:-1] + path[1:]) / 2, path[1:]], 1).flatten(0, 1)
    stops = torch.cat([path[:1], halves])
    torch.testing.assert_close(signature(stops)[::2], signature(path))


def test_each_date_knows_its_past_only() -> None:
    path = drawn(6)
    torch.testing.assert_close(signature(path)[:4], signature(path[:4]))
    assert signature(path)[0].abs().max() == 0


def test_the_feature_is_that_of_time_and_log_spot() -> None:
    """Scaled as those features are; in blocks, path by path."""
    scenario = load_scenario("short-call", {"calendar.steps": "6"})
    view = View(features=("time_left", "log_spot", "signature", "holding"))
    names = LearningProblem(scenario, view, NUMPY).columns
    assert names[2:-1] == [f"signature_{i}" for i in range(14)]
    episodes = simulate(scenario, 9, torch.Generator().manual_seed(2), torch.float64)
    block = episodes.features(view.features or ())
    path = torch.stack([1.0 - block[:, 3, 0], block[:, 3, 1]], -1).double()
    expected = signature(path).clamp(-5, 5).float()
    torch.testing.assert_close(block[:, 3, 2:-1], expected, atol=1e-5, rtol=1e-4)
