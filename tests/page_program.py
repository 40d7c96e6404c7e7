"""Runs the code of pages, each in a namespace and a folder of its own: see test_docs_code.py.

Called with a JSON file: of each page its name and its blocks, and whether all commands are run or
the quick ones alone. A program of its own, because pages register kinds.
"""

import contextlib
import json
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from deephedge.experiments.commands.command_line import app

QUICK = ("list", "show")  # commands that take no time
SHRUNK = {"steps": "31000", "paths": "1000", "trials": "1", "seeds": "1", "seconds": "2"}
IDLE = {  # what is refused without another option
    ("sweep", "paths"): "--final-seeds",
    ("transfer", "steps"): "--agent",
    ("transfer", "seeds"): "--agent",
    ("backtest", "steps"): "--agent",
}


def main() -> int:
    """Run all pages; how many failed."""
    (document,) = sys.argv[1:]
    asked = json.loads(Path(document).read_text(encoding="utf-8"))
    failed = 0
    for page, blocks in asked["pages"].items():
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            try:
                for name, text in asked["files"].items():
                    Path(name).write_text(text, encoding="utf-8")
                for given in asked["given"].get(page, []):
                    run_command(given)
                run_page(page, blocks, asked["all_commands"])
            except BaseException:
                failed += 1
                sys.stderr.write(f"{page}:\n{traceback.format_exc()}\n")
    return failed


def run_page(page: str, blocks: list[dict[str, Any]], all_commands: bool) -> None:
    """Python in one namespace and commands, in the page's order."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks:
        if block["language"] == "python":
            lines = "\n" * block["line"] + block["code"]  # so that a traceback names the page's
            exec(compile(lines, page, "exec", dont_inherit=True), namespace)
            continue
        for line in block["code"].splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] != ["deephedge"] or "--resume" in words:  # which needs a killed run
                continue
            if all_commands or words[1] in QUICK:
                run_command(line)


def run_command(line: str) -> None:
    """One command, as it stands but for its budget, in this process."""
    words = shlex.split(line, comments=True)[1:]
    target = None
    if ">" in words:
        words, target = words[: words.index(">")], words[words.index(">") + 1]
    root: Any = typer.main.get_command(app)
    has = {parameter.name for parameter in root.commands[words[0]].params}
    for option, value in SHRUNK.items():
        if option in has and IDLE.get((words[0], option), words[0]) in words:
            words += [f"--{option}", value]
    with into(target):
        root.main(words, prog_name="deephedge", standalone_mode=False)


@contextlib.contextmanager
def into(target: str | None) -> Iterator[None]:
    """Standard output into a file, or nowhere."""
    with open(target or "said.txt", "w") as file, contextlib.redirect_stdout(file):
        yield


if __name__ == "__main__":
    sys.exit(main())
