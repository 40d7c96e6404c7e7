"""Deep hedging: the gradient of the risk, path by path, through the ledger to the policy."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback
from torch import Tensor, nn

from ...envs import Episodes, Known, Scenario, Variation, View, draw
from ...envs.desk import Desk
from ...envs.group_terms import GroupTerms
from ...envs.hedger import Observations
from ...envs.namespace import TORCH
from ...envs.stream import Role, generator_of, stream_of
from ...envs.tape import Tape
from ...envs.terminal_wealth import booked, terminal_wealth
from ...envs.variation import with_aversion
from ..random_state import global_generators
from ..sb3_environment import HedgingVecEnv
from .dense import parameters_of
from .policy import PathwisePolicy
from .surrogate import SurrogateDesk, check_pathwise
from .unrolled import can_unroll, unrolled

CLIPPED_NORM = 1.0  # of the gradient of the loss in money scales


class DeepHedging(BaseAlgorithm):
    """Pathwise gradient of the scenario's risk through the ledger.

    Every update plays one fresh episode on each of the environment's ``n`` paths and follows the
    gradient of ``mean l_theta(L)``, theta refitted to that batch. It is an SB3 algorithm in all but
    where its gradient comes from: ``learn``, ``predict``, ``save``, ``load``, callbacks, logger.
    A step is a path's step.

    Source: Buehler, Gonon, Teichmann, Wood, "Deep hedging", 2019, section 4.
    Evidence: tests/agents/test_deep_hedging.py (gradient against central differences, a closed
    form, the gap to the optimum).

    Where the P&L jumps with the holdings it learns from a smooth version (`SurrogateDesk`).

    Raises:
        ValueError: for a cost without a smooth version (`check_pathwise`).
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": PathwisePolicy}
    name: ClassVar[str] = "deep-hedging"
    policy: PathwisePolicy
    gamma = 1.0

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: HedgingVecEnv,
        learning_rate: float | Callable[[float], float] = 5e-3,
        policy_kwargs: dict[str, Any] | None = None,
        seed: int = 0,
        tensorboard_log: str | None = None,
        device: torch.device | str = "cpu",
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate,
            policy_kwargs,
            tensorboard_log=tensorboard_log,
            device=device,
            support_multi_env=True,
            seed=seed,
            supported_action_spaces=(spaces.Box,),
        )
        if _init_setup_model:
            self._setup_model()

    @classmethod
    def check(cls, scenario: Scenario, view: View, variation: Variation) -> None:
        """Refuse what has no gradient.

        Raises:
            ValueError: from `check_pathwise`.
        """
        check_pathwise(scenario, cls.name)

    def _setup_model(self) -> None:
        if isinstance(self.env, HedgingVecEnv):  # else it is loaded to play only
            problem = self.env.env.problem
            self.check(problem.scenario, problem.view, problem.variation)
        self._setup_lr_schedule()
        weights = int(stream_of(self.seed or 0, Role.POLICY).generate_state(1)[0])
        kind: Any = self.policy_class
        with global_generators(weights):
            self.policy = kind(
                self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
            )
        self.policy.to(self.device)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 10,
        tb_log_name: str = "DeepHedging",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Update until ``total_timesteps`` path-steps are played; logs every so many updates."""
        total, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        assert isinstance(self.env, HedgingVecEnv)
        problem = self.env.env.problem
        desk = SurrogateDesk(problem.scenario, problem.view)
        callback.on_training_start(locals(), globals())
        going = True
        while going and self.num_timesteps < total:
            callback.on_rollout_start()
            self._update_current_progress_remaining(self.num_timesteps, total)
            self._update_learning_rate(self._optimizers())
            desk.narrow(self._current_progress_remaining)
            episodes = self._fresh_episodes(problem.scenario)
            actions = self._update(episodes, desk)
            self.num_timesteps += episodes.paths * episodes.steps
            callback.update_locals(locals())
            going = callback.on_step()
            callback.on_rollout_end()
            if self._n_updates % log_interval == 0:
                self.dump_logs()
        callback.on_training_end()
        return self

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        return [self.policy.optimizer]

    def _fresh_episodes(self, scenario: Scenario) -> Episodes:
        assert isinstance(self.env, HedgingVecEnv)
        stream = stream_of(self.seed or 0, Role.TRAINING, self._n_updates)
        generator, variation = generator_of(stream, self.device), self.env.env.problem.variation
        return draw(scenario, variation, self.n_envs, generator, torch.float32)

    def _update(self, episodes: Episodes, desk: Desk) -> Any:
        """One step of the optimiser; the actions played, ``[T width, N]``."""
        self.policy.set_training_mode(True)
        hedger = Pathwise(self.policy, desk)
        assert isinstance(self.env, HedgingVecEnv)
        loss = pathwise_loss(hedger, episodes, self.env.env.problem.groups)
        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(
            self.policy.parameters(), CLIPPED_NORM, error_if_nonfinite=True
        )
        self.policy.optimizer.step()
        self._n_updates += 1
        self.logger.record("train/loss", float(loss.detach()))
        self.logger.record("train/gradient_norm", float(norm))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        return torch.stack(hedger.actions).cpu().numpy()

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []

    def dump_logs(self) -> None:
        """Write what has been logged, and the speed."""
        seconds = max((time.time_ns() - self.start_time) / 1e9, sys.float_info.epsilon)
        steps = self.num_timesteps - self._num_timesteps_at_start
        self.logger.record("time/fps", int(steps / seconds))
        self.logger.record("time/total_timesteps", self.num_timesteps, exclude="tensorboard")
        self.logger.dump(self.num_timesteps)


class Pathwise:
    """The policy as a hedger in torch, through whose holdings gradients flow.

    Attributes:
        desk: what it acts through.
        actions: the numbers played so far, ``[N]`` each, date by date, cut from the gradient.
    """

    name = "deep-hedging"

    def __init__(self, policy: PathwisePolicy, desk: Desk) -> None:
        self._policy, self.desk = policy, desk
        self.actions: list[Tensor] = []

    def start(self, n: int) -> Tensor | None:
        """What the policy remembers before the first date."""
        return self._policy.blank(n)

    def act(self, known: Known, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The holdings ``[N, K]`` that the action asks for through the view."""
        numbers, state = self._policy.play(*known.seen(self.desk), state)
        self.actions += [number.detach() for number in numbers]
        targets: Tensor = known.asked(self.desk, numbers)
        return targets, state

    def wealth(self, episodes: Episodes) -> Tensor:
        """The P&L ``[N]`` of torch ``episodes``: all dates in one operation where that can be."""
        desk, policy, tape = self.desk, self._policy, Tape.of_tensors(episodes)
        activation, parameters = policy.dense_activation, parameters_of(policy.mu)
        alike = parameters[0].dtype == tape.mark.dtype and type(self).act is Pathwise.act
        if activation is None or not (alike and can_unroll(desk, tape)):
            return terminal_wealth(desk, episodes, self)
        tape = Observations(episodes, False).based(desk.action.built_on, desk.scenario, tape)
        market = episodes.features(desk.features)[:-1].to(tape.mark.dtype)
        held, actions = unrolled(desk, tape, market, activation, parameters)
        self.actions += actions.flatten(0, 1).unbind(0)
        return booked(desk, tape, held)


