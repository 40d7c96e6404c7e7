"""The command line as a user and as a script meet it: results, one-line refusals, exit codes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deephedge.agents import agent_names
from deephedge.baselines import Baseline
from deephedge.envs import load_scenario, parse_scenario, preset_names
from deephedge.envs.markets import Market
from deephedge.experiments.commands.command_line import app

SCRIPT = [
    sys.executable,
    "-c",
    "from deephedge.experiments.commands.command_line import main; main()",
]
FAST = ["--set", "calendar.steps=5"]
TRAIN = ["train", "short-call", "--agent", "a2c", "--steps", "2000", "--paths", "500", *FAST]


Deephedge = Callable[..., Any]


def good(ran: Any) -> Any:
    assert ran.code == 0, ran.err
    return ran


def names(document: Any) -> list[str]:
    return [each["name"] for each in document["hedgers"]]


# What there is


def test_the_commands_are_those_that_work() -> None:
    commands = {each.name or each.callback.__name__ for each in app.registered_commands}  # type: ignore[union-attr]
    assert commands == {
        *("list", "show", "train", "evaluate", "compare", "backtest"),
        *("sweep", "export", "reproduce", "frontier", "explain", "stress"),
        *("trade-offs", "advise", "report", "transfer", "bench"),
    }


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("list", "--json"),
        ("show", "--set --json"),
        ("train", "--agent --seed --steps --out --set --json"),
        ("evaluate", "--hedger --paths --seed --set --json"),
        ("compare", "--agent --seeds --seed --steps --out --workers --ray --set --json"),
        ("backtest", "--data --hedger --walk-forward --agent --seed --out --set --json"),
        ("report", "--out --paths --seed --json"),
    ],
)
def test_options_of_the_contract(command: str, options: str, deephedge: Deephedge) -> None:
    shown = good(deephedge(command, "--help")).out
    for option in ["--plugin", *options.split()]:
        assert f" {option} " in shown, option


def test_without_a_command_there_is_help(deephedge: Deephedge) -> None:
    assert "Usage: deephedge [OPTIONS] COMMAND" in good(deephedge()).out
    assert deephedge().out == deephedge("--help").out


def test_it_says_its_version(deephedge: Deephedge) -> None:
    assert deephedge("--version") == (0, f"deephedge {metadata.version('deephedge')}\n", "")


def test_lists(deephedge: Deephedge) -> None:
    everything = good(deephedge("list", "--json")).json
    assert list(everything["scenarios"]) == preset_names()
    assert set(everything["hedgers"]) >= {"none", "static", "delta", "band"}
    assert list(everything["agents"]) == agent_names()
    assert set(everything["markets"]) >= {"gbm", "merton"}
    families = {
        *("scenarios", "hedgers", "agents", "features", "calendars", "action-maps", "costs"),
        *("claims", "instruments", "markets", "objectives", "markings", "rewards"),
    }
    assert set(everything) >= families  # other tests of this process register their own
    assert " Option every=1." in everything["hedgers"]["delta"]
    shown = good(deephedge("list")).out
    for family in families:
        assert f"{family}:\n" in shown
        for name, meaning in everything[family].items():
            assert meaning, (family, name)
            assert f"\n  {name} " in shown
        assert good(deephedge("list", family, "--json")).json == everything[family]


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
    options = ["--hedger", "new/mine", "--paths", "500", "--seed", "3", "--json"]
    again = good(deephedge("evaluate", "short-call", *FAST, *options))
    assert again.json["hedgers"][3] == next(h for h in ran.json["hedgers"] if h["name"] == "mine")


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
    assert set(ran.json) == {"scenario", "paths", "seed", "objective", "hedgers", "tuned"}
    assert (ran.json["scenario"], ran.json["paths"], ran.json["seed"]) == ("short-call", 400, 5)
    assert names(ran.json) == ["none", "delta", "optimal", "band:width=0.2", "finished"]
    assert ran.err == ""
    assert deephedge(*command, "--seed", "5", "--json").out == ran.out
    assert deephedge(*command, "--seed", "6", "--json").out != ran.out
    table = good(deephedge(*command, "--seed", "5")).out
    for each in ran.json["hedgers"]:
        assert f"{each['risk']['value']:.4f}" in table


def test_without_a_hedger_every_rule_that_fits_is_evaluated(deephedge: Deephedge) -> None:
    document = good(deephedge("evaluate", "short-call", *FAST, "--paths", "50", "--json")).json
    kinds = {name.partition(":")[0] for name in names(document)}
    assert kinds >= {"none", "delta", "optimal", "static", "band", "leland", "whalley-wilmott"}
    assert not kinds & {"minimum-variance", "delta-gamma", "delta-vega"}
    assert {name.partition("=")[0] for name in document["tuned"]} >= {
        *("band:width", "delta:every", "delta:move", "whalley-wilmott:aversion"),
    }
    (optimum,) = (each for each in document["hedgers"] if each["name"] == "optimal")
    told = optimum["versus_delta"]["high"] < 0
    assert all((each["gap_closed"] is not None) == told for each in document["hedgers"])


def test_the_best_value_of_an_option(deephedge: Deephedge) -> None:
    command = ["evaluate", "short-call", *FAST, "--paths", "50", "--json", "--hedger"]
    document = good(deephedge(*command, "band:to=centre,width=best")).json
    (tuned,) = document["tuned"]
    assert tuned == names(document)[-1] and re.fullmatch(r"band:width=[\d.e-]+,to=centre", tuned)
    for wrong, why in (
        ("band:to=best", "'to' is not tuned; of it is: width"),
        ("none:x=best", "hedger 'none': 'x' is not tuned; of it is: nothing"),
        ("delta:every=best,move=best", "every and move are to be tuned: choose one"),
    ):
        refused = deephedge(*command, wrong)
        assert refused.code == 2 and why in refused.err


def test_names_of_runs(deephedge: Deephedge, finished_run: Path, tmp_path: Path) -> None:
    """A folder is called by its name, or by its path where that name is another's too; and a folder
    that is called like a baseline does not hide it."""
    for name in ("a/ppo", "b/ppo", "b/delta", "band"):
        shutil.copytree(finished_run, tmp_path / name)
    chosen = [word for name in ("a/ppo", "b/ppo", "b/delta", "band") for word in ("--hedger", name)]
    document = good(
        deephedge("evaluate", "short-call", *FAST, *chosen, "--paths", "99", "--json")
    ).json
    assert names(document) == ["none", "delta", "optimal", "a/ppo", "b/ppo", "b/delta", "band"]
    learned = [each["mean"] for each in document["hedgers"][3:6]]
    assert len(set(learned)) == 1
    assert document["hedgers"][6]["mean"] != learned[0]


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
    assert {"data", "first", "last", "months", "all", "by_source", "bootstrap"} < set(ran.json)
    assert ran.json["data"] == "mine.csv" and ran.json["months"] == 18
    assert names(ran.json["all"]) == ["none", "delta", "finished", "static"]
    assert ran.err == ""
    weeks = good(deephedge("backtest", "--data", data, "--days", "7", "--json")).json
    assert weeks["months"] == 79 and set(names(weeks["all"])) == {"none", "delta", "static", "band"}
    table = good(deephedge("backtest", "--data", data)).out
    assert table.startswith("mine.csv: 18 months from 2001-01-02 to ")


def test_backtest_on_the_sp500(deephedge: Deephedge) -> None:
    ran = good(deephedge("backtest", "--hedger", "band"))
    titles = [
        *(part.splitlines()[0] for part in ran.out.split("\n\n") if "months from" in part),
        *(part.splitlines()[0] for part in ran.out.split("\n\n") if "months marked at" in part),
    ]
    assert titles == [
        "S&P 500: 239 months from 1999-01-19 to 2018-11-05, sp500-call",
        "180 months marked at: trailing",
        "59 months marked at: vix",
    ]


def test_walking_forward(deephedge: Deephedge, tmp_path: Path) -> None:
    """Estimates, tunes, trains and tests; a second call with the same --out trains nothing."""
    data = prices(tmp_path / "mine.csv", days=900)
    options = ["--data", data, "--days", "14", "--walk-forward", "--window", "2", "--agent", "ppo"]
    options += ["--steps", "2000", "--hedger", "whalley-wilmott", "--out", "w", "--json"]
    ran = good(deephedge("backtest", *options))
    assert names(ran.json["all"]) == ["none", "delta", "whalley-wilmott", "ppo"]
    walk = ran.json["walk_forward"]
    assert walk["window_years"] == 2 and walk["agents"] == [{"name": "ppo", "steps": 2000}]
    assert [fold["first"] for fold in walk["folds"]] == ["2003-01-02", "2004-01-03"]
    assert sum(fold["months"] for fold in walk["folds"]) == ran.json["months"]
    assert {path.name for path in Path("w").iterdir()} == {
        *("2003-01-02", "2004-01-03", "walk-forward.json", "backtest.json")
    }
    before = [path.stat().st_mtime_ns for path in sorted(Path("w").glob("*/*/policy/*"))]
    assert good(deephedge("backtest", *options)).json == ran.json
    assert before == [path.stat().st_mtime_ns for path in sorted(Path("w").glob("*/*/policy/*"))]
    refused = deephedge("backtest", "--walk-forward", "--data", data, "--window", "4")
    assert refused.code == 2 and "has no month after a window of 4 years" in refused.err
    table = good(deephedge("backtest", *options[:-1])).out
    assert "p adjusted" in table and "risk by year" in table


# Kinds of one's own

PLUGIN = """
from typing import Any, Literal

from deephedge.baselines import Baseline
from deephedge.baselines.baseline import delta_one_only
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

    def holdings(self, known: Known, state: Any) -> tuple[Any, Any]:
        return delta_one_only(known, self.share * known.neutral), None
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
    assert re.search(r"calm +A market that hardly moves\.", listed)
    after = ["--hedger", "part:share=0.25", "--plugin", plugin, "--json"]
    document = good(deephedge("evaluate", "short-call", *calm, *after)).json
    assert names(document) == ["none", "delta", "optimal", "part:share=0.25"]
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


@pytest.mark.slow
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
