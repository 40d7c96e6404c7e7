"""What a learner is given: spaces, rewards and their theta, shared by both environments."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from .action import ActionMap, DiscreteAction, TriggerAction
from .desk import Dealt, Desk
from .episodes import simulate
from .group_terms import GroupTerms, Terms, pilot_losses
from .hedger import base_edges
from .namespace import Namespace, X
from .observation import columns
from .own_features import BOUND
from .presets import changed, load_scenario
from .rewards import PairedReward, RewardStep
from .rule import Rule
from .scenario import Scenario
from .stream import EpisodeStream, generator_of
from .tape import At, Tape
from .variation import Variation
from .view import View


def _check_base(base: Rule, action: ActionMap, scenario: Scenario) -> None:
    """Refuse a base that does not fit, or of which the action cannot be a correction.

    Raises:
        ValueError: with the base's reason, or as it waits outside the region that it trades to.
    """
    reason = base.refusal(scenario)
    if reason is None and scenario.moves_prices:
        reason = "permanent impact moves what it was computed ahead from: leave the base out"
    if reason is None and base.waits(scenario) and not isinstance(action, TriggerAction):
        reason = (
            "it waits outside the region that it trades to: take the action trigger, or a rule "
            "that trades to the edge"
        )
    if reason is not None:
        raise ValueError(f"base {base.name!r}: {reason}")


def _check_same_base(base: Rule, scenario: Scenario, ends: tuple[float, float]) -> None:
    """Refuse a base that follows the scenario's aversion, while paths have their own.

    Raises:
        ValueError: naming the mend.
    """
    variants = [changed(scenario, {"objective.aversion": end}) for end in ends]
    low, high = (
        base_edges(base, each, simulate(each, 16, generator_of(np.random.SeedSequence(0))))
        for each in variants
    )
    if not np.array_equal(np.array(low), np.array(high)):
        raise ValueError(
            f"vary aversion: the base {base.name!r} is another at each aversion, but is played at "
            "the scenario's on all paths: give it an aversion of its own, or take delta"
        )


class LearningProblem:
    """A scenario seen through a view.

    Rewards are divided by the scenario's money scale. ``theta``, the parameter of the pointwise
    loss, starts at that of a delta hedge and is fixed until `refit`. Where a ``variation`` draws
    each group of paths differently, ``groups`` has what theirs are measured with.
    """

    def __init__(
        self,
        scenario: str | Scenario,
        view: View | None,
        ops: Namespace,
        variation: Variation | None = None,
    ) -> None:
        if isinstance(scenario, str):
            scenario = load_scenario(scenario)
        self.scenario, self.ops = scenario, ops
        self.variation = Variation() if variation is None else variation
        if self.variation:
            view = self.variation.seen(scenario, scenario.view if view is None else view)
            self.variation.check(scenario, view)
        self.desk = Desk(scenario, ops, view)
        self.view = self.desk.view
        self.reward, self.objective = self.view.reward, scenario.objective
        self.scale = 1.0 / self.desk.contract.scale
        uses_theta = self.reward.uses_theta(self.objective)
        self.theta = self.objective.theta(pilot_losses(scenario)) if uses_theta else ()
        self.check_trainable()
        if self.view.action.built_on is not None:
            _check_base(self.view.action.built_on, self.view.action, scenario)
            if self.variation.aversion is not None:
                _check_same_base(self.view.action.built_on, scenario, self.variation.aversion)
        self.groups: GroupTerms | None = None
        if self.variation:
            self.groups = GroupTerms(scenario, self.variation, self.scale, uses_theta=uses_theta)

    def check_trainable(self) -> None:
        """Refuse an objective that has no pointwise loss, before the first step.

        Raises:
            ValueError: from the objective, saying what to choose instead.
        """
        self.level(0.0, 0.0)

    def terms(self, aversion: X | None, group: X | None) -> Terms:
        """What paths of these aversions and groups are measured with; of null ones, all alike."""
        if group is None or self.groups is None:
            return Terms(self.objective, self.theta, self.scale)
        return self.groups.at(aversion, group)

    def terms_of(self, tape: Tape) -> Terms | None:
        """The terms of a tape's paths; null where they are `terms` of null."""
        return None if tape.group is None else self.terms(*tape.drawn)

    def level(self, wealth: X, cash: X, terms: Terms | None = None) -> X:
        """The number whose change is rewarded."""
        objective, theta, _ = terms or (self.objective, self.theta, self.scale)
        return self.reward.level(wealth, cash, objective, theta, self.ops)

    def stream(self, environments: int, entropy: int) -> EpisodeStream:
        """The episodes that ``environments`` environments play."""
        seed, paired = np.random.SeedSequence(entropy), self.reward.paired
        return EpisodeStream(
            self.scenario,
            self.desk.features,
            environments,
            seed,
            self.variation,
            paired=paired,
            base=self.view.action.built_on,
        )

    def books(
        self,
        before: tuple[X, X],
        after: tuple[X, X],
        dealt: Dealt,
        tape: Tape,
        at: At,
        ended: X,
    ) -> RewardStep:
        """What a step did; ``before`` and ``after`` are wealth and cash."""
        plain = RewardStep(before[0], after[0], before[1], after[1])
        if tape.reference is None:
            return plain
        first, held = self.desk.options, dealt.held
        surprise: X = 0.0
        for j, neutral in enumerate(self.desk.neutral(tape, at, held[:first])):
            beyond = tape.surprise(at, j)
            if beyond is not None:
                surprise = surprise + (held[first + j] - neutral) * beyond
        if self.scenario.moves_prices:  # then actions change what the reference earns
            return plain._replace(surprise=surprise)
        next_date: At = at + 1 if isinstance(at, int) else (at[0] + 1, at[1])
        end: At = tape.steps if isinstance(at, int) else (tape.steps, at[1])
        reference = self.ops.where(ended, tape.reference[end], tape.reference[next_date])
        return plain._replace(
            reference_before=tape.reference[at],
            reference_after=reference,
            surprise=surprise,
        )

    def earned(self, change: X, books: RewardStep | None, terms: Terms | None = None) -> X:
        """The scaled reward of a step that changed the level; a paired one needs its books."""
        objective, theta, scale = terms or (self.objective, self.theta, self.scale)
        reward = self.reward.earned(change)
        if books is not None and isinstance(self.reward, PairedReward):
            reward = reward - self.reward.luck(books, objective, theta, self.ops)
        return reward * scale

    @property
    def least(self) -> int:
        """The losses that a refit needs at least."""
        return 1 if self.groups is None else self.groups.least

    def refit(self, losses: NDArray[np.float64], group: NDArray[np.float64] | None = None) -> None:
        """Set theta to that of the latest losses ``[N]``; only between rollouts.

        Of varied episodes each group has its own; the one of all losses together is for learners
        that tell no group apart.
        """
        if self.groups is not None and group is not None:
            self.groups.refit(losses, group)
        if self.reward.uses_theta(self.objective) and len(losses):
            self.theta = self.objective.theta(losses)

    @property
    def observation_space(self) -> spaces.Box:
        """Bounded by 5 either side."""
        names = self.columns
        return spaces.Box(-BOUND, BOUND, (len(names),), np.float32)

    @property
    def columns(self) -> list[str]:
        """The names of the observation's columns."""
        return columns(self.desk.features, self.desk.contract)

    @property
    def first_own(self) -> int:
        """The first of the observation's own columns, which come last."""
        return len(self.columns) - len(columns(self.desk.own, self.desk.contract))

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete[Any]:
        """A box of [-1, 1], or one flat choice."""
        action = self.view.action
        steered = action.steered(self.desk.contract)
        if isinstance(action, DiscreteAction):
            return spaces.Discrete(len(action.table(steered)))
        return spaces.Box(-1.0, 1.0, (steered * action.width,), np.float32)

    @property
    def choices(self) -> NDArray[np.float32] | None:
        """The continuous action of each flat choice, null for a box."""
        action = self.view.action
        if not isinstance(action, DiscreteAction):
            return None
        return action.table(action.steered(self.desk.contract))
