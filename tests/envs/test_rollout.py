"""The rollout: one arithmetic in NumPy and torch, honest totals, exact gradients, no free lunch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from deephedge.envs import Episodes, Hedger, Known, Scenario, load_scenario, mark, rollout, simulate
from deephedge.envs.markets import MarketPaths
from deephedge.envs.namespace import NUMPY, TORCH, X
from deephedge.envs.objectives import CVaR, Entropic, MeanStd, Objective, SemiQuadratic

Array = NDArray[np.float64]
Make = Callable[..., Scenario]
Noisy = Callable[[int], Hedger]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Rule:
    """A hedger from a function of what is known to the underlying's holding."""

    name = "rule"

    def __init__(self, holding: Callable[[Known], X]) -> None:
        self.holding = holding

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        holding = self.holding(known)
        zeros = 0.0 * known.holding
        if isinstance(zeros, Tensor):
            return torch.cat([zeros[:, :-1], holding[:, None]], -1), None
        return np.concatenate([zeros[:, :-1], holding[:, None]], -1), None


NOTHING = Rule(lambda known: 0.0 * known.spot)
NEUTRAL = Rule(lambda known: known.neutral[:, 0])


@pytest.mark.parametrize("seed", range(30))
def test_torch_and_numpy_agree(seed: int, random_scenario: Make, noise: Noisy) -> None:
    """To 1e-12 in float64, and in float32 to 1e-5 of the money that the position is on."""
    scenario = random_scenario(seed, loss_limit=None)
    episodes = simulate(scenario, 32, generator(seed))
    exact = rollout(scenario, episodes, noise(seed), record=True)
    tensors = rollout(scenario, episodes, noise(seed), differentiable=True, record=True)
    recorded, like = dict(vars(exact)), dict(vars(tensors))
    assert recorded.pop("market") is None and like.pop("market") is None
    assert recorded.pop("going").all() and like.pop("going").all()
    lines, same = recorded.pop("lines"), like.pop("lines")
    assert set(lines) >= {"pnl", "gains", "carry", "interest", "cost", "cash_flow"}
    for name, value in (recorded | lines).items():
        tensor = (like | same)[name]
        assert value.dtype == np.float64
        assert isinstance(tensor, Tensor)
        np.testing.assert_allclose(tensor.numpy(), value, rtol=1e-12, atol=1e-11)

    single = rollout(scenario, narrowed(episodes), noise(seed), differentiable=True)
    money = scenario.market.spot * scenario.position.size
    assert single.pnl.dtype == torch.float32
    np.testing.assert_allclose(single.pnl.numpy() / money, exact.pnl / money, atol=1e-5)


def narrowed(episodes: Episodes) -> Episodes:
    """The same in float32, the dates aside."""

    def cut(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) else value

    values = {name: cut(value) for name, value in vars(episodes).items()}
    return Episodes(**values | {"times": episodes.times})


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        (Entropic(aversion=0.3), {}),
        (CVaR(level=0.7), {"liquidate": "true"}),
        (MeanStd(weight=1.5), {"market.rate": "0.05", "market.dividend": "0.02"}),
        (SemiQuadratic(), {"hedges.0.limits": "{upper: 0.6, max_trade: 0.3}"}),
        (Entropic(aversion=0.3), {"hedges.0.costs": "[{kind: quadratic, rate: 0.01}]"}),
        (
            Entropic(aversion=0.3),
            {"hedges.0.costs": "[{kind: per-unit, fee: 0.1, minimum: 0.01}]"},
        ),
    ],
    ids=["entropic", "cvar", "mean-std", "semi-quadratic", "quadratic cost", "per-unit cost"],
)
def test_the_gradient_of_the_mean_pointwise_loss(
    objective: Objective, changes: dict[str, str]
) -> None:
    """Against central differences, through actions, costs, limits, interest and liquidation."""
    scenario = load_scenario("short-call", {"calendar.steps": "6"} | changes)
    episodes = simulate(scenario, 40, generator(4))
    theta = objective.theta(-rollout(scenario, episodes, NEUTRAL).pnl)

    def loss(weights: Tensor) -> Tensor:
        def holding(known: Known) -> X:
            move = torch.log(known.spot / 100) * 10
            inputs = torch.stack([torch.ones_like(move), move, known.holding[:, 0]])
            return torch.sigmoid(weights @ inputs)

        outcome = rollout(scenario, episodes, Rule(holding), differentiable=True)
        return objective.pointwise(-outcome.pnl, theta, TORCH).mean()

    weights = torch.tensor([0.1, 1.2, -0.7], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(weights), weights)
    step = 1e-6
    with torch.no_grad():
        moves = step * torch.eye(3, dtype=torch.float64)
        differences = [(loss(weights + m) - loss(weights - m)) / (2 * step) for m in moves]
    assert gradient.abs().min() > 1e-3
    np.testing.assert_allclose(gradient.numpy(), np.array(differences), rtol=1e-5)


