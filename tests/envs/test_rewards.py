"""Rewards: each sums to what it claims, in one arithmetic for floats, arrays and tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from deephedge.envs.namespace import NUMPY, SCALAR, TORCH
from deephedge.envs.objectives import (
    CVaR,
    Entropic,
    Expectile,
    MeanStd,
    MeanVariance,
    Objective,
    Quadratic,
    RootMeanSquare,
    SemiQuadratic,
    VaR,
)
from deephedge.envs.part import Part
from deephedge.envs.rewards import (
    AccountingReward,
    CashFlowReward,
    KolmRitterReward,
    Reward,
    RewardStep,
    TelescopedReward,
)
from deephedge.envs.sample import Losses
from deephedge.envs.shortfall import Shortfall

OBJECTIVES: list[Objective] = [
    Entropic(aversion=0.5),
    CVaR(level=0.9),
    MeanStd(weight=1.0),
    MeanVariance(aversion=0.5),
    Quadratic(),
    SemiQuadratic(),
    Expectile(level=0.9),
    Shortfall(threshold=0.5, weight=4.0),
]
REWARDS: list[Reward] = [
    TelescopedReward(),
    KolmRitterReward(aversion=0.3),
    AccountingReward(),
    CashFlowReward(),
]


class Held(Part):
    reward: Reward


def by_kind(part: Objective | Reward) -> str:
    return type(part).__name__


class Books(NamedTuple):
    """Wealth and cash [T+1, N], 0 before the deal; at the end the cash is the wealth."""

    wealth: Losses
    cash: Losses

    def step(self, t: int) -> RewardStep:
        return RewardStep(*self.wealth[t : t + 2], *self.cash[t : t + 2])

    @property
    def steps(self) -> list[RewardStep]:
        return [self.step(t) for t in range(len(self.wealth) - 1)]


def books_of(seed: int, steps: int = 30, n: int = 400) -> Books:
    rng = np.random.default_rng(seed)
    wealth = np.concatenate([np.zeros((1, n)), rng.normal(-0.05, 1.0, (steps, n)).cumsum(0)])
    cash = np.concatenate([np.zeros((1, n)), rng.normal(0.0, 50.0, (steps - 1, n)), wealth[-1:]])
    return Books(wealth, cash)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=by_kind)
def test_telescoped_sums_to_the_terminal_objective(objective: Objective) -> None:
    books, reward = books_of(1), TelescopedReward()
    losses = -books.wealth[-1]
    theta = objective.theta(losses)
    total = sum(reward.value(step, objective, theta, NUMPY) for step in books.steps)
    start = objective.pointwise(0.0, theta, SCALAR)
    end = objective.pointwise(losses, theta, NUMPY)
    np.testing.assert_allclose(total, start - end, rtol=1e-11, atol=1e-11)
    risk = objective.risk(losses)
    assert np.mean(total) == pytest.approx(
        start - (risk**2 if isinstance(objective, RootMeanSquare) else risk)
    )


def test_telescoped_entropic_is_dense_and_cvar_is_not() -> None:
    books, reward = books_of(2), TelescopedReward()
    losses = -books.wealth[-1]
    entropic, cvar = Entropic(aversion=0.5), CVaR(level=0.9)
    dense, sparse = (
        np.array([reward.value(s, o, o.theta(losses), NUMPY) for s in books.steps])
        for o in (entropic, cvar)
    )
    assert np.count_nonzero(dense) == dense.size
    assert np.count_nonzero(sparse) < 0.2 * sparse.size


def short_call_books() -> Books:
    """Two steps of a short call hedged by hand; cost 1 % of the value traded, interest nil.

    Premium 3. Buy 0.5 at 100: cost 0.5. Spot 104, mark 5: sell 0.1 at 104: cost 0.104. Spot 107,
    carry 0.2 paid on the holding, payoff 7. The 0.4 shares are kept, at their mark.
    """
    cash = [0.0, 3.0 - 50.0 - 0.5]
    wealth = [0.0, cash[1] + 0.5 * 104.0 - 5.0]
    cash += [cash[1] + 10.4 - 0.104 + 0.2 - 7.0]
    wealth += [cash[2] + 0.4 * 107.0]
    return Books(np.array(wealth)[:, None], np.array([*cash[:2], wealth[2]])[:, None])


def test_accounting_and_cash_flow_by_hand() -> None:
    books, objective = short_call_books(), CVaR(level=0.9)
    accounting, cash_flow = (
        [float(reward.value(step, objective, (), NUMPY)[0]) for step in books.steps]
        for reward in (AccountingReward(), CashFlowReward())
    )
    # Day one: premium and mark cancel, then 0.5 * 4 - 0.5 - (5 - 3).
    assert accounting == pytest.approx([-0.5, 0.4 * 3.0 - 0.104 + 0.2 - 2.0])
    # Premium less the shares and their cost; then the sale, carry, payoff and the shares' worth.
    assert cash_flow == pytest.approx([-47.5, 10.4 - 0.104 + 0.2 - 7.0 + 0.4 * 107.0])
    assert sum(accounting) == pytest.approx(sum(cash_flow)) == pytest.approx(-1.204)


@pytest.mark.parametrize("reward", [AccountingReward(), CashFlowReward()], ids=by_kind)
def test_sums_to_the_terminal_pnl(reward: Reward) -> None:
    books = books_of(3)
    total = sum(reward.value(step, Quadratic(), (), NUMPY) for step in books.steps)
    np.testing.assert_allclose(total, books.wealth[-1], rtol=0, atol=1e-11)


def test_kolm_ritter_punishes_the_square_of_each_step() -> None:
    reward, objective = KolmRitterReward(aversion=0.3), Quadratic()
    assert reward.value(RewardStep(1.0, 3.0, 0.0, 9.0), objective, (), SCALAR) == 2.0 - 0.15 * 4.0
    books = books_of(4)
    total = sum(reward.value(step, objective, (), NUMPY) for step in books.steps)
    moves = np.diff(books.wealth, axis=0)
    np.testing.assert_allclose(total, (moves - 0.15 * moves**2).sum(0), atol=1e-11)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=by_kind)
@pytest.mark.parametrize("reward", REWARDS, ids=by_kind)
def test_scalar_and_numpy_agree_bit_for_bit(reward: Reward, objective: Objective) -> None:
    books = books_of(5, steps=3, n=501)
    theta = objective.theta(-books.wealth[-1])
    for step in books.steps:
        whole = reward.value(step, objective, theta, NUMPY)
        single = [
            reward.value(RewardStep(*(float(x[i]) for x in step[:4])), objective, theta, SCALAR)
            for i in range(501)
        ]
        assert np.array_equal(whole, np.array(single))


@pytest.mark.parametrize("reward", REWARDS, ids=by_kind)
def test_a_kept_level_earns_the_same(reward: Reward) -> None:
    books, objective = books_of(6), Entropic(aversion=0.5)
    theta = objective.theta(-books.wealth[-1])
    levels = [
        reward.level(wealth, cash, objective, theta, NUMPY)
        for wealth, cash in zip(books.wealth, books.cash, strict=True)
    ]
    for t, step in enumerate(books.steps):
        kept = reward.earned(levels[t + 1] - levels[t])
        assert np.array_equal(kept, reward.value(step, objective, theta, NUMPY))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=by_kind)
@pytest.mark.parametrize("reward", REWARDS, ids=by_kind)
def test_torch_agrees_and_differentiates(reward: Reward, objective: Objective) -> None:
    books = books_of(7, steps=2)
    theta = objective.theta(-books.wealth[-1])
    step = books.step(1)
    tensors = RewardStep(*(torch.tensor(x, requires_grad=True) for x in step[:4]))
    value = reward.value(tensors, objective, theta, TORCH)
    expected = reward.value(step, objective, theta, NUMPY)
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    value.sum().backward()
    after = tensors.cash_after if isinstance(reward, CashFlowReward) else tensors.wealth_after
    assert bool(torch.isfinite(after.grad).all()) and bool((after.grad != 0.0).any())


def test_theta_is_used_only_by_telescoped_objectives_that_have_one() -> None:
    """And beside the plain P&L, whose learners put the risk into their critics."""
    users = {by_kind(o) for o in OBJECTIVES if TelescopedReward().uses_theta(o)}
    assert users == {"Entropic", "CVaR", "MeanStd", "MeanVariance", "Expectile"}
    plain = AccountingReward()
    assert {by_kind(o) for o in OBJECTIVES if plain.uses_theta(o)} == users
    others = [r for r in REWARDS[1:] if r != plain]
    assert not any(r.uses_theta(o) for r in others for o in OBJECTIVES)


def test_telescoped_var_is_refused() -> None:
    step = RewardStep(0.0, 1.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="quantile critic"):
        TelescopedReward().value(step, VaR(level=0.9), (), SCALAR)


@pytest.mark.parametrize("reward", REWARDS, ids=by_kind)
def test_survives_the_tagged_union(reward: Reward) -> None:
    data = reward.model_dump()
    assert Held.model_validate({"reward": data}).reward == reward
    assert Reward.kinds[data["kind"]] is type(reward)


def test_aversion_must_be_positive() -> None:
    with pytest.raises(ValidationError):
        KolmRitterReward(aversion=0.0)
