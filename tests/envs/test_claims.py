"""Claims: payoffs on hand-made paths, impossible values refused, books, and scenarios on disk."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from deephedge.envs import Scenario, ScenarioError, load_scenario
from deephedge.envs.instruments.asian import Asian, AsianCall, AsianPut
from deephedge.envs.instruments.barrier import BarrierCall, BarrierOption, BarrierPut
from deephedge.envs.instruments.books import (
    Legs,
    butterfly,
    call_spread,
    put_spread,
    risk_reversal,
    straddle,
    strangle,
)
from deephedge.envs.instruments.claim import Claim, Path
from deephedge.envs.instruments.digital import DigitalCall, DigitalPut
from deephedge.envs.instruments.forward_start import ForwardStart, ForwardStartCall, ForwardStartPut
from deephedge.envs.instruments.lookback import (
    FloatingLookbackCall,
    FloatingLookbackPut,
    LookbackCall,
    LookbackPut,
)
from deephedge.envs.instruments.path_claim import PathClaim
from deephedge.envs.instruments.position import Position
from deephedge.envs.instruments.prepaid_forward import PrepaidForward
from deephedge.envs.instruments.several_assets import BasketCall, BasketPut, Exchange
from deephedge.envs.instruments.variance_swap import VarianceSwap
from deephedge.envs.part import Part
from deephedge.envs.presets import dump_scenario

TIMES = torch.tensor([[0.0], [0.25], [0.5], [1.0]], dtype=torch.float64)
# Two paths: 100, 80, 125, 110 and 100, 120, 90, 95; a second asset at 50, then 60 and 40.
SPOT = torch.tensor([[100, 100], [80, 120], [125, 90], [110, 95]], dtype=torch.float64)
OTHER = torch.tensor([[50, 50], [55, 45], [52, 48], [60, 40]], dtype=torch.float64)
PATH = Path(TIMES, SPOT, (SPOT, OTHER))


def squares(*spots: float) -> float:
    return sum(math.log(b / a) ** 2 for a, b in pairwise(spots))


PAYOFFS: list[tuple[Claim, list[float]]] = [
    (PrepaidForward(), [110, 95]),
    (DigitalCall(strike=100, cash=7.0), [7, 0]),
    (DigitalPut(strike=100), [0, 1]),
    (DigitalCall(strike=110), [0, 0]),  # at the strike neither pays
    (DigitalPut(strike=95), [0, 0]),
    (AsianCall(strike=100), [5, 305 / 3 - 100]),  # the start does not count
    (AsianPut(strike=103), [0, 103 - 305 / 3]),
    (
        AsianCall(strike=100, average="geometric"),
        [(80 * 125 * 110) ** (1 / 3) - 100, (120 * 90 * 95) ** (1 / 3) - 100],
    ),
    (BarrierCall(strike=90, barrier=80, direction="down", knock="out"), [0, 5]),
    (BarrierCall(strike=90, barrier=80, direction="down", knock="in"), [20, 0]),
    (BarrierCall(strike=90, barrier=120, direction="up", knock="in"), [20, 5]),
    (BarrierPut(strike=112, barrier=125, direction="up", knock="out"), [0, 17]),
    (BarrierPut(strike=112, barrier=110, direction="up", knock="in"), [2, 17]),  # at the end
    (BarrierCall(strike=90, barrier=100, direction="up", knock="out"), [0, 0]),  # at the start
    (BarrierPut(strike=112, barrier=100, direction="down", knock="in"), [2, 17]),
    (LookbackCall(strike=110), [15, 10]),
    (LookbackPut(strike=85), [5, 0]),
    (FloatingLookbackCall(), [30, 5]),
    (FloatingLookbackPut(), [15, 25]),
    (ForwardStartCall(start=0.25), [30, 0]),
    (ForwardStartCall(start=0.4), [30, 0]),  # between dates: the earlier
    (ForwardStartPut(start=0.5, moneyness=1.1), [137.5 - 110, 99 - 95]),
    (ForwardStartCall(start=0.0, moneyness=0.9), [20, 5]),
    (
        VarianceSwap(strike_vol=0.2, notional=10),
        [10 * (squares(*path) - 0.04) for path in SPOT.T.tolist()],
    ),
    (Exchange(ratio=2.0), [0, 15]),
    (Exchange(asset=1, other=0, ratio=0.5), [5, 0]),
    (BasketCall(strike=100, weights=(0.5, 1.0)), [15, 0]),
    (BasketPut(strike=100, weights=(0.5, 1.0)), [0, 12.5]),
    (PathClaim(function=lambda path: path.spot[1:].amax(dim=0) - path.spot[0]), [25, 20]),
    (PathClaim(function=lambda path: (path.assets[1] * path.times).sum(dim=0)), [99.75, 75.25]),
]


@pytest.mark.parametrize(("claim", "paid"), PAYOFFS, ids=lambda x: getattr(x, "kind", ""))
def test_payoffs_by_hand(claim: Claim, paid: list[float]) -> None:
    path = PATH._replace(spot=PATH.assets[claim.asset])
    torch.testing.assert_close(claim.payoff(path), torch.tensor(paid, dtype=torch.float64))
    single = Path(TIMES, path.spot.float(), tuple(asset.float() for asset in path.assets))
    assert claim.payoff(single).shape == (2,)
    if not isinstance(claim, PathClaim):
        assert claim.payoff(single).dtype == torch.float32


def test_dates_may_differ_from_path_to_path() -> None:
    times = torch.tensor([[0.0, 0.0], [0.2, 0.3], [0.4, 0.6], [1.0, 1.0]], dtype=torch.float64)
    path = Path(times, SPOT, (SPOT,))
    assert ForwardStartCall(start=0.4).payoff(path).tolist() == [0.0, 0.0]  # rows 2 and 1
    assert ForwardStartCall(start=0.2).payoff(path).tolist() == [30.0, 0.0]  # rows 1 and 0
    swap = VarianceSwap(strike_vol=0.0, notional=1.0)
    longer = swap.payoff(path._replace(times=times * torch.tensor([1.0, 2.0])))
    assert longer[1] == swap.payoff(path)[1] / 2


def test_reach_is_the_highest_asset() -> None:
    assert DigitalCall(strike=1.0, asset=2).reach == 2
    assert Exchange(asset=3, other=1).reach == 3
    assert Exchange(asset=0, other=4).reach == 4
    assert BasketCall(strike=1.0, weights=(1.0, 1.0, 1.0)).reach == 2


def test_what_hangs_on_the_path_says_so() -> None:
    on_the_path = (Asian, BarrierOption, FloatingLookbackCall, LookbackCall, ForwardStart)
    assert all(kind.path_dependent for kind in (*on_the_path, VarianceSwap, PathClaim))
    assert not any(kind.path_dependent for kind in (DigitalCall, Exchange, BasketCall))


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (DigitalCall, {"strike": 100.0, "cash": 0.0}, "greater than 0"),
        (AsianCall, {"strike": 0.0}, "greater than 0"),
        (AsianCall, {"strike": 100.0, "average": "harmonic"}, "'arithmetic' or 'geometric'"),
        (BarrierCall, {"strike": 1.0, "barrier": 1.0, "direction": "left", "knock": "in"}, "'up'"),
        (BarrierCall, {"strike": 1.0, "barrier": 1.0, "direction": "up"}, "knock"),
        (FloatingLookbackCall, {"strike": 1.0}, "Extra inputs"),
        (ForwardStartCall, {"start": -0.1}, "greater than or equal to 0"),
        (ForwardStartCall, {"start": 0.5, "maturity": 0.5}, "0.5 is not before maturity 0.5"),
        (VarianceSwap, {"strike_vol": 0.2}, "notional"),
        (Exchange, {"asset": 1}, "asset 1 for itself is no exchange"),
        (BasketCall, {"strike": 1.0, "weights": ()}, "at least 1"),
        (BasketCall, {"strike": 1.0, "weights": (1.0, -1.0)}, "greater than 0"),
        (BasketCall, {"strike": 1.0, "weights": (1.0,), "asset": 1}, "not in a basket of 1"),
        (PathClaim, {"function": 3.0}, "callable"),
    ],
)
def test_impossible_values_are_refused(
    kind: type[Claim], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        kind(**fields)


class Holder(Part):
    claim: Claim


@pytest.mark.parametrize("claim", [claim for claim, _ in PAYOFFS if claim.kind != "path"])  # type: ignore[attr-defined]
def test_plain_data_comes_back_as_the_same_claim(claim: Claim) -> None:
    tree = Holder(claim=claim).model_dump(mode="json")
    assert Holder.model_validate(tree).claim == claim
    schema = str(Holder.model_json_schema())
    assert all(name in schema for name in ("basket-call", "asian-put", "variance-swap", "path"))


def test_a_payoff_in_python_runs_and_cannot_be_saved() -> None:
    claim = PathClaim(function=lambda path: path.spot[-1])
    legs = [{"quantity": -1.0, "claim": claim}]
    scenario = Scenario(**{**dict(load_scenario("short-call")), "position": Position(legs=legs)})
    with pytest.raises(ScenarioError, match=r"cannot be saved: .* Python only"):
        dump_scenario(scenario)


def test_a_payoff_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 2\) .* each of the 2 paths: reduce over"):
        PathClaim(function=lambda path: path.spot).payoff(PATH)


# Books ------------------------------------------------------------------------------------------

ENDS = torch.tensor([[70.0, 90.0, 95.0, 100.0, 105.0, 110.0, 140.0]], dtype=torch.float64)


def pays(legs: Legs) -> Tensor:
    path = Path(TIMES[:1], ENDS, (ENDS,))
    return sum((leg.quantity * leg.claim.payoff(path) for leg in legs), torch.zeros(7))


@pytest.mark.parametrize(
    ("legs", "paid"),
    [
        (straddle(100.0), [30, 10, 5, 0, 5, 10, 40]),
        (straddle(100.0, -2.0), [-60, -20, -10, 0, -10, -20, -80]),
        (strangle(95.0, 105.0), [25, 5, 0, 0, 0, 5, 35]),
        (call_spread(95.0, 105.0), [0, 0, 0, 5, 10, 10, 10]),
        (put_spread(95.0, 105.0, 3.0), [30, 30, 30, 15, 0, 0, 0]),
        (risk_reversal(95.0, 105.0), [-25, -5, 0, 0, 0, 5, 35]),
        (butterfly(90.0, 100.0, 110.0), [0, 0, 5, 10, 5, 0, 0]),
        (butterfly(90.0, 100.0, 105.0, 2.0), [0, 0, 10, 20, 0, 0, 0]),
    ],
)
def test_books_by_hand(legs: Legs, paid: list[float]) -> None:
    torch.testing.assert_close(pays(legs), torch.tensor(paid, dtype=torch.float64))
    assert Position(legs=legs).legs == legs


def test_books_carry_the_maturity_and_want_rising_strikes() -> None:
    assert all(leg.claim.maturity == 0.1 for leg in butterfly(1.0, 2.0, 3.0, maturity=0.1))
    assert all(leg.claim.maturity == 0.1 for leg in straddle(1.0, maturity=0.1))
    for wrong in (
        lambda: strangle(105.0, 95.0),
        lambda: call_spread(100.0, 100.0),
        lambda: put_spread(105.0, 95.0),
        lambda: risk_reversal(100.0, 100.0),
        lambda: butterfly(90.0, 110.0, 100.0),
    ):
        with pytest.raises(ValueError, match="do not rise: give the lowest first"):
            wrong()
