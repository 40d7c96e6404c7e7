"""Actions built on a baseline: at rest they are it, in every face, with and without a band."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deephedge.agents import agent_settings, as_sb3_env
from deephedge.agents.factory import check_fit, make_model, view_of
from deephedge.agents.policy_hedger import PolicyHedger
from deephedge.agents.random_state import global_generators
from deephedge.baselines import (
    BandHedge,
    Baseline,
    DeltaGammaHedge,
    DeltaVegaHedge,
    LelandHedge,
    MinimumVarianceHedge,
    WhalleyWilmottHedge,
    ZakamoulineHedge,
)
from deephedge.envs import (
    HedgingEnv,
    HedgingVectorEnv,
    Known,
    Scenario,
    Variation,
    View,
    load_scenario,
    rollout,
    simulate,
)
from deephedge.envs.action import (
    ActionMap,
    BandAction,
    DiscreteAction,
    ResidualAction,
    TriggerAction,
)
from deephedge.envs.desk import Desk
from deephedge.envs.hedger import base_edges
from deephedge.envs.learning import LearningProblem
from deephedge.envs.namespace import NUMPY, TORCH, Namespace, X
from deephedge.envs.stream import generator_of

N = 64
CASES = [
    ("short-call", LelandHedge()),
    ("short-call", WhalleyWilmottHedge()),
    ("short-call", ZakamoulineHedge()),
    pytest.param("heston-call", MinimumVarianceHedge(), marks=pytest.mark.slow),
    ("gamma-hedge-jumps", DeltaGammaHedge()),
    ("gamma-hedge-jumps", DeltaVegaHedge()),
]
each_case = pytest.mark.parametrize(("preset", "rule"), CASES, ids=lambda c: getattr(c, "name", c))


class Constant:
    """Plays one action through a view, in either arithmetic."""

    name = "constant"

    def __init__(self, scenario: Scenario, view: View, value: float, ops: Namespace) -> None:
        self.desk, self.value = Desk(scenario, ops, view), value

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        width = known.contract.instruments * self.desk.width
        shape = (len(known.wealth), width)
        action = (
            torch.full(shape, self.value, dtype=torch.float64)
            if self.desk.ops is TORCH
            else np.full(shape, self.value)
        )
        return known.targets(self.desk, action), None


def at_rest(rule: Baseline) -> list[ActionMap]:
    return [ResidualAction(base=rule), BandAction(base=rule, rest=0.0)]


@each_case
def test_at_action_zero_the_base_is_played(preset: str, rule: Baseline) -> None:
    scenario = load_scenario(preset)
    episodes = simulate(scenario, N, torch.Generator().manual_seed(1), torch.float64)
    expected = rollout(scenario, episodes, rule, record=True)
    for action in at_rest(rule):
        view = View(action=action)
        for ops in (NUMPY, TORCH):
            hedger = Constant(scenario, view, 0.0, ops)
            given = rollout(scenario, episodes, hedger, differentiable=ops is TORCH, record=True)
            assert np.asarray(given.holding) == pytest.approx(expected.holding, abs=1e-9)
            assert np.asarray(given.pnl) == pytest.approx(expected.pnl, abs=1e-8)


@pytest.mark.parametrize(
    ("preset", "rule"),
    [("short-call", WhalleyWilmottHedge()), ("gamma-hedge-jumps", DeltaVegaHedge())],
    ids=["short-call", "gamma-hedge-jumps"],
)
def test_the_environments_play_the_base_too(preset: str, rule: Baseline) -> None:
    scenario = load_scenario(preset)
    for action in at_rest(rule):
        view = View(action=action)
        many = HedgingVectorEnv(N, scenario, view)
        many.reset(seed=3)
        one = HedgingEnv(scenario, view)
        one.reset(seed=3)
        single = HedgingVectorEnv(1, scenario, view)
        single.reset(seed=3)
        total, done = 0.0, False
        nothing = np.zeros(many.action_space.shape, dtype=np.float32)
        while not done:
            _, reward, done, _, info = one.step(nothing[0])
            _, rewards, _, _, infos = single.step(nothing[:1])
            assert reward == rewards[0]  # bit for bit
            _, _, ended, _, together = many.step(nothing)
        total = info["total_pnl"]
        assert total == infos["final_info"]["total_pnl"][0]
        episodes = many._stream  # the same stream's paths, played by the rule itself
        assert episodes is not None and ended.all()
        seed = np.random.SeedSequence(
            episodes._seed.entropy, spawn_key=(*episodes._seed.spawn_key, 0)
        )
        paths = N * episodes._per_block
        drawn = simulate(scenario, paths, generator_of(seed), torch.float32)
        expected = rollout(scenario, drawn, rule).pnl[:N]
        assert together["final_info"]["total_pnl"] == pytest.approx(expected, abs=1e-9)


def test_a_band_moves_the_edges_of_the_base_by_what_is_added() -> None:
    scenario = load_scenario("short-call")
    rule = WhalleyWilmottHedge()
    episodes = simulate(scenario, N, torch.Generator().manual_seed(1), torch.float64)
    ((lower, upper),) = base_edges(rule, scenario, episodes)
    assert (upper > lower).any() and (upper >= lower).all()
    wide = BandAction(base=rule, rest=0.0, reach=1.0)
    hedger = Constant(scenario, View(action=wide), 0.05, NUMPY)
    given = rollout(scenario, episodes, hedger, record=True)
    assert given.holding is not None
    neutral = -np.asarray(episodes.delta)[:-1]
    before = np.concatenate([np.zeros((1, N)), given.holding[:-1, :, 0]])
    by_hand = np.clip(before, neutral + lower + 0.05, neutral + upper + 0.05)
    assert given.holding[..., 0] == pytest.approx(by_hand, abs=1e-12)


def test_a_base_that_does_not_fit_is_refused_before_the_first_step() -> None:
    view = View(action=BandAction(base=MinimumVarianceHedge()))
    with pytest.raises(ValueError, match="base 'minimum-variance': in gbm vol does not move"):
        HedgingVectorEnv(4, "short-call", view)
    with pytest.raises(ValueError, match="minimum-variance"):
        as_sb3_env("short-call", 4, view)


def test_a_base_that_waits_outside_its_region_needs_a_trigger() -> None:
    """At action 0 a band around its edges would trade where the rule stays."""
    scenario, base = load_scenario("short-call"), BandHedge(to="centre")
    with pytest.raises(ValueError, match="base 'band:to=centre': it waits outside"):
        HedgingVectorEnv(4, scenario, View(action=BandAction(base=base)))
    HedgingVectorEnv(4, scenario, View(action=TriggerAction(base=base)))
    with pytest.raises(ValueError, match="imitate 'band:to=centre': it waits outside"):
        check_fit(scenario, agent_settings("ppo", imitate=base))
    fee = "[{kind: proportional, rate: 0.002}, {kind: fixed, fee: 0.02}]"
    charged = load_scenario("short-call", {"hedges.0.costs": fee})
    with pytest.raises(ValueError, match="base 'whalley-wilmott': it waits outside"):
        HedgingVectorEnv(4, charged, View(action=BandAction(base=WhalleyWilmottHedge())))


def test_a_base_is_part_of_the_view_as_json_and_of_discrete_choices() -> None:
    view = View(action=DiscreteAction(levels=3, of=BandAction(base=ZakamoulineHedge(aversion=0.2))))
    assert View.model_validate_json(view.model_dump_json()) == view
    with pytest.raises(ValueError, match="nonsense"):
        View.model_validate({"action": {"kind": "band", "base": {"kind": "nonsense"}}})


def test_a_base_of_settings_reaches_the_view_and_the_saved_policy_plays_it() -> None:
    scenario = load_scenario("short-call")
    settings = agent_settings("ppo", base=WhalleyWilmottHedge(), environments=8)
    view = view_of(scenario, settings)
    assert view.action == BandAction(base=WhalleyWilmottHedge())
    with global_generators(0):
        model = make_model(scenario, settings, 0)
    hedger = PolicyHedger("ppo", model.policy, scenario, view)
    episodes = simulate(scenario, N, torch.Generator().manual_seed(1), torch.float64)
    assert np.isfinite(rollout(scenario, episodes, hedger).pnl).all()
    plain = agent_settings("ppo", base=WhalleyWilmottHedge(), action={"kind": "target"})
    with pytest.raises(ValueError, match="base 'whalley-wilmott': actions of kind target"):
        view_of(scenario, plain)


def test_a_base_that_follows_the_aversion_is_not_varied() -> None:
    """It would be played at the scenario's in training, and at the asked one when judged."""
    scenario, variation = load_scenario("short-call"), Variation(aversion=(0.1, 1.0))

    def problem(rule: Baseline) -> LearningProblem:
        return LearningProblem(scenario, View(action=BandAction(base=rule)), NUMPY, variation)

    with pytest.raises(ValueError, match="base 'whalley-wilmott' is another at each aversion"):
        problem(WhalleyWilmottHedge())
    assert problem(WhalleyWilmottHedge(aversion=0.1)).groups is not None
    assert problem(LelandHedge()).groups is not None
