"""Builds SB3 algorithms with the defaults that hedging needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sb3_contrib import TQC, RecurrentPPO
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from ..envs import Scenario, View
from .exploration import BatchNoise, HedgingDQN
from .replay import HedgingReplayBuffer
from .sb3_environment import HedgingVecEnv, as_sb3_env
from .settings import AgentSettings

ALGORITHMS: dict[str, type[BaseAlgorithm]] = {
    "ppo": PPO,
    "a2c": A2C,
    "sac": SAC,
    "td3": TD3,
    "ddpg": DDPG,
    "dqn": HedgingDQN,
    "tqc": TQC,
    "recurrent-ppo": RecurrentPPO,
}
ACTIVATIONS = {"silu": torch.nn.SiLU, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
NOISY = ("td3", "ddpg")


def view_of(scenario: Scenario, settings: AgentSettings) -> View:
    """The view an agent learns through: the scenario's with explicit features and its own action."""
    return View(
        features=scenario.features,
        action=scenario.view.action if settings.action is None else settings.action,
        reward=scenario.view.reward,
    )


def make_model(scenario: Scenario, settings: AgentSettings, seed: int) -> BaseAlgorithm:
    """An untrained algorithm on the native VecEnv, on the CPU.

    It draws from the global generators: build and train it inside `global_generators`.
    """
    env = as_sb3_env(scenario, settings.environments, view_of(scenario, settings))
    kind = ALGORITHMS[settings.algorithm]
    arguments: dict[str, Any] = {
        "gamma": 1.0,
        "learning_rate": _schedule(settings),
        "device": "cpu",
        "stats_window_size": settings.environments,
        "policy_kwargs": policy_arguments(settings),
    }
    if kind is DDPG:
        del arguments["stats_window_size"]  # the one SB3 class that does not take it
    off_policy = issubclass(kind, OffPolicyAlgorithm)
    arguments |= _off_policy(env, settings) if off_policy else _on_policy(scenario, settings)
    alias = policy_alias(settings.algorithm)
    model = kind(alias, env, **(arguments | settings.options))  # type: ignore[arg-type]
    model.set_random_seed(None)  # the caller has set the generators
    env.seed(seed)
    return model


def policy_alias(algorithm: str) -> str:
    """What SB3 calls the policy."""
    return "MlpLstmPolicy" if algorithm == "recurrent-ppo" else "MlpPolicy"


def policy_arguments(settings: AgentSettings) -> dict[str, Any]:
    """The SB3 policy's ``policy_kwargs``."""
    arguments: dict[str, Any] = {
        "net_arch": list(settings.net),
        "activation_fn": ACTIVATIONS[settings.activation],
    }
    if settings.algorithm in ("ppo", "a2c", "recurrent-ppo"):
        layers = list(settings.net)
        arguments |= {"net_arch": {"pi": layers, "vf": layers}, "log_std_init": settings.log_std}
    if settings.algorithm == "recurrent-ppo":
        arguments |= {"lstm_hidden_size": 32}
    if settings.algorithm == "ddpg":
        arguments |= {"n_critics": 1}  # what SB3's DDPG asks of its policy
    return arguments


def _schedule(settings: AgentSettings) -> Callable[[float], float]:
    first, last = settings.learning_rate, settings.learning_rate_end
    return lambda remaining: first * (last + (1.0 - last) * remaining)


def _on_policy(scenario: Scenario, settings: AgentSettings) -> dict[str, Any]:
    return {"n_steps": len(scenario.calendar.decisions) * settings.rollout_episodes}


def _off_policy(env: HedgingVecEnv, settings: AgentSettings) -> dict[str, Any]:
    transitions = settings.collect_steps * settings.environments
    episode = len(env.env.scenario.calendar.decisions)
    arguments: dict[str, Any] = {
        "train_freq": (settings.collect_steps, "step"),
        "gradient_steps": max(1, round(settings.updates_per_transition * transitions)),
        "learning_starts": settings.warmup_episodes * episode * settings.environments,
        "replay_buffer_class": HedgingReplayBuffer,
        "replay_buffer_kwargs": {"hedging_env": env.env, "handle_timeout_termination": False},
    }
    if settings.algorithm in NOISY:
        numbers = env.action_space.shape[0]  # type: ignore[index]
        arguments["action_noise"] = BatchNoise(settings.noise, settings.environments, numbers)
    return arguments
