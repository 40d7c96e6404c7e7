"""The executor on Ray: a laptop, or a cluster's address. Nothing is imported before it is asked."""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from .executor import (
    RETRIES,
    Finished,
    Task,
    Watch,
    check_keys,
    killed_too_often,
    packed,
    performed,
    seldom,
    tell_end,
    unpacked,
)

POLL = 0.2  # seconds between two looks at how far the tasks are
LOCAL = "local"


class RayCluster:
    """Tasks on Ray, a core each; see `Executor`.

    On this machine Ray is started by the first `run` and stopped with this object. On a cluster
    every machine needs the same versions, which is checked, and files are found by their paths: run
    directories must lie where all machines see them.
    """

    def __init__(self, workers: int, address: str | None) -> None:
        self._ray = _ray()
        self._workers, self._address = workers, address or LOCAL

    def run(
        self, tasks: Sequence[Task], watch: Watch | None = None, finished: Finished | None = None
    ) -> list[Any]:
        """See `Executor`."""
        with redirect_stdout(sys.stderr):  # Ray tells stdout of a death
            return self._run(tasks, watch, finished)

    def _run(
        self, tasks: Sequence[Task], watch: Watch | None, finished: Finished | None
    ) -> list[Any]:
        check_keys(tasks)
        parcels = [packed(task) for task in tasks]
        results: list[Any] = [None] * len(tasks)
        self._connect()
        ray = self._ray
        running: dict[Any, int] = {}
        try:
            board = ray.remote(num_cpus=0)(_Board).remote()
            perform = ray.remote(num_cpus=1, max_retries=RETRIES)(_perform)
            for index, (task, parcel) in enumerate(zip(tasks, parcels, strict=True)):
                running[perform.remote(parcel, task.key, board)] = index
            while running:
                done, _ = ray.wait(list(running), timeout=POLL)
                if watch is not None:
                    going = {tasks[index].key for index in running.values()}
                    for key, fraction in ray.get(board.read.remote()).items():
                        if key in going:  # what comes late is no news of what is over
                            watch(key, fraction)
                for reference in done:
                    index = running.pop(reference)
                    results[index] = unpacked(self._outcome(reference, tasks[index]))
                    tell_end(tasks[index], results[index], watch, finished)
            ray.kill(board)
        except BaseException:
            for reference in running:
                ray.cancel(reference, force=True)
            ray.shutdown()
            raise
        return results

    def _connect(self) -> None:
        if self._ray.is_initialized():
            return
        # Ray gives its workers one thread of BLAS; sums would round otherwise than in this process.
        blas = os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))
        quiet = {
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": blas}},
        }
        if self._address == LOCAL:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
            self._ray.init(LOCAL, num_cpus=self._workers, include_dashboard=False, **quiet)
        else:
            self._ray.init(self._address, **quiet)
        weakref.finalize(self, self._ray.shutdown)

    def _outcome(self, reference: Any, task: Task) -> bytes:
        exceptions = self._ray.exceptions
        try:
            outcome: bytes = self._ray.get(reference)
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError):
            raise killed_too_often(task, RETRIES + 1) from None
        except exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            raise RuntimeError(f"task {task.key}: Ray: {reason}") from error
        return outcome


class _Board:
    """An actor: where the workers write how far they are."""

    def __init__(self) -> None:
        self._fractions: dict[str, float] = {}

    def write(self, key: str, fraction: float) -> None:
        self._fractions[key] = fraction

    def read(self) -> dict[str, float]:
        """What was written since the last look."""
        news, self._fractions = self._fractions, {}
        return news


def _perform(parcel: bytes, key: str, board: Any) -> bytes:
    return performed(parcel, seldom(lambda fraction: board.write.remote(key, fraction)))


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError("Ray needs the extra 'ray': pip install 'deephedge[ray]'") from error
    return ray
