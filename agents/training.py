"""Trains an agent on a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from gymnasium.spaces import Box
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from ..envs import Scenario, View, draw
from ..envs.stream import Role, generator_of, stream_of
from .exploration import FallingNoise
from .factory import ON_POLICY, PATHWISE, make_model, view_of
from .imitation import imitate
from .monitor import Progress, RiskMonitor
from .policy_hedger import PolicyHedger
from .random_state import global_generators
from .replay import ReplayRate
from .settings import AgentSettings
from .threads import torch_threads
from .training_state import Checkpointer, TrainingLogger, training_identity

VALIDATION_PATHS = 8192


@dataclass(frozen=True)
class Trained:
    """A trained agent: its policy as a hedger, and how its risk fell.

    Attributes:
        hedger: plays the policy that had the lowest validation risk.
        settings: how the algorithm was set up.
        view: what the policy sees and how it acts.
        risks: environment steps and validation risk, in the order of training; of an agent that
            was trained on varied episodes what `GroupRisk` says of them.
        risk: the lowest of them.
    """

    hedger: PolicyHedger
    settings: AgentSettings
    view: View
    risks: list[tuple[int, float]]
    risk: float


def train_agent(
    scenario: Scenario,
    settings: AgentSettings,
    seed: int = 0,
    *,
    name: str | None = None,
    writers: Sequence[KVWriter] = (),
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> Trained:
    """Train for ``settings.steps`` environment steps; global random state is as before afterwards.

    With a folder ``checkpoint`` the training's state is kept there as it goes on, and a training
    that finds one there goes on from it to the same policy, bit for bit
    (tests/agents/test_resume.py).

    Training paths, validation paths and the policy draw from streams of their own, spawned from
    ``seed``. The same settings, seed and machine give the same policy
    (tests/agents/test_training.py).

    Raises:
        ValueError: for an objective without a pointwise loss, and for a scenario that the algorithm
            does not fit (`check_fit`); for a checkpoint that is damaged or of another training.
    """
    path_seed, policy_seed = (
        int(stream_of(seed, role).generate_state(1)[0]) for role in (Role.TRAINING, Role.POLICY)
    )
    with torch_threads(settings.threads), global_generators(policy_seed):
        validation = generator_of(stream_of(seed, Role.VALIDATION))
        paths = VALIDATION_PATHS * settings.validation
        episodes = draw(scenario, settings.vary, paths, validation, torch.float64)
        view = view_of(scenario, settings)
        monitor = RiskMonitor(
            scenario,
            view,
            episodes,
            settings.steps,
            patience=settings.patience,
            progress=progress,
            variants=settings.vary.variants,
        )
        model = make_model(scenario, settings, path_seed)
        model.set_logger(TrainingLogger(writers))
        callbacks: list[BaseCallback] = [monitor]
        if isinstance(model, OffPolicyAlgorithm):
            callbacks.append(ReplayRate(settings.updates_per_transition))
        elif isinstance(model, OnPolicyAlgorithm) and isinstance(model.action_space, Box):
            noise = FallingNoise(settings.log_std, settings.log_std_end, settings.steps)
            callbacks.append(noise)
        resumed = False
        if checkpoint is not None:
            identity = training_identity(scenario, settings, seed)
            keeper = Checkpointer(checkpoint, identity, [*callbacks, *writers])
            resumed = keeper.resume(model)
            callbacks.insert(0, keeper)
        if settings.imitate is not None and not resumed:
            imitate(model, scenario, view, settings.imitate, seed)
        model.learn(
            settings.steps - model.num_timesteps,
            callback=callbacks,
            log_interval=log_interval(settings),
            reset_num_timesteps=False,
        )
    monitor.restore_best()
    model.policy.set_training_mode(False)
    hedger = PolicyHedger(name or settings.algorithm, model.policy, scenario, view)
    return Trained(hedger, settings, view, monitor.risks, monitor.best[0])


def log_interval(settings: AgentSettings) -> int:
    """Rollouts (on-policy), updates (pathwise) or episodes (off-policy) between two log dumps."""
    if settings.algorithm in ON_POLICY:
        return 1
    return 10 if settings.algorithm in PATHWISE else 10 * settings.environments
