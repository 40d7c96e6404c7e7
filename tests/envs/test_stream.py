"""The stream: an episode is a function of the seed, the number of environments, e and i alone."""

from __future__ import annotations

import gc
import random
import weakref

import numpy as np
import pytest
import torch

from deephedge.envs import HedgingEnv, HedgingVectorEnv, draw, load_scenario
from deephedge.envs import stream as streams
from deephedge.envs.namespace import X
from deephedge.envs.stream import (
    LEAST_PATHS,
    EpisodeStream,
    Role,
    generator_of,
    stream_of,
)
from deephedge.envs.tape import Tape

SCENARIO = load_scenario("gamma-hedge-jumps", {"calendar.steps": "3", "market.rate": "0.03"})
FEATURES = SCENARIO.features


def stream(environments: int, seed: int = 0) -> EpisodeStream:
    return EpisodeStream(SCENARIO, FEATURES, environments, np.random.SeedSequence(seed))


def same(one: Tape, other: Tape) -> bool:
    """Whether two tapes hold the same numbers, bit for bit."""
    return all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))


def arrays(tape: Tape) -> list[X]:
    return [
        *tape.price,
        tape.mark,
        tape.cash_flow,
        *tape.delta,
        *tape.option_delta,
        tape.gamma,
        tape.vega,
        tape.premium,
        tape.features,
    ]


@pytest.mark.parametrize("environments", [1, 3, LEAST_PATHS, LEAST_PATHS + 5])
def test_the_order_of_asking_does_not_matter(
    environments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where blocks have been forgotten and are drawn again."""
    monkeypatch.setattr(streams, "MOST_BLOCKS", 3)
    per_block = -(-LEAST_PATHS // environments)
    wanted = [*range(0, 6 * per_block, max(1, per_block // 7)), 1, 2, 7, 0]
    shuffled = random.Random(0).sample(wanted, len(wanted))
    forwards, anyhow = stream(environments), stream(environments)
    kept = {e: forwards.episode(e) for e in wanted}
    for e in shuffled:
        assert same(anyhow.episode(e), kept[e])
        if e % 3 == 0:
            anyhow.release(e)


def test_what_is_behind_every_environment_is_forgotten() -> None:
    one = stream(LEAST_PATHS)
    tapes = [weakref.ref(one.episode(e)) for e in range(5)]
    assert all(tape() is not None for tape in tapes)
    one.release(3)
    gc.collect()
    assert [tape() is not None for tape in tapes] == [False, False, False, True, True]


def test_the_environments_forget_the_episodes_behind_them() -> None:
    """An environment may run for ever, so it may not keep what it has played."""
    vector = HedgingVectorEnv(LEAST_PATHS, load_scenario("short-call", {"calendar.steps": "1"}))
    dealt = vector.problem.stream(LEAST_PATHS, 1)
    vector.problem.stream = lambda *_: dealt  # type: ignore[method-assign]
    vector.reset()
    block = weakref.ref(dealt.episode(0))
    vector.step(np.zeros((LEAST_PATHS, 2)))
    gc.collect()
    assert block() is None

    env = HedgingEnv(load_scenario("short-call", {"calendar.steps": "1"}))
    played = env.problem.stream(1, 1)
    env.problem.stream = lambda *_: played  # type: ignore[method-assign]
    env.reset()
    features = weakref.ref(played.single(0).features.base)  # type: ignore[union-attr]
    for _ in range(LEAST_PATHS + 1):
        env.step(np.zeros(2))
        env.reset()
    gc.collect()
    assert features() is None


def test_the_block_that_was_used_last_is_kept_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(streams, "draw", lambda *a: (drawn.append(1), draw(*a))[1])
    monkeypatch.setattr(streams, "MOST_BLOCKS", 3)
    one = stream(LEAST_PATHS)
    for e in (0, 1, 2, 0, 3, 0):
        one.episode(e)
    assert len(drawn) == 4


def test_a_block_is_drawn_once_while_clocks_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every early stop would cost the drawing of a whole block."""
    drawn = []

    def counted(*arguments: X) -> X:
        drawn.append(1)
        return draw(*arguments)

    monkeypatch.setattr(streams, "draw", counted)
    scenario = load_scenario(
        "short-call", {"loss_limit": "1", "calendar.steps": "6", "view.action": "{kind: target}"}
    )
    env = HedgingVectorEnv(LEAST_PATHS, scenario)
    env.reset(seed=1)
    env.action_space.seed(1)
    begun = np.ones(LEAST_PATHS, dtype=int)
    for _ in range(60):
        begun += env.step(env.action_space.sample())[2]
    assert begun.max() - begun.min() > 8
    assert len(drawn) == begun.max()


def test_no_two_episodes_are_the_same() -> None:
    one = stream(3)
    tapes = [one.episode(e) for e in range(LEAST_PATHS)]  # several blocks
    ends = np.concatenate([tape.price[-1][-1] for tape in tapes])
    assert len(np.unique(ends)) > 0.99 * len(ends)  # float32 ties aside
    assert tapes[0].price[-1].shape == (4, 3)
    assert tapes[0].features is not None
    assert tapes[0].features.shape == (4, 3, 11)


def test_the_seed_and_the_number_of_environments_decide() -> None:
    first = stream(4, 1).episode(0)
    assert same(first, stream(4, 1).episode(0))
    assert not same(first, stream(4, 2).episode(0))
    spawned = EpisodeStream(SCENARIO, FEATURES, 4, np.random.SeedSequence(1).spawn(1)[0])
    assert not same(first, spawned.episode(0))


@pytest.mark.parametrize("e", [0, 1, LEAST_PATHS - 1, LEAST_PATHS, 5 * LEAST_PATHS + 3])
def test_a_single_path_is_that_of_the_vector_of_one(e: int) -> None:
    tape, path = stream(1).episode(e), stream(1).single(e)
    assert isinstance(path.mark, list)
    for array, numbers in zip(arrays(tape)[:-2], arrays(path)[:-2], strict=True):
        assert array[:, 0].tolist() == numbers
    assert path.premium == tape.premium[0]
    assert np.array_equal(path.features, tape.features[:, 0])  # type: ignore[index]
    assert tape.growth is not None
    assert tape.growth[:, 0].tolist() == path.growth


def test_the_paths_of_a_block_cannot_be_written_on() -> None:
    tape = stream(2).episode(0)
    for array in arrays(tape):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_global_random_states_are_neither_read_nor_moved() -> None:
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
    torch_state, python_state = torch.random.get_rng_state(), random.getstate()
    tape = stream(2, 5).episode(0)
    assert (np.random.get_state()[1] == numpy_state).all()  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    torch.manual_seed(99)
    try:
        assert same(tape, stream(2, 5).episode(0))
    finally:
        torch.random.set_rng_state(torch_state)


def test_a_generator_belongs_to_its_seed() -> None:
    draws = [
        torch.randn(3, generator=generator_of(np.random.SeedSequence(seed))) for seed in (1, 1, 2)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_every_role_and_every_child_of_a_seed_has_a_stream_of_its_own() -> None:
    children = [(role, *index) for role in Role for index in ((), (0,), (1,))]
    states = {
        tuple(stream_of(seed, *child).generate_state(4).tolist())
        for seed in (0, 1)
        for child in children
    }
    assert len(states) == 2 * len(children)
    again = stream_of(1, Role.EVALUATION, 0).generate_state(4)
    assert (again == stream_of(1, Role.EVALUATION, 0).generate_state(4)).all()
