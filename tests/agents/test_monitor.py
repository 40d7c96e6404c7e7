"""The monitor: the best policy by the scenario's risk is kept, and everything shown is true."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import (
    CSVOutputFormat,
    KVWriter,
    Logger,
    TensorBoardOutputFormat,
)
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]
    EventAccumulator,
)

from deephedge.agents import AgentSettings, PolicyHedger
from deephedge.agents.factory import make_model, view_of
from deephedge.agents.monitor import DRAWN_EVERY, LEAST_ENDINGS, RiskMonitor
from deephedge.agents.random_state import global_generators
from deephedge.baselines import DeltaHedge, OptimalHedge
from deephedge.envs import Outcome, Scenario, load_scenario, rollout, simulate

SCALARS = {
    *("risk", "best_risk", "risk_minus_delta", "mean", "std", "cvar_95"),
    *("cost", "turnover", "trades", "action_saturation", "gap_closed"),
}
Tiny = Callable[..., AgentSettings]


class Watched:
    """A model that has been trained under a monitor."""

    def __init__(
        self,
        scenario: Scenario,
        settings: AgentSettings,
        *others: BaseCallback,
        writers: list[KVWriter] | None = None,
        **options: Any,
    ) -> None:
        episodes = simulate(scenario, 200, torch.Generator().manual_seed(1), torch.float64)
        view = view_of(scenario, settings)
        self.scenario, self.episodes, self.view = scenario, episodes, view
        self.monitor = RiskMonitor(scenario, view, episodes, settings.steps, **options)
        with global_generators(0):
            self.model: BaseAlgorithm = make_model(scenario, settings, 0)
            self.model.set_logger(Logger(None, writers or []))
            self.model.learn(settings.steps, callback=[self.monitor, *others], log_interval=1)

    def outcome(self) -> Outcome:
        """The present policy on the fixed paths."""
        policy: Any = self.model.policy
        return rollout(
            self.scenario, self.episodes, PolicyHedger("x", policy, self.scenario, self.view)
        )

    def risk(self) -> float:
        return self.scenario.objective.risk(-self.outcome().pnl)


def weights(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.policy.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("name", ["ppo", "sac", "dqn"])
def test_the_weights_of_the_lowest_risk_are_kept(
    three_steps: Scenario, tiny: Tiny, name: str
) -> None:
    """With a rate at which learning soon does harm, the last policy is not the best."""
    settings = tiny(name, steps=16 * 3 * 12, learning_rate=0.03, updates_per_transition=0.1)
    watched = Watched(three_steps, settings)
    risks = [risk for _, risk in watched.monitor.risks]
    last = weights(watched.model)
    assert watched.risk() == risks[-1] > min(risks)
    watched.monitor.restore_best()
    assert watched.risk() == min(risks) == watched.monitor.best[0]
    assert not same(last, weights(watched.model))


def test_the_best_weights_are_a_copy_that_learning_does_not_touch(
    three_steps: Scenario, tiny: Tiny
) -> None:
    watched = Watched(three_steps, tiny("ppo", steps=16 * 3 * 4))
    kept = {name: value.clone() for name, value in watched.monitor.best[1].items()}
    with torch.no_grad():
        for parameter in watched.model.policy.parameters():
            parameter.add_(1.0)
    assert same(kept, watched.monitor.best[1])


@pytest.mark.parametrize(
    ("name", "evaluations"), [("ppo", 4), ("ppo", 10), ("sac", 5), ("deep-hedging", 5)]
)
def test_it_judges_before_during_and_after(
    three_steps: Scenario, tiny: Tiny, name: str, evaluations: int
) -> None:
    """In equal stretches: every rollout of 48 steps begins a new tenth of the training."""
    watched = Watched(three_steps, tiny(name, steps=480), evaluations=evaluations)
    found = [steps for steps, _ in watched.monitor.risks]
    assert found[0] == 0 and found[-1] == 480
    assert len(found) == evaluations + 1
    stretch = 480 / evaluations
    assert all(0 <= s - k * stretch < 48 for k, s in enumerate(found))


@pytest.mark.parametrize("name", ["ppo", "recurrent-ppo", "sac", "td3", "dqn", "deep-hedging"])
def test_watching_changes_nothing(three_steps: Scenario, tiny: Tiny, name: str) -> None:
    """However often it judges, the same weights are learned."""
    settings = tiny(name, steps=16 * 3 * 6)
    seldom, often = (Watched(three_steps, settings, evaluations=n) for n in (1, 20))
    assert len(often.monitor.risks) > len(seldom.monitor.risks)
    assert same(weights(seldom.model), weights(often.model))


class _Thetas(BaseCallback):
    """Theta and the clock at every step, and when it is refitted."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[list[tuple[float, ...]]] = []
        self.refits: list[tuple[int, int]] = []  # steps so far, losses

    def _on_training_start(self) -> None:
        env: Any = self.training_env
        problem = env.env.problem
        refit = problem.refit

        def watched(losses: Any) -> None:
            clock = env.env._t
            assert isinstance(clock, int) and clock == 0  # between episodes
            self.refits.append((self.model.num_timesteps, len(losses)))
            refit(losses)

        problem.refit = watched

    def _on_rollout_start(self) -> None:
        self.rollouts.append([])

    def _on_step(self) -> bool:
        env: Any = self.training_env
        self.rollouts[-1].append(env.env.problem.theta)
        return True


