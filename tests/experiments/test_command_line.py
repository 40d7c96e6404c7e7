"""The command line as a user and as a script meet it: results, one-line refusals, exit codes."""

from __future__ import annotations

import importlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from deephedge.agents import agent_names
from deephedge.baselines import Baseline
from deephedge.envs import load_scenario, parse_scenario, preset_names
from deephedge.envs.markets import Market
from deephedge.experiments import command_line
from deephedge.experiments.command_line import app, main
from deephedge.experiments.runs import load_run

SCRIPT = [sys.executable, "-c", "from deephedge.experiments.command_line import main; main()"]
FAST = ["--set", "calendar.steps=5"]
TRAIN = ["train", "short-call", "--agent", "a2c", "--steps", "2000", "--paths", "500", *FAST]


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Deephedge = Callable[..., Ran]


@pytest.fixture
def deephedge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Deephedge:
    """Runs the command line in this process and in a folder of its own; draws no reports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    for module in (command_line, importlib.import_module("deephedge.experiments.compare")):
        monkeypatch.setattr(module, "write_report", lambda path, *rest: path.write_text("<html>"))

    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["deephedge", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        assert isinstance(left.value.code, int)
        return Ran(left.value.code, *capsys.readouterr())

    return run


def good(ran: Ran) -> Ran:
    assert ran.code == 0, ran.err
    return ran


def names(document: Any) -> list[str]:
    return [each["name"] for each in document["hedgers"]]


# What there is


def test_the_commands_are_those_that_work() -> None:
    commands = {each.name or each.callback.__name__ for each in app.registered_commands}  # type: ignore[union-attr]
    assert commands == {"list", "show", "train", "evaluate", "compare", "backtest"}


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("list", "--json"),
        ("show", "--set --json"),
        ("train", "--agent --seed --steps --out --set --json"),
        ("evaluate", "--hedger --paths --seed --set --json"),
        ("compare", "--agent --seeds --seed --steps --out --set --json"),
        ("backtest", "--data --hedger --set --json"),
    ],
)
def test_options_of_the_contract(command: str, options: str, deephedge: Deephedge) -> None:
    shown = good(deephedge(command, "--help")).out
    for option in ["--plugin", *options.split()]:
        assert f" {option} " in shown, option


def test_without_a_command_there_is_help(deephedge: Deephedge) -> None:
    assert "Usage: deephedge [OPTIONS] COMMAND" in good(deephedge()).out
    assert deephedge().out == deephedge("--help").out


def test_lists(deephedge: Deephedge) -> None:
    everything = good(deephedge("list", "--json")).json
    assert list(everything["scenarios"]) == preset_names()
    assert set(everything["hedgers"]) >= {"none", "static", "delta", "band"}
    assert list(everything["agents"]) == agent_names()
    assert set(everything["markets"]) >= {"gbm", "merton"}
    assert set(everything) == {
        *("scenarios", "hedgers", "agents", "features", "calendars", "action-maps", "costs"),
        *("claims", "instruments", "markets", "objectives", "markings", "rewards"),
    }
    shown = good(deephedge("list")).out
    for family, entries in everything.items():
        assert f"{family}:\n" in shown
        for name, meaning in entries.items():
            assert meaning, (family, name)
            assert f"\n  {name} " in shown
        assert good(deephedge("list", family, "--json")).json == entries


# Scenarios


def test_what_is_shown_can_be_passed_back(deephedge: Deephedge, tmp_path: Path) -> None:
    sets = ["--set", "market.sigma=0.3", "--set", "objective={kind: cvar, level: 0.9}"]
    shown = good(deephedge("show", "short-call", *sets, *FAST))
    (tmp_path / "mine.yaml").write_text(shown.out)
    assert deephedge("show", "mine.yaml").out == shown.out
    assert parse_scenario(good(deephedge("show", "mine.yaml", "--json")).json) == load_scenario(
        "short-call",
        {
            "market.sigma": "0.3",
            "objective": "{kind: cvar, level: 0.9}",
            "calendar.steps": "5",
        },
    )
    by_file = good(deephedge("evaluate", "mine.yaml", "--paths", "300", "--json"))
    by_sets = good(deephedge("evaluate", "short-call", *sets, *FAST, "--paths", "300", "--json"))
    assert by_file.json == by_sets.json
    assert by_file.json["objective"] == "CVaR 90 %"


@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_shows(preset: str, deephedge: Deephedge) -> None:
    assert parse_scenario(good(deephedge("show", preset, "--json")).json) == load_scenario(preset)


# Training and evaluation


def test_train_writes_the_whole_run(deephedge: Deephedge, tmp_path: Path) -> None:
    ran = good(deephedge(*TRAIN, "--seed", "3", "--out", "new/mine", "--json"))
    run = tmp_path / "new" / "mine"
    assert {path.name for path in run.iterdir()} == {
        *("config.yaml", "meta.json", "tb", "metrics.csv", "policy"),
        *("evaluation.json", "report.html"),
    }
    assert ran.json == json.loads((run / "evaluation.json").read_text())
    assert ran.json["seed"] == 3 and ran.json["paths"] == 500
    assert "mine" in names(ran.json) and names(ran.json)[:2] == ["none", "delta"]
    assert ran.err == "report: new/mine/report.html\n"
    meta = json.loads((run / "meta.json").read_text())
    assert meta["seed"] == 3 and meta["command"].startswith("deephedge train short-call --agent")
    again = good(
        deephedge(
            "evaluate", "short-call", *FAST, "--hedger", "new/mine", "--paths", "500", "--seed", "3",
            "--json",
        )
    )  # fmt: skip
    assert again.json["hedgers"][2] == next(h for h in ran.json["hedgers"] if h["name"] == "mine")


def test_runs_are_put_where_there_is_room(deephedge: Deephedge, tmp_path: Path) -> None:
    for _ in range(2):
        ran = good(deephedge(*TRAIN, "--set", "name=my own/call"))
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {
        *("my-own-call-a2c-0", "my-own-call-a2c-0-2")
    }
    assert ran.err == "report: runs/my-own-call-a2c-0-2/report.html\n"
    assert ran.out.startswith("my own/call, 500 paths, seed 0\n\nhedger ")


def test_evaluate(deephedge: Deephedge, finished_run: Path) -> None:
    hedgers = ["--hedger", "band:width=0.2", "--hedger", str(finished_run), "--hedger", "delta"]
    command = ["evaluate", "short-call", *FAST, *hedgers, "--paths", "400"]
    ran = good(deephedge(*command, "--seed", "5", "--json"))
    assert set(ran.json) == {"scenario", "paths", "seed", "objective", "hedgers"}
    assert (ran.json["scenario"], ran.json["paths"], ran.json["seed"]) == ("short-call", 400, 5)
    assert names(ran.json) == ["none", "delta", "band:width=0.2", "finished"]
    assert ran.err == ""
    assert deephedge(*command, "--seed", "5", "--json").out == ran.out
    assert deephedge(*command, "--seed", "6", "--json").out != ran.out
    table = good(deephedge(*command, "--seed", "5")).out
    for each in ran.json["hedgers"]:
        assert f"{each['risk']['value']:.4f}" in table


def test_without_a_hedger_all_baselines_are_evaluated(deephedge: Deephedge) -> None:
    document = good(deephedge("evaluate", "short-call", *FAST, "--paths", "50", "--json")).json
    assert set(names(document)) == {"none", "delta", "static", "band"}


def test_names_of_runs(deephedge: Deephedge, finished_run: Path, tmp_path: Path) -> None:
    """A folder is called by its name, or by its path where that name is another's too; and a folder
    that is called like a baseline does not hide it."""
    for name in ("a/ppo", "b/ppo", "b/delta", "band"):
        shutil.copytree(finished_run, tmp_path / name)
    chosen = [word for name in ("a/ppo", "b/ppo", "b/delta", "band") for word in ("--hedger", name)]
    document = good(
        deephedge("evaluate", "short-call", *FAST, *chosen, "--paths", "99", "--json")
    ).json
    assert names(document) == ["none", "delta", "a/ppo", "b/ppo", "b/delta", "band"]
    learned = [each["mean"] for each in document["hedgers"][2:5]]
    assert len(set(learned)) == 1
    assert document["hedgers"][5]["mean"] != learned[0]


def test_compare(deephedge: Deephedge, tmp_path: Path) -> None:
    scenarios = ["short-call", "short-straddle-jumps"]
    options = ["--agent", "a2c", "--agent", "ppo", "--steps", "2000", "--paths", "200", *FAST]
    ran = good(deephedge("compare", *scenarios, *options, "--json"))
    folder = tmp_path / "runs" / "short-call-short-straddle-jumps"
    assert [each["scenario"] for each in ran.json] == scenarios
    assert ran.json == json.loads((folder / "evaluation.json").read_text())
    assert all(names(each)[-2:] == ["a2c", "ppo"] for each in ran.json)
    for scenario in scenarios:
        assert {path.name for path in (folder / scenario).iterdir()} == {"a2c", "ppo"}
    assert ran.err == f"report: {folder.relative_to(tmp_path)}/report.html\n"


def test_compare_seeds(deephedge: Deephedge) -> None:
    options = ["--agent", "a2c", "--steps", "2000", "--seeds", "2", "--seed", "7", *FAST]
    ran = good(deephedge("compare", "short-call", *options, "--paths", "100", "--out", "c"))
    assert "a2c-seed7 " in ran.out and "a2c-seed8 " in ran.out
    assert ran.out.startswith("short-call, 100 paths, seed 7\n")


def prices(path: Path, days: int = 400, broken: str | None = None) -> str:
    rng = np.random.default_rng(0)
    dates = np.busday_offset("2001-01-02", np.arange(days))
    close = 50 * np.exp(0.01 * np.cumsum(rng.standard_normal(days)))
    lines = [f"{date},{price},0.2" for date, price in zip(dates, close, strict=True)]
    if broken is not None:
        lines[40] = f"{dates[40]},{broken},0.2"
    path.write_text("\n".join(["date,close,implied_vol", *lines]))
    return str(path)


def test_backtest(deephedge: Deephedge, tmp_path: Path, finished_run: Path) -> None:
    data = prices(tmp_path / "mine.csv")
    hedgers = ["--hedger", str(finished_run), "--hedger", "static"]
    ran = good(deephedge("backtest", "--data", data, *hedgers, "--json"))
    assert set(ran.json) == {"data", "first", "last", "months", "all", "by_source"}
    assert ran.json["data"] == "mine.csv" and ran.json["months"] == 18
    assert names(ran.json["all"]) == ["none", "delta", "finished", "static"]
    assert ran.err == ""
    weeks = good(deephedge("backtest", "--data", data, "--days", "7", "--json")).json
    assert weeks["months"] == 80 and set(names(weeks["all"])) == {"none", "delta", "static", "band"}
    table = good(deephedge("backtest", "--data", data)).out
    assert table.startswith("mine.csv: 18 months from 2001-01-02 to ")


def test_backtest_on_the_sp500(deephedge: Deephedge) -> None:
    ran = good(deephedge("backtest", "--hedger", "band"))
    titles = [part.splitlines()[0] for part in ran.out.split("\n\n") if " months " in part]
    assert titles == [
        "S&P 500: 239 months from 1999-01-19 to 2018-11-05, sp500-call",
        "180 months marked at: trailing",
        "59 months marked at: vix",
    ]


# Kinds of one's own

PLUGIN = """
from typing import Any, Literal

