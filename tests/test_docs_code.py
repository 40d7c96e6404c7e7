"""Code on the pages: Python runs, commands are understood, and the tutorial's sums are right.

A block after ``<!-- slow -->`` is run by the slow suite alone.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from deephedge import load_scenario, preset_names, rollout, simulate
from deephedge.agents import agent_settings
from deephedge.baselines import BandHedge, Baseline, DeltaHedge, parse_baseline
from deephedge.envs import Scenario
from deephedge.envs.markets import Replay
from deephedge.experiments.catalogue import whole_catalogue
from deephedge.experiments.commands.command_line import app
from deephedge.experiments.commands.options import named_scenario
from deephedge.experiments.commands.training_options import setting_changes
from deephedge.experiments.reproductions import paper_names
from deephedge.experiments.shocks import SHOCKS

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"^(?P<slow><!-- slow -->\n)?```(?P<language>python|console|sh)\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
COMMAND = re.compile(r"^    (deephedge .*)$|`(deephedge [^`]*)`", re.MULTILINE)  # not in a block
SYNOPSIS = re.compile(r"[\[|]|\.\.\.|\b[A-Z]{2,}\b")  # what describes a command and is none

PAGES = sorted(
    str(page.relative_to(ROOT)) for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
)
# What a page takes for granted, by the command that makes it.
GIVEN = {
    "README.md": [  # make demo
        "deephedge compare short-call-jumps --agent ppo --out runs/demo/compare",
        "deephedge train sp500-call --agent ppo --out runs/demo/ppo",
    ]
}
FILES = {"today.yaml": "days: 12\nspot: 103.5\nholdings: [0.4]\n"}


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[dict[str, Any]]:
    """A page's code, with the line at which each block begins."""
    text = text_of(page)
    return [
        {
            "language": found["language"],
            "line": text[: found.start("code")].count("\n"),
            "code": found["code"],
            "slow": found["slow"] is not None,
        }
        for found in BLOCK.finditer(text)
    ]


def run_pages(pages: dict[str, Any], folder: Path, *, all_commands: bool) -> None:
    """In a process of its own, warnings as errors."""
    document = folder / "pages.json"
    given = GIVEN if all_commands else {}
    asked = {"pages": pages, "given": given, "files": FILES, "all_commands": all_commands}
    document.write_text(json.dumps(asked), encoding="utf-8")
    command = [sys.executable, "-W", "error", ROOT / "tests/page_program.py", document]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_quick_code_of_every_page_runs(tmp_path: Path) -> None:
    """In one process: to import what they need takes longer than most pages."""
    pages = {page: [b for b in blocks(page) if not b["slow"]] for page in PAGES}
    with_python = {p: found for p, found in pages.items() if any_python(found)}
    assert {"README.md", "docs/tutorial.md", "docs/extending.md"} <= set(with_python)
    run_pages(with_python, tmp_path, all_commands=False)


def any_python(found: list[dict[str, Any]]) -> bool:
    return any(block["language"] == "python" for block in found)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_all_the_code_of_a_page_runs(page: str, tmp_path: Path) -> None:
    """With its commands, whose budgets alone are made small."""
    run_pages({page: blocks(page)}, tmp_path, all_commands=True)


def test_examples_to_extend_it_are_short() -> None:
    for block in blocks("docs/extending.md"):
        assert block["code"].count("\n") < 30, block["code"]


def test_python_stands_in_blocks_that_are_tested() -> None:
    """Not indented, where no test would find it."""
    for page in PAGES:
        assert not re.search(r"^    (import|from) \w+", text_of(page), re.MULTILINE), page


def commands() -> list[tuple[str, str]]:
    """Every command of every page: in blocks, indented and in the text."""
    said = []
    for page in PAGES:
        lines = [line for block in blocks(page) for line in block["code"].splitlines()]
        said += [(page, line) for line in lines if line.startswith("deephedge ")]
        text = BLOCK.sub("", text_of(page))
        said += [(page, found[1] or found[2]) for found in COMMAND.finditer(text)]
    return said