@pytest.mark.parametrize("preset", ["short-call", "short-call-jumps"])
def test_no_rule_gains_in_a_market_without_drift(preset: str) -> None:
    """At no cost: noise, momentum, or any rule of the past buys its shares at the price it sees."""
    free = {"hedges.0.costs": "[]", "calendar.steps": "8"}
    scenario = load_scenario(preset, free)
    episodes = simulate(scenario, 40_000, generator(2))

    def momentum(known: Known) -> X:
        past = known.history("spot")
        return 3.0 * np.sign(past[-1] - past[max(known.t - 1, 0)])

    rng = np.random.default_rng(0)
    alone = rollout(scenario, episodes, NOTHING).pnl
    for rule in (momentum, lambda known: rng.uniform(-3, 3, len(known.spot))):
        gain = rollout(scenario, episodes, Rule(rule)).pnl - alone
        assert gain.std() > 1
        assert abs(gain.mean()) < 4 * gain.std() / 200
        total = rollout(scenario, episodes, Rule(rule)).pnl
        if preset == "short-call":  # marked at the market's vol: the premium is fair
            assert abs(total.mean()) < 4 * total.std() / 200


def test_cost_lowers_the_pnl_by_the_charges_and_nothing_else(noise: Noisy) -> None:
    terms = ("proportional, rate: 0.003", "fixed, fee: 0.1", "quadratic, rate: 1e-3")
    costs = str([f"{{kind: {term}}}" for term in terms]).replace("'", "")
    for rate in (0.0, 0.08):
        changes = {"liquidate": "true", "market.rate": str(rate)}
        dear = load_scenario("short-call", changes | {"hedges.0.costs": costs})
        free = load_scenario("short-call", changes | {"hedges.0.costs": "[]"})
        episodes = simulate(free, 100, generator(3))
        paid = rollout(dear, episodes, noise(1), record=True)
        unpaid = rollout(free, episodes, noise(1))
        assert (paid.cost > 1).all()
        assert (unpaid.cost == 0).all()
        assert (paid.trades == unpaid.trades).all()
        difference = unpaid.pnl - paid.pnl
        if rate == 0.0:
            assert difference == pytest.approx(paid.cost, rel=1e-11)
        else:  # and the interest that the charges would have earned
            lost = unpaid.interest - paid.interest
            assert difference == pytest.approx(paid.cost + lost, rel=1e-10)
            assert (lost > 0).all()


def test_the_pnl_scales_with_the_currency(noise: Noisy) -> None:
    """Spot and strike in cents: P&L in cents, for any holdings, proportional costs included."""
    dollars = load_scenario("short-call", {"liquidate": "true"})
    cents = load_scenario(
        "short-call",
        {"liquidate": "true", "market.spot": "1e4", "position.legs.0.claim.strike": "1e4"},
    )
    first, second = (
        rollout(scenario, simulate(scenario, 200, generator(5)), noise(2))
        for scenario in (dollars, cents)
    )
    for name in ("pnl", "premium", "gains", "cost", "cash_flow"):
        assert getattr(second, name) == pytest.approx(100 * getattr(first, name), rel=1e-9)
    assert second.turnover == pytest.approx(first.turnover)
    assert (second.trades == first.trades).all()


@pytest.mark.parametrize("seed", range(12))
def test_turnover_trades_and_clipping_are_those_of_the_holdings(
    seed: int, random_scenario: Make, noise: Noisy
) -> None:
    scenario = random_scenario(seed, loss_limit=None)
    episodes = simulate(scenario, 16, generator(seed))
    asked: list[Array] = []

    class Listening(Rule):
        def act(self, known: Known, state: None) -> tuple[X, None]:
            asked.append(noise(seed).act(known, None)[0])
            return asked[-1], None

    outcome = rollout(scenario, episodes, Listening(lambda known: known.spot), record=True)
    price, settles = episodes.price.numpy(), np.array(episodes.settles)
    start = np.where(
        settles[:-1, None], 0.0, np.vstack([0 * outcome.holding[:1], outcome.holding[:-1]])
    )
    end = np.where(settles[-1], 0.0, outcome.holding[-1]) * scenario.liquidate
    trade = outcome.holding - start
    turnover = (np.abs(trade) * price[:-1]).sum((0, 2)) + (np.abs(end) * price[-1]).sum(-1)
    assert outcome.turnover == pytest.approx(turnover / scenario.market.spot)
    assert outcome.trades.tolist() == ((trade != 0).sum((0, 2)) + (end != 0).sum(-1)).tolist()
    clipped = np.abs(np.array(asked) - outcome.holding).sum((0, 2))
    assert outcome.clipped == pytest.approx(clipped)


