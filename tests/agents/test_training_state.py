"""What is kept of a training: nothing that cannot be built again is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.save_util import recursive_getattr

from deephedge.agents import AgentSettings, agent_names, train_agent, training_state
from deephedge.agents.checkpoint import is_plain
from deephedge.agents.factory import make_model
from deephedge.agents.random_state import global_generators
from deephedge.agents.training_state import (
    Checkpointer,
    Stateful,
    TrainingLogger,
    restore_training,
    training_identity,
)
from deephedge.envs import HedgingVectorEnv, Scenario, load_scenario

Tiny = Callable[..., AgentSettings]
Same = Callable[[Any, Any], bool]

# They follow from the settings, hold no numbers, or are saved through the policy or by name.
BUILT_AGAIN = {
    *("policy_class", "policy_kwargs", "device", "observation_space", "action_space"),
    *("learning_rate", "lr_schedule", "clip_range", "exploration_schedule", "train_freq"),
    *("rollout_buffer", "rollout_buffer_class", "replay_buffer_class", "replay_buffer_kwargs"),
    *("policy", "actor", "actor_target", "critic", "critic_target", "q_net", "q_net_target"),
    *("ent_coef_optimizer", "action_noise", "replay_buffer"),
}


def fresh(scenario: Scenario, settings: AgentSettings, seed: int = 0) -> Any:
    model = make_model(scenario, settings, seed)
    model.set_logger(TrainingLogger([]))
    return model


@pytest.mark.parametrize("name", agent_names())
def test_nothing_of_an_algorithm_is_left_out(
    suited: Callable[[str], Scenario], tiny: Tiny, name: str
) -> None:
    """A new attribute that is no plain data must be given `state` and `restore`, be saved by SB3's
    own list, or be named above with good reason."""
    with global_generators(0):
        model = fresh(suited(name), tiny(name))
    left = {
        key
        for key, value in vars(model).items()
        if not (is_plain(value) or isinstance(value, Stateful))
    }
    assert left <= BUILT_AGAIN
    saved = [recursive_getattr(model, path) for path in model.get_parameters()]
    optimisers = [each for each in saved if isinstance(each, torch.optim.Optimizer)]
    modules = [each for each in saved if isinstance(each, torch.nn.Module)]
    kept = {id(p) for module in modules for p in (*module.parameters(), *module.buffers())}
    for value in vars(model).values():
        if isinstance(value, torch.optim.Optimizer):
            assert any(value is each for each in optimisers)
        elif isinstance(value, torch.nn.Module):
            assert {id(p) for p in (*value.parameters(), *value.buffers())} <= kept


@pytest.mark.parametrize("name", ["sac", "recurrent-ppo"])
def test_a_fresh_algorithm_takes_the_state_of_another(
    three_steps: Scenario, tiny: Tiny, same: Same, name: str
) -> None:
    """Whatever its own weights, generators and environment were; and what optimisers hold is
    filled and not replaced."""
    settings = tiny(name, steps=16 * 3 * 3)
    with global_generators(1):
        model = fresh(three_steps, settings, 5)
        model.learn(settings.steps)
        model.logger.record("train/pending", np.float32(0.1))
        state = training_state.training_state(model, [])
        random = torch.rand(3)
    with global_generators(2):
        other = fresh(three_steps, settings, 6)
        restore_training(state, other, [])
        again = training_state.training_state(other, [])
        assert torch.equal(torch.rand(3), random)
    assert same({**again, "seconds": 0.0}, {**state, "seconds": 0.0})
    if name == "sac":
        assert other.ent_coef_optimizer.param_groups[0]["params"][0] is other.log_ent_coef


def test_reading_the_state_changes_nothing(three_steps: Scenario, tiny: Tiny, same: Same) -> None:
    with global_generators(1):
        model = fresh(three_steps, tiny("sac"))
        model.learn(16 * 3 * 3)
        one, two = (training_state.training_state(model, []) for _ in range(2))
    assert same({**one, "seconds": 0.0}, {**two, "seconds": 0.0})


def steps(env: HedgingVectorEnv, count: int, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    shape = env.action_space.shape
    assert shape is not None
    played = []
    for t in range(count):
        observation, reward, ended, _, info = env.step(rng.uniform(-1, 1, shape))
        played.append((observation, reward, ended, info["wealth"]))
        if t % 7 == 3:
            env.refit()
    return played


@pytest.mark.parametrize("limit", [{}, {"loss_limit": "0.3"}], ids=["in step", "clocks parted"])
@pytest.mark.parametrize("reward", ["telescoped", "paired"])
def test_environments_go_on_where_others_stood(limit: Any, reward: str, same: Same) -> None:
    """Also where every environment keeps its own date, and with a theta that is refitted."""
    sets = {
        "calendar.steps": "5",
        "objective": "{kind: cvar, level: 0.8}",
        "view.reward": f"{{kind: {reward}}}",
    }
    scenario = load_scenario("short-call", sets | limit)
    one, other = (HedgingVectorEnv(300, scenario) for _ in range(2))
    one.reset(seed=3)
    steps(one, 13, 0)
    other.restore(one.state())
    assert same(other.state(), one.state())
    assert ("episodes" in one.state()) and (one.state()["episodes"] is not None) == bool(limit)
    assert same(steps(one, 20, 1), steps(other, 20, 1))
    first, second = one.reset()[0], other.reset()[0]
    np.testing.assert_array_equal(first, second)
    assert same(one.reset(seed=None)[0], other.reset(seed=None)[0])


def test_checkpoints_are_as_rare_as_they_must_be(
    three_steps: Scenario, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three seconds between two, or a hundred times what one takes."""
    now = [0.0]
    written: list[float] = []

    def write(*arguments: Any) -> None:
        written.append(now[0])
        now[0] += 0.1 if len(written) > 2 else 0.001

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now[0]

        @staticmethod
        def time_ns() -> int:
            return int(1e9 * now[0])

    monkeypatch.setattr(training_state, "time", Clock)
    monkeypatch.setattr(training_state, "write_checkpoint", write)
    with global_generators(0):
        model = fresh(three_steps, tiny("ppo"))
        model.env.reset()
        keeper = Checkpointer(tmp_path, {}, [])
        keeper.init_callback(model)
        for _ in range(4000):
            keeper.on_rollout_start()
            now[0] += 0.01
    assert written[0] == pytest.approx(3.0, abs=0.02)
    gaps = np.diff(written)
    assert gaps[:2] == pytest.approx(3.0, abs=0.03) and gaps[2] == pytest.approx(10.1, abs=0.03)


def test_exploration_that_no_callback_sees_is_not_kept(
    three_steps: Scenario, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its matrices are drawn before the callbacks are asked: it starts again, which is exact."""
    monkeypatch.setattr(training_state, "EVERY", 0.0)
    options = {**tiny("ppo").options, "use_sde": True}
    train_agent(three_steps, tiny("ppo", steps=96, options=options), checkpoint=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_what_the_numbers_follow_from(three_steps: Scenario, tiny: Tiny) -> None:
    base = training_identity(three_steps, tiny("ppo"), 1)
    assert base == training_identity(three_steps, tiny("ppo"), 1)
    other = load_scenario("short-call", {"calendar.steps": "4"})
    changes = {
        "scenario": training_identity(other, tiny("ppo"), 1),
        "agent": training_identity(three_steps, tiny("ppo", learning_rate=0.5), 1),
        "seed": training_identity(three_steps, tiny("ppo"), 2),
    }
    for key, identity in changes.items():
        assert [k for k in base if base[k] != identity[k]] == [key]
    assert {"threads", "torch", "numpy", "stable-baselines3", "deephedge"} <= base.keys()
