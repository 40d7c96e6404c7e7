"""Bad input: one line and exit code 2. Work that fails: exit code 1. Nothing is half-written."""

from __future__ import annotations

import importlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deephedge.experiments.commands import command_line
from deephedge.experiments.runs import load_run

SCRIPT = [
    sys.executable,
    "-c",
    "from deephedge.experiments.commands.command_line import main; main()",
]
FAST = ["--set", "calendar.steps=5"]
TRAIN = ["train", "short-call", "--agent", "a2c", "--steps", "2000", "--paths", "500", *FAST]

Deephedge = Callable[..., Any]


def prices(path: Path, broken: str) -> None:
    """Two months of days, with a close on the 41st that is none."""
    dates = np.busday_offset("2001-01-02", np.arange(60))
    lines = [f"{date},{broken if day == 40 else 100 + day}" for day, date in enumerate(dates)]
    path.write_text("\n".join(["date,close", *lines]))


@pytest.fixture
def damaged(finished_run: Path, tmp_path: Path) -> None:
    """What the refused command lines below name."""
    for name in ("cut", "old", "empty", "run"):
        shutil.copytree(finished_run, tmp_path / name)
    weights = tmp_path / "cut" / "policy" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    spec = tmp_path / "old" / "policy" / "spec.json"
    spec.write_text(spec.read_text().replace('"format": 1', '"format": 99'))
    for name in ("half", "begun"):
        shutil.copytree(finished_run, tmp_path / name)
    for name in ("empty", "half", "begun"):
        shutil.rmtree(tmp_path / name / "policy")
    (tmp_path / "bare").mkdir()
    config = tmp_path / "half" / "config.yaml"
    config.write_text(config.read_text().replace("seed:", "seeds:"))
    (tmp_path / "begun" / "checkpoint").mkdir()
    (tmp_path / "begun" / "checkpoint" / "state.safetensors").write_bytes(b"half")
    prices(tmp_path / "nan.csv", broken="nan")
    prices(tmp_path / "negative.csv", broken="-1")
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "text.yaml").write_text("just text")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "compare.json").write_text('{"question": "which?"}')
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "broken.py").write_text("def")
    (tmp_path / "failing.py").write_text("1 / 0")


