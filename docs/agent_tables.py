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


def _steps(runs: list[Document]) -> str:
    """Of each kind of training: the separate ones are all alike."""
    steps = {run["training"]: f"{run['steps']:,}" for run in runs}
    one, ppo = steps.pop("deep-hedging, conditioned"), steps.pop("ppo, conditioned")
    return f"{next(iter(steps.values()))} separate, {one} conditioned, {ppo} ppo"


def conditioned(document: Document) -> str:
    """One policy for all aversions beside one for each."""
    lines = [
        f"Measured by `{document['command']}` on {document['paths']:,} paths: the share of the gap "
        "from delta to the optimum that is closed at each aversion, the mean over seeds and every "
        f"seed behind it. Path-steps of a training: {_steps(document['runs'])}; the conditioned "
        "one at a lower learning rate.",
        "",
        "| aversion | separate trainings | one conditioned policy | lost | ppo, conditioned |",
        "|---|---|---|---|---|",
    ]
    for row in document["lost"]:
        found = {
            title: [
                r["gap_closed"]
                for run in document["runs"]
                for r in run["rows"]
                if r["aversion"] == row["aversion"] and run["training"] == title
            ]
            for title in (
                f"deep-hedging, {row['aversion']:g}",
                "deep-hedging, conditioned",
                "ppo, conditioned",
            )
        }
        cells = [
            f"{statistics.mean(values):.2%} ({' '.join(format(v, '.2%') for v in values)})"
            for values in found.values()
        ]
        lines.append(
            f"| {row['aversion']:g} | {cells[0]} | {cells[1]} | {row['lost']:+.2%} | {cells[2]} |"
        )
    return "\n".join(lines)


def robust(document: Document) -> str:
    """Policies out of model."""
    vols = [row["vol"] for row in document["runs"][0]["rows"]]
    lines = [
        f"Measured by `{document['command']}` on {document['paths']:,} paths, "
        f"{document['steps']:,} steps of training, one seed: risk less delta's where the market's "
        "vol is not the 0.2 that the call is sold and marked at (standard error against delta).",
        "",
        f"| trained | {' | '.join(f'vol {vol:g}' for vol in vols)} |",
        f"|---|{'---|' * len(vols)}",
    ]
    for run in document["runs"]:
        cells = [f"{row['excess']:+.4f} ({row['standard_error']:.4f})" for row in run["rows"]]
        lines.append(f"| {run['training']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def risk_critics(document: Document) -> str:
    """The critics that learn the law of the P&L, beside rules and deep hedging."""
    runs = document["runs"]
    first = runs[0]
    lines = [
        f"Measured by `{document['command']}` on {document['paths']:,} paths: mean + 1.5 std of "
        f"the loss on short-call, where delta has {first['delta']:.4f} and the tuned "
        f"`{first['band']['name']}` {first['band']['risk']:.4f}; paired standard errors against "
        f"delta are at most {max(run['standard_error'] for run in runs):.4f}.",
        "",
        "| agent | risk, mean of the seeds | seeds | steps | CPU s |",
        "|---|---|---|---|---|",
    ]
    behind = []
    for agent in dict.fromkeys(run["agent"] for run in runs):
        mine = [run for run in runs if run["agent"] == agent]
        seeds = " ".join(f"{run['risk']:.4f}" for run in mine)
        behind += [agent] if min(run["risk"] for run in mine) > first["band"]["risk"] else []
        seconds = statistics.median(run["cpu_seconds"] for run in mine)
        mean = statistics.mean(run["risk"] for run in mine)
        lines.append(f"| {agent} | {mean:.4f} | {seeds} | {mine[0]['steps']:,} | {seconds:.0f} |")
    if behind:
        lines += ["", f"No seed of {' or '.join(behind)} comes below the tuned band."]
    return "\n".join(lines)


def throughput(document: Document) -> str:
    """Deep hedging beside pfhedge, as both come and on one thread each."""
    machine, peer = document["machine"], next(key for key in document if key.startswith("pfhedge"))
    most = max(row["threads_of_the_process"] for row in document["training_throughput"])
    lines = [
        f"Measured by `{document['command'].partition(' --')[0]}` on {machine['cores']} cores "
        f"({machine['cpu']}): millions of path-steps of training a second beside {peer}'s "
        "`Hedger.fit`, the same call, cost, risk, inputs, network and batch, in turns. As they "
        f"come pfhedge takes {most} threads, which torch takes here, deephedge its default of one.",
        "",
        "| output of the network | batch | threads | deephedge | pfhedge | ratio |",
        "|---|---|---|---|---|---|",
    ]
    threads = {most: "as they come", 1: "one each"}
    for row in document["training_throughput"]:
        ours, theirs = (
            f"{row[f'{name}_path_steps_per_second'] / 1e6:.2f}" for name in ("deephedge", "pfhedge")
        )
        lines.append(
            f"| {row['form']} | {row['batch']:,} | {threads[row['threads_of_the_process']]} "
            f"| {ours} | {theirs} | {row['ratio']:.2f} |"
        )
    for form, row in document["time_to_the_risk_of_the_default_fit"].items():
        lines += [
            "",
            f"To the risk of pfhedge's default fit ({form}): {row['deephedge']['seconds']:.1f} s "
            f"beside {row['pfhedge_seconds']:.1f} s, on one thread.",
        ]
    return "\n".join(lines)


def sweeps(document: Document) -> str:
    """What each sweep tried and found."""
    lines = [
        f"The defaults of the off-policy agents are from sweeps of {document['problem']} "
        f"({document['steps']}), by `{document['command']}`; judged on fresh paths and seeds in "
        "[how near to the optimum](agents.md).",
        "",
        "| agent | trials | given up | score of what it began with | best | its settings |",
        "|---|---|---|---|---|---|",
    ]
    for sweep in document["sweeps"]:
        settings = ", ".join(f"{key} {value}" for key, value in sweep["best"]["values"].items())
        lines.append(
            f"| {sweep['agent']} | {sweep['trials']} | {sweep['pruned']} | "
            f"{sweep['start']:.1%} | {sweep['best']['score']:.1%} | {settings} |"
        )
    ppo = document["ppo_at_full_length"]
    found, default = (" ".join(f"{v:.1%}" for v in ppo[key]) for key in ("found", "default"))
    lines += [
        "",
        f"{document['note']} PPO keeps its own: at its full length (`{ppo['command']}`) the found "
        f"settings close {found}, the default ones {default}.",
    ]
    return "\n".join(lines)