def test_every_command_of_the_pages_is_understood() -> None:
    root: Any = typer.main.get_command(app)
    said = commands()
    assert len(said) > 80
    for page, line in said:
        words = shlex.split(line, comments=True)
        bare = " ".join(words)
        if words[1] not in root.commands:
            assert SYNOPSIS.search(bare), f"{page}: {line}"
            continue
        command = root.commands[words[1]]
        options = {flag for parameter in command.params for flag in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", bare)) <= options, f"{page}: {line}"
        if len(words) == 2 or SYNOPSIS.search(bare):
            continue
        arguments = words[2 : words.index(">") if ">" in words else None]
        try:
            with command.make_context(words[1], arguments) as context:
                check_names(words[1], context.params)
        except Exception as error:
            raise AssertionError(f"{page}: {line}: {error}") from error


def check_names(command: str, given: dict[str, Any]) -> None:
    """Refuse a name, a key or a value that the command would refuse."""
    scenarios = [
        named_scenario(name, given.get("sets"))
        for name in as_list(given.get("scenario"))
        if not name.endswith(".yaml")
    ]
    for hedger in as_list(given.get("hedger")):
        for scenario in [] if "/" in hedger else scenarios:
            rule = at_its_least(hedger, scenario)
            assert rule.refusal(scenario) is None, f"{hedger}: {rule.refusal(scenario)}"
    changes = ("vary", "worst_of", "base", "imitate")
    settings = setting_changes(None, *(given.get(key) for key in changes))
    for agent in as_list(given.get("agent")):
        if not agent.endswith(".yaml"):
            agent_settings(agent, **settings)
    assert set(as_list(given.get("shock"))) <= set(SHOCKS)
    if command == "list":
        assert given["family"] is None or given["family"] in whole_catalogue()
    if command == "reproduce":
        assert given["name"] is None or given["name"] in paper_names()


def as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(value)] if isinstance(value, str | Path) else [str(each) for each in value]


def at_its_least(hedger: str, scenario: Scenario) -> Baseline:
    """The hedger, with an option that is to be tuned where the search begins."""
    kind, _, rest = hedger.partition(":")
    parts = rest.split(",") if rest else []
    kept = ",".join(part for part in parts if not part.endswith("=best"))
    rule = parse_baseline(f"{kind}:{kept}" if kept else kind)
    best = [part.partition("=")[0] for part in parts if part.endswith("=best")]
    least = {option: rule.ranges(scenario)[option][0] for option in best}
    return type(rule).model_validate(rule.model_dump() | least)


@pytest.mark.parametrize(
    ("command", "given"),
    [
        ("evaluate", {"scenario": "short-cal"}),
        ("evaluate", {"scenario": "short-call", "sets": ["market.sigm=1"]}),
        ("evaluate", {"scenario": "short-call", "hedger": ["bnad"]}),
        ("evaluate", {"scenario": "short-call", "hedger": ["band:widht=best"]}),
        ("evaluate", {"scenario": "short-call", "hedger": ["delta-gamma"]}),
        ("train", {"scenario": "short-call", "agent": "pppo"}),
        ("train", {"scenario": "short-call", "agent": "ppo", "base": "dleta"}),
        ("train", {"scenario": "short-call", "agent": "ppo", "vary": ["cost=1"]}),
        ("stress", {"scenario": "short-call", "shock": ["crsh"]}),
        ("list", {"family": "hedgrs"}),
        ("reproduce", {"name": "nobody"}),
    ],
)
def test_a_command_that_would_be_refused_is_found(command: str, given: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, AssertionError)):
        check_names(command, given)


def test_every_page_has_a_line_in_the_sites_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    listed = re.findall(r"[\w/-]+\.md", menu)
    pages = [page.removeprefix("docs/") for page in PAGES if page != "README.md"]
    assert sorted(listed) == sorted(pages)


def test_the_datasheet_has_every_feature_action_reward_and_instrument() -> None:
    page = text_of("docs/environment.md")
    found = whole_catalogue()
    for family in ("features", "action-maps", "rewards", "instruments"):
        for name in found[family]:
            assert re.search(rf"`{name}(_[a-z]+)*[`:]", page), f"{family}: {name}"


