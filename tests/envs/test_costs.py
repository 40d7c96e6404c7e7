"""Costs: each term by hand, never negative, nothing for no trade, one arithmetic everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deephedge.envs.costs import (
    Cost,
    FixedCost,
    PerUnitCost,
    ProportionalCost,
    QuadraticCost,
    total_cost,
)
from deephedge.envs.namespace import NUMPY, SCALAR, TORCH

TERMS: list[Cost] = [
    ProportionalCost(rate=0.002),
    FixedCost(fee=0.7),
    PerUnitCost(fee=0.01, minimum=1.0),
    QuadraticCost(rate=0.0003),
]
trades = st.floats(-1e4, 1e4)
prices = st.floats(0, 1e4)


@pytest.mark.parametrize(
    ("cost", "trade", "price", "charge"),
    [
        (ProportionalCost(rate=0.002), 3.0, 50.0, 0.3),
        (ProportionalCost(rate=0.002), -3.0, 50.0, 0.3),
        (FixedCost(fee=0.7), 0.001, 50.0, 0.7),
        (FixedCost(fee=0.7), -1000.0, 50.0, 0.7),
        (FixedCost(fee=0.7), 5.0, 0.0, 0.7),
        (PerUnitCost(fee=0.01, minimum=1.0), -50.0, 80.0, 1.0),
        (PerUnitCost(fee=0.01, minimum=1.0), -500.0, 80.0, 5.0),
        (PerUnitCost(fee=0.01), 50.0, 80.0, 0.5),
        (QuadraticCost(rate=0.0003), -20.0, 50.0, 6.0),
        (QuadraticCost(rate=0.0003), 40.0, 50.0, 24.0),
    ],
)
def test_a_charge_by_hand(cost: Cost, trade: float, price: float, charge: float) -> None:
    assert cost.charge(trade, price, SCALAR) == pytest.approx(charge, rel=1e-14)


@given(trade=trades, price=prices, term=st.sampled_from(TERMS))
def test_no_charge_is_negative_and_no_trade_is_free(trade: float, price: float, term: Cost) -> None:
    assert term.charge(trade, price, SCALAR) >= 0.0
    assert term.charge(trade, price, SCALAR) == term.charge(-trade, price, SCALAR)
    assert term.charge(0.0, price, SCALAR) == 0.0


@given(trade=trades, price=prices, terms=st.lists(st.sampled_from(TERMS), max_size=4))
def test_the_total_is_the_sum_in_order_and_the_same_number_in_every_namespace(
    trade: float, price: float, terms: list[Cost]
) -> None:
    by_hand = 0.0
    for term in terms:
        by_hand = by_hand + term.charge(trade, price, SCALAR)
    total = total_cost(terms, trade, price, SCALAR)
    assert total == by_hand
    many: Any = np.array([trade, 0.0]), np.array([price, price])
    assert total_cost(terms, *many, NUMPY).tolist() == [total, 0.0]
    tensors = [torch.tensor(array) for array in many]
    assert total_cost(terms, *tensors, TORCH).tolist() == [total, 0.0]


def test_a_fee_on_many_paths_is_charged_only_where_there_is_a_trade() -> None:
    trade = np.array([0.0, 1.0, -1e-9, 0.0])
    price = np.full(4, 50.0)
    assert FixedCost(fee=0.7).charge(trade, price, NUMPY).tolist() == [0.0, 0.7, 0.7, 0.0]
    charges = PerUnitCost(fee=0.1, minimum=0.5).charge(trade, price, NUMPY)
    assert charges.tolist() == [0.0, 0.5, 0.5, 0.0]


def test_the_gradient_of_a_charge_is_its_slope() -> None:
    trade = torch.tensor([-2.0, 3.0], dtype=torch.float64, requires_grad=True)
    price = torch.tensor([50.0, 80.0], dtype=torch.float64)
    total_cost(TERMS, trade, price, TORCH).sum().backward()
    slope = [-0.002 * 50 - 2 * 0.0003 * 2 * 50, 0.002 * 80 + 2 * 0.0003 * 3 * 80]
    assert trade.grad is not None
    assert trade.grad.tolist() == pytest.approx(slope, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ProportionalCost, {"rate": -1e-9}),
        (ProportionalCost, {"rate": float("nan")}),
        (ProportionalCost, {"rate": "0.1"}),
        (FixedCost, {"fee": -1.0}),
        (PerUnitCost, {"fee": 0.1, "minimum": -1.0}),
        (PerUnitCost, {"fee": float("inf")}),
        (QuadraticCost, {"rate": -0.1}),
        (QuadraticCost, {}),
    ],
)
def test_a_cost_that_would_pay_the_trader_is_refused(
    kind: type[Cost], values: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(values)