from deephedge.baselines import Baseline
from deephedge.baselines.baseline import underlying_only
from deephedge.envs import Known
from deephedge.envs.markets import GeometricBrownianMotion


class Calm(GeometricBrownianMotion):
    '''A market that hardly moves.'''

    kind: Literal["calm"] = "calm"
    sigma: float = 1e-4


class Half(Baseline):
    '''Hedges a part of delta.'''

    kind: Literal["part"] = "part"
    share: float = 0.5

    def act(self, known: Known, state: Any) -> tuple[Any, Any]:
        return underlying_only(known, self.share * known.neutral), None
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "numpy.py").write_text(PLUGIN)  # its name is another module's too
    yield "numpy.py"
    Market.kinds.pop("calm", None)
    Baseline.kinds.pop("part", None)
    sys.modules.pop("deephedge_plugin_numpy", None)


def test_a_plugin_brings_kinds(deephedge: Deephedge, plugin: str) -> None:
    calm = ["--set", "market={kind: calm, spot: 100}", *FAST, "--paths", "50"]
    without = deephedge("evaluate", "short-call", *calm)
    assert without.code == 2 and "market: unknown kind 'calm'" in without.err
    listed = good(deephedge("--plugin", plugin, "list", "markets")).out
    assert "calm    A market that hardly moves." in listed
    after = ["--hedger", "part:share=0.25", "--plugin", plugin, "--json"]
    document = good(deephedge("evaluate", "short-call", *calm, *after)).json
    assert names(document) == ["none", "delta", "part:share=0.25"]
    assert document["hedgers"][0]["std"] < 0.01
    assert sys.modules["numpy"] is np


