"""The executor: the same results from each kind, nothing done twice, nothing lost by a death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deephedge.envs import load_scenario
from deephedge.envs.markets import Market
from deephedge.experiments.executor import Serial, Task, executor_of, run_tasks
from deephedge.experiments.plugins import load_plugin
from deephedge.experiments.processes import Processes
from deephedge.experiments.questions import holding, stable

# Workers cannot import a test; they load a plugin as the caller has.
PLUGIN = """
import os, signal, time
from pathlib import Path
from typing import Literal
import torch
from deephedge.envs.markets import GeometricBrownianMotion

class Calm(GeometricBrownianMotion):
    "A market that hardly moves."
    kind: Literal["calm"] = "calm"
    sigma: float = 0.001

def double(x, report):
    report(0.5)
    return {"double": 2 * x, "threads": torch.get_num_threads()}

def refuse(x, report):
    raise ValueError(f"x {x}: not today")

def die(folder, times, report):
    "Killed so many times, then done."
    marks = list(Path(folder).iterdir())
    if len(marks) < times:
        (Path(folder) / str(len(marks))).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return len(marks)

def linger(report):
    report(0.5)
    time.sleep(1.5)

def leave(report):
    os._exit(3)

def wait(folder, report):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(600)

def sum_up(seed, report):
    numbers = torch.randn(1_000_000, generator=torch.Generator().manual_seed(seed))
    return [float(numbers.sum()), float((numbers.reshape(1000, 1000) @ numbers[:1000]).sum())]

def kind(scenario, report):
    return scenario.market.kind
