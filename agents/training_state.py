"""All that a training needs to go on as if it had never stopped, and the callback that keeps it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger
from torch import Tensor

from ..envs import Scenario, dump_scenario
from .checkpoint import Plain, has_checkpoint, is_plain, read_checkpoint, write_checkpoint
from .random_state import generator_states, set_generators
from .settings import AgentSettings

EVERY = 3.0  # seconds between two checkpoints, at least
SHARE = 0.01  # of the time of a training that writing them may take
LIBRARIES = ("gymnasium", "numpy", "sb3-contrib", "scipy", "stable-baselines3", "torch")
_CLOCK = ("start_time", "_num_timesteps_at_start")  # of a process; the seconds so far are kept


@runtime_checkable
class Stateful(Protocol):
    """Something with a memory that plain attributes of an algorithm do not show."""

    def state(self) -> Plain:
        """What `restore` needs, as plain data; nothing is drawn and nothing changes."""

    def restore(self, state: Plain) -> None:
        """Go on from there."""


def training_state(model: BaseAlgorithm, parts: Sequence[object]) -> dict[str, Plain]:
    """The state between two rollouts of ``model`` and of those of ``parts`` that have one.

    An algorithm's is: the modules and optimisers that SB3 would save, every attribute that is plain
    data, and every attribute that is `Stateful`, the environment and the logger among them. So an
    algorithm adds to it by setting an attribute. What is none of these must follow from the
    settings alone (tests/agents/test_training_state.py names what is left out).
    """
    buffer = getattr(model, "replay_buffer", None)
    return {
        "generators": generator_states(),
        "actions": model.action_space.np_random.bit_generator.state,
        "modules": model.get_parameters(),
        "attributes": _attributes(model),
        "replay": _replay(buffer) if isinstance(buffer, ReplayBuffer) else None,
        "seconds": (time.time_ns() - model.start_time) / 1e9,
        "parts": [part.state() if isinstance(part, Stateful) else None for part in parts],
    }


def restore_training(
    state: dict[str, Plain], model: BaseAlgorithm, parts: Sequence[object]
) -> None:
    """Put a fresh ``model`` and its ``parts``, built with the same settings, into ``state``."""
    model.set_parameters(state["modules"])
    for name, value in state["attributes"].items():
        _put(model, name, value)
    for name, value in (state["replay"] or {}).items():
        _refill(model.replay_buffer, name, value)  # type: ignore[attr-defined]
    for part, kept in zip(parts, state["parts"], strict=True):
        if isinstance(part, Stateful):
            part.restore(kept)
    model.action_space.np_random.bit_generator.state = state["actions"]
    set_generators(state["generators"])  # last: what is built above may have drawn


def _attributes(model: BaseAlgorithm) -> dict[str, Plain]:
    found = {name: value for name, value in vars(model).items() if name not in _CLOCK}
    stateful = {name: v.state() for name, v in found.items() if isinstance(v, Stateful)}
    return {name: value for name, value in found.items() if is_plain(value)} | stateful


def _put(model: BaseAlgorithm, name: str, value: Plain) -> None:
    """Set an attribute; what optimisers or modules hold too is filled and not replaced."""
    current = getattr(model, name, None)
    if isinstance(current, Stateful):
        current.restore(value)
    else:
        setattr(model, name, _filled(current, value))


def _filled(current: Any, value: Plain) -> Any:
    if isinstance(current, Tensor) and isinstance(value, Tensor) and current.shape == value.shape:
        current.data.copy_(value)
        return current
    if isinstance(current, (list, tuple)) and len(current) == len(value):
        items = list(map(_filled, current, value))
        named: Any = type(current)
        return named(*items) if hasattr(current, "_fields") else named(items)
    return value


def _replay(buffer: ReplayBuffer) -> dict[str, Plain]:
    """The attributes, arrays up to the last transition that is stored."""
    rows, stored = buffer.buffer_size, buffer.size()
    return {
        name: value[:stored] if _is_store(value, rows) else value
        for name, value in vars(buffer).items()
        if is_plain(value)
    }


def _refill(buffer: ReplayBuffer, name: str, value: Plain) -> None:
    current = getattr(buffer, name)
    if _is_store(current, buffer.buffer_size):
        current[: len(value)] = value
    else:
        setattr(buffer, name, value)


def _is_store(value: object, rows: int) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0 and len(value) == rows


class TrainingLogger(Logger):
    """SB3's logger with a memory: of what is not written yet, and of the iterations.

    SB3's on-policy loop counts from 1 in every process; here the count goes on.
    """

    def __init__(self, writers: Sequence[KVWriter]) -> None:
        super().__init__(folder=None, output_formats=list(writers))
        self._before = self._iterations = 0

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Keep a value for the next row."""
        if key == "time/iterations":
            value = self._iterations = self._before + value
        super().record(key, value, exclude)

    def state(self) -> dict[str, Plain]:
        """What has been recorded and not yet written, and the iterations so far."""
        return {"pending": list(map(dict, self._pending())), "iterations": self._iterations}

    def restore(self, state: dict[str, Plain]) -> None:
        """Go on from a `state`."""
        self._before = self._iterations = state["iterations"]
        for table, kept in zip(self._pending(), state["pending"], strict=True):
            table.update(kept)

    def _pending(self) -> tuple[dict[str, Any], ...]:
        return self.name_to_value, self.name_to_count, self.name_to_excluded


def training_identity(scenario: Scenario, settings: AgentSettings, seed: int) -> dict[str, str]:
    """What a training's numbers follow from, on one machine.

    Raises:
        ValueError: for a scenario that cannot be written down.
    """
    names = ("deephedge", *LIBRARIES)
    return {
        "scenario": f"{scenario.name} ({_mark(dump_scenario(scenario))})",
        "agent": f"{settings.algorithm} ({_mark(settings.model_dump_json())})",
        "seed": str(seed),
        "threads": str(settings.threads),
        **{name: metadata.version(name) for name in names},
    }


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Checkpointer(BaseCallback):
    """Keeps the state of a training in a folder, before a rollout or an update begins.

    It stands first among the callbacks, so that what they do there is done again. Writing changes
    no number (tests/agents/test_resume.py) and takes about `SHARE` of the time at most. A policy
    with state-dependent exploration draws before every rollout where no callback is asked; its
    training is not kept, so it starts again.

    Args:
        folder: of the checkpoint.
        identity: `training_identity`; a checkpoint of another is refused.
        parts: callbacks and log writers, in a fixed order.
    """

    def __init__(self, folder: Path, identity: dict[str, str], parts: Sequence[object]) -> None:
        super().__init__()
        self.folder, self.identity, self.parts = folder, identity, parts
        self._seconds, self._due = 0.0, time.monotonic() + EVERY

    def resume(self, model: BaseAlgorithm) -> bool:
        """Put a fresh ``model`` where the checkpoint left off; whether there was one.

        Raises:
            ValueError: in one line, when it is damaged or of another training or version.
        """
        if not has_checkpoint(self.folder):
            return False
        state = read_checkpoint(self.folder, self.identity)
        restore_training(state, model, self.parts)
        self._seconds = state["seconds"]
        return True

    def _on_training_start(self) -> None:
        self.model.start_time -= int(1e9 * self._seconds)
        self.model._num_timesteps_at_start = 0

    def _on_rollout_start(self) -> None:
        started = time.monotonic()
        if started < self._due or self.model.use_sde:
            return
        write_checkpoint(self.folder, training_state(self.model, self.parts), self.identity)
        now = time.monotonic()
        self._due = now + max(EVERY, (now - started) / SHARE)

    def _on_step(self) -> bool:
        return True