@pytest.mark.parametrize("objective", ["{kind: cvar, level: 0.9}", "{kind: mean-std, weight: 1.0}"])
def test_theta_moves_between_rollouts_only(tiny: Tiny, objective: str) -> None:
    scenario = load_scenario("short-call", {"calendar.steps": "3", "objective": objective})
    seen = _Thetas()
    settings = tiny("ppo", environments=300, steps=300 * 3 * 12)
    Watched(scenario, settings, seen)
    thetas = [set(rollout) for rollout in seen.rollouts]
    assert all(len(rollout) == 3 for rollout in seen.rollouts)
    assert all(len(theta) == 1 for theta in thetas)
    # 300 endings a rollout: after every fourth there are 1,024 or more.
    assert LEAST_ENDINGS == 1024
    assert seen.refits == [(900 * k, 1200) for k in (4, 8)]
    moved = [k for k in range(1, 12) if thetas[k] != thetas[k - 1]]
    assert moved == [4, 8]


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(
        str(folder), size_guidance={"scalars": 0, "histograms": 0, "images": 0}
    )
    events.Reload()
    return events


@pytest.mark.parametrize("name", ["ppo", pytest.param("sac", marks=pytest.mark.slow)])
def test_everything_is_logged_to_tensorboard_and_csv(
    three_steps: Scenario, tiny: Tiny, tmp_path: Path, name: str
) -> None:
    writers: list[KVWriter] = [
        TensorBoardOutputFormat(str(tmp_path / "tb")),
        CSVOutputFormat(str(tmp_path / "metrics.csv")),
    ]
    settings = tiny(name, steps=16 * 3 * 10, updates_per_transition=0.1)
    watched = Watched(three_steps, settings, writers=writers, evaluations=5)
    for writer in writers:
        writer.close()
    risks = watched.monitor.risks
    events = read(tmp_path / "tb")
    tags = events.Tags()
    assert {tag for tag in tags["scalars"] if tag.startswith("hedge/")} == {
        f"hedge/{tag}" for tag in SCALARS
    }
    assert {"hedge/pnl", "hedge/pnl_of_delta"} <= set(tags["histograms"])
    assert any(tag.startswith("train/") for tag in tags["scalars"])
    assert {"rollout/ep_rew_mean", "time/fps"} <= set(tags["scalars"])
    # Every evaluation, at the step count at which it was made.
    logged = [(event.step, event.value) for event in events.Scalars("hedge/risk")]
    assert [step for step, _ in logged] == [step for step, _ in risks]
    np.testing.assert_allclose([v for _, v in logged], [r for _, r in risks], rtol=1e-6)
    assert [event.step for event in events.Histograms("hedge/pnl")] == [step for step, _ in risks]
    assert [event.step for event in events.Histograms("hedge/pnl_of_delta")] == [0]
    assert events.Histograms("hedge/pnl")[-1].histogram_value.num == 200
    with (tmp_path / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["hedge/risk"]]
    assert SCALARS <= {key.removeprefix("hedge/") for key in rows[0]}
    assert [int(row["time/total_timesteps"]) for row in rows] == [step for step, _ in risks]
    assert [float(row["hedge/risk"]) for row in rows] == [risk for _, risk in risks]


