"""SB3 draws from the global generators; here they are set for it and put back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def global_generators(seed: int) -> Iterator[None]:
    """Python's, NumPy's and torch's global generators on ``seed`` inside, as before outside."""
    saved = generator_states()
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the very generator SB3 uses
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
    try:
        yield
    finally:
        set_generators(saved)


def generator_states() -> tuple[Any, Any, torch.Tensor]:
    """Where Python's, NumPy's and torch's global generators stand."""
    arrays = np.random.get_state()  # noqa: NPY002
    return random.getstate(), arrays, torch.random.get_rng_state()


def set_generators(states: tuple[Any, Any, torch.Tensor]) -> None:
    """Put the global generators where `generator_states` found them."""
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.random.set_rng_state(states[2])
