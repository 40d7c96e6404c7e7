"""Deep hedging: its gradient is the risk's, it finds known answers, and it is an SB3 algorithm."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm
from stable_baselines3.common.logger import CSVOutputFormat, Logger
from torch import Tensor

from deephedge.agents import (
    AgentSettings,
    DeepHedging,
    PolicyHedger,
    Trained,
    agent_settings,
    as_sb3_env,
    train_agent,
)
from deephedge.agents import training as training_module
from deephedge.agents.factory import check_fit
from deephedge.agents.pathwise import deep_hedging as deep_hedging_module
from deephedge.agents.pathwise.deep_hedging import Pathwise, pathwise_loss
from deephedge.agents.pathwise.policy import PathwisePolicy
from deephedge.agents.pathwise.surrogate import check_pathwise
from deephedge.baselines import DeltaHedge, OptimalHedge
from deephedge.envs import Episodes, Scenario, View, draw, load_scenario, rollout, simulate
from deephedge.envs.action import DiscreteAction, ResidualAction, TargetAction, TradeAction
from deephedge.envs.costs import Cost
from deephedge.envs.desk import Desk
from deephedge.envs.learning import LearningProblem
from deephedge.envs.namespace import NUMPY, TORCH
from deephedge.envs.objectives import CVaR, Expectile, Objective, RootMeanSquare
from deephedge.experiments.runs import check_run, load_run, train_run

Tiny = Callable[..., AgentSettings]
OBJECTIVES = {
    "entropic": "{kind: entropic, aversion: 0.3}",
    "cvar": "{kind: cvar, level: 0.7}",
    "mean-std": "{kind: mean-std, weight: 1.5}",
    "mean-variance": "{kind: mean-variance, aversion: 0.3}",
    "quadratic": "{kind: quadratic}",
    "semi-quadratic": "{kind: semi-quadratic}",
    "expectile": "{kind: expectile, level: 0.8}",
    "shortfall": "{kind: shortfall, threshold: 0.5, weight: 2}",
}


def paths(scenario: Scenario, n: int = 200, seed: int = 11) -> Episodes:
    return simulate(scenario, n, torch.Generator().manual_seed(seed), torch.float64)


def fresh(scenario: Scenario, view: View | None = None, scale: float = 1.0) -> PathwisePolicy:
    """A policy whose first actions are ``scale`` times as large, and not all near 0."""
    problem = LearningProblem(scenario, view, NUMPY)
    torch.manual_seed(5)
    policy = PathwisePolicy(
        problem.observation_space, problem.action_space, lambda _: 1e-3, (8,), torch.nn.Tanh
    )
    with torch.no_grad():
        for parameter in policy.mu[-1].parameters():
            parameter.mul_(scale)
    return policy


def hedger(scenario: Scenario, policy: PathwisePolicy, view: View | None = None) -> Pathwise:
    return Pathwise(policy, Desk(scenario, TORCH, view))


def test_every_objective_with_a_pointwise_loss_is_here() -> None:
    trainable = {kind for kind, cls in Objective.kinds.items() if cls.trainable}
    assert set(OBJECTIVES) == {kind for kind in trainable if "test" not in kind}


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
@pytest.mark.parametrize("action", [None, TargetAction(), ResidualAction(), TradeAction()])
def test_the_gradient_is_that_of_the_risk(
    objective: str, action: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the batch's risk, by NumPy, against central differences to 1e-5 in float64."""
    monkeypatch.setattr(CVaR, "theta", lambda self, losses: (between(losses, self.level),))
    scenario = load_scenario("short-call", {"calendar.steps": "4", "objective": objective})
    view = View(action=action) if action else View()
    episodes = paths(scenario, 60)
    policy = fresh(scenario, view, 20.0).double()
    pathwise_loss(hedger(scenario, policy, view), episodes).backward()  # type: ignore[no-untyped-call]
    gradient = [p.grad.clone() for p in policy.parameters() if p.grad is not None]
    found, expected = [], []
    for seed in range(4):
        drawn = torch.Generator().manual_seed(seed)
        moves = [torch.randn(p.shape, generator=drawn).double() for p in policy.parameters()]
        slopes = [(g * m).sum() for g, m in zip(gradient, moves, strict=True)]
        found.append(float(torch.stack(slopes).sum()))
        risks = [risk_moved(scenario, episodes, policy, view, moves, s) for s in (1e-6, -1e-6)]
        expected.append((risks[0] - risks[1]) / 2e-6)
    factor = chain(scenario, -pnl(scenario, episodes, policy, view)) / scenario.contract.scale
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, factor * np.array(expected), rtol=1e-5, atol=1e-7)


