"""The tables of the pages on presets and results, from the catalogue and the committed files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from deephedge.envs import Scenario, load_scenario, preset_names

DOCS = Path(__file__).resolve().parent


def presets() -> str:
    """Every preset with its description, its page and its parts."""
    lines = [
        "| preset | what it is | market | position | hedged with | dates | objective |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in preset_names():
        page = DOCS / "strategies" / f"{name}.md"
        shown = f"[`{name}`](strategies/{name}.md)" if page.exists() else f"`{name}`"
        lines.append(f"| {shown} | {' | '.join(parts(load_scenario(name)))} |")
    return "\n".join(lines)


def parts(scenario: Scenario) -> list[str]:
    """What a scenario is made of, a cell each."""
    data: dict[str, Any] = json.loads(scenario.model_dump_json())
    claims = [leg["claim"]["kind"] for leg in data["position"]["legs"]]
    flow = ["client flow"] if data["position"]["flow"] else []
    traded = [hedge["instrument"]["kind"] for hedge in data["hedges"]]
    return [
        scenario.description,
        f"`{data['market']['kind']}`",
        counted([*claims, *flow]),
        counted(traded),
        str(len(scenario.calendar.decisions)),
        scenario.objective.label,
    ]


def counted(names: list[str]) -> str:
    """Each name once, with how often it stands there."""
    often = {name: names.count(name) for name in names}
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in often.items())


# A table's title in bold, with the objective: a heading on a page that holds nothing else.
TITLE = re.compile(r"^\*\*(.+?)\*\* \((.+?)\), (?=`)", re.MULTILINE)


def published(tables: str) -> str:
    """The README's tables, and every committed result with the command that made it."""
    headed = TITLE.sub(r"## \1\n\nJudged by \2: ", tables)
    lines = [
        headed.replace("](docs/", "]("),
        "## Every committed result",
        "",
        "| file | made by |",
        "|---|---|",
    ]
    for path in sorted((DOCS / "results").glob("*.json")):
        command = json.loads(path.read_text(encoding="utf-8")).get("command")
        if command is None:
            command = f"deephedge reproduce {path.stem.removeprefix('reproduce-')}"
        lines.append(f"| `{path.name}` | `{command}` |")
    return "\n".join(lines)
