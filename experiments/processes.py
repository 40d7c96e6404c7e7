"""The executor with several processes on this machine."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
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


class Processes:
    """Several tasks at a time, each in a spawned process; see `Executor`.

    The processes outlive a `run`, since starting one takes seconds. They end with this object, with
    an interruption or an error, and within moments of this process's death, however it dies: what
    goes on here later never meets a worker of before.
    """

    def __init__(self, workers: int) -> None:
        self._count = workers
        self._idle: list[_Worker] = []
        weakref.finalize(self, _stop, self._idle)

    def run(
        self, tasks: Sequence[Task], watch: Watch | None = None, finished: Finished | None = None
    ) -> list[Any]:
        """See `Executor`."""
        check_keys(tasks)
        jobs = [_Job(task, packed(task)) for task in tasks]
        waiting = deque(jobs)
        busy: dict[Connection, tuple[_Job, _Worker]] = {}
        try:
            while waiting or busy:
                while waiting and len(busy) < self._count:
                    job, worker = waiting.popleft(), self._idle.pop() if self._idle else _Worker()
                    busy[worker.link] = job, worker
                    worker.begin(job)
                for link in connection.wait(list(busy)):
                    job, worker = busy[link]  # type: ignore[index]
                    told = worker.told()
                    if isinstance(told, float):
                        if watch is not None:
                            watch(job.task.key, told)
                        continue
                    del busy[worker.link]
                    if told is None:
                        worker.bury(job)
                        waiting.appendleft(job)
                        continue
                    self._idle.append(worker)
                    job.result = unpacked(told)
                    tell_end(job.task, job.result, watch, finished)
        except BaseException:
            _stop([worker for _, worker in busy.values()])
            _stop(self._idle)
            raise
        return [job.result for job in jobs]


@dataclass
class _Job:
    """A task on its way."""

    task: Task
    parcel: bytes
    deaths: int = 0
    result: Any = None


class _Worker:
    """A process and the line to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.link, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other,), daemon=True)
        self.process.start()
        other.close()  # so that the worker's death ends the line

    def begin(self, job: _Job) -> None:
        with suppress(OSError):  # it has died, which the line tells
            self.link.send_bytes(job.parcel)

    def told(self) -> float | bytes | None:
        """How far it is, or how it ended; null when the worker has died."""
        try:
            told: float | bytes = self.link.recv()
        except (EOFError, OSError):
            return None
        return told

    def bury(self, job: _Job) -> None:
        """Refuse to go on after a death that another worker would die too."""
        self.link.close()
        self.process.join()
        code = self.process.exitcode
        if code is not None and code > 0:
            raise RuntimeError(
                f"task {job.task.key}: its worker ended with exit code {code}, see above; a script "
                "that starts workers does so below: if __name__ == '__main__':"
            )
        job.deaths += 1
        if job.deaths > RETRIES:
            raise killed_too_often(job.task, job.deaths)


def _stop(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.link.close()
    workers.clear()


def _serve(link: Connection) -> None:
    """Do tasks in a worker until the line ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C comes to all; the caller stops the others
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    while True:
        try:
            parcel = link.recv_bytes()
        except EOFError:
            return
        link.send(performed(parcel, seldom(link.send)))


def _end_with_the_caller() -> None:
    """Two processes must never train one run: none lives on when its caller was killed."""
    caller = parent_process()
    assert caller is not None
    caller.join()
    os._exit(1)