def between(losses: NDArray[np.float64], level: float) -> float:
    """A quantile that no path sits on: there CVaR's pointwise loss has a kink."""
    ordered = np.sort(losses)
    above = round(len(losses) * level)
    return float(ordered[above - 1] + ordered[above]) / 2


def pnl(scenario: Scenario, episodes: Episodes, policy: PathwisePolicy, view: View) -> Any:
    with torch.no_grad():
        played = rollout(scenario, episodes, hedger(scenario, policy, view), differentiable=True)
    return played.pnl.numpy()


def risk_moved(
    scenario: Scenario,
    episodes: Episodes,
    policy: PathwisePolicy,
    view: View,
    moves: list[Tensor],
    step: float,
) -> float:
    """The risk with the weights a step along ``moves``."""
    with torch.no_grad():
        for parameter, move in zip(policy.parameters(), moves, strict=True):
            parameter.add_(step * move)
        risk = scenario.objective.risk(-pnl(scenario, episodes, policy, view))
        for parameter, move in zip(policy.parameters(), moves, strict=True):
            parameter.sub_(step * move)
    return risk


def chain(scenario: Scenario, losses: NDArray[np.float64]) -> float:
    """The slope of the mean pointwise loss over that of the risk; 1 where the risk is a minimum."""
    objective = scenario.objective
    if isinstance(objective, RootMeanSquare):
        return 2.0 * objective.risk(losses)
    if isinstance(objective, Expectile):
        beyond = float((losses > objective.risk(losses)).mean())
        level = objective.level
        return ((1 - level) * (1 - beyond) + level * beyond) / (1 - level)
    return 1.0


def variance_optimal(sigma: float, years: float) -> float:
    """The closed form of one period without drift, cost or interest, for an at-the-money call.

    Cov(payoff, S') / Var(S'), where the price is a martingale (Schweizer, "Variance-optimal
    hedging in discrete time", 1995): with g = exp(sigma^2 dt), (C(g S) - C(S)) / (S (g - 1)).
    """
    deviation = sigma * years**0.5
    growth = np.exp(deviation**2)

    def call(spot: float) -> float:
        d1 = np.log(spot / 100) / deviation + deviation / 2
        return float(spot * norm.cdf(d1) - 100 * norm.cdf(d1 - deviation))

    return float((call(100 * growth) - call(100)) / (100 * (growth - 1)))