def test_a_scenario_file_imports_nothing(deephedge: Deephedge, plugin: str, tmp_path: Path) -> None:
    shown = deephedge("show", "short-call").out
    (tmp_path / "mine.yaml").write_text(f"plugin: {plugin}\n{shown}")
    (tmp_path / "evil.yaml").write_text("name: !!python/object/apply:os.mkdir [made]")
    refused = deephedge("show", "mine.yaml")
    assert refused.code == 2 and "plugin: unknown key" in refused.err
    assert deephedge("show", "evil.yaml").code == 2
    assert not (tmp_path / "made").exists()


# Bad input: exit code 2, one line, nothing written


@pytest.fixture
def damaged(finished_run: Path, tmp_path: Path) -> None:
    """What the refused command lines below name."""
    for name in ("cut", "old", "empty", "run"):
        shutil.copytree(finished_run, tmp_path / name)
    weights = tmp_path / "cut" / "policy" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    spec = tmp_path / "old" / "policy" / "spec.json"
    spec.write_text(spec.read_text().replace('"format": 1', '"format": 99'))
    shutil.rmtree(tmp_path / "empty" / "policy")
    prices(tmp_path / "nan.csv", broken="nan")
    prices(tmp_path / "negative.csv", broken="-1")
    (tmp_path / "broken.yaml").write_text("name: [")
    (tmp_path / "text.yaml").write_text("just text")
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
    ([*TRAIN, "--steps", "0", "--out", "new/run"], "'--steps'"),
    ([*TRAIN, "--paths", "1", "--out", "new/run"], "'--paths'"),
    ([*TRAIN, "--out", "run"], "run exists: give another --out, or remove it"),
    (["train", "book-jumps", "--agent", "dqn", "--out", "new/run"], "choices, more than 256"),
    (["train", "--agent", "ppo"], "Missing argument 'SCENARIO'"),
    (["evaluate", "short-call", "--hedger", "delte"], "unknown hedger 'delte': did you mean"),
    (["evaluate", "short-call", "--hedger", "delta:evry=5"], "unknown option 'evry': did you"),
    (["evaluate", "short-call", "--hedger", "delta:every=0"], "every: input should be greater"),
    (["evaluate", "short-call", "--hedger", "cut"], "truncated or changed"),
    (["evaluate", "short-call", "--hedger", "old"], "format 99, this version reads 1"),
    (["evaluate", "short-call", "--hedger", "empty"], "empty: not a run directory"),
    (["evaluate", "short-call", "--hedger", "runs/none"], "runs/none: there is no such run"),
    (["evaluate", "short-call", "--hedger", "nan.csv"], "nan.csv: there is no such run"),
    (["evaluate", "book-jumps", "--hedger", "run", "--paths", "9"], "was trained to see"),
    (["evaluate", "short-call", "--hedger", "run", "--hedger", "run"], "two hedgers are called"),
    (["evaluate", "short-call", "--paths", "1"], "'--paths'"),
    (["evaluate", "short-call", "--paths", "many"], "'--paths'"),
    (["evaluate", "short-call", "--seed", "-1"], "'--seed'"),
    (["evaluate", "short-call", "--set", "market.drift=1e4", "--paths", "9"], "NaN or infinite"),
    (["evaluate", "short-call", "--bogus"], "No such option: --bogus"),
    (["compare"], "Missing argument 'SCENARIO...'"),
    (["compare", "short-call", "short-call", "--out", "new/c"], "a name stands twice"),
    (["compare", "short-call", "nope", "--out", "new/c"], "unknown preset 'nope'"),
    (["compare", "short-call", "--agent", "a2c", "--agent", "a2c", "--out", "new/c"], "twice"),
    (["compare", "short-call", "--seeds", "0", "--out", "new/c"], "'--seeds'"),
    (["compare", "short-call", "--out", "run"], "run exists"),
    (["backtest", "--data", "nan.csv"], "nan.csv, line 42 (2001-02-27): close 'nan' is not a"),
    (["backtest", "--data", "negative.csv"], "close '-1' is not a finite number above 0"),
    (["backtest", "--data", "missing.csv"], "missing.csv: there is no such file"),
    (["backtest", "--data", "broken.yaml"], "must end in .csv or .parquet"),
    (["backtest", "--scenario", "short-call"], "is marked at a vol of its own"),
    (["backtest", "--days", "1"], "'--days'"),
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
    monkeypatch.setattr(compare, "judge", failing(KeyboardInterrupt()))
    ran = deephedge("compare", *TRAIN[1:], "--out", "c")
    assert ran == Ran(1, "", f"kept: c/short-call/a2c, a finished training\n{INTERRUPTED}")
    again = deephedge("compare", *TRAIN[1:], "--out", "c")
    assert again == Ran(2, "", "error: c exists: give another --out, or remove it\n")


