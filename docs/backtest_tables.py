"""The tables of docs/backtest.md and the README's walk-forward, from committed results."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def headline(document: Document, standing: str = "", more: str = "") -> list[str]:
    """Every hedger over all months of the walk, lowest risk first.

    ``standing`` says how the learned ones stand, ``more`` ends the heading.
    """
    test = document["backtest"]
    evaluation, blocks, walk = test["all"], test["bootstrap"], test["walk_forward"]
    trained = " and ".join(f"{each['name']} ({each['steps']:,} steps)" for each in walk["agents"])
    made = "rules are tuned on it"
    if trained:
        made = f"rules are tuned and {trained} trained on it in simulation"
    kind = walk["folds"][0]["market"]["kind"]
    lines = [
        f"**{test['data']}, walk-forward, {test['months']} months, {test['first']} to "
        f"{test['last']}** ({evaluation['objective']}), `{document['command']}`. "
        f"{standing + ' ' if standing else ''}Every year a {kind} market is estimated on the "
        f"{walk['window_years']} years before, {made}, and the year's months are hedged. "
        f"Intervals resample months in blocks of {blocks['mean_block']} on average; p is that of "
        f"a risk not below delta's, adjusted for the {blocks['variants']} hedgers compared with "
        f"it.{more}",
        "",
        "| hedger | risk | 95 % | less delta | 95 %, paired | p | p, adjusted | mean | std | "
        "CVaR 95 | cost | trades |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for hedger in sorted(evaluation["hedgers"], key=lambda each: each["risk"]["value"]):
        own = blocks["hedgers"][hedger["name"]]
        versus = ["", "", "", ""]
        if own["difference"] is not None:
            versus = [
                f"{own['difference']:+.4f}",
                interval(own["difference_interval"]),
                probability(own["p_value"]),
                probability(own["adjusted"]),
            ]
        cells = [hedger["name"], f"{own['risk']:.4f}", interval(own["interval"]), *versus]
        cells += [f"{hedger[key]:.3f}" for key in ("mean", "std", "cvar_95", "cost")]
        lines.append(f"| {' | '.join([*cells, format(hedger['trades'], '.1f')])} |")
    return [*lines, ""]


def periods(test: Document) -> list[str]:
    """By crisis and by year: risk, and the worst month."""
    names = [
        each["name"]
        for each in sorted(test["all"]["hedgers"], key=lambda each: each["risk"]["value"])
    ]
    lines = [
        "### By crisis",
        "",
        "P&L of the worst month, in brackets the mean of those that share a day with the crisis: "
        "too few for an interval.",
        "",
        f"| crisis | months | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for each in test["by_crisis"]:
        cells = [
            f"{own['worst']:+.2f} ({own['mean']:+.2f})"
            for own in (each["hedgers"][name] for name in names)
        ]
        lines.append(f"| {each['name']} | {each['months']} | {' | '.join(cells)} |")
    lines += [
        "",
        "### By year",
        "",
        "Risk over the months that begin in the year; **bold**: the lowest. A star marks a year "
        "whose months touch a crisis.",
        "",
        f"| year | months | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for each in test["by_year"]:
        risks = [each["hedgers"][name]["risk"] for name in names]
        cells = [f"**{risk:.3f}**" if risk == min(risks) else f"{risk:.3f}" for risk in risks]
        star = " *" if each["crises"] else ""
        lines.append(f"| {each['name']}{star} | {each['months']} | {' | '.join(cells)} |")
    return [*lines, ""]


def estimates(test: Document) -> list[str]:
    """What every year knew."""
    keys = ("kappa", "theta", "vol_of_vol", "rho")
    lines = [
        "### What each year knew",
        "",
        "Estimates of the window that ends the day before, as vols where they are variances; "
        "trainings start anywhere between the two vols.",
        "",
        "| from | estimated on | months | kappa | vol | vol of vol | rho | trained between | "
        "tuned |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for fold in test["walk_forward"]["folds"]:
        kappa, theta, vol_of_vol, rho = (fold["market"][key] for key in keys)
        low, high = (end**0.5 for end in fold["vary"]["market.variance"])
        lines.append(
            f"| {fold['first']} | {' to '.join(fold['estimated_on'])} | {fold['months']} | "
            f"{kappa:.1f} | {theta**0.5:.3f} | {vol_of_vol:.2f} | {rho:+.2f} | {low:.3f} and "
            f"{high:.3f} | {', '.join(fold['tuned'].values())} |"
        )
    return [*lines, ""]


def interval(ends: list[float]) -> str:
    """Both ends."""
    return f"[{ends[0]:.4f}, {ends[1]:.4f}]"


def probability(p: float) -> str:
    """A p-value; one that the resamples cannot tell from 0 as such."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"
