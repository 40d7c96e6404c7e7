"""Limits: the admissible holding nearest to the wish, on whole lots, alike in every namespace."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from deephedge.envs.constraints import Limits
from deephedge.envs.costs import FixedCost
from deephedge.envs.namespace import NUMPY, SCALAR, TORCH

REACH = 3.0


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    lot = draw(st.none() | st.sampled_from([0.1, 0.25, 1.0, 0.3]))
    chosen = Limits(
        lower=draw(st.none() | st.floats(-5, 0)),
        upper=draw(st.none() | st.floats(0.01, 5)),
        max_trade=draw(st.none() | st.floats(1.0 if lot else 0.01, 6)),
        lot=lot,
    )
    try:
        return chosen.bounded(REACH)
    except ValueError:
        assume(False)
        raise


def admissible(bounded: Limits, holding: float) -> tuple[float, float]:
    """The least and the most that may be held next."""
    assert bounded.lower is not None
    assert bounded.upper is not None
    most = math.inf if bounded.max_trade is None else bounded.max_trade
    return max(bounded.lower, holding - most), min(bounded.upper, holding + most)


@given(bounded=limits(), wishes=st.lists(st.floats(-20, 20), min_size=1, max_size=6))
def test_the_holding_is_the_nearest_admissible_one(bounded: Limits, wishes: list[float]) -> None:
    holding = 0.0
    for wish in wishes:
        least, most = admissible(bounded, holding)
        held = bounded.apply(wish, holding, SCALAR)
        assert least - 1e-12 <= held <= most + 1e-12
        if bounded.lot is None:
            assert held == min(max(wish, least), most)
        else:
            lots = range(round(least / bounded.lot), round(most / bounded.lot) + 1)
            nearest = min(abs(n * bounded.lot - wish) for n in lots)
            assert held == round(held / bounded.lot) * bounded.lot  # the very same float
            assert abs(held - wish) <= nearest + 1e-12
        assert bounded.apply(held, held, SCALAR) == held
        holding = held


@given(bounded=limits(), wish=st.floats(-20, 20), start=st.floats(-5, 5))
def test_every_namespace_gives_the_same_holding(bounded: Limits, wish: float, start: float) -> None:
    holding = bounded.apply(start, 0.0, SCALAR)
    held = bounded.apply(wish, holding, SCALAR)
    assert bounded.apply(np.array([wish]), np.array([holding]), NUMPY).tolist() == [held]
    tensors = [torch.tensor([x], dtype=torch.float64) for x in (wish, holding)]
    assert bounded.apply(*tensors, TORCH).tolist() == [held]


def test_repeating_a_wish_on_lots_trades_no_crumbs() -> None:
    """0.1 + 0.2 is not 0.3 in floats; a fee per trade would be charged for the difference."""
    bounded = Limits(lot=0.1, max_trade=0.2).bounded(REACH)
    holding, fees = 0.0, []
    for _ in range(12):
        held = bounded.apply(0.7, holding, SCALAR)
        fees.append(FixedCost(fee=1.0).charge(held - holding, 100.0, SCALAR))
        holding = held
    assert holding == pytest.approx(0.7)
    assert fees == [1.0] * 4 + [0.0] * 8


@pytest.mark.parametrize(
    ("values", "lower", "upper", "max_trade"),
    [
        ({}, -3.0, 3.0, None),
        ({"lower": -1.0}, -1.0, 3.0, None),
        ({"lower": 0.0, "upper": 5.0, "max_trade": 0.4}, 0.0, 5.0, 0.4),
        ({"lower": -0.55, "upper": 0.55, "lot": 0.25, "max_trade": 0.6}, -0.5, 0.5, 0.5),
        ({"lower": -0.3, "upper": 0.3, "lot": 0.1, "max_trade": 0.3}, -0.3, 0.3, 0.3),
    ],
)
def test_open_bounds_are_filled_in_and_all_are_whole_lots(
    values: dict[str, Any], lower: float, upper: float, max_trade: float | None
) -> None:
    bounded = Limits(**values).bounded(REACH)
    assert bounded.lower == pytest.approx(lower)
    assert bounded.upper == pytest.approx(upper)
    assert bounded.max_trade == (None if max_trade is None else pytest.approx(max_trade))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lower": 1.0, "upper": -1.0}, "lower 1 must be below upper -1"),
        ({"lower": 0.0, "upper": 0.0}, "lower 0 must be below upper 0"),
        ({"lower": 0.5, "upper": 1.0}, "must contain 0"),
        ({"upper": -0.5}, "must contain 0"),
        ({"max_trade": 0.0}, "greater than 0"),
        ({"lot": -1.0}, "greater than 0"),
        ({"lot": 0.5, "max_trade": 0.4}, "below one lot"),
        ({"lower": float("nan")}, "finite"),
        ({"upper": float("inf")}, "finite"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(
    values: dict[str, float], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Limits.model_validate(values)


@pytest.mark.parametrize("values", [{"lot": 4.0}, {"lower": -0.5, "upper": 0.5, "lot": 1.0}])
def test_bounds_that_hold_no_lot_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"no lot of . fits between"):
        Limits(**values).bounded(REACH)  # type: ignore[arg-type]
