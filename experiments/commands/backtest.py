"""``deephedge backtest``: hedging months of real prices."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from ...agents import agent_settings
from ...envs import Hedger, Scenario
from ..hedgers import named_hedgers, untuned_baselines
from ..history.backtest import Backtest, backtest
from ..history.periods import Period
from ..history.price_history import PriceHistory, from_file, sp500
from ..history.walk_forward import Training, Walk, walk_forward
from ..history.yearly_training import train_all
from ..text_tables import Cell, text_table
from ..whole_files import write_json
from .options import (
    AsJson,
    Hedgers,
    Plugin,
    RayAddress,
    Seed,
    Settings,
    Steps,
    Workers,
    chosen_executor,
    given,
    kept,
    named_scenario,
    needs,
    say_json,
)
from .terminal import evaluation_table, say, task_bar

WALKED = ("static", "delta", "band:width=best", "whalley-wilmott", "minimum-variance")

Data = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="CSV or Parquet with date, close and, if known, implied_vol; else the S&P 500.",
    ),
]
ScenarioOption = Annotated[
    str, typer.Option(metavar="SCENARIO", help="Position, costs, objective.")
]
Days = Annotated[int, typer.Option(min=2, help="Calendar days of a contract.")]
ThirdFridays = Annotated[
    bool,
    typer.Option("--third-fridays", help="Contracts from third Friday to third Friday instead."),
]
MaxGap = Annotated[int, typer.Option(min=1, help="Calendar days without a price.")]
WalkForward = Annotated[
    bool,
    typer.Option(
        "--walk-forward",
        help="Every year estimate the market on the past alone, tune rules and train agents on it "
        "in simulation, and hedge the year that follows.",
    ),
]
Agents = Annotated[
    list[str] | None,
    typer.Option(help="Trained every year of a --walk-forward. May be repeated."),
]
Window = Annotated[
    int, typer.Option(min=1, help="Years of past that a --walk-forward estimates on.")
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Keeps the trainings of a --walk-forward: a new folder, or one of the same, which "
        "goes on."
    ),
]


def backtest_(
    context: typer.Context,
    hedger: Hedgers = None,
    data: Data = None,
    scenario: ScenarioOption = "sp500-call",
    days: Days = 30,
    third_fridays: ThirdFridays = False,
    max_gap: MaxGap = 7,
    walk: WalkForward = False,
    agent: Agents = None,
    steps: Steps = None,
    window: Window = 3,
    out: Out = None,
    workers: Workers = None,
    ray: RayAddress = None,
    seed: Seed = 0,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Hedge a contract a month on real prices: the S&P 500 of the data extra, or your own."""
    problem = named_scenario(scenario, sets)
    _refuse_idle_options(context, data, third_fridays, walk, agent)
    length = None if third_fridays else days
    history = partial(_history, data, max_gap)
    if not walk:
        hedgers = named_hedgers(hedger, problem, seed) if hedger else untuned_baselines(problem)
        _say(backtest(problem, hedgers, history(), length, seed), problem, as_json)
        return
    executor = chosen_executor(workers, ray)
    rules = tuple(hedger) if hedger else _fitting(problem)
    changes = {} if steps is None else {"steps": steps}
    agents = tuple(agent_settings(name, **changes) for name in agent or [])
    plan = Walk(rules, agents, window, length, seed)
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(TemporaryDirectory())) / "trainings"
        if out is not None:
            stack.enter_context(kept(out, f"go on: the same command with --out {out}"))

        def trained(trainings: Sequence[Training]) -> list[Hedger]:
            with task_bar("walk-forward", len(trainings) or None) as watch:
                return train_all(trainings, folder, executor, watch)

        result = walk_forward(problem, history(), plan, trained)
        if out is not None:
            write_json(out / "backtest.json", result.document())
    _say(result, problem, as_json)


def _history(data: Path | None, max_gap: int) -> PriceHistory:
    return sp500() if data is None else from_file(data, max_gap)


def _refuse_idle_options(
    context: typer.Context,
    data: Path | None,
    third_fridays: bool,
    walk: bool,
    agents: list[str] | None,
) -> None:
    """What is asked for and would do nothing."""
    if third_fridays and given(context, "days"):
        raise ValueError("--days beside --third-fridays: give one of them")
    if data is None:
        needs(context, "--data", "the S&P 500 has no gap; leave it out", "max_gap")
    if not walk:
        mend = "add it, or train a run and name its directory as --hedger"
        walking = ("agent", "steps", "window", "out", "workers", "ray")
        needs(context, "--walk-forward", mend, *walking)
    if not agents:
        needs(context, "--agent", "nothing is trained", "steps")


def _fitting(problem: Scenario) -> tuple[str, ...]:
    """The rules shown where none is named, those that fit."""
    plain = {name: name.replace("=best", "=0.1") for name in WALKED}
    hedgers = named_hedgers(list(plain.values()), problem)
    refused = [getattr(each, "refusal")(problem) for each in hedgers]  # noqa: B009 - all are rules
    return tuple(name for name, reason in zip(plain, refused, strict=True) if reason is None)


def _say(result: Backtest, problem: Scenario, as_json: bool) -> None:
    if as_json:
        say_json(result.document())
        return
    first, last = result.starts[0], result.starts[-1]
    title = f"{result.history}: {len(result.starts)} months from {first} to {last}, {problem.name}"
    say(evaluation_table(result.all, title))
    for source, part in result.by_source.items():
        say(evaluation_table(part, f"{part.paths} months marked at: {source}"))
    say(_bootstrap_table(result))
    touched = [each.name for each in result.years if each.crises]
    title = f"risk by year; crises in {', '.join(touched)}" if touched else "risk by year"
    say(_period_table(title, result.years, "risk"))
    if result.crises:
        say(_period_table("P&L of the worst month of each crisis", result.crises, "worst"))


def _bootstrap_table(result: Backtest) -> str:
    """Block-bootstrap intervals and p-values."""
    found = result.bootstrap
    title = (
        f"months in blocks of {found.block} on average, {found.resamples} resamples; p: risk not "
        f"below delta's, alone and adjusted for {found.variants} hedgers"
    )
    rows: list[list[Cell]] = []
    for name, each in sorted(found.hedgers.items(), key=lambda item: item[1].risk):
        row: list[Cell] = [name, each.risk, _range(each.interval)]
        if each.difference is None:
            row += ["", "", "", ""]
        else:
            row += [each.difference, _range(each.difference_interval), each.p_value, each.adjusted]
        rows.append(row)
    heads = ["hedger", "risk", "95 %", "less delta", "95 %", "p", "p adjusted"]
    return f"{title}\n\n{text_table(heads, rows)}\n"


def _period_table(title: str, periods: Sequence[Period], figure: str) -> str:
    """A figure of every hedger in every period."""
    names = list(periods[0].hedgers)
    rows: list[list[Cell]] = [
        [each.name, each.months, *(each.hedgers[name][figure] for name in names)]
        for each in periods
    ]
    return f"{title}\n\n{text_table(['', 'months', *names], rows)}\n"


def _range(ends: tuple[float, float] | None) -> str:
    return "none" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"
