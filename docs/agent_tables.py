"""The tables of docs/agents.md, from committed results."""

from __future__ import annotations

import statistics
from typing import Any

from scipy.stats import t

Document = dict[str, Any]
PREMIUM_SHARE = 0.01  # how much worse than delta counts as level, where costs are next to nothing


def agent_gaps(document: Document) -> str:
    """The gap every agent closes on every problem: mean over seeds, interval, every seed."""
    runs = document["runs"]
    problems = list(dict.fromkeys(run["problem"] for run in runs))
    agents = list(dict.fromkeys(run["agent"] for run in runs))
    lines = [
        f"Measured by `{document['command']}`: the share of the gap from delta to the optimum that "
        f"is closed on {document['paths']:,} paths, the mean over seeds with its 95 % t interval, "
        "and every seed.",
        "",
    ]
    for problem in problems:
        chosen = [run for run in runs if run["problem"] == problem]
        rule = chosen[0]["rule"]
        known = rule["gap_closed"] is not None
        beside = f" `{rule['name']}`, a rule, closes {rule['gap_closed']:.1%}." if known else ""
        first = chosen[0]
        lines += [
            f"**{problem}**: delta {first['delta']:.4f}, optimum {first['optimum']:.4f}.{beside}",
            "",
            f"| agent | {'gap closed' if known else 'risk less delta'} | 95 % | seeds | worst "
            "less delta | CPU s |",
            "|---|---|---|---|---|---|",
        ]
        for agent in agents:
            mine = [run for run in chosen if run["agent"] == agent]
            if mine:
                lines.append(_row(agent, mine, known))
        lines.append("")
    return "\n".join(lines).removesuffix("\n")


def _row(agent: str, runs: list[Document], known: bool) -> str:
    less = [run["versus_delta"]["difference"] for run in runs]
    values = [run["gap_closed"] for run in runs] if known else less
    style = ".1%" if known else "+.4f"
    low, high = interval(values)
    seeds = " ".join(format(value, style) for value in values)
    seconds = statistics.median(run["cpu_seconds"] for run in runs)
    return (
        f"| {agent} | {statistics.mean(values):{style}} | [{low:{style}}, {high:{style}}] | "
        f"{seeds} | {max(less):+.4f} | {seconds:.0f} |"
    )


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % t interval of the mean over seeds."""
    mean, n = statistics.mean(values), len(values)
    if n < 2:
        return mean, mean
    half = float(t.ppf(0.975, n - 1)) * statistics.stdev(values) / n**0.5
    return mean - half, mean + half
