"""Draws the figures and writes the tables of README and docs: ``make figures``.

Every number that is published is in a file of ``docs/results``, which names the command that made
it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deephedge.experiments.reports.figures import cost_against_risk
from deephedge.experiments.reports.frontier_figure import frontier_figure
from deephedge.experiments.reports.svg import svg
from deephedge.experiments.reports.transfer_figure import transfer_figure

DOCS = Path(__file__).resolve().parent
README = DOCS.parent / "README.md"
START, END = "<!-- results -->", "<!-- /results -->"
CHECKS = ("<!-- checks -->", "<!-- /checks -->")
LEARNED = ("ppo", "deep-hedging")  # how the names of learned policies begin
MOST_ERROR = 30.0  # basis points; a sample that is less sure says nothing
# The markets of `market_checks` on each page of docs/markets.
CHECKED = {
    "jumps": ("gbm", "merton", "kou"),
    "stochastic-volatility": ("heston", "heston (Feller violated)", "bates", "sabr"),
    "rough-volatility": ("rough-bergomi",),
    "garch": ("garch", "garch (gjr)", "garch (student)", "garch (ngarch)"),
    "regimes": ("regime-switching", "regime-switching (drifts)"),
    "several-assets": ("correlated-gbm", "correlated-merton"),
    "deals": ("deal",),
    "default": ("defaultable",),
    "history": ("bootstrap",),
    "implied-volatility": ("stochastic-implied-vol",),
}


def load(name: str) -> dict[str, Any]:
    """A committed result."""
    document: dict[str, Any] = json.loads((DOCS / "results" / f"{name}.json").read_text())
    return document


def row(hedger: dict[str, Any]) -> str:
    """A hedger's line of a table."""
    risk, versus = hedger["risk"], hedger["versus_delta"]
    return (
        f"| {hedger['name']} | {risk['value']:.4f} | {interval(risk)} | "
        f"{'' if versus is None else format(versus['difference'], '+.4f')} | "
        f"{'' if versus is None else interval(versus)} | {hedger['std']:.3f} | "
        f"{hedger['cvar_95']:.3f} | {hedger['cost']:.3f} | {hedger['trades']:.1f} | "
        f"{'' if hedger['gap_closed'] is None else format(hedger['gap_closed'], '.1%')} |"
    )


def interval(figures: dict[str, Any]) -> str:
    """A 95 % interval, or that there is none."""
    if figures["low"] is None:
        return "none"
    return f"[{figures['low']:.4f}, {figures['high']:.4f}]"


def table(evaluation: dict[str, Any]) -> list[str]:
    """All hedgers, lowest risk first."""
    head = (
        "| hedger | risk | 95 % | less delta | 95 %, paired | std | CVaR 95 | cost | trades | "
        "gap closed |"
    )
    hedgers = sorted(evaluation["hedgers"], key=lambda hedger: hedger["risk"]["value"])
    return [head, "|---|---|---|---|---|---|---|---|---|---|", *map(row, hedgers)]


def section(title: str, evaluation: dict[str, Any], command: str) -> list[str]:
    """A table with its heading and the command that made it."""
    head = f"**{title}** ({evaluation['objective']}), `{command}`. {standing(evaluation)}"
    return [head, "", *table(evaluation), ""]


def standing(evaluation: dict[str, Any]) -> str:
    """Whether any rule did better than the learned policies, in a sentence."""
    risks = {hedger["name"]: hedger["risk"]["value"] for hedger in evaluation["hedgers"]}
    learned = [risk for name, risk in risks.items() if name.startswith(LEARNED)]
    rules = {n: risk for n, risk in risks.items() if not n.startswith((*LEARNED, "optimal"))}
    better = [name for name, risk in rules.items() if risk < min(learned)]
    if not better:
        return "No rule had a lower risk than the best learned policy."
    return f"Learning loses: {' and '.join(better)} had a lower risk than the best learned policy."


def results() -> str:
    """The README's results: agents over their seeds, real prices, every strategy in a line."""
    from compare_tables import in_short

    compared = load("compare")
    lines: list[str] = []
    for evaluation in compared["evaluations"]:
        lines += in_short(evaluation, compared["command"])
    lines += ["[Every rule and every seed](docs/results.md).", "", *_months(), *_strategies()]
    return "\n".join(lines)


def whole_results() -> str:
    """The same with every hedger in a row of its own."""
    compared = load("compare")
    lines: list[str] = []
    for evaluation in compared["evaluations"]:
        title = f"{evaluation['scenario']}, {evaluation['paths']:,} paths"
        lines += section(title, evaluation, compared["command"])
    return "\n".join([*lines, *_months(), *_strategies()])


