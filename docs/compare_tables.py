"""The tables of a committed comparison: in short for the README, whole for docs/results.md."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
REFERENCES = ("delta", "static", "none")
RULES = 3  # the best ones, beside these


def in_short(evaluation: Document, command: str) -> list[str]:
    """The optimum, every agent over its seeds, the best rules, delta, static and no hedging."""
    agents = evaluation["across_seeds"]["agents"]
    policies = {name for agent in agents for name in agent["policies"]}
    alone = [h for h in evaluation["hedgers"] if h["name"] not in policies]
    rules = [h for h in alone if h["name"] not in (*REFERENCES, "optimal")]
    best = sorted(rules, key=lambda hedger: float(hedger["risk"]["value"]))[:RULES]
    shown = [h for h in alone if h["name"] in (*REFERENCES, "optimal")] + best
    rows = [(h["risk"]["value"], _rule(h)) for h in shown]
    rows += [(agent["risk"]["value"], _agent(agent)) for agent in agents]
    seeds = len(agents[0]["policies"])
    return [
        f"**{evaluation['scenario']}, {evaluation['paths']:,} paths** ({evaluation['objective']}), "
        f"`{command}`. {_standing(agents, best)} Of an agent the mean over {seeds} training seeds, "
        "with an interval for other seeds and other paths, and each seed.",
        "",
        "| hedger | risk | less delta, paired | 95 % | gap closed | each seed |",
        "|---|---|---|---|---|---|",
        *(row for _, row in sorted(rows)),
        "",
    ]


def one_seed(evaluation: Document) -> Document:
    """The evaluation with the first policy of every agent alone, called as the agent."""
    agents = evaluation["across_seeds"]["agents"]
    first = {agent["policies"][0]: agent["name"] for agent in agents}
    others = {name for agent in agents for name in agent["policies"][1:]}
    kept = [
        {**hedger, "name": first.get(hedger["name"], hedger["name"])}
        for hedger in evaluation["hedgers"]
        if hedger["name"] not in others
    ]
    return {**evaluation, "hedgers": kept}


def _rule(hedger: Document) -> str:
    versus = hedger["versus_delta"]
    less = " | " if versus is None else f"{versus['difference']:+.4f} | {_interval(versus)}"
    return f"| {hedger['name']} | {hedger['risk']['value']:.4f} | {less} | {_gap(hedger)} | |"


def _gap(hedger: Document) -> str:
    return "" if hedger["gap_closed"] is None else format(hedger["gap_closed"], ".1%")


def _agent(agent: Document) -> str:
    versus, gap = agent["versus_delta"], agent["gap_closed"]
    low, high = versus["both"] or versus["seeds"] or (None, None)
    cells = [
        f"**{agent['name']}**",
        f"{agent['risk']['value']:.4f}",
        f"{versus['value']:+.4f}",
        _interval({"low": low, "high": high}),
        "" if gap is None else format(gap["value"], ".1%"),
        "" if gap is None else ", ".join(format(each, ".1%") for each in gap["values"]),
    ]
    return f"| {' | '.join(cells)} |"


def _interval(figures: Document) -> str:
    if figures["low"] is None:
        return "none"
    return f"[{figures['low']:+.4f}, {figures['high']:+.4f}]"


def _standing(agents: list[Document], rules: list[Document]) -> str:
    """Whether any rule did better than the best agent's mean, in a sentence."""
    least = min(agent["risk"]["value"] for agent in agents)
    better = [rule["name"] for rule in rules if rule["risk"]["value"] < least]
    if not better:
        return "No rule had a lower risk than the best agent."
    return f"Learning loses: {' and '.join(better)} had a lower risk than the best agent."
