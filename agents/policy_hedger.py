"""A learned policy as a hedger."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.policies import BasePolicy

from ..envs import Known, Scenario, View
from ..envs.desk import Desk
from ..envs.learning import LearningProblem
from ..envs.namespace import NUMPY, X
from ..envs.observation import columns


class PolicyHedger:
    """Plays an SB3 policy (recurrent ones too) through the view it was trained with.

    Raises:
        ValueError: from `act`, on a scenario whose observation or instruments are not those the
            policy was trained on.
    """

    def __init__(self, name: str, policy: BasePolicy, scenario: Scenario, view: View) -> None:
        self.name, self.policy, self.view = name, policy, view
        self.scenario = scenario
        problem = LearningProblem(scenario, view, NUMPY)
        self.columns, self.choices = problem.columns, problem.choices
        self._instruments = problem.desk.contract.instruments
        self._desks: dict[Scenario, Desk] = {}

    def start(self, n: int) -> Any:
        """The recurrent state, null for a policy without memory."""
        return None

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """The policy's deterministic action, mapped to target holdings."""
        desk = self._desk(known.scenario)
        observation = known.observe(desk)
        first = np.full(len(observation), known.t == 0)
        action, state = self.policy.predict(observation, state, first, deterministic=True)
        numbers = action if self.choices is None else self.choices[action]
        return known.targets(desk, np.clip(numbers.astype(np.float64), -1.0, 1.0)), state

    def _desk(self, scenario: Scenario) -> Desk:
        if scenario not in self._desks:
            desk = Desk(scenario, NUMPY, self.view)
            shown = columns(desk.features, desk.contract)
            if shown != self.columns:
                raise ValueError(
                    f"hedger {self.name!r} was trained to see {self.columns}, but "
                    f"{scenario.name!r} shows {shown}: train it on that scenario"
                )
            if desk.contract.instruments != self._instruments:
                raise ValueError(
                    f"hedger {self.name!r} was trained to trade {self._instruments} instruments, "
                    f"but {scenario.name!r} has {desk.contract.instruments}: train it on that "
                    "scenario"
                )
            self._desks[scenario] = desk
        return self._desks[scenario]
