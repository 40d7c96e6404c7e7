"""The command line: the only place that prints."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from ...agents import agent_settings
from ...envs import dump_scenario
from ...envs.presets import read_yaml
from ..catalogue import whole_catalogue
from ..compare import judge
from ..evaluation import Report as Evaluating
from ..evaluation import evaluate
from ..hedgers import chosen_hedgers
from ..reports.report import write_report
from ..runs import (
    UnfinishedRun,
    command,
    folder_name,
    free_folder,
    refuse_existing,
    resume_run,
    train_run,
    unfinished_run,
)
from ..whole_files import write_json
from .advise import advise_
from .backtest import backtest_
from .bench import bench_
from .compare import compare_
from .explain import explain_
from .export import export_
from .frontier import frontier_
from .options import (
    AsJson,
    Hedgers,
    Paths,
    Plugin,
    ScenarioName,
    Seed,
    Settings,
    Steps,
    given,
    kept,
    named_scenario,
    say_evaluations,
    say_json,
)
from .report import report_
from .reproduce import reproduce_
from .stress import stress_
from .sweep import sweep_
from .terminal import catalogue, drop_output, loud, progress_bar, say
from .trade_offs import trade_offs_
from .training_options import Base, Imitate, Vary, WorstOf, setting_changes
from .transfer import transfer_

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hedge options under costs and jumps, beside the classical hedges.",
)


app.command("backtest")(backtest_)
app.command("compare")(compare_)
app.command("explain")(explain_)
app.command("stress")(stress_)
app.command("sweep")(sweep_)
app.command("trade-offs")(trade_offs_)
app.command("advise")(advise_)
app.command("export")(export_)
app.command("frontier")(frontier_)
app.command("report")(report_)
app.command("reproduce")(reproduce_)
app.command("transfer")(transfer_)
app.command("bench")(bench_)


def _say_version(asked: bool) -> None:
    if asked:
        say(f"deephedge {metadata.version('deephedge')}")
        raise typer.Exit


@app.callback()
def _before_every_command(
    plugin: Plugin = None,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and stop."),
    ] = False,
) -> None:
    pass


@app.command("list")
def list_(
    family: Annotated[
        str | None, typer.Argument(metavar="[FAMILY]", help="scenarios, hedgers, agents, ...")
    ] = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """What there is: scenarios, hedgers, agents, features, and the kinds of every part."""
    found = whole_catalogue()
    if family is not None and family not in found:
        raise ValueError(f"unknown list {family!r}: choose one of {', '.join(found)}")
    if as_json:
        say_json(found if family is None else found[family])
    elif family is not None:
        say(catalogue(found[family]))
    else:
        say("\n\n".join(f"{name}:\n{catalogue(entries)}" for name, entries in found.items()))


@app.command()
def show(
    scenario: ScenarioName,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """The whole scenario as YAML, which can be edited and passed back as a file."""
    text = dump_scenario(named_scenario(scenario, sets))
    if as_json:
        say_json(read_yaml(text, scenario))
    else:
        say(text.rstrip())


@app.command()
def train(
    context: typer.Context,
    scenario: Annotated[
        str | None, typer.Argument(metavar="SCENARIO", help="A preset or a YAML file.")
    ] = None,
    agent: Annotated[
        str, typer.Option(help="The algorithm (see `list agents`), or a YAML file of settings.")
    ] = "ppo",
    seed: Seed = 0,
    steps: Steps = None,
    out: Annotated[Path | None, typer.Option(help="The run directory, a new one.")] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Continue a run that was killed or interrupted, to the same policy."
        ),
    ] = None,
    paths: Paths = 100_000,
    vary: Vary = None,
    worst_of: WorstOf = None,
    base: Base = None,
    imitate: Imitate = None,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Train an agent, save the run, evaluate it beside the baselines."""
    if resume is not None:
        run = _to_resume(resume, scenario, context)
        folder, problem, settings, seed = run.folder, run.scenario, run.settings, run.seed
        training = partial(resume_run, run)
    elif scenario is None:
        raise ValueError("Missing argument 'SCENARIO': give one, or --resume RUN")
    else:
        problem = named_scenario(scenario, sets)
        settings = agent_settings(agent, **setting_changes(steps, vary, worst_of, base, imitate))
        name = f"{folder_name(problem.name)}-{folder_name(Path(agent).stem)}-{seed}"
        folder = out or free_folder(Path("runs") / name)
        refuse_existing(folder)  # what is kept below is then of this work
        training = partial(train_run, folder, problem, settings, seed)
    with kept(folder):
        title = f"{problem.name}: {settings.algorithm}"
        with progress_bar(title, settings.steps, "steps") as telling:
            trained = training(progress=telling)
        with _evaluation_bar(problem.name, paths) as counting:
            section = judge(problem, [trained], paths=paths, seed=seed, progress=counting)
        write_json(folder / "evaluation.json", section.evaluation.document())
        write_report(folder / "report.html", problem.name, [section], command())
    say_evaluations([section.evaluation], as_json)
    loud(f"report: {folder}/report.html")


def _to_resume(folder: Path, scenario: str | None, context: typer.Context) -> UnfinishedRun:
    """The run to continue; what its config.yaml fixes cannot be given again."""
    fixed = ("agent", "seed", "steps", "out", "vary", "worst_of", "base", "imitate", "sets")
    if found := given(context, *fixed):
        raise ValueError(
            f"{' and '.join(found)} beside --resume {folder}: the run's config.yaml has it; leave "
            "it out, or train another run"
        )
    run = unfinished_run(folder)
    if scenario is not None and named_scenario(scenario, None).name != run.scenario.name:
        raise ValueError(
            f"{scenario} beside --resume {folder}, which is a run on {run.scenario.name}: leave it "
            "out"
        )
    return run


@app.command("evaluate")
def evaluate_(
    scenario: ScenarioName,
    hedger: Hedgers = None,
    paths: Paths = 100_000,
    seed: Seed = 0,
    sets: Settings = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate hedgers on the same fresh paths, with none, delta and the optimum if known."""
    problem = named_scenario(scenario, sets)
    with _evaluation_bar(problem.name, paths) as counting:
        hedgers = chosen_hedgers(hedger, problem, seed)
        evaluation = evaluate(problem, hedgers, paths, seed, counting)
    say_evaluations([evaluation], as_json)


def main() -> NoReturn:
    """Run a command; exit 0, 1 when the work failed, 2 with one line for bad input."""
    try:
        root = typer.main.get_command(app)
        # Not app(): it answers Ctrl-C, usage errors and closed pipes in ways of its own.
        with root.make_context("deephedge", sys.argv[1:] or ["--help"]) as context:
            root.invoke(context)
        sys.stdout.flush()
        sys.exit(0)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except KeyboardInterrupt:
        loud("interrupted")
    except BrokenPipeError:
        drop_output()
    except (ValueError, ImportError) as error:
        loud(f"error: {_one_line(error)}")
        sys.exit(2)
    except OSError as error:
        loud(f"error: {_one_line(error)}")
    except Exception as error:
        usage = getattr(error, "format_message", None)  # of the command line itself
        if usage is not None:
            loud(f"error: {_one_line(usage())}")
            sys.exit(2)
        loud(f"error: the work failed: {type(error).__name__}: {_one_line(error)}")
    sys.exit(1)


def _one_line(message: object) -> str:
    return " ".join(str(message).split())


@contextmanager
def _evaluation_bar(title: str, paths: int) -> Iterator[Evaluating]:
    with progress_bar(f"{title}: evaluating", paths, "paths") as bar:
        yield lambda done, total: bar(done, math.nan)