@pytest.mark.parametrize("action", [None, TargetAction()], ids=["band", "target"])
def test_one_period_of_quadratic_risk_is_the_closed_form(
    action: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1 %; a call of half a year at a vol of 0.4, where delta is 4 % lower."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 4096)
    scenario = load_scenario(
        "short-call",
        {
            "calendar": "{kind: uniform, days: 182.5, steps: 1}",
            "market.sigma": "0.4",
            "marking.vol": "0.4",
            "hedges.0.costs": "[]",
            "objective": "{kind: quadratic}",
        },
    )
    settings = agent_settings("deep-hedging", environments=4096, steps=4096 * 200, action=action)
    result = train_agent(scenario, settings)
    learned, delta = (
        np.asarray(rollout(scenario, paths(scenario, 2), h, record=True).holding)[0, 0, 0]
        for h in (result.hedger, DeltaHedge())
    )
    optimal = variance_optimal(0.4, scenario.calendar.horizon)
    assert learned == pytest.approx(optimal, rel=0.01)
    assert abs(delta / optimal - 1) > 0.03


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_every_objective_trains(tiny: Tiny, objective: str) -> None:
    """At 3 % a trade the band that an untrained policy rests in is far too narrow."""
    changes = {"calendar.steps": "3", "hedges.0.costs.0.rate": "0.03", "objective": objective}
    scenario = load_scenario("short-call", changes)
    result = train_agent(scenario, tiny("deep-hedging", environments=256, steps=768 * 40))
    assert result.risks[-1][0] == 768 * 40
    assert np.isfinite(result.risk) and result.risk < 0.97 * result.risks[0][1]


@pytest.mark.parametrize("preset", ["gamma-hedge-jumps", "exchange-option", "book-jumps"])
@pytest.mark.parametrize("action", [None, TargetAction(), ResidualAction()])
def test_several_instruments_all_learn(preset: str, action: Any) -> None:
    """The loss pulls at the numbers of every instrument, options and underlyings alike.

    Not at each of both edges: from nothing held, a band below is never met.
    """
    scenario = load_scenario(preset)
    view = View(action=action) if action else View()
    policy = fresh(scenario, view, 3.0)
    generator = torch.Generator().manual_seed(1)
    episodes = simulate(scenario, 128, generator, torch.float32)
    pathwise_loss(hedger(scenario, policy, view), episodes).backward()  # type: ignore[no-untyped-call]
    pulls = policy.mu[-1].weight.grad
    assert torch.isfinite(pulls).all()
    by_instrument = pulls.reshape(len(scenario.hedges), view.action.width, -1).abs()
    assert (by_instrument.amax((1, 2)) > 1e-6).all()


def test_gradient_and_evaluation_see_one_policy() -> None:
    """Float32 through torch and the NumPy ledger of an evaluation: one P&L."""
    for preset in ("short-call", "gamma-hedge-jumps"):
        scenario = load_scenario(preset)
        policy = fresh(scenario, scale=300.0)  # some actions beyond their bounds
        episodes = paths(scenario, 50)
        played = pnl(scenario, episodes, policy.double(), scenario.view)
        policy = policy.float()
        judged = rollout(scenario, episodes, PolicyHedger("x", policy, scenario, scenario.view))
        assert policy(torch.zeros(1, len(policy.mu[0].weight.T))).abs().max() == 1.0
        np.testing.assert_allclose(played, judged.pnl, atol=2e-4)
        assert judged.trades.mean() > 1.0


def test_a_policy_that_sees_the_market_only(three_steps: Scenario, tiny: Tiny) -> None:
    """Neither its holding nor its P&L: no own column is appended."""
    scenario = three_steps.model_copy(update={"view": View(features=("time_left", "moneyness"))})
    result = train_agent(scenario, tiny("deep-hedging", steps=16 * 3 * 5))
    assert result.risk < result.risks[0][1]


def weights(result: Trained) -> dict[str, Tensor]:
    return dict(result.hedger.policy.state_dict())


def test_a_run_comes_back_with_identical_holdings(
    three_steps: Scenario, tiny: Tiny, tmp_path: Path
) -> None:
    """Trained into a run directory, loaded, and played: as for every agent."""
    settings = tiny("deep-hedging", steps=16 * 3 * 3)
    result = train_run(tmp_path / "run", three_steps, settings, seed=2)
    loaded = load_run(tmp_path / "run")
    assert loaded.name == result.hedger.name == "run"
    before, after = (
        np.asarray(rollout(three_steps, paths(three_steps), h, record=True).holding)
        for h in (result.hedger, loaded)
    )
    assert np.ptp(before) > 0.1
    np.testing.assert_array_equal(before, after)
    metrics = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert {"hedge/risk", "train/loss", "train/gradient_norm"} <= set(metrics[0].split(","))
    again = train_agent(three_steps, settings, seed=2)
    assert all(torch.equal(weights(again)[k], v) for k, v in weights(result).items())


class StampDuty(Cost):
    """A user's cost that jumps and does not say how it is smoothed."""

    kind: Literal["test-stamp-duty"] = "test-stamp-duty"

    def charge(self, trade: Any, price: Any, ops: Any) -> Any:
        return ops.where(trade != 0, 0.1 + 0 * price, 0 * price)


REFUSED = {
    "jump": (
        {"hedges.0.costs": "[{kind: proportional, rate: 0.1}, {kind: test-stamp-duty}]"},
        "hedges.0.costs.1:",
    ),
    "var": ({"objective": "{kind: var, level: 0.95}"}, "is reported only"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_pathwise_gradient_is_refused(changes: dict[str, str], message: str) -> None:
    """In one line, before anything is trained, by every door."""
    scenario = load_scenario("short-call", changes)
    settings = agent_settings("deep-hedging")
    doors: list[Callable[[], Any]] = [
        lambda: check_fit(scenario, settings),
        lambda: check_run(scenario, settings),
        lambda: train_agent(scenario, settings),
        lambda: DeepHedging("MlpPolicy", as_sb3_env(scenario, 4)),
    ]
    for door in doors:
        with pytest.raises(ValueError, match=message) as refusal:
            door()
        assert "\n" not in str(refusal.value)
    check_run(
        scenario.model_copy(update={"objective": load_scenario("short-call").objective}),
        agent_settings("ppo"),
    )


def test_costs_that_vanish_with_the_trade_are_not_refused() -> None:
    costs = "[{kind: per-unit, fee: 0.1}, {kind: quadratic, rate: 0.1}, {kind: fixed, fee: 0}]"
    check_pathwise(load_scenario("short-call", {"hedges.0.costs": costs}), "deep-hedging")


def test_discrete_actions_are_refused(three_steps: Scenario, tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="agent deep-hedging gives continuous actions"):
        train_agent(three_steps, tiny("deep-hedging", action=DiscreteAction(levels=3)))


def model(scenario: Scenario, **options: Any) -> DeepHedging:
    return DeepHedging("MlpPolicy", as_sb3_env(scenario, 16), **options)


def test_it_is_an_sb3_algorithm(three_steps: Scenario, tmp_path: Path) -> None:
    """Learns, predicts, is saved and loaded, and goes on as if it had not been."""

    def draw() -> tuple[float, ...]:
        return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002

    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
    undisturbed = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)  # noqa: NPY002
    told: list[int] = []
    learner = model(three_steps, seed=3)

    def tell(_: Any, __: Any) -> bool:
        told.append(learner.num_timesteps)
        return True

    assert learner.learn(48 * 4, callback=tell) is learner
    assert draw() == undisturbed
    assert told == [48, 96, 144, 192]
    learner.save(tmp_path / "model.zip")
    loaded = DeepHedging.load(tmp_path / "model.zip", as_sb3_env(three_steps, 16))
    player = DeepHedging.load(tmp_path / "model.zip")
    observation = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    assert learner.observation_space.shape == (6,)
    action, _ = learner.predict(observation)
    assert action.shape == (5, 2) and np.abs(action).max() <= 1
    np.testing.assert_array_equal(action, player.predict(observation)[0])
    for each in (learner, loaded):
        each.learn(48 * 2, reset_num_timesteps=False)
        assert each.num_timesteps == 48 * 6
    went_on = [each.policy.state_dict() for each in (learner, loaded)]
    assert all(torch.equal(went_on[0][k], v) for k, v in went_on[1].items())


def test_every_update_has_fresh_paths_of_the_seed(
    three_steps: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Tensor] = []

    def watched(*arguments: Any) -> Episodes:
        drawn.append((episodes := draw(*arguments)).spot[1])
        return episodes

    monkeypatch.setattr(deep_hedging_module, "draw", watched)
    for seed in (1, 1, 2):
        model(three_steps, seed=seed).learn(48 * 3)
    assert all(torch.equal(a, b) for a, b in zip(drawn[:3], drawn[3:6], strict=True))
    assert len({tuple(spots.tolist()) for spots in drawn}) == 6


def test_a_callback_may_stop_it(three_steps: Scenario) -> None:
    learner = model(three_steps).learn(48 * 9, callback=lambda *_: False)
    assert learner.num_timesteps == 48


def test_the_rate_falls_and_the_logger_is_told(three_steps: Scenario, tmp_path: Path) -> None:
    writer = CSVOutputFormat(str(tmp_path / "metrics.csv"))
    learner = model(three_steps, learning_rate=lambda remaining: 0.01 * remaining)
    learner.set_logger(Logger(None, [writer]))
    learner.learn(48 * 4, log_interval=1)
    writer.close()
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    rates = [float(row.split(",")[header.split(",").index("train/learning_rate")]) for row in rows]
    np.testing.assert_allclose(rates, [0.01, 0.0075, 0.005, 0.0025])
    assert {"time/fps", "train/loss", "train/n_updates"} <= set(header.split(","))


@pytest.mark.slow
def test_the_band_closes_the_gap_to_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """99 % of what lies between delta and the exact optimum, on 200,000 fresh paths."""
    monkeypatch.setattr(training_module, "VALIDATION_PATHS", 8192)
    scenario = load_scenario("short-call")
    learned = train_agent(scenario, agent_settings("deep-hedging")).hedger
    episodes = paths(scenario, 200_000, seed=77)
    delta, optimum, found = (
        scenario.objective.risk(-rollout(scenario, episodes, h).pnl)
        for h in (DeltaHedge(), OptimalHedge(), learned)
    )
    assert (delta - found) / (delta - optimum) > 0.99
