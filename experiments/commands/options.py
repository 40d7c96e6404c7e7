"""What the commands of the command line share: their options, scenarios by name, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ...envs import Scenario, load_scenario
from ..evaluation import Evaluation
from ..executor import Executor, executor_of
from ..plugins import load_plugin
from ..runs import how_to_resume, unfinished_runs
from .terminal import evaluation_table, loud, say


def _import_plugins(files: list[Path] | None) -> list[Path] | None:
    """Run Python files, which registers the kinds they define."""
    for file in files or []:
        load_plugin(file)
    return files


ScenarioName = Annotated[str, typer.Argument(metavar="SCENARIO", help="A preset or a YAML file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, such as market.sigma=0.3."),
]
Seed = Annotated[int, typer.Option(min=0, help="All random numbers follow from it.")]
Paths = Annotated[int, typer.Option(min=2, help="Evaluation paths.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Hedgers = Annotated[
    list[str] | None,
    typer.Option(
        "--hedger",
        metavar="NAME",
        help="A baseline, such as delta:every=5 or band:width=best, or a run directory. May be "
        "repeated; all baselines that fit where none is given.",
    ),
]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Environment steps of a training; by default the agent's.")
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        callback=_import_plugins,
        help="A Python file with kinds of your own.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes at a time; 1 is none beside this one. By default as many as torch would "
        "have threads. The numbers are the same.",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray", metavar="ADDRESS", help="Work on a Ray cluster, or on Ray on this machine: local."
    ),
]


def chosen_executor(workers: int | None, ray: str | None) -> Executor:
    """The executor that ``--workers`` and ``--ray`` ask for.

    Raises:
        ValueError: for a number of workers beside a cluster's address.
        ImportError: Ray is not installed.
    """
    if ray is not None and ray != "local" and workers is not None:
        raise ValueError(
            f"--workers {workers} beside --ray {ray}: a cluster has a number of its own"
        )
    count = torch.get_num_threads() if workers is None else workers
    if ray is not None:
        return executor_of("ray", count, ray)
    return executor_of("serial" if count == 1 else "processes", count)


def given(context: typer.Context, *names: str) -> list[str]:
    """Those of a command's options that stand on the command line, as they are written there."""
    found = []
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if option.name in names and source is not None and source.name == "COMMANDLINE":
            found.append(option.opts[0])
    return found


def needs(context: typer.Context, needed: str, mend: str, *names: str) -> None:
    """Refuse options that do nothing without another one, ``needed``, which is not there.

    Raises:
        ValueError: naming those that are given.
    """
    if found := given(context, *names):
        raise ValueError(f"{' and '.join(found)} without {needed}: {mend}")


def named_scenario(name: str, sets: Sequence[str] | None) -> Scenario:
    """A preset or a YAML file with the overrides of ``--set``.

    Raises:
        ValueError: in one line, for an unknown name or key, or an impossible value.
    """
    overrides = {}
    for item in sets or []:
        key, equals, value = item.partition("=")
        if not (key and equals):
            raise ValueError(f"--set {item!r}: give key.path=value")
        overrides[key] = value
    return load_scenario(name, overrides)


def say_json(document: Any) -> None:
    """One JSON document on stdout."""
    say(json.dumps(document, indent=1, allow_nan=False))


def say_evaluations(evaluations: Sequence[Evaluation], as_json: bool) -> None:
    """Tables on stdout, or one JSON document."""
    if as_json:
        documents = [each.document() for each in evaluations]
        say_json(documents[0] if len(documents) == 1 else documents)
        return
    for each in evaluations:
        title = f"{each.scenario.name}, {each.paths:,} paths, seed {each.seed}"
        say(evaluation_table(each, title))


@contextmanager
def kept(folder: Path, hint: str | None = None) -> Iterator[None]:
    """Say which new trainings there are when the work fails or is interrupted, and how to go on."""
    before = _finished(folder)
    try:
        yield
    except BaseException as error:
        finished = [run for run in _finished(folder) if run not in before]
        unfinished = [] if isinstance(error, ValueError) else unfinished_runs(folder)
        for run in finished:
            loud(f"kept: {run}, a finished training")
        for run in unfinished:
            how = "" if hint else f"; {how_to_resume(run)}"
            loud(f"kept: {run}, an unfinished training{how}")
        if hint and (finished or unfinished):
            loud(hint)
        raise


def _finished(folder: Path) -> list[Path]:
    return [spec.parents[1] for spec in sorted(folder.glob("**/policy/spec.json"))]
