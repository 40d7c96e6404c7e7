"""The tables of docs/strategies, from committed results."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]
LEARNED = ("deep-hedging", "ppo")


def strategy(document: Document, bases: Document) -> str:
    """Every hedger of a strategy, lowest risk first, and whether learning is behind.

    ``bases`` has what an agent comes to that is built on a rule, where that was measured.
    """
    evaluation = document["evaluation"]
    hedgers = sorted(evaluation["hedgers"], key=lambda hedger: hedger["risk"]["value"])
    effort = "; ".join(
        f"{each['name']} {each['steps']:,} steps, {each['cpu_seconds']} CPU s"
        for each in document["trainings"]
    )
    lines = [
        f"Measured by `{document['command']}` on {evaluation['paths']:,} fresh paths: "
        f"{evaluation['objective']}, money. Options of rules are tuned on paths of their own. "
        f"Trainings by default settings, one seed: {effort}.",
        "",
        "| hedger | risk | 95 % | less delta, paired | mean P&L | std | CVaR 95 | cost | trades |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_row, hedgers),
        "",
        *_standing(hedgers),
        *_based(evaluation["scenario"], bases),
    ]
    return "\n".join(lines)


def overview(documents: dict[str, Document]) -> str:
    """Every strategy in a line: the best rule and the policies trained on the preset itself."""
    lines = [
        "| strategy | objective | best rule, tuned | its risk | deep-hedging | ppo |",
        "|---|---|---|---|---|---|",
    ]
    held = dict.fromkeys(LEARNED, 0)
    for name, document in documents.items():
        evaluation = document["evaluation"]
        by_name = {hedger["name"]: hedger["risk"]["value"] for hedger in evaluation["hedgers"]}
        best = _best_rule(evaluation["hedgers"])
        cells = []
        for learned in LEARNED:
            least = by_name[learned] <= best["risk"]["value"]
            held[learned] += least
            cells.append(f"**{by_name[learned]:.4g}**" if least else f"{by_name[learned]:.4g}")
        lines.append(
            f"| `{name}` | {evaluation['objective']} | `{best['name']}` | "
            f"{best['risk']['value']:.4g} | {' | '.join(cells)} |"
        )
    counts = ", ".join(f"{name} on {held[name]}" for name in LEARNED)
    lines += [
        "",
        f"At least as good as the best tuned rule, in bold, of {len(documents)}: {counts} (point "
        "estimates, on the paths of the pages, where the intervals are). Default "
        "settings, one seed; each page says why where learning is "
        "behind.",
    ]
    return "\n".join(lines)


def _best_rule(hedgers: list[Document]) -> Document:
    rules = [h for h in hedgers if not h["name"].startswith((*LEARNED, "optimal"))]
    return min(rules, key=lambda hedger: float(hedger["risk"]["value"]))


def _row(hedger: Document) -> str:
    versus = hedger["versus_delta"]
    less = "" if versus is None else f"{versus['difference']:+.4g} {_interval(versus, '+')}"
    risk = f"{hedger['risk']['value']:.4g} | {_interval(hedger['risk'])}"
    rest = [f"{hedger[name]:.4g}" for name in ("mean", "std", "cvar_95", "cost")]
    return f"| {' | '.join([hedger['name'], risk, less, *rest])} | {hedger['trades']:.1f} |"


def _interval(figures: Document, sign: str = "") -> str:
    if figures["low"] is None:
        return "none"
    return f"[{figures['low']:{sign}.4g}, {figures['high']:{sign}.4g}]"


def _based(name: str, bases: Document) -> list[str]:
    lines: list[str] = []
    for case in bases["cases"]:
        if case["strategy"] == name:
            risk = case["risk"]
            found = f"{risk['value']:.4g} {_interval(risk)}"
            lines += [
                "",
                f"With `--base {case['base']}` the risk of `{case['agent']}` is {found} "
                f"(`{bases['command']}`, the same paths).",
            ]
    return lines


def _standing(hedgers: list[Document]) -> list[str]:
    """A line for each policy: at least as good as the best rule, or behind it."""
    best = _best_rule(hedgers)
    lines = []
    for hedger in hedgers:
        if hedger["name"].startswith(LEARNED):
            gap = hedger["risk"]["value"] - best["risk"]["value"]
            word = "behind" if gap > 0 else "below"
            lines.append(
                f"`{hedger['name']}` is {abs(gap):.4g} {word} the best rule, `{best['name']}`."
            )
    return [" ".join(lines)]
