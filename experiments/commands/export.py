"""``deephedge export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...agents.export import FILES, export_policy
from ..runs import load_run, new_folder
from .terminal import say


def export_(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder, a new one.")],
    format_: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help=f"One of {', '.join(FILES)}. May be repeated; {next(iter(FILES))} by default.",
        ),
    ] = None,
) -> None:
    """Write a run's policy for use without deephedge: torch program, ONNX, CSV."""
    hedger = load_run(run)
    with new_folder(to) as folder:
        export_policy(hedger, folder, format_ or [next(iter(FILES))])
    say("\n".join(str(path) for path in sorted(to.iterdir())))
