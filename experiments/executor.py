"""One executor for all studies: in this process, in several, or on Ray; the same numbers from each.

Every task runs with one thread of torch, whatever the executor, so that its sums are rounded alike:
the results are the same bit for bit (tests/experiments/test_executor.py).
"""

from __future__ import annotations

import json
import pickle
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote

from ..agents.threads import torch_threads
from .plugins import load_missing, loaded_plugins
from .questions import found_answer, holding, made_with, stable, versions, write_answer

RETRIES = 2  # of a task whose worker was killed
OFTEN = 0.1  # seconds between two reports of a worker, at least

Report = Callable[[float], None]
Watch = Callable[[str, float], None]


@dataclass(frozen=True)
class Task:
    """A piece of work that can be done anywhere.

    Attributes:
        key: its name, unlike any other task's, such as ``short-call/ppo-seed0``.
        work: a function at the top of a module, called as ``work(*arguments, report)``, where
            ``report(fraction)`` tells how far it is. What it returns must be plain data (JSON)
            where results are stored.
        arguments: what another process can be sent: scenarios, settings, paths, seeds.
    """

    key: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


Finished = Callable[[Task, Any], None]


class Executor(Protocol):
    """Runs tasks, none of which waits for another."""

    def run(
        self, tasks: Sequence[Task], watch: Watch | None = None, finished: Finished | None = None
    ) -> list[Any]:
        """The results in the order of ``tasks``.

        A task that raises ends the others, and what it raised goes on to the caller. One whose
        worker was killed is done again, `RETRIES` times at most.

        Args:
            tasks: with a key of its own each.
            watch: is told a task's key and how far it is, from 0 to 1; always in this process.
            finished: is given a task and its result as soon as it has one; in this process too.

        Raises:
            ValueError: before any is begun, when two tasks have one key, or one cannot be sent to
                another process.
            RuntimeError: when a worker was killed once too often.
        """


class Serial:
    """One task after the other, in this process."""

    def run(
        self, tasks: Sequence[Task], watch: Watch | None = None, finished: Finished | None = None
    ) -> list[Any]:
        """See `Executor`."""
        check_keys(tasks)
        results = []
        for task in tasks:
            with torch_threads(1):
                results.append(task.work(*task.arguments, _report_of(task, watch)))
            tell_end(task, results[-1], watch, finished)
        return results


def executor_of(
    kind: Literal["serial", "processes", "ray"], workers: int = 1, address: str | None = None
) -> Executor:
    """An executor by its name.

    Args:
        kind: ``serial``, ``processes`` (spawned on this machine) or ``ray`` (the extra ``ray``).
        workers: processes at a time; a Ray cluster at an address has a number of its own.
        address: of a Ray cluster, such as ``10.0.0.1:6379``; null or ``local`` is this machine.

    Raises:
        ValueError: for fewer than one worker.
        ImportError: Ray is not installed.
    """
    if workers < 1:
        raise ValueError(f"workers {workers}: give at least 1")
    if kind == "serial":
        return Serial()
    if kind == "processes":
        from .processes import Processes

        return Processes(workers)
    from .ray_cluster import RayCluster

    return RayCluster(workers, address)


def run_tasks(
    tasks: Sequence[Task],
    executor: Executor,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> list[Any]:
    """The results in the order of ``tasks``; with a ``folder`` each is stored and never done again.

    A result is written in one piece as soon as it is there, beside its question: the work's name
    and its arguments. Call this again after an interruption, and only what is missing is done.

    Raises:
        ValueError: before anything is done, when the folder holds another question under one of the
            keys, or another process works in it; when a result is no plain data.
    """
    if folder is None:
        return executor.run(tasks, watch)
    check_keys(tasks)
    paths = {task.key: folder / f"{quote(task.key, safe='')}.json" for task in tasks}
    asked = {task.key: _question(task) for task in tasks}
    folder.mkdir(parents=True, exist_ok=True)
    with holding(folder):
        missing = []
        for task in tasks:
            if found_answer(paths[task.key], asked[task.key]) is None:
                missing.append(task)
            elif watch is not None:
                watch(task.key, 1.0)

        def keep(task: Task, result: Any) -> None:
            write_answer(paths[task.key], asked[task.key], result=result)

        executor.run(missing, watch, keep)
        documents = [json.loads(paths[task.key].read_text(encoding="utf-8")) for task in tasks]
    return [document["result"] for document in documents]


def _question(task: Task) -> dict[str, Any]:
    try:
        arguments = stable(task.arguments)
    except ValueError as error:
        raise ValueError(f"task {task.key}: {error}") from None
    work = f"{task.work.__module__}.{task.work.__qualname__}"
    return {**made_with(), "key": task.key, "work": work, "arguments": arguments}


def check_keys(tasks: Sequence[Task]) -> None:
    """Refuse two tasks of one key.

    Raises:
        ValueError: naming it.
    """
    keys = [task.key for task in tasks]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"two tasks are called {key!r}: give each a key of its own")


def _report_of(task: Task, watch: Watch | None) -> Report:
    def report(fraction: float) -> None:
        if watch is not None:
            watch(task.key, fraction)

    return report


def tell_end(task: Task, result: Any, watch: Watch | None, finished: Finished | None) -> None:
    """Give a result to those who wait for it."""
    if finished is not None:
        finished(task, result)
    if watch is not None:
        watch(task.key, 1.0)


# What travels to a worker and back


def packed(task: Task) -> bytes:
    """A task with the plugins that it may need, for `performed`.

    Raises:
        ValueError: when it cannot be sent.
    """
    try:
        work = pickle.dumps((task.work, task.arguments))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"task {task.key}: cannot be sent to another process: {error}") from None
    return pickle.dumps((versions(), loaded_plugins(), work))


def performed(task: bytes, report: Report) -> bytes:
    """Do a packed task in a worker: its result or what it raised, for `unpacked`."""
    try:
        versions, plugins, inner = pickle.loads(task)
        _check_versions(versions)
        load_missing(plugins)  # before the arguments, which may be of their kinds
        work, arguments = pickle.loads(inner)
        with torch_threads(1):
            return pickle.dumps((work(*arguments, report), None))
    except BaseException as error:
        error.add_note(f"in a worker:\n{traceback.format_exc()}")
        return pickle.dumps((None, _sendable(error)))


def unpacked(outcome: bytes) -> Any:
    """The result of a task, or what it raised, raised here."""
    result, error = pickle.loads(outcome)
    if error is not None:
        raise error
    return result


def _check_versions(asked: dict[str, str]) -> None:
    """A worker on another machine must compute as the caller would."""
    for name, version in versions().items():
        if version != asked[name]:
            raise ValueError(
                f"a worker has {name} {version} and the caller {asked[name]}: install the same on "
                "every machine"
            )


def _sendable(error: BaseException) -> BaseException:
    """The error, or one of the same text where it does not survive the journey."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        kind = ValueError if isinstance(error, ValueError) else RuntimeError
        return kind(f"{type(error).__name__}: {error}")
    return error


def seldom(report: Report) -> Report:
    """Told by a worker at every step, it tells no more than the caller can read."""
    last = 0.0

    def now_and_then(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last >= OFTEN:
            last = time.monotonic()
            report(float(fraction))

    return now_and_then


def killed_too_often(task: Task, deaths: int) -> RuntimeError:
    """What is raised when a task's workers died ``deaths`` times."""
    return RuntimeError(
        f"task {task.key}: its worker was killed {deaths} times: is there memory for it? Ask for "
        "fewer workers"
    )
