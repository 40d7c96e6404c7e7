"""The namespaces: one arithmetic for floats, arrays and tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from deephedge.envs.namespace import NUMPY, SCALAR, TORCH

NUMBERS = [-1e300, -70.5, -2.0, -1.5, -0.5, 0.0, 1e-300, 0.5, 1.0, 1.5, 2.5, 3.0, 61.25, 1e300]
CALLS: dict[str, tuple[Any, ...]] = {
    "abs": (),
    "exp": (),
    "round": (),
    "minimum": (1.0,),
    "maximum": (1.0,),
    "clip": (-1.5, 2.5),
}


@pytest.mark.parametrize("name", CALLS)
def test_floats_arrays_and_tensors_agree_bit_for_bit(name: str) -> None:
    numbers = [x for x in NUMBERS if name != "exp" or x < 700]
    arguments = CALLS[name]
    singly = [getattr(SCALAR, name)(x, *arguments) for x in numbers]
    assert getattr(NUMPY, name)(np.array(numbers), *arguments).tolist() == singly
    tensor = getattr(TORCH, name)(torch.tensor(numbers, dtype=torch.float64), *arguments)
    assert tensor.tolist() == (pytest.approx(singly, rel=1e-15) if name == "exp" else singly)


def test_choices_are_what_they_say() -> None:
    assert [SCALAR.clip(x, -1.0, 2.0) for x in (-3.0, -1.0, 0.5, 2.0, 9.0)] == [-1, -1, 0.5, 2, 2]
    assert (SCALAR.minimum(1.0, 2.0), SCALAR.minimum(2.0, 1.0)) == (1.0, 1.0)
    assert (SCALAR.maximum(1.0, 2.0), SCALAR.maximum(2.0, 1.0)) == (2.0, 2.0)
    for condition in (True, False):
        chosen = SCALAR.where(condition, 1.0, 2.0)
        assert chosen == (1.0 if condition else 2.0)
        assert NUMPY.where(np.array([condition]), 1.0, 2.0).tolist() == [chosen]
        one, two = torch.ones(1), torch.full((1,), 2.0)
        assert TORCH.where(torch.tensor([condition]), one, two).tolist() == [chosen]
