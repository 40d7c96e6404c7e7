"""Actions: every map by hand, bands that rest inside, tables of choices, only numbers out."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from deephedge.envs import HedgingEnv, HedgingVectorEnv, Scenario, View, load_scenario
from deephedge.envs.action import (
    MAX_CHOICES,
    ActionMap,
    BandAction,
    DiscreteAction,
    ResidualAction,
    TargetAction,
    TradeAction,
    TriggerAction,
)
from deephedge.envs.constraints import Limits
from deephedge.envs.namespace import NUMPY, SCALAR, TORCH

MAPS: list[ActionMap] = [
    TargetAction(),
    TradeAction(reach=0.7),
    ResidualAction(reach=0.4),
    BandAction(reach=0.5, rest=0.2),
    TriggerAction(reach=0.5, rest=0.2),
    DiscreteAction(levels=3, of=BandAction(reach=0.5, rest=0.2)),
]
BOUNDS, SIZE = (-1.0, 3.0), 2.0
each_map = pytest.mark.parametrize("mapping", MAPS, ids=lambda m: type(m).__name__)


def target(mapping: ActionMap, action: tuple[float, ...], holding: float, centre: float) -> float:
    value: float = mapping.target(action, holding, (centre, centre), BOUNDS, SIZE, SCALAR)
    return value


# The formulas -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "action", "expected"),
    [
        (TargetAction(), (-1.0,), -1.0),  # the lower bound
        (TargetAction(), (1.0,), 3.0),
        (TargetAction(), (0.0,), 1.0),  # the middle
        (TargetAction(), (0.5,), 2.0),
        (TradeAction(reach=0.7), (0.0,), 0.25),  # holding 0.25, reach 0.7 sizes of 2
        (TradeAction(reach=0.7), (-1.0,), 0.25 - 1.4),
        (TradeAction(reach=0.7), (0.5,), 0.25 + 0.7),
        (ResidualAction(reach=0.4), (0.0,), 0.8),  # centre 0.8
        (ResidualAction(reach=0.4), (1.0,), 0.8 + 0.8),
        (ResidualAction(reach=0.4), (-0.25,), 0.8 - 0.2),
        # Edges 0.6 to 1.0 (rest 0.1 size), 0.35 away; slack 0.2 at rest, then 0.2 + 1.0 * 0.2.
        (TriggerAction(reach=0.5), (0.0, 0.0, 0.0), 0.6),
        (TriggerAction(reach=0.5), (0.0, 0.0, 0.2), 0.25),
        (TriggerAction(reach=0.5), (0.0, 0.0, 0.14), 0.6),
        (TriggerAction(reach=0.5), (0.0, 0.0, -1.0), 0.6),
        (TriggerAction(reach=0.5), (-0.4, 0.0, -1.0), 0.25),
        # Edges at 0.8 -+ 0.1 size + 0.5 size a: at rest 0.6 to 1.0, and 0.25 is below.
        (BandAction(reach=0.5, rest=0.1), (0.0, 0.0), 0.6),
        (BandAction(reach=0.5, rest=0.1), (-0.2, 0.0), 0.4),
        (BandAction(reach=0.5, rest=0.1), (-0.5, 0.0), 0.25),  # from 0.1 on: inside
        (BandAction(reach=0.5, rest=0.1), (-1.0, -1.0), 0.0),  # -0.4 to 0.0, from above
        (BandAction(reach=0.5, rest=0.1), (1.0, -1.0), 0.25),  # crossed: 1.6 and 0.0, put in order
        (BandAction(reach=0.5, rest=0.0), (0.0, 0.0), 0.8),  # no width: the centre
    ],
)
def test_formulas_by_hand(mapping: ActionMap, action: tuple[float, ...], expected: float) -> None:
    assert len(action) == mapping.width
    assert target(mapping, action, holding=0.25, centre=0.8) == pytest.approx(expected, abs=1e-15)


def test_reach_and_rest_are_in_position_sizes_and_bounds_in_units() -> None:
    for mapping in MAPS:
        action = (0.5,) * mapping.width
        single = mapping.target(action, 0.25, (0.8, 0.8), (-1.0, 1.0), 1.0, SCALAR)
        tenfold = mapping.target(action, 2.5, (8.0, 8.0), (-10.0, 10.0), 10.0, SCALAR)
        assert tenfold == pytest.approx(10 * single)


number = st.floats(-1, 1)
holding_of = st.floats(-100, 100)


@given(lower=number, upper=number, holding=holding_of, centre=holding_of)
def test_a_band_trades_only_from_outside_and_to_the_nearest_edge(
    lower: float, upper: float, holding: float, centre: float
) -> None:
    band = BandAction(reach=0.5, rest=0.2)
    edges = sorted((centre - 0.4 + lower, centre + 0.4 + upper))
    held = target(band, (lower, upper), holding, centre)
    inside = edges[0] <= holding <= edges[1]
    if inside:
        assert held == holding  # to the bit: no trade, no fixed fee
    else:
        nearest = min(edges, key=lambda edge: abs(edge - holding))
        assert held == pytest.approx(nearest, abs=1e-9)
    assert target(band, (lower, upper), held, centre) == held  # once there, it stays
    shown = band.edges((lower, upper), holding, (centre, centre), SIZE)
    assert sorted(shown) == pytest.approx(edges, abs=1e-9)


@given(action=st.tuples(number, number, number), holding=holding_of, centre=holding_of)
@each_map
def test_three_arithmetics_agree_and_stay_numbers(
    mapping: ActionMap, action: tuple[float, ...], holding: float, centre: float
) -> None:
    action_here = action[: mapping.width]
    scalar = target(mapping, action_here, holding, centre)
    assert np.isfinite(scalar)
    columns = [np.array([x, x]) for x in (*action_here, holding, centre)]
    *numbers, held, middle = columns
    array = mapping.target(tuple(numbers), held, (middle, middle), BOUNDS, SIZE, NUMPY)
    assert array.tolist() == [scalar, scalar]
    *tensors, held, middle = [torch.tensor(column) for column in columns]
    tensor = mapping.target(tuple(tensors), held, (middle, middle), BOUNDS, SIZE, TORCH)
    assert tensor.tolist() == [scalar, scalar]


def test_gradients_reach_the_active_edge_of_a_band() -> None:
    """Below the band the lower edge decides, above it the upper one, inside neither."""
    actions = torch.zeros((3, 2), dtype=torch.float64, requires_grad=True)
    holding = torch.tensor([0.0, 0.8, 2.0], dtype=torch.float64)
    centre = torch.full((3,), 0.8, dtype=torch.float64)
    band = BandAction(reach=0.5, rest=0.1)
    held = band.target(
        (actions[:, 0], actions[:, 1]), holding, (centre, centre), BOUNDS, SIZE, TORCH
    )
    (gradient,) = torch.autograd.grad(held.sum(), actions)
    assert gradient.tolist() == [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]


# Several instruments ----------------------------------------------------------------------------


def hedged(action: ActionMap, *limits: Limits, preset: str = "gamma-hedge-jumps") -> HedgingEnv:
    """A short call hedged with a listed option and the share, every delta in sight."""
    problem = load_scenario(preset)
    if limits:
        pairs = zip(problem.hedges, limits, strict=True)
        hedges = tuple(hedge.model_copy(update={"limits": limit}) for hedge, limit in pairs)
        problem = problem.model_copy(update={"hedges": hedges})
    view = View(features=("delta", "option_delta", "holding"), action=action)
    return HedgingEnv(problem, view)


def deltas(env: HedgingEnv, observation: NDArray[np.float32]) -> tuple[float, float]:
    """The delta of the position and that of the listed option."""
    size = env.scenario.contract.size
    return float(observation[0]) * size, float(observation[1])


def test_the_share_is_centred_on_what_options_leave() -> None:
    env = hedged(ResidualAction(reach=0.4))
    observation, _ = env.reset(seed=1)
    option = share = 0.0
    for action in ([0.5, 0.0], [-0.2, 0.25], [0.3, -1.0]):
        position, listed = deltas(env, observation)
        option += 0.4 * action[0]  # an option's own centre is what is held of it
        share = -position - option * listed + 0.4 * action[1]
        observation, _, _, _, info = env.step(np.array(action, dtype=np.float32))
        assert info["option_holding_0"] == pytest.approx(option, abs=1e-6)
        assert info["holding"] == pytest.approx(share, abs=1e-6)


def test_the_share_is_centred_on_the_option_holding_that_limits_allow() -> None:
    """The share must not hedge options that were asked for and not allowed."""
    env = hedged(ResidualAction(reach=0.9), Limits(upper=0.5, max_trade=0.3, lot=0.1), Limits())
    observation, _ = env.reset(seed=2)
    for expected in (0.3, 0.5, 0.5):
        position, listed = deltas(env, observation)
        observation, _, _, _, info = env.step(np.array([1.0, 0.0], dtype=np.float32))
        assert info["option_holding_0"] == pytest.approx(expected)
        assert info["holding"] == pytest.approx(-position - expected * listed, abs=1e-6)
        assert info["clipped"] > 0.3


def test_a_band_at_rest_leaves_the_options_alone_and_delta_hedges() -> None:
    env = hedged(BandAction(reach=1.0, rest=0.0))
    observation, _ = env.reset(seed=3)
    for _ in range(5):
        position, _ = deltas(env, observation)
        observation, _, _, _, info = env.step(np.zeros(4, dtype=np.float32))
        assert info["option_holding_0"] == 0
        assert info["holding"] == pytest.approx(-position, abs=1e-6)


def test_an_option_is_bought_by_the_smallest_action_and_by_its_gradient() -> None:
    """A width about the present holding would hide the first trade from a learner for good."""
    band, residual = BandAction(reach=0.5, rest=0.2), ResidualAction(reach=0.5)
    for held in (0.0, 0.7):
        assert band.target((0.0, 0.0), held, None, BOUNDS, SIZE, SCALAR) == held
        assert band.target((0.01, 0.02), held, None, BOUNDS, SIZE, SCALAR) == held + 0.01
        assert band.target((-0.01, 0.02), held, None, BOUNDS, SIZE, SCALAR) == held
        assert residual.target((0.01,), held, None, BOUNDS, SIZE, SCALAR) == held + 0.01
    env = hedged(BandAction())
    env.reset(seed=3)
    *_, info = env.step(np.array([0.01, 0.02, 0.0, 0.0], dtype=np.float32))
    assert info["option_holding_0"] == pytest.approx(0.01)


# Choices ----------------------------------------------------------------------------------------


def test_the_table_holds_every_combination_once() -> None:
    mapping = DiscreteAction(levels=3, of=BandAction())
    assert mapping.width == 2
    table = mapping.table(1)
    assert table.dtype == np.float32
    assert table.tolist() == [list(row) for row in itertools.product((-1.0, 0.0, 1.0), repeat=2)]
    two = mapping.table(2)
    assert two.shape == (81, 4)
    assert len({tuple(row) for row in two.tolist()}) == 81
    single = DiscreteAction(levels=5, of=TargetAction()).table(1)
    assert single.tolist() == [[-1.0], [-0.5], [0.0], [0.5], [1.0]]


@pytest.mark.parametrize(
    ("of", "most"), [(TargetAction(), 256), (TradeAction(), 256), (BandAction(), 16)]
)
def test_more_than_256_choices_are_refused(of: Any, most: int) -> None:
    assert len(DiscreteAction(levels=most, of=of).table(1)) == MAX_CHOICES == 256
    with pytest.raises(ValueError, match="choices, more than 256: lower levels"):
        DiscreteAction(levels=most + 1, of=of)
    with pytest.raises(ValueError, match="levels"):
        DiscreteAction(levels=1, of=of)


def test_choices_are_counted_over_all_instruments() -> None:
    """Five levels of two edges are 25 choices for one instrument, 625 for two."""
    mapping = DiscreteAction(levels=5)
    tree = load_scenario("gamma-hedge-jumps").model_dump()
    tree["view"]["action"] = mapping
    with pytest.raises(ValueError, match="625 choices, more than 256"):
        Scenario.model_validate(tree)
    with pytest.raises(ValueError, match="625 choices, more than 256"):
        HedgingEnv("gamma-hedge-jumps", View(action=mapping))
    assert HedgingEnv("short-call", View(action=mapping)).action_space.n == 25


def test_a_choice_is_its_row_of_the_table() -> None:
    of = BandAction(reach=0.5)
    mapping = DiscreteAction(levels=4, of=of)
    chosen, free = (
        HedgingEnv("gamma-hedge-jumps", View(action=action)) for action in (mapping, of)
    )
    chosen.reset(seed=4)
    free.reset(seed=4)
    table = mapping.table(2)
    assert len(table) == 256
    for choice in (0, 255, 17, 100, 3):
        first, second = chosen.step(np.int64(choice)), free.step(table[choice])
        np.testing.assert_array_equal(first[0], second[0])
        assert first[1] == second[1]


# Into the environments --------------------------------------------------------------------------


@each_map
def test_any_action_gives_numbers_and_holdings_within_the_bounds(mapping: ActionMap) -> None:
    for preset in ("book-jumps", "short-call") if mapping.width == 1 else ("short-call",):
        view = View(action=mapping)
        env = HedgingVectorEnv(16, preset, view)
        env.reset(seed=5)
        env.action_space.seed(5)
        limits = env.scenario.limits
        for _ in range(40):
            observation, reward, _, _, info = env.step(env.action_space.sample())
            assert np.isfinite(observation).all()
            assert np.isfinite(reward).all()
            assert (limits[-1].lower <= info["holding"]).all()
            assert (info["holding"] <= limits[-1].upper).all()


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([np.nan, 0.0], "NaN or infinite"),
        ([0.0, np.inf], "NaN or infinite"),
        ([0.0], "give 2 numbers"),
        ([0.0, 0.0, 0.0], "give 2 numbers"),
        ([[0.0, 0.0]], "give 2 numbers"),
        ([[0.0], [0.0]], "give 2 numbers"),
        (0.0, "give 2 numbers"),
    ],
)
def test_a_wrong_action_is_refused_and_changes_nothing(action: Any, message: str) -> None:
    env, other = HedgingEnv("short-call"), HedgingEnv("short-call")
    env.reset(seed=6)
    other.reset(seed=6)
    for given_action in (np.array(action, dtype=np.float32), action):
        with pytest.raises(ValueError, match=message):
            env.step(given_action)
    fine = np.array([0.3, 0.1], dtype=np.float32)
    first, second = env.step(fine), other.step(fine)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1:] == second[1:]
    vector = HedgingVectorEnv(2, "short-call")
    vector.reset(seed=6)
    with pytest.raises(ValueError, match=r"NaN or infinite|of shape"):
        vector.step(np.array([action, action], dtype=np.float32))


@pytest.mark.parametrize("choice", [-1, 25, 2.5, [1], None])
def test_a_choice_that_is_none_is_refused(choice: Any) -> None:
    env = HedgingEnv("short-call", View(action=DiscreteAction(levels=5)))
    env.reset(seed=7)
    with pytest.raises(ValueError, match="is not one of 25 choices"):
        env.step(choice)


def test_actions_beyond_the_box_count_as_its_edge() -> None:
    first, second = HedgingEnv("short-call"), HedgingEnv("short-call")
    first.reset(seed=8)
    second.reset(seed=8)
    for over, edge in (([1.4, 3.0], [1.0, 1.0]), ([-9.0, -1.2], [-1.0, -1.0])):
        beyond = first.step(np.array(over, dtype=np.float32))
        at_edge = second.step(np.array(edge, dtype=np.float32))
        np.testing.assert_array_equal(beyond[0], at_edge[0])
        assert beyond[1] == at_edge[1]
        assert beyond[4]["clipped"] == 0  # so no limit has hidden the difference


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TradeAction(reach=0.0), "reach"),
        (lambda: ResidualAction(reach=-1.0), "reach"),
        (lambda: BandAction(rest=-0.1), "rest"),
        (lambda: BandAction(reach=float("inf")), "reach"),
        (lambda: TargetAction(reach=1.0), "reach"),
        (lambda: DiscreteAction(of=DiscreteAction()), "of"),
    ],
)
def test_impossible_maps_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