BAD = [
    (["show", "short-cal"], "unknown preset 'short-cal': did you mean 'short-call'?"),
    (["show", "missing.yaml"], "missing.yaml: cannot be read"),
    (["show", "broken.yaml"], "broken.yaml: not YAML"),
    (["show", "text.yaml"], "text.yaml: a mapping of keys was expected"),
    (["show", "binary.yaml"], "binary.yaml: cannot be read"),
    (["show", "short-call", "--set", "market.sgma=1"], "market.sgma: unknown key: did you mean"),
    (["show", "short-call", "--set", "market.sigma=-0.1"], "market.sigma -0.1: input should be"),
    (["show", "short-call", "--set", "market.sigma=.nan"], "market.sigma"),
    (["show", "short-call", "--set", "position.legs.0.claim.strike=0"], "strike 0: input"),
    (["show", "short-call", "--set", "position.legs.0.claim.maturity=0.001"], "before the first"),
    (["show", "short-call", "--set", "position.legs.5.quantity=1"], "'5' is not one of the 1"),
    (
        ["show", "short-call", "--set", "hedges.0.limits={lower: 2, upper: 1}"],
        "hedges.0.limits: lower 2 must be below upper 1",
    ),
    (["show", "short-call", "--set", "market.sigma"], "--set 'market.sigma': give key.path=value"),
    (["show", "short-call", "--set", "=1"], "--set '=1': give key.path=value"),
    (["show", "short-call", "--set", "market=[1"], "market: not YAML"),
    (["list", "market"], "unknown list 'market': choose one of scenarios, "),
    ([*TRAIN, "--agent", "pp0", "--out", "new/run"], "unknown agent 'pp0': did you mean 'ppo'?"),
    ([*TRAIN, "--set", "market.sigma=-1", "--out", "new/run"], "market.sigma -1"),
    ([*TRAIN, "--set", "objective={kind: var, level: 0.9}", "--out", "new/run"], "reported only"),
    ([*TRAIN, "--vary", "aversion=1", "--out", "new/run"], "give KEY=LOW..HIGH"),
    ([*TRAIN, "--vary", "market.sigma=-1..1", "--out", "new/run"], "market.sigma -1"),
    ([*TRAIN, "--steps", "0", "--out", "new/run"], "'--steps'"),
    ([*TRAIN, "--paths", "1", "--out", "new/run"], "'--paths'"),
    ([*TRAIN, "--out", "run"], "run exists: give another --out, or remove it"),
    (["train", "book-jumps", "--agent", "dqn", "--out", "new/run"], "choices, more than 256"),
    (["train", "--agent", "ppo"], "Missing argument 'SCENARIO'"),
    (["train", "--resume", "run"], "run: a finished training: evaluate it, or train another"),
    (["train", "--resume", "none"], "none: there is no such run directory"),
    (["train", "--resume", "bare"], "bare: not a run directory: it has no config.yaml"),
    (["train", "--resume", "half"], "half/config.yaml: it has no 'seed': train the run anew"),
    (["train", "--resume", "begun"], "state.safetensors: truncated or changed: remove begun/check"),
    (["train", "book-jumps", "--resume", "begun"], "which is a run on short-call: leave it out"),
    (
        ["train", "--resume", "begun", "--agent", "ppo", "--seed", "0", "--out", "x"],
        "--agent and --seed and --out beside --resume begun: the run's config.yaml has it",
    ),
    (["train", "--resume", "begun", "--steps", "9"], "--steps beside --resume begun"),
    (["train", "--resume", "begun", "--set", "market.sigma=1"], "--set beside --resume begun"),
    (["evaluate", "short-call", "--hedger", "delte"], "unknown hedger 'delte': did you mean"),
    (["evaluate", "short-call", "--hedger", "delta:evry=5"], "unknown option 'evry': did you"),
    (["evaluate", "short-call", "--hedger", "delta:every=0"], "every: input should be greater"),
    (["evaluate", "short-call", "--hedger", "cut"], "truncated or changed"),
    (["evaluate", "short-call", "--hedger", "old"], "format 99, this version reads 1"),
    (["evaluate", "short-call", "--hedger", "empty"], "empty: an unfinished training: continue"),
    (["evaluate", "short-call", "--hedger", "runs/none"], "runs/none: there is no such run"),
    (["evaluate", "short-call", "--hedger", "nan.csv"], "nan.csv: there is no such run"),
    (["evaluate", "book-jumps", "--hedger", "run", "--paths", "9"], "was trained to see"),
    (["evaluate", "short-call", "--hedger", "run", "--hedger", "run"], "two hedgers are called"),
    (["evaluate", "short-call", "--paths", "1"], "'--paths'"),
    (["evaluate", "short-call", "--paths", "many"], "'--paths'"),
    (["evaluate", "short-call", "--seed", "-1"], "'--seed'"),
    (["evaluate", "short-call", "--set", "market.drift=1e4", "--paths", "9"], "out of proportion"),
    (["evaluate", "short-call", "--bogus"], "No such option: --bogus"),
    (["compare"], "Missing argument 'SCENARIO...'"),
    (["compare", "short-call", "short-call", "--out", "new/c"], "a name stands twice"),
    (["compare", "short-call", "nope", "--out", "new/c"], "unknown preset 'nope'"),
    (["compare", "short-call", "--agent", "a2c", "--agent", "a2c", "--out", "new/c"], "twice"),
    (["compare", "short-call", "--seeds", "0", "--out", "new/c"], "'--seeds'"),
    (["compare", "short-call", "--out", "run"], "run exists"),
    (["compare", "short-call", "--workers", "0"], "'--workers'"),
    (["compare", "short-call", "--ray", "a:1", "--workers", "2"], "--workers 2 beside --ray a:1"),
    (["compare", "short-call", "--out", "text.yaml"], "text.yaml exists: give another --out"),
    (["compare", "short-call", "--out", "other"], "other/compare.json: damaged: remove it"),
    (["sweep", "short-call", "--paths", "9"], "--paths without --final-seeds: trials have paths"),
    (
        ["transfer", "short-call", "--seeds", "2", "--steps", "9"],
        "--seeds and --steps without --agent: nothing is trained",
    ),
    (["backtest", "--data", "nan.csv"], "nan.csv, line 42 (2001-02-27): close 'nan' is not a"),
    (["backtest", "--data", "negative.csv"], "close '-1' is not a finite number above 0"),
    (["backtest", "--data", "missing.csv"], "missing.csv: there is no such file"),
    (["backtest", "--data", "broken.yaml"], "must end in .csv or .parquet"),
    (["backtest", "--scenario", "short-call"], "is marked at a vol of its own"),
    (["backtest", "--days", "1"], "'--days'"),
    (["backtest", "--agent", "ppo", "--steps", "9"], "--agent and --steps without --walk-forward"),
    (
        ["backtest", "--window", "5", "--workers", "2"],
        "--window and --workers without --walk-forward: add it",
    ),
    (["backtest", "--walk-forward", "--steps", "9"], "--steps without --agent: nothing is trained"),
    (["backtest", "--third-fridays", "--days", "60"], "--days beside --third-fridays: give one"),
    (["backtest", "--max-gap", "3"], "--max-gap without --data: the S&P 500 has no gap"),
    (
        ["frontier", "short-call", "--out", "text.yaml/new"],
        "new: text.yaml is a file: give another",
    ),
    (["--plugin", "missing.py", "list"], "--plugin missing.py: give a Python file"),
    (["list", "--plugin", "broken.py"], "--plugin broken.py: SyntaxError"),
    (["list", "--plugin", "failing.py"], "--plugin failing.py: ZeroDivisionError: division by"),
    (["evalute", "short-call"], "No such command 'evalute'. Did you mean 'evaluate'?"),
]


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, deephedge: Deephedge, tmp_path: Path
) -> None:
    before = {str(path) for path in tmp_path.rglob("*")}
    ran = deephedge(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("error: ") and message in ran.err
    assert ran.err.count("\n") == 1 and ran.err.endswith("\n")
    after = {str(path) for path in tmp_path.rglob("*") if "__pycache__" not in str(path)}
    assert after == before


# Work that fails or is interrupted: exit code 1


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise error

    return fail


INTERRUPTED = "interrupted\n"
FAILURES = [
    (KeyboardInterrupt(), INTERRUPTED),
    (RuntimeError("two\nlines"), "error: the work failed: RuntimeError: two lines\n"),
    (MemoryError(), "error: the work failed: MemoryError: \n"),
    (OSError(28, "No space left on device"), "error: [Errno 28] No space left on device\n"),
]


@pytest.mark.parametrize(("error", "shown"), FAILURES, ids=[type(e).__name__ for e, _ in FAILURES])
def test_a_failing_training_leaves_nothing(
    error: BaseException,
    shown: str,
    deephedge: Deephedge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = importlib.import_module("deephedge.experiments.runs")
    monkeypatch.setattr(runs, "train_agent", failing(error))
    for command in (TRAIN, ["compare", *TRAIN[1:]]):
        ran = deephedge(*command, "--out", "new/run")
        assert (ran.code, ran.out, ran.err) == (1, "", shown)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", ["judge", "write_json", "write_report"])
@pytest.mark.parametrize(("error", "shown"), FAILURES[:2], ids=["interrupted", "failed"])
def test_a_finished_training_outlives_a_failing_report(
    what: str,
    error: BaseException,
    shown: str,
    deephedge: Deephedge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command_line, what, failing(error))
    ran = deephedge(*TRAIN, "--out", "new/run")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"kept: new/run, a finished training\n{shown}"
    assert load_run(tmp_path / "new" / "run").name == "run"
    assert not (tmp_path / "new" / "run" / "report.html").exists()


def test_an_interrupted_comparison_keeps_finished_trainings(
    deephedge: Deephedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = importlib.import_module("deephedge.experiments.compare")
    with monkeypatch.context() as patched:
        patched.setattr(compare, "judge", failing(KeyboardInterrupt()))
        ran = deephedge("compare", *TRAIN[1:], "--out", "c")
    kept = "kept: c/short-call/a2c, a finished training\ngo on: the same command with --out c\n"
    assert ran == (1, "", f"{kept}{INTERRUPTED}")
    other = deephedge("compare", *TRAIN[1:], "--seed", "5", "--out", "c")
    refused = "error: c/compare.json is of other seeds and evaluation_seed: ask for the same, or "
    assert other == (2, "", f"{refused}give another --out\n")
    again = deephedge("compare", *TRAIN[1:], "--out", "c")
    assert (again.code, again.err) == (0, "report: c/report.html\n")


def test_an_interrupted_walk_without_a_folder_promises_nothing(
    deephedge: Deephedge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its trainings lie in a folder that goes with it."""
    module = importlib.import_module("deephedge.experiments.commands.backtest")

    def interrupted(trainings: Any, folder: Path, *others: Any) -> Any:
        policy = folder / "2003-01-02" / "ppo" / "policy"
        policy.mkdir(parents=True)
        (policy / "spec.json").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train_all", interrupted)
    rows = [f"{np.datetime64('2001-01-02') + k},{100 + k % 7}" for k in range(900)]
    (tmp_path / "days.csv").write_text("\n".join(["date,close", *rows]))
    walk = ["--data", "days.csv", "--walk-forward", "--window", "1", "--hedger", "delta"]
    assert deephedge("backtest", *walk, "--agent", "ppo") == (1, "", INTERRUPTED)
    kept = deephedge("backtest", *walk, "--agent", "ppo", "--out", "walk").err
    assert kept.startswith("kept: walk/2003-01-02/ppo, a finished training\ngo on: the same")


def test_a_folder_that_cannot_be_made(deephedge: Deephedge, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused = "error: file/run: file is a file: give another --out\n"
    assert deephedge(*TRAIN, "--out", "file/run") == (2, "", refused)
    assert (tmp_path / "file").read_text() == "mine"


# In a process of its own


def test_a_process_refuses(tmp_path: Path) -> None:
    command = [*SCRIPT, "evaluate", "short-call", "--set", "market.sigma=-1"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1 and "Traceback" not in ran.stderr


@pytest.mark.slow
def test_ctrl_c_stops_a_training(tmp_path: Path) -> None:
    """Before its first checkpoint nothing is left; after it: test_resume.py."""
    never = "from deephedge.agents import training_state; training_state.EVERY = 1e9"
    script = f"{never}; {SCRIPT[-1]}"
    command = [*SCRIPT[:-1], script, "train", "short-call", "--agent", "a2c", "--out", "new/run"]
    child = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A child of a background job would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    metrics = tmp_path / "new" / "run" / "metrics.csv"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out, err) == (1, "", INTERRUPTED)
    assert list(tmp_path.iterdir()) == []
