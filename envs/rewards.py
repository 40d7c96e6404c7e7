"""Rewards: what a learner earns per step, in the units of its objective.

Every reward here is earned on the step change of one number, its `level`: of a loss, of wealth or
of cash. Wealth and cash are 0 before the deal, so the first step carries the premium, the day-one
P&L and the first trade. Rewards are not scaled; a learner that wants them near 1 divides.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from .namespace import Namespace, X
from .objectives import Objective, Theta
from .part import Kind

SMALL_CHANGE = 1e-6  # of money, for a slope: any slope leaves the surprise's mean at 0


class RewardStep(NamedTuple):
    """What a step did to the books; money, a float or [N].

    Attributes:
        wealth_before: cash plus holdings plus position, all as marked, before the step.
        wealth_after: the same after the step.
        cash_before: the cash alone, before the step.
        cash_after: the same after the step; at the last step the wealth, as what is left of the
            holdings and of the position then counts at its mark.
        reference_before: the wealth of a frictionless delta hedge on the same path, before.
        reference_after: the same after the step; where the episode ends, at the path's very end.
        surprise: the delta left open times the spot's move beyond its expectation.
    """

    wealth_before: X
    wealth_after: X
    cash_before: X
    cash_after: X
    reference_before: X = 0.0
    reference_after: X = 0.0
    surprise: X = 0.0


class Reward(Kind):
    """A reward per step, earned on the change of `level`.

    A caller on a hot path may keep the level from step to step and call `level` and `earned`;
    `value` does both. Evidence for every kind: tests/envs/test_rewards.py.
    """

    paired: ClassVar[bool] = False  # whether the reference and the surprise are needed

    def uses_theta(self, objective: Objective) -> bool:
        """Whether `theta` matters, so that it must be fitted before a rollout and refitted."""
        return False

    @abstractmethod
    def level(self, wealth: X, cash: X, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """The number whose step change is rewarded.

        Args:
            wealth: marked wealth, money.
            cash: cash, money; the wealth itself once the episode has ended.
            objective: the scenario's.
            theta: the objective's parameters, fixed within a rollout.
            ops: the namespace of the numbers. `SCALAR` and `NUMPY` agree bit for bit.

        Raises:
            ValueError: if the objective has no pointwise loss and the reward needs one.
        """

    def earned(self, change: X) -> X:
        """The reward for a step change of `level`."""
        return change

    def value(self, step: RewardStep, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """The reward of a step; arguments and errors as in `level`."""
        before = self.level(step.wealth_before, step.cash_before, objective, theta, ops)
        after = self.level(step.wealth_after, step.cash_after, objective, theta, ops)
        return self.earned(after - before)


class TelescopedReward(Reward):
    """The fall of the pointwise loss of marked wealth, -(l_theta(-w') - l_theta(-w)).

    With gamma = 1 the sum over an episode is -l_theta(L) of the terminal loss, up to the constant
    l_theta(0): the terminal objective, told step by step (potential-based shaping: Ng, Harada and
    Russell, "Policy invariance under reward transformations", 1999, theorem 1). Theta must not
    move within a rollout, else the sum no longer telescopes.
    """

    kind: Literal["telescoped"] = "telescoped"

    def uses_theta(self, objective: Objective) -> bool:
        """Whether the objective has parameters."""
        return objective.has_theta

    def level(self, wealth: X, cash: X, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """-l_theta(-wealth)."""
        return -objective.pointwise(-wealth, theta, ops)


class PairedReward(TelescopedReward):
    """The telescoped reward less what luck gave: the same optimum, a tenth of the noise.

    Two parts are taken off. What a frictionless delta hedge would have earned on the same path: no
    action changes it, so no gradient is biased (an input-driven baseline: Mao et al., "Variance
    reduction for reinforcement learning in input-driven environments", 2019). And the surprise, at
    the marginal value of money before the step: its expectation given all that is known is 0 (a
    control variate), in every market whose drift is d log E[S] / dt. Where trades move the market,
    actions change what the reference earns, and only the surprise is taken off. Evidence: the mean
    and the spread beside the telescoped reward's in tests/envs/test_rewards.py.
    """

    kind: Literal["paired"] = "paired"  # type: ignore[assignment]
    paired: ClassVar[bool] = True

    def value(self, step: RewardStep, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """The reward of a step; arguments and errors as in `level`."""
        return super().value(step, objective, theta, ops) - self.luck(step, objective, theta, ops)

    def luck(self, step: RewardStep, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """What the reference earned plus the surprise's worth."""
        before, wealth = step.reference_before, step.wealth_before
        reference = self.level(step.reference_after, 0.0, objective, theta, ops) - self.level(
            before, 0.0, objective, theta, ops
        )
        more = self.level(wealth + SMALL_CHANGE, 0.0, objective, theta, ops)
        less = self.level(wealth, 0.0, objective, theta, ops)
        return reference + (more - less) / SMALL_CHANGE * step.surprise


class KolmRitterReward(Reward):
    """dw - kappa / 2 * dw^2 per step, kappa in 1 / money.

    Kolm and Ritter, "Dynamic replication and hedging: a reinforcement learning approach", 2019. The
    sum is mean-variance only where the steps' P&L are uncorrelated with means near 0, whatever the
    scenario's objective.
    """

    kind: Literal["kolm-ritter"] = "kolm-ritter"
    aversion: float = Field(gt=0, description="1 / money")

    def level(self, wealth: X, cash: X, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """The wealth."""
        return wealth

    def earned(self, change: X) -> X:
        """The step P&L less half the aversion times its square."""
        return change - 0.5 * self.aversion * change * change


class AccountingReward(Reward):
    """The step P&L: the change of marked wealth.

    Cao, Chen, Hull and Poulos, "Deep hedging of derivatives using reinforcement learning", 2021
    (the accounting P&L formulation). The sum is the terminal P&L, so on its own it is blind to
    risk: for learners that put the risk into their critics, and for whose sake theta is refitted.
    """

    kind: Literal["accounting"] = "accounting"

    def uses_theta(self, objective: Objective) -> bool:
        """Whether the objective has parameters."""
        return objective.has_theta

    def level(self, wealth: X, cash: X, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """The wealth."""
        return wealth


class PairedAccountingReward(PairedReward):
    """The step P&L less what luck gave: actions rank as by the step P&L, with far less noise.

    Its sum is no longer the P&L's law, only its mean up to a constant of the path: for the part of
    a critic that learns a mean. No loss is taken, yet theta is refitted, for the actor's sake.
    """

    kind: Literal["paired-accounting"] = "paired-accounting"  # type: ignore[assignment]

    def level(self, wealth: X, cash: X, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """The wealth."""
        return wealth


class CashFlowReward(Reward):
    """The cash of the step: premium, trades, costs, interest, carry and the position's payments.

    Cao, Chen, Hull and Poulos, "Deep hedging of derivatives using reinforcement learning", 2021
    (the cash flow formulation). No marks are needed until the end, when what is left counts at its
    mark. The sum is the terminal P&L; the same remark on risk as for `AccountingReward`.
    """

    kind: Literal["cash-flow"] = "cash-flow"

    def level(self, wealth: X, cash: X, objective: Objective, theta: Theta, ops: Namespace) -> X:
        """The cash."""
        return cash
