"""What a terminal shows: tables that fit, streams that are kept apart, bars where they are seen."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from deephedge.baselines import BandHedge, DeltaHedge, StaticHedge
from deephedge.envs import Scenario
from deephedge.experiments.commands.terminal import (
    catalogue,
    evaluation_table,
    loud,
    progress_bar,
    say,
    terminal_width,
)
from deephedge.experiments.evaluation import Evaluation, evaluate
from deephedge.experiments.statistics import Estimate

Brief = Callable[..., Scenario]


@pytest.fixture(scope="module")
def evaluated(brief: Brief) -> Evaluation:
    hedgers = [StaticHedge(), DeltaHedge(every=5), BandHedge()]
    return evaluate(brief(), hedgers, paths=2000)


def rows(table: str) -> list[list[str]]:
    """The cells below the rule, split where two spaces stand."""
    lines = table.split("\n\n")[1].splitlines()
    assert set(lines[1]) == {"-"}
    return [line.replace("  ", "\t").split("\t") for line in lines[2:]]


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (60, ["risk", "95 %", "less delta", "95 %"]),
        (85, ["risk", "95 %", "less delta", "95 %", "gap"]),
        (
            150,
            [
                *("risk", "95 %", "less delta", "95 %", "gap"),
                *("cost", "std", "CVaR 95", "mean", "trades"),
            ],
        ),
    ],
)
def test_a_table_shows_what_fits(width: int, shown: list[str], evaluated: Evaluation) -> None:
    table = evaluation_table(evaluated, "short-call, 2,000 paths", width)
    lines = table.splitlines()
    assert max(map(len, lines)) <= max(width, 75)  # 75 is the least that is shown
    assert lines[0] == "short-call, 2,000 paths"
    head = [cell for cell in lines[2].split("  ") if cell]
    assert [cell.strip() for cell in head] == ["hedger", *shown]
    assert len(set(map(len, lines[3:4]))) == 1
    assert all(line == line.rstrip() for line in lines)


def test_the_best_stands_first_and_numbers_are_the_result_s(evaluated: Evaluation) -> None:
    table = evaluation_table(evaluated, "title", 150)
    ordered = sorted(evaluated.hedgers, key=lambda each: each.risk.value)
    assert [row[0] for row in rows(table)] == [each.name for each in ordered]
    for row, each in zip(rows(table), ordered, strict=True):
        cells = [cell.strip() for cell in row[1:] if cell.strip()]
        risk, versus = each.risk, each.versus_delta
        expected = [f"{risk.value:.4f}", f"{risk.low:.4f} to {risk.high:.4f}"]
        if versus is not None:
            expected += [f"{versus.value:+.4f}", f"{versus.low:+.4f} to {versus.high:+.4f}"]
        assert each.gap_closed is not None
        expected.append(f"{100 * each.gap_closed.value:.1f} %")
        expected += [f"{x.value:.4f}" for x in (each.cost, each.std, each.cvar_95, each.mean)]
        assert cells == [*expected, f"{each.trades.value:.1f}"]


def test_columns_stand_under_their_headings(evaluated: Evaluation) -> None:
    lines = evaluation_table(evaluated, "title", 150).splitlines()
    end = lines[2].index("cost") + len("cost")
    assert all(line[:end].split()[-1][-5] == "." for line in lines[4:9])
    assert all(line[end : end + 2] == "  " for line in lines[2:3] + lines[4:9])


def test_a_floor_has_columns_of_its_own(evaluated: Evaluation) -> None:
    assert "shortfall" not in evaluation_table(evaluated, "t", 150)
    half, two = Estimate(0.5, 0.4, 0.6), Estimate(2.0, 1.0, 3.0)
    floored = [replace(each, below_floor=half, shortfall=two) for each in evaluated.hedgers]
    table = evaluation_table(replace(evaluated, hedgers=tuple(floored)), "t", 250)
    for row in rows(table):
        assert {"50.00 %", "2.0000"} <= {cell.strip() for cell in row}
    assert "below: how often it loses more than the threshold; shortfall: by how much." in table


def test_a_missing_interval_says_why(evaluated: Evaluation) -> None:
    warned = replace(
        evaluated.hedgers[0], risk=Estimate(1.0, None, None, "one path carries 13 % of it")
    )
    table = evaluation_table(replace(evaluated, hedgers=(warned, *evaluated.hedgers[1:])), "t", 80)
    assert "none: one path carries 13 % of it." in table.splitlines()
    (row,) = [row for row in rows(table) if row[0] == "none"]
    assert "none" in [cell.strip() for cell in row[1:]]


@pytest.mark.parametrize(("size", "digits"), [(50.0, 4), (5e3, 2), (5e6, 0)])
def test_large_money_has_fewer_decimals(size: float, digits: int, evaluated: Evaluation) -> None:
    large = replace(evaluated.hedgers[0], risk=Estimate(size, size, size))
    table = evaluation_table(replace(evaluated, hedgers=(large,)), "t", 150)
    assert f" {size:.{digits}f}  " in table


def test_meanings_have_a_column_of_their_own() -> None:
    text = catalogue({"a": "x " * 40 + "end", "longer": "short", "bare": ""}, width=60)
    lines = text.splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert lines[0].startswith("  a       x x")
    assert lines[1].startswith("          x") and lines[1].endswith("end")
    assert lines[2:] == ["  longer  short", "  bare"]
    assert catalogue({}) == ""


def test_the_width_is_the_terminal_s_or_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "97")
    assert terminal_width() == 97
    monkeypatch.setenv("COLUMNS", "20")
    assert terminal_width() == 60
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())  # no terminal
    assert terminal_width() == 150


def test_streams(capsys: pytest.CaptureFixture[str]) -> None:
    say("a result")
    loud("a message")
    assert capsys.readouterr() == ("a result\n", "a message\n")


class Screen(io.StringIO):
    """A stderr that says it is a terminal, or that it is none."""

    def __init__(self, seen: bool) -> None:
        super().__init__()
        self.seen = seen

    def isatty(self) -> bool:
        return self.seen


def drawn(monkeypatch: pytest.MonkeyPatch, seen: bool) -> str:
    screen = Screen(seen)
    monkeypatch.setattr(sys, "stderr", screen)
    told = [(500, float("nan")), (1000, 0.123456), (2600, 0.1)]  # the last rollout goes beyond
    with progress_bar("short-call: ppo", 2000, "steps") as tell:
        for done, risk in told:
            time.sleep(0.11)  # it is drawn ten times a second at most
            tell(done, risk)
    return screen.getvalue()


def test_a_bar_shows_the_latest_risk(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = drawn(monkeypatch, seen=True).split("\r")
    assert any("500/2.00k steps" in frame and "risk" not in frame for frame in frames)
    assert any("1.00k/2.00k steps" in frame and "risk 0.1235" in frame for frame in frames)
    assert any("100%" in frame and "2.00k/2.00k" in frame for frame in frames)
    assert frames[-1].strip() == ""  # it cleans up after itself


def test_no_bar_where_nobody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, seen=False) == ""
