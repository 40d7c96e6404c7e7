"""Trainings that were stopped go on to the very same end; keeping them changes nothing."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import KVWriter

from deephedge.agents import AgentSettings, Trained, agent_names, train_agent, training_state
from deephedge.agents import training as training_module
from deephedge.agents.checkpoint import STATE, has_checkpoint
from deephedge.agents.factory import ON_POLICY, PATHWISE
from deephedge.agents.monitor import RiskMonitor
from deephedge.envs import Scenario, load_scenario

Tiny = Callable[..., AgentSettings]
Same = Callable[[Any, Any], bool]


class Rows(KVWriter):
    """Keeps what is logged, but for the clock."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: Any, key_excluded: Any, step: int = 0) -> None:
        shown = {k: v for k, v in sorted(key_values.items()) if not isinstance(v, torch.Tensor)}
        clock = ("time/fps", "time/time_elapsed", "hedge/policy", "hedge/examples")
        self.rows.append({k: v for k, v in shown.items() if k not in clock} | {"step": step})

    def state(self) -> list[dict[str, Any]]:
        return self.rows

    def restore(self, state: list[dict[str, Any]]) -> None:
        self.rows = state

    def close(self) -> None:
        pass


class StoppedError(Exception):
    """The process that trains dies."""


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The whole state at the end of every training, but for the seconds; no figures are drawn."""
    found: list[Any] = []

    class Spy(RiskMonitor):
        def _on_training_end(self) -> None:
            super()._on_training_end()
            found.append(training_state.training_state(self.model, [self]) | {"seconds": 0.0})

    monkeypatch.setattr(training_module, "RiskMonitor", Spy)
    for name in ("policy_figure", "example_figure"):
        monkeypatch.setattr(f"deephedge.agents.monitor.{name}", lambda *arguments: None)
    return found


@pytest.fixture(autouse=True)
def _at_every_rollout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_state, "EVERY", 0.0)
    monkeypatch.setattr(training_state, "SHARE", np.inf)


def run(
    scenario: Scenario, settings: AgentSettings, folder: Path | None, stop: int | None = None
) -> tuple[Trained, Rows]:
    """Train; the process dies in the step ``stop``."""
    rows, count = Rows(), 0

    def progress(done: int, risk: float) -> None:
        nonlocal count
        count += 1
        if count == stop:
            raise StoppedError

    trained = train_agent(
        scenario, settings, 4, writers=[rows], progress=progress, checkpoint=folder
    )
    return trained, rows


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return dict(trained.hedger.policy.state_dict())


# Where the process dies, from start to start. The warm-up of the off-policy ones is over after
# three steps: the first stop is before, the second behind it.
Case = tuple[str, dict[str, str], dict[str, Any], tuple[int, ...]]
WORST = {"worst_of": [{"market.sigma": 0.15}, {"market.sigma": 0.3}], "groups": 2}
FAST: list[Case] = [
    ("ppo", {"loss_limit": "0.5"}, {}, (8,)),
    ("sac", {}, {}, (2, 6)),
    ("dqn", {}, {}, (8,)),
    ("deep-hedging", {}, {}, (3,)),
    ("deep-bellman", {}, {}, (3,)),
]
SLOW: list[Case] = [
    ("recurrent-ppo", {}, {}, (8,)),
    *[(name, {}, {}, (5, 4)) for name in ("ppo", "a2c")],
    *[(name, {}, {}, (2, 6)) for name in ("tqc", "td3", "ddpg", "dqn")],
    ("sac", {"loss_limit": "0.5"}, {}, (5, 4)),
    ("sac", {}, {"collect_steps": 2, "options": {"buffer_size": 64, "batch_size": 8}}, (3, 6)),
    ("ppo", {"objective": "{kind: cvar, level: 0.8}"}, {}, (5, 4)),
    ("ppo", {}, {"imitate": {"kind": "delta"}}, (5, 4)),
    ("ppo", {"loss_limit": "0.5"}, {"vary": {"aversion": (0.05, 0.2), "cost": (0.5, 2)}}, (5, 4)),
    (
        "ppo",
        {
            "hedges.0.impact": "{transient: 0.01, permanent: 0.02}",
            "liquidate": "true",
            "execution": "{delay: 1, slippage: 0.001}",
            "loss_limit": "0.5",
        },
        {},
        (5, 4),
    ),
    ("deep-hedging", {}, {"vary": WORST, "memory": 4, "patience": 3}, (3, 2)),
    ("quantile-critic", {}, {}, (2, 6)),
    ("two-critic", {"objective": "{kind: mean-std, weight: 1.5}"}, {}, (2, 6)),
]
CASES = [pytest.param(*case, id=" ".join([case[0], *case[1], *case[2]])) for case in FAST]
CASES += [
    pytest.param(*case, id=" ".join([case[0], *case[1], *case[2]]), marks=pytest.mark.slow)
    for case in SLOW
]


@pytest.mark.parametrize(("name", "sets", "changes", "stops"), CASES)
def test_a_stopped_training_goes_on_to_the_same_end(
    name: str,
    sets: dict[str, str],
    changes: dict[str, Any],
    stops: tuple[int, ...],
    tiny: Tiny,
    same: Same,
    ends: list[Any],
    tmp_path: Path,
) -> None:
    """Weights, optimisers, replay buffer, generators, environments, callbacks and the log's rows
    are those of a training that nobody kept and nobody stopped."""
    scenario = load_scenario("short-call", {"calendar.steps": "3", **sets})
    settings = tiny(name, steps=16 * 3 * 5, updates_per_transition=0.1, **changes)
    whole, rows = run(scenario, settings, None)
    for stop in stops:
        with pytest.raises(StoppedError):
            run(scenario, settings, tmp_path / "c", stop)
        assert has_checkpoint(tmp_path / "c")
    resumed, again = run(scenario, settings, tmp_path / "c")
    assert same(weights(resumed), weights(whole))
    assert resumed.risks == whole.risks and resumed.risk == whole.risk
    first, second = ends
    if name in (*ON_POLICY, *PATHWISE):  # nobody draws from it, nor seeds it
        del first["actions"]
    if name in PATHWISE:  # it plays episodes of its own
        for state in ends:
            del state["attributes"]["env"], state["attributes"]["_last_obs"]
    for key, value in first.items():
        assert same(second[key], value), key
    assert same(again.rows, rows.rows)


def test_every_algorithm_has_a_case() -> None:
    assert {name for name, *_ in FAST + SLOW} == set(agent_names())


@pytest.mark.slow
@pytest.mark.parametrize("name", agent_names())
def test_any_rollout_is_as_good_as_any_other(name: str, tiny: Tiny, tmp_path: Path) -> None:
    """A training that dies in every step in turn, and goes on each time."""
    scenario = load_scenario("short-call", {"calendar.steps": "3"})
    settings = tiny(name, steps=16 * 3 * 4, updates_per_transition=0.1)
    whole, rows = run(scenario, settings, None)
    steps = 4 if name in PATHWISE else 12
    for stop in range(1, steps + 1):
        folder = tmp_path / str(stop)
        with pytest.raises(StoppedError):
            run(scenario, settings, folder, stop)
        resumed, again = run(scenario, settings, folder)
        assert all(torch.equal(v, weights(whole)[k]) for k, v in weights(resumed).items())
        assert resumed.risks == whole.risks and len(again.rows) == len(rows.rows)


def test_no_pickle_is_used(
    three_steps: Scenario, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("pickle")

    for owner, name in (
        *((pickle, name) for name in ("loads", "load", "dumps", "dump", "Pickler", "Unpickler")),
        *((torch, name) for name in ("save", "load")),
    ):
        monkeypatch.setattr(owner, name, refuse)
    settings = tiny("dqn", steps=16 * 3 * 3)
    with pytest.raises(StoppedError):
        run(three_steps, settings, tmp_path, 5)
    run(three_steps, settings, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [STATE]


def test_another_seed_or_a_damaged_checkpoint_is_refused(
    three_steps: Scenario, tiny: Tiny, tmp_path: Path
) -> None:
    settings = tiny("ppo", steps=16 * 3 * 3)
    with pytest.raises(StoppedError):
        run(three_steps, settings, tmp_path, 5)
    with pytest.raises(ValueError, match="written with seed 4, this is 5: go on as it was begun"):
        train_agent(three_steps, settings, 5, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="written with agent ppo"):
        train_agent(three_steps, tiny("a2c"), 4, checkpoint=tmp_path)
    path = tmp_path / STATE
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match="truncated or changed"):
        run(three_steps, settings, tmp_path)