def _months() -> list[str]:
    from backtest_tables import headline

    walk = load("walk-forward")
    more = " [By crisis and year](docs/backtest.md)."
    return headline(walk, standing(walk["backtest"]["all"]), more)


def _strategies() -> list[str]:
    from strategies import STRATEGIES
    from strategy_tables import overview

    return ["**Every strategy**", "", overview({n: load(f"strategy-{n}") for n in STRATEGIES}), ""]


def backtests() -> str:
    """Months of real prices: walked forward, and by a policy that was trained once."""
    from backtest_tables import estimates, headline, periods

    walk, once = load("walk-forward"), load("backtest")
    test = walk["backtest"]
    lines = ["## Walk-forward", "", *headline(walk, standing(test["all"]))]
    for source, part in test["by_source"].items():
        head = f"The {part['paths']} months marked at: {source}. {standing(part)}"
        lines += [head, "", *table(part), ""]
    lines += [*periods(test), *estimates(test), "## Other positions", ""]
    for position in ("put", "straddle"):
        lines += [f"### A short {position}, rules only", ""]
        lines += headline(load(f"walk-forward-{position}"))
    lines += ["## Trained once", ""]
    test = once["backtest"]
    title = f"{test['data']}, {test['months']} months, {test['first']} to {test['last']}"
    lines += section(title, test["all"], once["command"])
    return "\n".join(lines)


def checks(page: str) -> str:
    """What was measured of a page's markets, in standard errors from what is implied."""
    document = load("markets")
    steps = list(document["checks"][CHECKED[page][0]]["steps"])
    lines = [
        f"Measured by `{document['command']}` on {document['paths']:,} paths: how many standard "
        "errors the sample lies from what the model implies, by the number of steps.",
        "",
        f"| market | quantity | implied | {' | '.join(f'{n} steps' for n in steps)} |",
        f"|---|---|---|{'---|' * len(steps)}",
    ]
    for name in CHECKED[page]:
        columns = document["checks"][name]["steps"]
        by_step = [{row["of"]: row for row in columns[n]} for n in steps]
        plain = [of for of in by_step[0] if not of.startswith("call")]
        for of in plain:
            scores = " | ".join(f"{rows[of]['score']:+.1f}" for rows in by_step)
            lines.append(f"| {name} | {of} | {implied(of, by_step)} | {scores} |")
        calls = [of for of in by_step[0] if of.startswith("call")]
        if calls:
            worst = [max(abs(rows[of]["score"]) for of in calls) for rows in by_step]
            off = [
                max(abs(rows[of]["mean"] - rows[of]["expected"]) for of in calls)
                for rows in by_step
            ]
            cells = " | ".join(f"{w:.1f} ({o:.4f})" for w, o in zip(worst, off, strict=True))
            lines.append(f"| {name} | {len(calls)} calls: furthest (money) | | {cells} |")
    return "\n".join(lines)


def claim_checks(page: str) -> str:
    """The marks of a page's claims beside Monte Carlo."""
    document = load("claims")
    lines = [
        f"Measured by `{document['command']}`: the mark at time 0 of claims of a year on "
        f"{document['dates']} dates beside the mean of {document['paths']:,} payoffs.",
        "",
        "| claim | mark | simulated | standard error | off by |",
        "|---|---|---|---|---|",
    ]
    for name, row in document["checks"][page].items():
        off = row["mark"] - row["mean"]
        lines.append(
            f"| {name} | {row['mark']:.4f} | {row['mean']:.4f} | {row['error']:.4f} | "
            f"{off:+.4f} ({off / row['error']:+.1f} errors) |"
        )
    return "\n".join(lines)


def implied(of: str, by_step: list[dict[str, Any]]) -> str:
    """What the model implies of a quantity, if that is the same at every step size."""
    values = {f"{rows[of]['expected']:.6g}" for rows in by_step}
    return values.pop() if len(values) == 1 else "by step"


def hagan() -> str:
    """The error of Hagan's formula."""
    document = load("hagan")
    strikes = [row["strike"] for row in document["cases"][0]["strikes"]]
    lines = [
        f"Measured by `{document['command']}` on {document['paths']:,} paths of "
        f"{document['steps']} steps, forward 100, vol 0.2 at the money: the formula's implied vol "
        "less SABR's in basis points of vol, by strike (standard error of the simulation).",
        "",
        f"| beta | nu | rho | years | {' | '.join(f'{k:g}' for k in strikes)} |",
        f"|---|---|---|---|{'---|' * len(strikes)}",
    ]
    for case in document["cases"]:
        cells = " | ".join(hagan_cell(row) for row in case["strikes"])
        head = " | ".join(f"{case[key]:.3g}" for key in ("beta", "nu", "rho", "years"))
        lines.append(f"| {head} | {cells} |")
    return "\n".join(lines)


