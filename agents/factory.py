"""Builds SB3 algorithms with the defaults that hedging needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sb3_contrib import TQC, RecurrentPPO
from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from ..envs import Scenario, View
from ..envs.action import ActionMap, BandAction, DiscreteAction, ResidualAction
from ..envs.rewards import TelescopedReward
from ..envs.rule import Rule
from .exploration import BatchNoise, HedgingDQN
from .pathwise import DeepBellman, DeepHedging
from .replay import HedgingReplayBuffer
from .risk_critics import PnlReplayBuffer, QuantileCritic, RiskActorCritic, TwoCritic
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
    "deep-hedging": DeepHedging,
    "deep-bellman": DeepBellman,
    "quantile-critic": QuantileCritic,
    "two-critic": TwoCritic,
}
ACTIVATIONS = {"silu": torch.nn.SiLU, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}
NOISY = ("td3", "ddpg", "quantile-critic", "two-critic")
PATHWISE = ("deep-hedging", "deep-bellman")
ON_POLICY = ("ppo", "a2c", "recurrent-ppo")


def view_of(scenario: Scenario, settings: AgentSettings) -> View:
    """The view an agent learns through: the scenario's, features spelt out, with its own action.

    What the agent's variation draws and shows joins the features.

    Raises:
        ValueError: for a base beside an action map that is built on none.
    """
    reward = scenario.view.reward
    if settings.reward is not None and reward == TelescopedReward():
        reward = settings.reward
    action = scenario.view.action if settings.action is None else settings.action
    if settings.base is not None:
        action = _built_on(action, settings.base)
    view = View(features=scenario.features, action=action, reward=reward)
    return settings.vary.seen(scenario, view)


def _built_on(action: ActionMap, base: Rule) -> ActionMap:
    """The same map around a base."""
    if isinstance(action, DiscreteAction):
        return action.model_copy(update={"of": _built_on(action.of, base)})
    if isinstance(action, BandAction | ResidualAction):
        return action.model_copy(update={"base": base})
    kind = getattr(action, "kind")  # noqa: B009 - declared by the kinds
    raise ValueError(
        f"base {base.name!r}: actions of kind {kind} are built on none: take band, trigger or "
        "residual"
    )


def make_model(scenario: Scenario, settings: AgentSettings, seed: int) -> BaseAlgorithm:
    """An untrained algorithm on the native VecEnv, on the CPU.

    It draws from the global generators: build and train it inside `global_generators`.

    Raises:
        ValueError: when the algorithm cannot give the view's kind of actions, or does not take one
            of the options.
    """
    view = view_of(scenario, settings)
    check_fit(scenario, settings)
    env = as_sb3_env(scenario, settings.environments, view, settings.vary)
    kind = ALGORITHMS[settings.algorithm]
    arguments: dict[str, Any] = {
        "learning_rate": _schedule(settings),
        "device": "cpu",
        "policy_kwargs": policy_arguments(settings),
    }
    if issubclass(kind, DeepHedging):
        return _built(kind, settings, "MlpPolicy", env, seed=seed, **arguments)
    arguments["gamma"] = 1.0
    if kind is not DDPG:  # the one SB3 class that does not take it
        arguments["stats_window_size"] = settings.environments
    off_policy = issubclass(kind, OffPolicyAlgorithm)
    arguments |= _off_policy(env, settings) if off_policy else _on_policy(scenario, settings)
    alias = policy_alias(settings.algorithm)
    model = _built(kind, settings, alias, env, **arguments)
    if off_policy:  # its warm-up samples the space, whose generator nobody else seeds
        model.action_space.seed(int(np.random.randint(2**31)))  # noqa: NPY002
    env.seed(seed)
    return model


def _built(
    kind: type[Any], settings: AgentSettings, alias: str, env: HedgingVecEnv, **arguments: Any
) -> BaseAlgorithm:
    """The algorithm, with the settings' own options before ours."""
    try:
        model: BaseAlgorithm = kind(alias, env, **(arguments | settings.options))
    except TypeError as error:  # an argument that it does not take, or of another type
        raise ValueError(f"agent {settings.algorithm}: options: {error}") from None
    return model