def test_every_preset_has_a_line() -> None:
    page = text_of("docs/scenarios.md")
    for name in preset_names():
        assert f"`{name}`" in page and load_scenario(name).description in page, name


# The tutorial, computed anew without this package.

S, K, SIGMA, R, DT, COST = (100.0, 106.0, 102.0, 105.0), 100.0, 0.2, 0.05, 0.1, 0.002


def normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def by_hand(width: float) -> dict[str, list[float]]:
    """The rows of the tutorial's tables for a band about delta; of width 0: delta."""
    rows: dict[str, list[float]] = {}

    def note(**cells: float) -> None:
        for name, cell in cells.items():
            rows.setdefault(name, []).append(cell)

    held = cash = 0.0
    for t, spot in enumerate(S[:-1]):
        tau = DT * (len(S) - 1 - t)
        spread = SIGMA * math.sqrt(tau)
        d1 = (math.log(spot / K) + (R + SIGMA**2 / 2) * tau) / spread
        price = spot * normal(d1) - K * math.exp(-R * tau) * normal(d1 - spread)
        cash = price if t == 0 else cash
        note(S=spot, d1=d1, price=price, before=cash)
        delta = normal(d1)
        trade = min(max(held, delta - width), delta + width) - held
        held += trade
        cost = COST * abs(trade) * spot
        cash -= trade * spot + cost
        note(holding=held, trade=trade, paid=trade * spot, cost=cost, after=cash)
        interest = cash * math.expm1(R * DT)
        cash += interest
        note(interest=interest, gain=held * (S[t + 1] - spot))
    payoff = max(S[-1] - K, 0)
    note(S=S[-1], price=payoff, before=cash, pnl=cash + held * S[-1] - payoff)
    return rows


LABELS = {
    "S": "S",
    "d1": "d1",
    "price of the call": "price",
    "delta, the new holding": "holding",
    "holding": "holding",
    "trade": "trade",
    "paid for it": "paid",
    "cost": "cost",
    "cash before": "before",
    "cash after the trade": "after",
    "interest to the next date": "interest",
    "gain of the shares to the next date": "gain",
}


@pytest.mark.parametrize(("table", "width"), [("delta", 0.0), ("band", 0.1)])
def test_the_tutorials_tables_are_right_and_the_ledgers(table: str, width: float) -> None:
    expected = by_hand(width)
    page = text_of("docs/tutorial.md").partition(f"<!-- by hand: {table} -->\n\n")[2]
    lines = page.partition("\n\n")[0].splitlines()[2:]
    assert len(lines) == {"delta": 11, "band": 3}[table]
    for line in lines:
        label, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        shown = [float(cell) for cell in cells if cell]
        computed = [round(number, 4) for number in expected[LABELS[label]]]
        assert shown == computed, label
    assert re.search(rf"(=|is) .*= {expected['pnl'][0]:.4f}", page.replace("\n", " "))

    problem = tutorial_scenario()
    episodes = simulate(problem, 1, torch.Generator().manual_seed(0))
    hedger = BandHedge(width=width) if width else DeltaHedge()
    outcome = rollout(problem, episodes, hedger, record=True)
    assert outcome.lines is not None and outcome.holding is not None
    computed = {
        "holding": outcome.holding[:, 0, 0],
        "cost": outcome.lines["cost"][:, 0],
        "interest": outcome.lines["interest"][:, 0],
        "gain": outcome.lines["gains"][:, 0],
        "pnl": outcome.pnl,
        "price": -episodes.mark[:-1, 0].numpy(),
    }
    for name, values in computed.items():
        assert values.tolist() == pytest.approx(expected[name][: len(values)], abs=1e-9), name


def tutorial_scenario() -> Scenario:
    calendar = {"calendar": "{kind: uniform, days: 109.5, steps: 3}"}
    scenario = load_scenario("short-call", calendar)
    market = Replay(paths=[[spot] for spot in S], rate=R, period=DT)
    return scenario.model_copy(update={"market": market})