def hagan_cell(row: dict[str, float]) -> str:
    """An error, unless the sample cannot tell."""
    if not row["error"] < MOST_ERROR:  # NaN where no path paid
        return "too rare"
    return f"{row['hagan_less_vol']:+.1f} ({row['error']:.1f})"


def tables() -> dict[Path, str]:
    """The table of checks of every page that has one."""
    from agent_tables import (
        agent_gaps,
        conditioned,
        risk_critics,
        robust,
        sweeps,
        throughput,
    )
    from baseline_tables import cost_scaling, cost_sweep, optimum_checks
    from coverage_table import coverage_table
    from reproduction_tables import reproductions
    from site_tables import presets, published
    from strategy_tables import strategy
    from study_tables import explained, rebalancing, stressed, transfer

    found = {DOCS / "markets" / f"{page}.md": checks(page) for page in CHECKED}
    found |= {DOCS / "claims" / f"{p}.md": claim_checks(p) for p in load("claims")["checks"]}
    for path in sorted((DOCS / "strategies").glob("*.md")):
        if (DOCS / "results" / f"strategy-{path.stem}.json").exists():
            found[path] = strategy(load(f"strategy-{path.stem}"), load("strategy-bases"))
    found[DOCS / "pricing.md"] = hagan()
    found[DOCS / "baselines.md"] = cost_sweep(load("cost-sweep"))
    found[DOCS / "reproductions.md"] = reproductions()
    timed = DOCS.parent / "benchmarks" / "results" / "deep_hedging.json"
    found[DOCS / "agents.md"] = "\n".join(
        [
            *("## How near to the optimum", "", agent_gaps(load("agent-gaps")), ""),
            *("## One policy for every aversion", "", conditioned(load("conditioned")), ""),
            *("## Out of model", "", robust(load("robust")), ""),
            *("## Critics of the risk", "", risk_critics(load("risk-critics")), ""),
            *("## How fast", "", throughput(json.loads(timed.read_text(encoding="utf-8")))),
        ]
    )
    found[DOCS / "backtest.md"] = backtests()
    found[DOCS / "statistics.md"] = coverage_table(load("coverage"))
    found[DOCS / "sweep.md"] = sweeps(load("sweeps"))
    found[DOCS / "transfer.md"] = transfer(load("transfer"))
    found[DOCS / "frontier.md"] = rebalancing(load("rebalancing"))
    found[DOCS / "explain.md"] = explained(load("explain"), load("explain-run"))
    found[DOCS / "stress.md"] = stressed(load("stress"))
    scaling = cost_scaling(load("cost-scaling"))
    found[DOCS / "scenarios.md"] = presets()
    found[DOCS / "results.md"] = published(whole_results())
    found[DOCS / "optimum.md"] = f"{optimum_checks(load('optimum'))}\n\n{scaling}"
    return found


def put_in(path: Path, marks: tuple[str, str], text: str) -> None:
    """Replace what stands between two marks of a page."""
    start, end = marks
    page = path.read_text(encoding="utf-8")
    head, _, rest = page.partition(start)
    tail = rest.partition(end)[2]
    path.write_text(f"{head}{start}\n{text}\n{end}{tail}", encoding="utf-8")


def main() -> None:
    """Write the figures and the tables."""
    from compare_tables import one_seed
    from family_figures import family_figures
    from strategy_figures import strategy_figures

    by_name = {each["scenario"]: each for each in load("compare")["evaluations"]}
    figures = {
        "short-call-jumps": lambda: cost_against_risk(one_seed(by_name["short-call-jumps"])),
        "transfer": lambda: transfer_figure(load("transfer")["transfer"]),
        "rebalancing": lambda: frontier_figure(load("rebalancing")["frontier"]),
    }
    for name, draw in (figures | family_figures() | strategy_figures()).items():
        (DOCS / "figures" / f"{name}.svg").write_text(svg(draw()), encoding="utf-8")
    put_in(README, (START, END), results().removesuffix("\n"))
    for page, text in tables().items():
        put_in(page, CHECKS, text)


if __name__ == "__main__":
    main()
