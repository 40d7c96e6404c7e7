"""Settings: every default can be read, and what cannot be is refused in one line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from deephedge.agents import AgentSettings, agent_names, agent_settings
from deephedge.agents.factory import ALGORITHMS
from deephedge.envs.action import BandAction, DiscreteAction

NAMES = [
    "ppo",
    "a2c",
    "recurrent-ppo",
    "sac",
    "tqc",
    "td3",
    "ddpg",
    "dqn",
    "deep-hedging",
    "deep-bellman",
    "quantile-critic",
    "two-critic",
]


def test_every_algorithm_has_its_defaults() -> None:
    assert sorted(agent_names()) == sorted(NAMES) == sorted(ALGORITHMS)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_settings_that_survive_being_written_down(name: str) -> None:
    settings = agent_settings(name)
    assert settings.algorithm == name
    assert settings.steps >= 100_000 and settings.environments >= 64
    assert AgentSettings.model_validate_json(settings.model_dump_json()) == settings
    assert AgentSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_only_dqn_brings_an_action_of_its_own() -> None:
    brought = {name: agent_settings(name).action for name in NAMES}
    assert isinstance(brought.pop("dqn"), DiscreteAction)
    assert set(brought.values()) == {None}


def test_deterministic_policies_have_noise_to_explore_with() -> None:
    """SB3's TD3 and DDPG explore with none by default."""
    assert agent_settings("td3").noise > 0 and agent_settings("ddpg").noise > 0


def test_changes_replace_defaults_and_nothing_else() -> None:
    default = agent_settings("ppo")
    changed = agent_settings("ppo", steps=5, net=(8,), action=BandAction(reach=0.5))
    assert (changed.steps, changed.net, changed.action) == (5, (8,), BandAction(reach=0.5))
    same = {"steps", "net", "action"}
    assert changed.model_dump(exclude=same) == default.model_dump(exclude=same)
    assert agent_settings("ppo") == default


def test_settings_read_an_action_by_its_kind() -> None:
    settings = agent_settings("ppo", action={"kind": "band", "reach": 0.25})
    assert settings.action == BandAction(reach=0.25)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pppo", "unknown agent 'pppo': did you mean 'ppo'?"),
        ("recurrent_ppo", "unknown agent 'recurrent_ppo': did you mean 'recurrent-ppo'?"),
        ("xyz", "unknown agent 'xyz': choose one of ppo, a2c"),
    ],
)
def test_an_unknown_agent_is_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        agent_settings(name)
    assert str(refusal.value).startswith(message)
    with pytest.raises(ValidationError, match="unknown agent"):
        AgentSettings(algorithm=name, steps=1, environments=1, learning_rate=0.1, options={})


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"steps": 1.5},
        {"steps": "many"},
        {"environments": 0},
        {"learning_rate": 0.0},
        {"learning_rate": -1e-3},
        {"learning_rate": float("nan")},
        {"learning_rate_end": 1.5},
        {"learning_rate_end": -0.1},
        {"net": (64, 0)},
        {"activation": "gelu"},
        {"rollout_episodes": 0},
        {"minibatches": 0},
        {"updates_per_transition": 0.0},
        {"collect_steps": 0},
        {"warmup_episodes": -1},
        {"noise": -0.1},
        {"validation": 0},
        {"log_std": float("inf")},
        {"log_std_end": float("nan")},
        {"action": {"kind": "nothing"}},
        {"action": {"kind": "band", "reach": -1.0}},
        {"action": {"kind": "discrete", "levels": 17}},
        {"step": 100},
    ],
    ids=lambda changes: ",".join(f"{k}={v}" for k, v in changes.items()),
)
def test_an_impossible_setting_is_refused_in_one_line(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError) as refusal:
        agent_settings("ppo", **changes)
    message = str(refusal.value)
    assert "\n" not in message
    assert message.startswith(f"agent ppo: {next(iter(changes))}")


@pytest.mark.parametrize("key", ["policy_kwargs", "optimize_memory_usage", "gamma", "n_steps"])
def test_what_the_settings_decide_is_no_option(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is set by this project"):
        agent_settings("ppo", options={key: 1})
