"""What the commands of the command line share: their options, scenarios by name, JSON."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ...envs import Scenario, load_scenario
from .terminal import say


def _import_plugins(files: list[Path] | None) -> list[Path] | None:
    """Run Python files, which registers the kinds they define."""
    for file in files or []:
        spec = importlib.util.spec_from_file_location(f"deephedge_plugin_{file.stem}", file)
        if not file.is_file() or spec is None or spec.loader is None:
            raise ValueError(f"--plugin {file}: give a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ValueError(f"--plugin {file}: {type(error).__name__}: {error}") from error
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
