"""Watches a training: risk on fixed paths, the best policy so far, the hedging charts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure

from ..baselines import DeltaHedge
from ..envs import Episodes, Outcome, Scenario, View, rollout
from ..envs.objectives import CVaR
from .group_risk import GroupRisk
from .policy_figure import policy_figure
from .policy_hedger import PolicyHedger
from .sb3_environment import HedgingVecEnv

LEAST_ENDINGS = 1024  # episodes that theta is refitted to, at least
SATURATED = 0.99

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
        self.evaluate()

    def evaluate(self) -> float:
        """The risk on the fixed paths now; logs it and keeps the weights if it is the best."""
        policy = self.model.policy
        training = policy.training
        hedger = PolicyHedger("policy", policy, self.scenario, self.view)
        outcome = rollout(self.scenario, self.episodes, hedger)
        risk = self._risk(-outcome.pnl)
        self.risks.append((self.num_timesteps, risk))
        self._in_vain = 0 if risk < self.best[0] else self._in_vain + 1
        if risk < self.best[0]:
            self.best = risk, {k: v.detach().clone() for k, v in policy.state_dict().items()}
        self._log(outcome, risk, hedger)
        policy.set_training_mode(training)
        return risk

    def state(self) -> dict[str, Any]:
        """The best weights, the risks so far and when the next evaluation is due."""
        return {
            "best": self.best,
            "risks": self.risks,
            "due": self._due,
            "saturation": self._saturation,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.best, self.risks = state["best"], state["risks"]
        self._due, self._saturation = state["due"], state["saturation"]

    def restore_best(self) -> None:
        """Give the model the weights that had the lowest risk."""
        self.model.policy.load_state_dict(self.best[1])

    def _log(self, outcome: Outcome, risk: float, hedger: PolicyHedger) -> None:
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
        for name, value in values.items():
            self.logger.record(f"hedge/{name}", value)
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        no_text = ("stdout", "log", "json", "csv")
        self.logger.record("hedge/pnl", torch.from_numpy(outcome.pnl), exclude=no_text)
        if self.logger.output_formats:  # drawing takes longer than the evaluation
            figure = policy_figure(self.scenario, hedger)
            self.logger.record("hedge/policy", Figure(figure, close=False), exclude=no_text)
        # Now, as SB3 dumps at times of its own, under the step count of that time.
        self.logger.dump(self.num_timesteps)
