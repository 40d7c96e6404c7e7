"""The stream of episodes that an environment plays, computed ahead in blocks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from enum import IntEnum
from functools import partial

import numpy as np
import torch

from .hedger import base_edges
from .response import responding
from .rule import Rule
from .scenario import Scenario
from .tape import Tape
from .variation import Variation, draw

LEAST_PATHS = 1024  # a block at least: array operations on fewer paths are all overhead
MOST_BLOCKS = 64  # kept at a time; beyond that a block that is asked for again is drawn again


class Role(IntEnum):
    """What random numbers are drawn for; every role of a seed has a stream of its own."""

    TRAINING = 0
    VALIDATION = 1
    POLICY = 2
    EVALUATION = 3
    BOOTSTRAP = 4
    TUNING = 5
    IMITATION = 6
    SWEEP = 7


def stream_of(seed: int, role: Role, *index: int) -> np.random.SeedSequence:
    """The stream of a role, or its ``index``-th child."""
    return np.random.SeedSequence(seed, spawn_key=(int(role), *index))


def generator_of(
    seed: np.random.SeedSequence, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on a stream of its own."""
    return torch.Generator(device).manual_seed(int(seed.generate_state(1, np.uint64)[0] >> 1))


class EpisodeStream:
    """Episode ``e`` of environment ``i`` is a function of the seed, ``n``, ``e`` and ``i`` alone.

    So an environment that stops early and moves on to its next episode changes no other's outcome.
    """

    def __init__(
        self,
        scenario: Scenario,
        features: tuple[str, ...],
        environments: int,
        seed: np.random.SeedSequence,
        variation: Variation | None = None,
        *,
        paired: bool = False,
        base: Rule | None = None,
    ) -> None:
        self._scenario, self._features, self._n = scenario, features, environments
        self._paired, self._base = paired, base
        self._variation = Variation() if variation is None else variation
        self._seed = seed
        self._per_block = -(-LEAST_PATHS // environments)
        self._blocks: OrderedDict[int, Tape] = OrderedDict()

    def episode(self, e: int) -> Tape:
        """The e-th episode of all environments, ``[T+1, n]``."""
        block, j = divmod(e, self._per_block)
        tape = self._block(block)
        return tape if self._per_block == 1 else tape.columns(j * self._n, (j + 1) * self._n)

    def single(self, e: int) -> Tape:
        """The e-th episode of a stream for one environment, as lists of floats."""
        block, j = divmod(e, self._per_block)
        return self._block(block).path(j)

    def release(self, e: int) -> None:
        """Forget what lies before the e-th episode, for no environment is there any more."""
        for index in [index for index in self._blocks if index < e // self._per_block]:
            del self._blocks[index]

    def _block(self, index: int) -> Tape:
        if index not in self._blocks:
            seed = np.random.SeedSequence(
                self._seed.entropy, spawn_key=(*self._seed.spawn_key, index)
            )
            paths = self._per_block * self._n
            episodes = draw(
                self._scenario, self._variation, paths, generator_of(seed), torch.float32
            )
            lay_out = partial(Tape.of, names=self._features, paired=self._paired)
            tape = responding(self._scenario, episodes, lay_out)
            if self._base is not None:
                edges = base_edges(self._base, self._scenario, episodes)
                tape = replace(tape, base=edges)
            self._blocks[index] = tape
            while len(self._blocks) > MOST_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(index)
        return self._blocks[index]