def test_a_folder_that_cannot_be_made(deephedge: Deephedge, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    ran = deephedge(*TRAIN, "--out", "file/run")
    assert ran.code == 1 and ran.err.startswith("error: ") and ran.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


# In a process of its own


def process(*arguments: str, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SCRIPT, *arguments], cwd=cwd, capture_output=True, text=True, **options)


def test_a_process_trains_reports_and_evaluates(tmp_path: Path) -> None:
    """With the real report, and warnings as errors."""
    ran = process(*TRAIN, "--out", "run", "--json", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["scenario"] == "short-call"
    assert ran.stderr == "report: run/report.html\n"
    assert (tmp_path / "run" / "report.html").read_text().startswith("<!")


def test_a_process_refuses(tmp_path: Path) -> None:
    ran = process("evaluate", "short-call", "--set", "market.sigma=-1", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1 and "Traceback" not in ran.stderr


def test_ctrl_c_stops_a_training(tmp_path: Path) -> None:
    command = [*SCRIPT, "train", "short-call", "--agent", "a2c", "--out", "new/run"]
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


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    """As in ``deephedge list | head -1``."""
    child = subprocess.Popen(
        [*SCRIPT, "list"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None and child.stderr is not None
    child.stdout.close()
    assert child.wait(timeout=60) == 1
    assert child.stderr.read() == b""
    child.stderr.close()