"""


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Any]:
    """A module of functions that are work."""
    (tmp_path / "work.py").write_text(PLUGIN)
    load_plugin(tmp_path / "work.py")
    yield sys.modules["deephedge_plugin_work"]
    del sys.modules["deephedge_plugin_work"]
    Market.kinds.pop("calm", None)


def tasks_of(work: Any, count: int = 3) -> list[Task]:
    return [Task(f"a/{x}", work.double, (x,)) for x in range(count)]


def test_serial(work: Any) -> None:
    told: list[tuple[str, float]] = []
    kept: list[tuple[str, Any]] = []
    torch.set_num_threads(2)
    try:
        results = Serial().run(
            tasks_of(work, 2),
            lambda key, fraction: told.append((key, fraction)),
            lambda task, result: kept.append((task.key, result)),
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert results == [{"double": 0, "threads": 1}, {"double": 2, "threads": 1}]
    assert told == [("a/0", 0.5), ("a/0", 1.0), ("a/1", 0.5), ("a/1", 1.0)]
    assert kept == list(zip(("a/0", "a/1"), results, strict=True))


def test_a_process(work: Any, tmp_path: Path) -> None:
    """One after the other: results, progress, kinds of a plugin, errors, and on it goes."""
    executor, told = Processes(1), []
    calm = load_scenario("short-call", {"market": "{kind: calm, spot: 100}"})
    tasks = [*tasks_of(work, 2), Task("kind", work.kind, (calm,))]
    results = executor.run(tasks, lambda key, fraction: told.append((key, fraction)))
    assert results == [*Serial().run(tasks_of(work, 2)), "calm"]
    assert told == [("a/0", 0.5), ("a/0", 1.0), ("a/1", 0.5), ("a/1", 1.0), ("kind", 1.0)]
    (worker,) = executor._idle
    with pytest.raises(ValueError) as raised:
        executor.run([Task("a", work.double, (1,)), Task("b", work.refuse, (7,))])
    assert str(raised.value) == "x 7: not today" and "in refuse" in raised.value.__notes__[0]
    assert worker.process.exitcode == -signal.SIGKILL and executor._idle == []


def test_what_cannot_be_sent_is_refused(work: Any) -> None:
    with pytest.raises(ValueError, match="task a: cannot be sent to another process: "):
        Processes(1).run([Task("a", lambda report: 1)])


def test_two_tasks_of_one_key_are_refused(work: Any) -> None:
    for executor in (Serial(), Processes(2)):
        with pytest.raises(ValueError, match="two tasks are called 'a/0'"):
            executor.run([*tasks_of(work), *tasks_of(work, 1)])


def test_an_executor_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(executor_of("serial"), Serial)
    assert isinstance(executor_of("processes", 2), Processes)
    with pytest.raises(ValueError, match="workers 0: give at least 1"):
        executor_of("processes", 0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'deephedge\[ray\]'"):
        executor_of("ray", 2)


# Stored results


class Counting:
    """The keys of what was done, and a fault after so many."""

    def __init__(self, fault: int = 99) -> None:
        self.done: list[str] = []
        self.fault = fault

    def run(self, tasks: Any, watch: Any = None, finished: Any = None) -> list[Any]:
        def count(task: Task, result: Any) -> None:
            finished(task, result)
            self.done.append(task.key)
            if len(self.done) == self.fault:
                raise KeyboardInterrupt

        return Serial().run(tasks, watch, count)


def test_a_stored_result_is_never_done_again(work: Any, tmp_path: Path) -> None:
    folder, first, second = tmp_path / "new" / "stored", Counting(fault=2), Counting()
    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks_of(work), first, folder)
    assert run_tasks(tasks_of(work), second, folder) == Serial().run(tasks_of(work))
    assert (first.done, second.done) == (["a/0", "a/1"], ["a/2"])
    assert run_tasks(tasks_of(work)[::-1], second, folder) == Serial().run(tasks_of(work))[::-1]
    assert second.done == ["a/2"]
    assert {path.name for path in folder.iterdir()} == {f"a%2F{x}.json" for x in range(3)}


def test_another_question_under_a_key_is_refused(work: Any, tmp_path: Path) -> None:
    run_tasks(tasks_of(work), Serial(), tmp_path)
    before = (tmp_path / "a%2F1.json").read_bytes()
    for other, what in (
        (Task("a/1", work.double, (5,)), "arguments"),
        (Task("a/1", work.refuse, (1,)), "work"),
    ):
        counting = Counting()
        with pytest.raises(ValueError, match=f"a%2F1.json is of other {what}: ask for the same"):
            run_tasks([Task("b", work.double, (1,)), other], counting, tmp_path)
        assert counting.done == [] and (tmp_path / "a%2F1.json").read_bytes() == before
    (tmp_path / "a%2F1.json").write_text("{")
    with pytest.raises(ValueError, match=r"a%2F1\.json: damaged: remove it"):
        run_tasks(tasks_of(work), Serial(), tmp_path)


def test_a_result_that_is_no_plain_data_is_refused(tmp_path: Path) -> None:
    for value in (float("nan"), object()):
        with pytest.raises(ValueError, match="its result is no plain data"):
            run_tasks([Task("a", lambda report, v=value: v)], Serial(), tmp_path)
    assert list(tmp_path.glob("*.json")) == []


def test_two_at_once_in_a_folder_are_refused(work: Any, tmp_path: Path) -> None:
    with holding(tmp_path), pytest.raises(ValueError, match="another process works in it: wait"):
        run_tasks(tasks_of(work), Serial(), tmp_path)
    assert len(run_tasks(tasks_of(work), Serial(), tmp_path)) == 3


def test_a_question_is_plain_and_stable() -> None:
    scenario = load_scenario("short-call")
    form = stable((scenario, Path("a/b"), {"x": range(2)}, np.float64(2.0), None))
    assert json.loads(json.dumps(form)) == form
    assert form[0]["market"] == json.loads(scenario.model_dump_json())["market"]
    assert form[1:3] == ["a/b", {"x": [0, 1]}]
    assert stable(np.arange(3)) == stable(torch.arange(3)) != stable(np.arange(1, 4))
    assert stable(load_scenario("short-call", {"market.sigma": "0.3"})) != form[0]
    with pytest.raises(ValueError, match="a function cannot be written down: give plain data"):
        stable(test_serial)


# Deaths


@pytest.mark.slow
def test_a_killed_worker_s_task_is_done_again(work: Any, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    tasks = [Task("die", work.die, (marks, 2)), *tasks_of(work, 2)]
    assert Processes(2).run(tasks) == [2, *Serial().run(tasks[1:])]
    with pytest.raises(RuntimeError, match="task die: its worker was killed 3 times"):
        Processes(1).run([Task("die", work.die, (marks, 9))])
    with pytest.raises(RuntimeError, match="task leave: its worker ended with exit code 3, see"):
        Processes(1).run([Task("leave", work.leave)])


SCRIPT = """
import sys
from pathlib import Path
from deephedge.experiments.executor import Task, executor_of
from deephedge.experiments.plugins import load_plugin