def test_figures_are_drawn_at_intervals_and_at_the_end(
    three_steps: Scenario, tiny: Tiny, tmp_path: Path
) -> None:
    """Drawing takes long: not at every evaluation."""
    writer = TensorBoardOutputFormat(str(tmp_path))
    watched = Watched(three_steps, tiny("ppo", steps=480), writers=[writer], evaluations=7)
    writer.close()
    steps = [step for step, _ in watched.monitor.risks]
    assert DRAWN_EVERY == 5 and len(steps) == 8
    events = read(tmp_path)
    for tag in ("hedge/policy", "hedge/examples"):
        assert [event.step for event in events.Images(tag)] == [steps[0], steps[5], steps[7]]


def test_without_a_known_optimum_there_is_no_gap(tiny: Tiny, tmp_path: Path) -> None:
    scenario = load_scenario("heston-call", {"calendar.steps": "3"})
    writer = CSVOutputFormat(str(tmp_path / "metrics.csv"))
    Watched(scenario, tiny("ppo", steps=48), writers=[writer], evaluations=1)
    writer.close()
    assert "gap_closed" not in (tmp_path / "metrics.csv").read_text()


def test_what_is_logged_is_true(three_steps: Scenario, tiny: Tiny, tmp_path: Path) -> None:
    """The last row against the figures of the policy as it was at the end."""
    writer = CSVOutputFormat(str(tmp_path / "metrics.csv"))
    watched = Watched(three_steps, tiny("ppo", steps=480), writers=[writer], evaluations=5)
    writer.close()
    with (tmp_path / "metrics.csv").open() as file:
        *_, last = [row for row in csv.DictReader(file) if row["hedge/risk"]]
    outcome = watched.outcome()
    delta = rollout(three_steps, watched.episodes, DeltaHedge())
    pnl = outcome.pnl
    worst = np.sort(-pnl)[-10:]  # 5 % of 200 paths
    risks = [float(np.log(np.exp(-0.1 * p).mean()) / 0.1) for p in (pnl, delta.pnl)]
    expected = {
        "risk": risks[0],
        "best_risk": min(risk for _, risk in watched.monitor.risks),
        "risk_minus_delta": risks[0] - risks[1],
        "mean": pnl.mean(),
        "std": pnl.std(),
        "cvar_95": worst.mean(),
        "cost": outcome.cost.mean(),
        "turnover": outcome.turnover.mean(),
        "trades": outcome.trades.mean(),
    }
    best = rollout(three_steps, watched.episodes, OptimalHedge())
    room = risks[1] - float(np.log(np.exp(-0.1 * best.pnl).mean()) / 0.1)
    expected["gap_closed"] = (risks[1] - expected["best_risk"]) / room
    for key, value in expected.items():
        assert float(last[f"hedge/{key}"]) == pytest.approx(value, rel=1e-9), key


@pytest.mark.parametrize(("log_std", "share"), [(-8.0, 0.0), (8.0, 1.0)])
def test_saturation_is_the_share_of_actions_at_the_bounds(
    three_steps: Scenario, tiny: Tiny, tmp_path: Path, log_std: float, share: float
) -> None:
    writer = CSVOutputFormat(str(tmp_path / "metrics.csv"))
    Watched(three_steps, tiny("ppo", steps=48, log_std=log_std), writers=[writer])
    writer.close()
    with (tmp_path / "metrics.csv").open() as file:
        found = [row["hedge/action_saturation"] for row in csv.DictReader(file)]
    assert float([value for value in found if value][-1]) == pytest.approx(share, abs=0.05)


def test_progress_is_told_with_the_present_risk(three_steps: Scenario, tiny: Tiny) -> None:
    told: list[tuple[int, float]] = []
    watched = Watched(
        three_steps,
        tiny("ppo", steps=480),
        evaluations=5,
        progress=lambda steps, risk: told.append((steps, risk)),
    )
    assert [steps for steps, _ in told] == list(range(16, 481, 16))
    known = dict(watched.monitor.risks)
    for steps, risk in told:
        assert risk == known[max(s for s in known if s < steps)]


def test_without_a_writer_nothing_is_drawn(
    three_steps: Scenario, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("drawn")

    for name in ("policy_figure", "example_figure", "known_optimum"):
        monkeypatch.setattr(f"deephedge.agents.monitor.{name}", refuse)
    Watched(three_steps, tiny("ppo", steps=48))
