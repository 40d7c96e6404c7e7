"""Imitation: a policy copies a baseline before it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor

from ..envs import Scenario, View, rollout, simulate
from ..envs.action import BandAction
from ..envs.desk import Desk
from ..envs.hedger import Observations
from ..envs.learning import LearningProblem
from ..envs.ledger import Account
from ..envs.namespace import NUMPY, TORCH
from ..envs.rule import Rule
from ..envs.stream import Role, generator_of, stream_of
from ..envs.tape import At, Tape
from .pathwise.policy import PathwisePolicy

PATHS, BATCH = 2048, 256  # played once; whole episodes in an update
UPDATES = 500
LEARNING_RATE = 3e-3
ASTRAY = 0.3  # position sizes: how far off the rule's own holdings the copy is practised too
TARGETS = {"actor_target": "actor", "q_net_target": "q_net"}


@dataclass(frozen=True)
class _Lesson:
    """What is copied: for every date and path a present holding and where the rule goes from it."""

    tape: Tape  # as the policy's own action map reads it
    observation: Tensor  # [T, N, F]
    holding: tuple[Tensor, ...]  # K of [T, N]
    wanted: tuple[Tensor, ...]  # K of [T, N]


def imitate(
    model: BaseAlgorithm, scenario: Scenario, view: View, rule: Rule, seed: int = 0
) -> float:
    """Behaviour cloning: least mean of ``|target(pi(o), h) - rule(h)|^2`` over dates and paths.

    Target and rule are holdings in position sizes, ``h`` is the holding before: on half of the
    paths the rule's own, elsewhere that plus a normal number, so that a band's edges are seen from
    both sides. Discrete policies give the mean over their choices. Exploration, critics and value
    functions stay as they are. It draws from a stream of its own and from no global generator.

    Source: Pomerleau, "ALVINN: an autonomous land vehicle in a neural network", 1989.
    Evidence: tests/agents/test_imitation.py.

    Returns:
        The last root mean square error, in position sizes.

    Raises:
        ValueError: where the rule does not fit the scenario.
    """
    generator = generator_of(stream_of(seed, Role.IMITATION))
    problem = LearningProblem(scenario, view, NUMPY)
    lesson = _lesson(scenario, view, rule, generator)
    desk = Desk(scenario, TORCH, view)
    choices = None if problem.choices is None else torch.from_numpy(problem.choices)
    parameters = [p for p in model.policy.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, UPDATES)
    model.policy.set_training_mode(True)
    error = torch.zeros(())
    for _ in range(UPDATES):
        paths = torch.randint(0, PATHS, (BATCH,), generator=generator)
        error = _error(model, desk, lesson, paths, choices)
        optimizer.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    for target, source in TARGETS.items():
        if hasattr(model.policy, target):
            weights = getattr(model.policy, source).state_dict()
            getattr(model.policy, target).load_state_dict(weights)
    model.policy.set_training_mode(False)
    return float(error.detach().sqrt())


def _lesson(scenario: Scenario, view: View, rule: Rule, generator: torch.Generator) -> _Lesson:
    episodes = simulate(scenario, PATHS, generator, torch.float32)
    played = rollout(scenario, episodes, rule, record=True)
    assert played.holding is not None and played.wealth is not None
    size, bounds = scenario.contract.size, Desk(scenario, NUMPY).bounds
    before = np.concatenate([np.zeros_like(played.holding[:1]), played.holding[:-1]])
    astray = torch.randn(before.shape, generator=generator) * (ASTRAY * size)
    astray[:, ::2] = 0.0
    held = torch.from_numpy(before).float() + astray
    holding = tuple(held[..., k].clamp(low, high) for k, (low, high) in enumerate(bounds))
    wealth = torch.from_numpy(played.wealth[:-1]).float()
    observations, plain = Observations(episodes, False), Tape.of_tensors(episodes)
    at_rest = view.model_copy(update={"action": BandAction(base=rule, rest=0.0)})
    expert = Desk(scenario, TORCH, at_rest)
    desk = Desk(scenario, TORCH, view)
    tapes = [observations.based(d.action.built_on, scenario, plain) for d in (expert, desk)]
    seen, wanted = [], []
    for t in range(episodes.steps):
        account = desk.standing(tuple(h[t] for h in holding), wealth[t])
        seen.append(observations.at(desk, t, account, plain))
        still = (torch.zeros_like(wealth[t]),) * (2 * len(holding))
        wanted.append(expert.targets(still, account, tapes[0], t))
    targets = tuple(
        torch.stack(list(column)).clamp(low, high)
        for column, (low, high) in zip(zip(*wanted, strict=True), bounds, strict=True)
    )
    return _Lesson(tapes[1], torch.stack(seen), holding, targets)


def _error(
    model: BaseAlgorithm, desk: Desk, lesson: _Lesson, paths: Tensor, choices: Tensor | None
) -> Tensor:
    """The mean square distance to the rule's holdings, in position sizes."""
    played = _play(model, lesson.observation[:, paths])
    dates = torch.arange(len(played))[:, None].expand(played.shape[:2])
    at: At = (dates, paths.expand(played.shape[:2]))
    account = Account(0.0, tuple(h[:, paths] for h in lesson.holding), 0.0)
    wanted = [w[:, paths] for w in lesson.wanted]

    def distance(numbers: tuple[Any, ...]) -> Tensor:
        targets = desk.targets(numbers, account, lesson.tape, at)
        pairs = zip(targets, wanted, strict=True)
        squares = [((target - want) / desk.contract.size) ** 2 for target, want in pairs]
        return torch.stack(squares).sum(0)

    if choices is None:
        return distance(tuple(played.unbind(-1))).mean()
    weights = played.softmax(-1)
    shape = weights.shape[:2]
    each = [distance(tuple(number.expand(shape) for number in choice)) for choice in choices]
    return (weights * torch.stack(each, -1)).sum(-1).mean()


def _play(model: BaseAlgorithm, observation: Tensor) -> Tensor:
    """The actions ``[T, n, width]`` along whole episodes, or the choices' scores ``[T, n, C]``."""
    policy: Any = model.policy
    if isinstance(model, RecurrentPPO):
        return _play_recurrent(model, observation)
    if isinstance(policy, PathwisePolicy):
        return policy.along(observation)
    flat = observation.flatten(0, 1)
    if isinstance(model, DQN):
        played = policy.q_net(flat)
    elif isinstance(policy, ActorCriticPolicy):
        played = _mode(policy.get_distribution(flat))
    else:
        played = policy._predict(flat, deterministic=True)
    return played.unflatten(0, observation.shape[:2])  # type: ignore[no-any-return]


def _mode(distribution: Any) -> Tensor:
    """The likeliest action, or the scores of a choice."""
    scores: Tensor | None = getattr(distribution.distribution, "logits", None)
    mode: Tensor = distribution.mode()
    return mode if scores is None else scores


def _play_recurrent(model: RecurrentPPO, observation: Tensor) -> Tensor:
    policy: Any = model.policy
    paths = observation.shape[1]
    shape = (policy.lstm_actor.num_layers, paths, policy.lstm_actor.hidden_size)
    state = (torch.zeros(shape), torch.zeros(shape))
    played = []
    for t, seen in enumerate(observation):
        first = torch.full((paths,), float(t == 0))
        distribution, state = policy.get_distribution(seen, state, first)
        played.append(_mode(distribution))
    return torch.stack(played)
