"""The tables of the pages on studies, from committed results."""

from __future__ import annotations

import math
from typing import Any

from deephedge.experiments.differences import overall
from deephedge.experiments.transfer_tables import markdown

Document = dict[str, Any]
BUCKETS = 5  # of differences, the largest first
# The problem of the rebalancing study: short-call with eight dates a day.
DATES, RATE, SPOT, SIGMA, AVERSION, YEARS = 8, 0.002, 100.0, 0.2, 0.1, 30 / 365
SMALL = 0.0005  # the largest rate of the slopes at small costs


def transfer(document: Document) -> str:
    """The matrix of every contender."""
    return f"Measured by `{document['command']}`.\n\n{markdown(document['transfer'])}"


def rebalancing(document: Document) -> str:
    """The best interval and band at every cost, beside the laws for small ones."""
    found = document["frontier"]
    curves = {curve["name"]: curve["points"] for curve in found["curves"]}
    lines = [
        f"Measured by `{document['command']}` on {found['paths']:,} paths: {found['objective']}, "
        f"money; {DATES} decision dates a day. The law is the formula above, of small costs.",
        "",
        "| cost | best interval, days | its law | risk | best band | risk | the optimum |",
        "|---|---|---|---|---|---|---|",
    ]
    columns = zip(curves["delta:every"], curves["band:width"], curves["optimal"], strict=True)
    for every, band, best in columns:
        rate = every["value"] * RATE
        lines.append(
            f"| {1e4 * rate:g} bp | {every['chosen'] / DATES:.2f} | {interval_law(rate):.2f} "
            f"| {_risk(every)} | {band['chosen']:g} | {_risk(band)} | {_risk(best)} |"
        )
    by_curve = [
        f"`{name}` goes as cost^{slope(curves[name], 0, math.inf):.2f} over all and as "
        f"cost^{slope(curves[name], 0, SMALL / RATE):.2f} up to {1e4 * SMALL:g} bp"
        for name in ("delta:every", "band:width")
    ]
    return "\n".join([*lines, "", f"{'; '.join(by_curve)} (laws: 2/3 and 1/3)."])


def interval_law(rate: float) -> float:
    """Days between two hedges of a call at the money at a small cost (tests: test_frontier.py)."""
    vega = SPOT * math.sqrt(YEARS / (2 * math.pi))
    power = 4 * rate * math.sqrt(2 / math.pi) * YEARS / (math.pi * AVERSION * vega * SIGMA**2)
    return 365 * float(power ** (2 / 3))


def slope(points: list[Document], least: float, most: float) -> float:
    """The log-log slope of what was chosen, by least squares."""
    inside = [p for p in points if least <= p["value"] <= most]
    x, y = ([math.log(p[key]) for p in inside] for key in ("value", "chosen"))
    centre = sum(x) / len(x)
    above = sum((a - centre) * b for a, b in zip(x, y, strict=True))
    return above / sum((a - centre) ** 2 for a in x)


def explained(rule: Document, run: Document) -> str:
    """Where a rule's P&L comes from, and where a policy's holdings differ."""
    found = rule["explanation"]
    lines = [
        f"`{rule['command']}`, seed {found['seed']}, {found['paths']:,} paths, money over a path:",
        "",
        "| part | mean | 95 % | std |",
        "|---|---:|---:|---:|",
    ]
    for each in found["totals"]:
        mean, std = each["mean"], each["std"]["value"]
        if mean["value"] or std:
            name = "P&L" if each["part"] == "pnl" else each["part"].replace("_", " ")
            ends = f"{mean['low']:.4f} to {mean['high']:.4f}"
            lines.append(f"| {name} | {mean['value']:.4f} | {ends} | {std:.4f} |")
    of = found["effectiveness"]
    lines += [
        "",
        f"Hedge effectiveness {of['value']:.3f} ({of['low']:.3f} to {of['high']:.3f}).",
        "",
        f"`{run['command']}`, the policy of [transfer](transfer.md): where its holding h is "
        "furthest from the reference r, in units.",
    ]
    for name, buckets in run["explanation"]["differences"].items():
        lines += ["", f"**beside {name}**: {overall(buckets)}", "", *_buckets(buckets)]
    return "\n".join(lines)


def _buckets(buckets: list[Document]) -> list[str]:
    lines = [
        "| moneyness | time left | decisions | mean abs(h - r) | mean h - r | untraded | "
        "needless | missed | lean | inertia |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for each in buckets[:BUCKETS]:
        low, high = each["moneyness"]
        where = f"above {low}" if high is None else f"{low} to {high}"
        where = f"below {high}" if low is None else where
        times = "{:.0%} to {:.0%}".format(*each["time_left"])
        shares = " | ".join(f"{each[key]:.0%}" for key in ("untraded", "needless", "missed"))
        lines.append(
            f"| {where} | {times} | {each['share']:.1%} | {each['absolute']:.4f} | "
            f"{each['mean']:+.4f} | {shares} | {each['lean']:+.4f} | {each['inertia']:.2f} |"
        )
    return lines


def stressed(document: Document) -> str:
    """Every hedger's risk under every shock."""
    found = document["stress"]
    names = [each["name"] for each in found["shocks"][0]["hedgers"]]
    names.sort(key=["none", "delta", "band", "optimal"].index)
    lines = [
        f"`{document['command']}`, seed {found['seed']}, {found['paths']:,} paths, "
        f"{found['objective']}, money:",
        "",
        f"| shock | {' | '.join(names)} |",
        f"|---|{'---:|' * len(names)}",
    ]
    for shock in found["shocks"]:
        by_name = {each["name"]: each["risk"] for each in shock["hedgers"]}
        lines.append(f"| {shock['name']} | {' | '.join(_ends(by_name[n]) for n in names)} |")
    return "\n".join(lines)


def _ends(risk: Document) -> str:
    if risk["low"] is None:
        return f"{risk['value']:.2f}"
    return f"{risk['value']:.2f} [{risk['low']:.2f}, {risk['high']:.2f}]"


def _risk(point: Document) -> str:
    risk = point["risk"]
    return f"{risk['value']:.4f} [{risk['low']:.4f}, {risk['high']:.4f}]"