def test_the_record_begins_at_day_one_and_ends_at_the_pnl(noise: Noisy) -> None:
    scenario = load_scenario("book-jumps", {"position.premium": "3"})
    episodes = simulate(scenario, 20, generator(6))
    outcome = rollout(scenario, episodes, noise(3), record=True)
    assert outcome.holding.shape == (60, 20, 2)
    assert outcome.wealth.shape == (61, 20)
    assert outcome.wealth[0] == pytest.approx(3.0 + episodes.mark[0].numpy())
    assert (outcome.wealth[-1] == outcome.pnl).all()
    assert rollout(scenario, episodes, noise(3)).holding is None


@pytest.mark.parametrize("differentiable", [False, True])
def test_a_stopped_episode_stays_as_it_was(differentiable: bool, noise: Noisy) -> None:
    scenario = load_scenario("short-call", {"loss_limit": "1.5"})
    episodes = simulate(scenario, 300, generator(7))
    outcome = rollout(scenario, episodes, noise(4), differentiable=differentiable, record=True)
    wealth, holding = np.asarray(outcome.wealth), np.asarray(outcome.holding)
    stopped = (wealth <= -1.5).argmax(0)  # the first such date, 0 where there is none
    assert 30 < (stopped > 0).sum() < 300
    for path, date in enumerate(stopped):
        if date:
            assert (wealth[date:, path] == wealth[date, path]).all()
            assert (holding[date:, path] == 0).all()
    assert (holding[stopped - 1, range(300)][stopped > 0] != 0).mean() > 0.5
    early = rollout(scenario, episodes, noise(4)).cost[stopped == 1]
    first = np.abs(holding[0, stopped == 1, 0])
    spot = episodes.spot.numpy()
    assert early == pytest.approx(0.002 * first * (100 + spot[1, stopped == 1]))


def test_a_path_does_not_depend_on_the_others(random_scenario: Make) -> None:
    scenario = random_scenario(3, loss_limit=2.0)
    gen = generator(8)
    times = scenario.calendar.times(50, gen)
    paths = scenario.market.simulate(times, 50, gen)
    together = rollout(scenario, mark(scenario, paths), NEUTRAL)
    some = [7, 31, 40]
    alone = rollout(scenario, mark(scenario, columns(paths, some)), NEUTRAL)
    for field in fields(together):
        if (value := getattr(together, field.name)) is not None:
            np.testing.assert_allclose(getattr(alone, field.name), value[some], rtol=1e-13)


def columns(paths: MarketPaths, some: list[int]) -> MarketPaths:
    def cut(value: Any) -> Any:
        if isinstance(value, MarketPaths):
            return columns(value, some)
        if isinstance(value, dict):
            return {name: cut(one) for name, one in value.items()}
        if isinstance(value, tuple):
            return tuple(map(cut, value))
        return value if value is None or value.shape[1] == 1 else value[:, some]

    return MarketPaths(**{name: cut(value) for name, value in vars(paths).items()})


def test_a_hedgers_state_is_its_own_thread() -> None:
    seen: list[tuple[int, Any]] = []

    class Counting:
        name = "counting"

        def start(self, n: int) -> list[int]:
            return [n]

        def act(self, known: Known, state: list[int]) -> tuple[X, list[int]]:
            seen.append((known.t, state))
            return 0.0 * known.holding, [*state, known.t]

    scenario = load_scenario("short-call", {"calendar.steps": "3"})
    rollout(scenario, simulate(scenario, 5, generator(0)), Counting())
    assert seen == [(0, [5]), (1, [5, 0]), (2, [5, 0, 1])]


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda holding: holding[:, :1], r"shape \(5, 1\): give \(5, 2\)"),
        (lambda holding: holding[:4], r"shape \(4, 2\): give \(5, 2\)"),
        (lambda holding: holding + float("nan"), "NaN or infinite"),
        (lambda holding: holding + float("inf"), "NaN or infinite"),
    ],
)
def test_impossible_holdings_are_refused(
    change: Callable[[X], X], message: str, differentiable: bool
) -> None:
    class Wrong(Rule):
        name = "wrong"

        def act(self, known: Known, state: None) -> tuple[X, None]:
            return change(0.0 * known.holding), None

    scenario = load_scenario("gamma-hedge-jumps")
    episodes = simulate(scenario, 5, generator(0))
    with pytest.raises(ValueError, match=f"'wrong' gave .*{message}"):
        rollout(scenario, episodes, Wrong(NEUTRAL.holding), differentiable=differentiable)


def test_the_rollout_leaves_its_episodes_alone(noise: Noisy) -> None:
    scenario = load_scenario("book-jumps")
    episodes = simulate(scenario, 30, generator(9))
    before = {name: value.clone() for name, value in tensors_of(episodes)}
    first = rollout(scenario, episodes, noise(5))
    for name, value in tensors_of(episodes):
        assert torch.equal(value, before[name]), name
    assert (rollout(scenario, episodes, noise(5)).pnl == first.pnl).all()
    assert np.isfinite(scenario.objective.pointwise(-first.pnl, (1.0,), NUMPY)).all()


def tensors_of(episodes: Episodes) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(episodes).items():
        if isinstance(value, Tensor):
            yield name, value