def check_fit(scenario: Scenario, settings: AgentSettings) -> None:
    """Refuse a scenario whose actions the algorithm cannot give or whose P&L it cannot follow.

    Raises:
        ValueError: for continuous actions with DQN, for discrete ones with SAC and its kin, for a
            P&L that jumps with the holdings with deep hedging, for what cannot vary.
    """
    algorithm, view = settings.algorithm, view_of(scenario, settings)
    settings.vary.check(scenario, view)
    if (settings.memory > 0) != (algorithm == "recurrent-ppo") and algorithm != "deep-hedging":
        raise ValueError(
            f"agent {algorithm}: memory {settings.memory}: recurrent-ppo needs cells, deep-hedging "
            "may have them, the others have none: change memory, or the agent"
        )
    kind = ALGORITHMS[algorithm]
    if issubclass(kind, DeepHedging):
        kind.check(scenario, view, settings.vary)
    if issubclass(kind, RiskActorCritic):
        kind.check(scenario, view)
        if settings.vary.aversion or settings.vary.worst_of:
            drawn = "aversion" if settings.vary.aversion else "worst_of"
            raise ValueError(
                f"agent {algorithm}: vary {drawn}: its critics know one risk and weigh all "
                "episodes alike: vary cost or the market, or train ppo"
            )
    copied = settings.imitate
    reason = None if copied is None else copied.refusal(scenario)
    if copied is not None and reason is not None:
        raise ValueError(f"imitate {copied.name!r}: {reason}")
    if copied is not None and (scenario.execution.delay or scenario.moves_prices):
        raise ValueError(
            f"imitate {copied.name!r}: execution.delay or a permanent impact, where a copy would "
            "have to be played to be judged: leave imitate out"
        )
    if copied is not None and copied.waits(scenario):
        raise ValueError(
            f"imitate {copied.name!r}: it waits outside the region that it trades to, which a copy "
            "does not learn: take a rule that trades to the edge"
        )
    discrete = isinstance(view.action, DiscreteAction)
    if algorithm not in ON_POLICY and discrete != (ALGORITHMS[algorithm] is HedgingDQN):
        has, needs = ("discrete", "continuous") if discrete else ("continuous", "discrete")
        raise ValueError(
            f"agent {algorithm} gives {needs} actions, the view asks for {has} ones: change the "
            "action, or train ppo"
        )


def policy_alias(algorithm: str) -> str:
    """What SB3 calls the policy."""
    return "MlpLstmPolicy" if algorithm == "recurrent-ppo" else "MlpPolicy"


def policy_arguments(settings: AgentSettings) -> dict[str, Any]:
    """The SB3 policy's ``policy_kwargs``."""
    arguments: dict[str, Any] = {
        "net_arch": list(settings.net),
        "activation_fn": ACTIVATIONS[settings.activation],
    }
    if settings.algorithm in ON_POLICY:
        layers = list(settings.net)
        arguments |= {"net_arch": {"pi": layers, "vf": layers}, "log_std_init": settings.log_std}
    if settings.algorithm == "recurrent-ppo":
        arguments |= {"lstm_hidden_size": settings.memory}
    elif settings.memory:
        arguments |= {"memory": settings.memory}
    if settings.algorithm == "ddpg":
        arguments |= {"n_critics": 1}  # what SB3's DDPG asks of its policy
    if settings.algorithm == "quantile-critic":
        arguments |= {"n_quantiles": settings.quantiles}
    if settings.algorithm == "two-critic":
        arguments |= {"n_critics": 3}  # the mean, the paired mean and the deviation
    return arguments


def _schedule(settings: AgentSettings) -> Callable[[float], float]:
    first, last = settings.learning_rate, settings.learning_rate_end
    # The last rollout ends beyond the budget, where the line would go on, even below 0.
    return lambda remaining: first * (last + (1.0 - last) * max(remaining, 0.0))


def _on_policy(scenario: Scenario, settings: AgentSettings) -> dict[str, Any]:
    steps = len(scenario.calendar.decisions) * settings.rollout_episodes
    if settings.algorithm == "a2c":  # learns from the whole rollout at once
        return {"n_steps": steps}
    return {
        "n_steps": steps,
        "batch_size": _batch_size(steps * settings.environments, settings.minibatches),
    }


def _batch_size(transitions: int, minibatches: int) -> int:
    """Cuts a rollout into equal minibatches: as many as asked for, or the next fewer that fit."""
    least = max(-(-transitions // minibatches), 2)
    return next((b for b in range(least, transitions) if transitions % b == 0), transitions)


def _off_policy(env: HedgingVecEnv, settings: AgentSettings) -> dict[str, Any]:
    episode = len(env.env.scenario.calendar.decisions)
    risk_aware = issubclass(ALGORITHMS[settings.algorithm], RiskActorCritic)
    arguments: dict[str, Any] = {
        "train_freq": (settings.collect_steps, "step"),
        "learning_starts": settings.warmup_episodes * episode * settings.environments,
        "replay_buffer_class": PnlReplayBuffer if risk_aware else HedgingReplayBuffer,
        "replay_buffer_kwargs": {"hedging_env": env.env, "handle_timeout_termination": False},
    }
    if settings.algorithm in NOISY:
        numbers = env.action_space.shape[0]  # type: ignore[index]
        arguments["action_noise"] = BatchNoise(settings.noise, settings.environments, numbers)
    return arguments