def pathwise_loss(hedger: Pathwise, episodes: Episodes, groups: GroupTerms | None = None) -> Tensor:
    """``mean l_theta(L)`` over torch ``episodes``, over the money scale; theta is the batch's own.

    Where the risk is the least mean over theta, its gradient is that of the batch's risk (envelope
    theorem; a CVaR's boundary path counts whole); for an expectile it is that of the risk times a
    positive number, and for the quadratic risks that of the squared risk. Where ``groups`` of paths
    differ, theta is each group's own and its losses count at the group's scale.
    """
    scenario = hedger.desk.scenario
    loss, objective = -hedger.wealth(episodes), scenario.objective
    if groups is not None:
        return _group_loss(loss, episodes, groups)
    theta = objective.theta(loss.detach().cpu().numpy())
    mean: Tensor = objective.pointwise(loss, theta, TORCH).mean()
    return mean / scenario.contract.scale


def _group_loss(loss: Tensor, episodes: Episodes, groups: GroupTerms) -> Tensor:
    """The mean over paths of ``scale l_theta(L)``, with the terms of each path's group."""
    rows = (episodes.aversion, episodes.group)
    aversion, group = (None if each is None else each[0].cpu().numpy() for each in rows)
    assert group is not None
    groups.refit(loss.detach().cpu().numpy().astype(np.float64), group)
    objective, theta, scale = groups.at(aversion, group)
    if aversion is not None:
        objective = with_aversion(objective, loss.new_tensor(aversion))
    columns: Any = tuple(loss.new_tensor(column) for column in theta)
    mean: Tensor = (objective.pointwise(loss, columns, TORCH) * loss.new_tensor(scale)).mean()
    return mean