if __name__ == "__main__":
    load_plugin(Path("work.py"))
    wait = sys.modules["deephedge_plugin_work"].wait
    executor_of("processes", 2).run([Task(str(i), wait, (Path("pids"),)) for i in range(3)])
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_caller(how: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, and kill -9, which the caller cannot answer."""
    (tmp_path / "work.py").write_text(PLUGIN)
    (tmp_path / "script.py").write_text(SCRIPT)
    pids = tmp_path / "pids"
    pids.mkdir()
    caller = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, stderr=subprocess.PIPE)
    while len(list(pids.iterdir())) < 2:
        assert caller.poll() is None
        time.sleep(0.1)
    caller.send_signal(how)
    caller.communicate()
    ends = time.monotonic() + 10
    while any(alive(int(path.name)) for path in pids.iterdir()):
        assert time.monotonic() < ends, "a worker lives on"
        time.sleep(0.05)
    assert len(list(pids.iterdir())) == 2  # the third was not begun


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.slow
def test_ray(work: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Results, progress, a plugin's kinds, an error as it is, a death."""
    pytest.importorskip("ray")
    executor, told = executor_of("ray", 2), []
    marks = tmp_path / "marks"
    marks.mkdir()
    calm = load_scenario("short-call", {"market": "{kind: calm, spot: 100}"})
    tasks = [*tasks_of(work), Task("kind", work.kind, (calm,)), Task("die", work.die, (marks, 1))]
    tasks.append(Task("linger", work.linger))
    results = executor.run(tasks, lambda key, fraction: told.append((key, fraction)))
    assert results == [*Serial().run(tasks[:3]), "calm", 1, None]
    assert {key for key, fraction in told if fraction == 1.0} == {task.key for task in tasks}
    assert ("linger", 0.5) in told
    assert [
        key for key, fraction in told if (key, 1.0) in told[: told.index((key, fraction))]
    ] == []
    with pytest.raises(ValueError, match="x 7: not today"):
        executor.run([Task("b", work.refuse, (7,))])
    with pytest.raises(RuntimeError, match="task die: its worker was killed 3 times"):
        executor.run([Task("die", work.die, (marks, 9))])
    assert capsys.readouterr().out == ""


# The same from each

RUN = "from deephedge.experiments.commands.command_line import main; main()"
AGENTS = ["--agent", "ppo", "--agent", "deep-hedging", "--steps", "20480", "--seeds", "2"]
COMPARED = ["short-call", "short-call-jumps", "--set", "calendar.steps=5", *AGENTS]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["processes", "ray"])
def test_a_comparison_is_the_same_bit_for_bit(
    kind: str, compared_serially: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    """Every figure of the document, and every weight of the eight policies."""
    if kind == "ray":
        pytest.importorskip("ray")
    options = ["--workers", "2", *(["--ray", "local"] if kind == "ray" else [])]
    assert compared(tmp_path, *options) == compared_serially


@pytest.fixture(scope="module")
def compared_serially(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, bytes]]:
    return compared(tmp_path_factory.mktemp("serial"), "--workers", "1")


def compared(folder: Path, *options: str) -> tuple[str, dict[str, bytes]]:
    """What ``compare`` says and the weights it has found, with as many threads as there are cores.

    Torch and BLAS are left to choose, as they are at a user's command line.
    """
    command = [sys.executable, "-c", RUN, "compare", *COMPARED, "--paths", "20000", "--json"]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    ran = subprocess.run(
        [*command, "--out", "c", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "report: c/report.html\n"), ran.stderr
    weights = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("c/*/*/policy/weights.safetensors"))
    }
    assert len(weights) == 8
    return ran.stdout, weights
