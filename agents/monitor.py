"""Watches a training: risk on fixed paths, the best policy so far, the hedging charts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure

from ..baselines import DeltaHedge, OptimalHedge, known_optimum
from ..envs import Episodes, Outcome, Scenario, View, rollout
from ..envs.objectives import CVaR
from .example_figure import example_episodes, example_figure
from .group_risk import GroupRisk
from .policy_figure import policy_figure
from .policy_hedger import PolicyHedger
from .sb3_environment import HedgingVecEnv

LEAST_ENDINGS = 1024  # episodes that theta is refitted to, at least
SATURATED = 0.99
DRAWN_EVERY = 5  # evaluations: drawing takes as long as several of them

NO_TEXT = ("stdout", "log", "json", "csv")

Progress = Callable[[int, float], None]


class RiskMonitor(BaseCallback):
    """Evaluates the scenario's risk on fixed paths, keeps the best weights, logs ``hedge/*``.

    SB3's own EvalCallback keeps the best mean reward, which is not the best risk. Theta is refitted
    between rollouts. The policy is judged before it has learned anything, and after each of
    ``evaluations`` equal stretches of the training. After ``patience`` evaluations without a lower
    risk it stops the training. On episodes that vary between groups of paths the risk is
    `GroupRisk`'s, of ``variants`` in a worst-of set.

    Attributes:
        best: the lowest risk so far and the weights that had it.
    """

    def __init__(
        self,
        scenario: Scenario,
        view: View,
        episodes: Episodes,
        total_steps: int,
        evaluations: int = 20,
        patience: int | None = None,
        progress: Progress | None = None,
        variants: int = 1,
    ) -> None:
        super().__init__()
        self.scenario, self.view, self.episodes = scenario, view, episodes
        self.delta = rollout(scenario, episodes, DeltaHedge())
        self._risk = scenario.objective.risk
        if episodes.group is not None:
            self._risk = GroupRisk(scenario, episodes, -self.delta.pnl, variants).risk
        self.best: tuple[float, dict[str, torch.Tensor]] = (np.inf, {})
        self.risks: list[tuple[int, float]] = []
        self._every, self._due = total_steps / evaluations, 0.0
        self._progress, self._saturation = progress, 0.0
        self._patience, self._in_vain = patience, 0
        self._room: float | None = None
        self._pictured: Episodes | None = None

    def _on_rollout_start(self) -> None:
        assert isinstance(self.training_env, HedgingVecEnv)
        self.training_env.env.refit(LEAST_ENDINGS)
        if self.num_timesteps >= self._due:
            self._due += self._every
            self.evaluate()

    def _on_step(self) -> bool:
        actions = self.locals.get("clipped_actions", self.locals.get("actions"))
        if isinstance(actions, np.ndarray) and actions.dtype != np.int64:
            self._saturation = float((np.abs(actions) > SATURATED).mean())
        if self._progress is not None:
            self._progress(self.num_timesteps, self.risks[-1][1] if self.risks else np.nan)
        return self._patience is None or self._in_vain < self._patience

    def _on_training_end(self) -> None:
        self.evaluate(last=True)

    def evaluate(self, last: bool = False) -> float:
        """The risk on the fixed paths now; logs it and keeps the weights if it is the best.

        Figures are drawn at some evaluations, at the first and at the ``last``.
        """
        policy = self.model.policy
        training = policy.training
        hedger = PolicyHedger("policy", policy, self.scenario, self.view)
        outcome = rollout(self.scenario, self.episodes, hedger)
        risk = self._risk(-outcome.pnl)
        self.risks.append((self.num_timesteps, risk))
        self._in_vain = 0 if risk < self.best[0] else self._in_vain + 1
        if risk < self.best[0]:
            self.best = risk, {k: v.detach().clone() for k, v in policy.state_dict().items()}
        self._log(outcome, risk)
        if self.logger.output_formats and (last or (len(self.risks) - 1) % DRAWN_EVERY == 0):
            self._draw(hedger)
        # Now, as SB3 dumps at times of its own, under the step count of that time.
        self.logger.dump(self.num_timesteps)
        policy.set_training_mode(training)
        return risk

    def state(self) -> dict[str, Any]:
        """The best weights, the risks so far, when to evaluate next and how often in vain."""
        return {
            "best": self.best,
            "risks": self.risks,
            "due": self._due,
            "saturation": self._saturation,
            "in_vain": self._in_vain,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.best, self.risks = state["best"], state["risks"]
        self._due, self._saturation = state["due"], state["saturation"]
        self._in_vain = state["in_vain"]

    def restore_best(self) -> None:
        """Give the model the weights that had the lowest risk."""
        self.model.policy.load_state_dict(self.best[1])

    def _log(self, outcome: Outcome, risk: float) -> None:
        delta_risk = self._risk(-self.delta.pnl)
        values: dict[str, Any] = {
            "risk": risk,
            "best_risk": self.best[0],
            "risk_minus_delta": risk - delta_risk,
            "mean": float(outcome.pnl.mean()),
            "std": float(outcome.pnl.std()),
            "cvar_95": CVaR(level=0.95).risk(-outcome.pnl),
            "cost": float(outcome.cost.mean()),
            "turnover": float(outcome.turnover.mean()),
            "trades": float(outcome.trades.mean()),
            "action_saturation": self._saturation,
        }
        if self.logger.output_formats:
            self.logger.record("hedge/pnl", torch.from_numpy(outcome.pnl), exclude=NO_TEXT)
            if len(self.risks) == 1:
                delta = torch.from_numpy(self.delta.pnl)
                self.logger.record("hedge/pnl_of_delta", delta, exclude=NO_TEXT)
            if (room := self._room_for_gain()) > 0:
                values["gap_closed"] = (delta_risk - self.best[0]) / room
        for name, value in values.items():
            self.logger.record(f"hedge/{name}", value)
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")

    def _room_for_gain(self) -> float:
        """Delta's risk less the optimum's on the fixed paths; 0 where no optimum is known.

        Nor is it on episodes that vary, whose optimum is another on every path.
        """
        if self._room is None:
            self._room = 0.0
            if self.episodes.group is None and known_optimum(self.scenario) is not None:
                best = rollout(self.scenario, self.episodes, OptimalHedge())
                self._room = self._risk(-self.delta.pnl) - self._risk(-best.pnl)
        return self._room

    def _draw(self, hedger: PolicyHedger) -> None:
        if self._pictured is None:
            self._pictured = example_episodes(self.scenario)
        figures = {
            "policy": policy_figure(self.scenario, hedger),
            "examples": example_figure(self.scenario, self._pictured, hedger),
        }
        for name, figure in figures.items():
            self.logger.record(f"hedge/{name}", Figure(figure, close=False), exclude=NO_TEXT)
