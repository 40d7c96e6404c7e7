"""Which hedgers are judged: by name, from runs, and those that every report shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..baselines import (
    BandHedge,
    Baseline,
    DeltaHedge,
    NoHedge,
    StaticHedge,
    baseline_kinds,
    parse_baseline,
    tuned,
    tuning_paths,
)
from ..envs import Hedger, Scenario
from ..envs.markets import Replay
from .runs import load_run

BEST = "best"  # the value of an option that is to be tuned


def standard_baselines(scenario: Scenario, seed: int = 0) -> list[Hedger]:
    """Every baseline that fits the scenario, with its options tuned where it has such.

    A rule whose tuned option has a value by default, such as a band's width, is shown tuned only:
    the default means nothing in the scenario. Where there are no paths to tune on, as it is.
    """
    with np.errstate(all="ignore"):  # what overflows is refused when it is evaluated
        return _standard(scenario, seed)


def _standard(scenario: Scenario, seed: int) -> list[Hedger]:
    variants = [rule for kind in baseline_kinds().values() for rule in kind.variants(scenario)]
    recorded = isinstance(scenario.market, Replay)
    episodes = None if recorded else tuning_paths(scenario, seed)
    shown: list[Hedger] = []
    for rule in variants:
        ranges = {} if episodes is None else rule.ranges(scenario)
        settled = isinstance(rule, DeltaHedge) or not any(
            getattr(rule, option) is not None for option in ranges
        )
        if settled and rule.refusal(scenario) is None:
            shown.append(rule)
        for option, (least, _) in ranges.items():
            tried = type(rule).model_validate(rule.model_dump() | {option: least})
            if episodes is not None and tried.refusal(scenario) is None:
                shown.append(tuned(rule, option, scenario, episodes))
    by_name = {hedger.name: hedger for hedger in reversed(shown)}
    return [hedger for hedger in shown if by_name[hedger.name] is hedger]


def untuned_baselines(scenario: Scenario) -> list[Hedger]:
    """The baselines that fit whatever prices come: for months of real ones."""
    rules: list[Baseline] = [NoHedge(), StaticHedge(), DeltaHedge(), BandHedge()]
    return [rule for rule in rules if rule.refusal(scenario) is None]


def named_hedgers(names: Sequence[str], scenario: Scenario, seed: int = 0) -> list[Hedger]:
    """Baselines by name, runs by folder; runs whose names clash are called by their path.

    An option that is given as ``best`` is chosen on paths of its own: ``band:width=best``.

    Raises:
        ValueError: in one line, for a name that is neither, or an option that cannot be tuned.
    """
    kinds = baseline_kinds()
    runs = {n for n in names if n.partition(":")[0] not in kinds and ("/" in n or Path(n).exists())}
    folders = [Path(run).resolve().name for run in runs]

    def hedger(name: str) -> Hedger:
        if name not in runs:
            return _baseline(name, scenario, seed)
        short = Path(name).resolve().name
        return load_run(Path(name), name if folders.count(short) > 1 or short in kinds else short)

    return [hedger(name) for name in names]


def chosen_hedgers(names: Sequence[str] | None, scenario: Scenario, seed: int = 0) -> list[Hedger]:
    """Those that are named; where none are, all baselines that fit.

    Raises:
        ValueError: as `named_hedgers`.
    """
    return named_hedgers(names, scenario, seed) if names else standard_baselines(scenario, seed)


def _baseline(text: str, scenario: Scenario, seed: int) -> Hedger:
    kind, colon, rest = text.partition(":")
    parts = rest.split(",") if colon else []
    best = [part.partition("=")[0] for part in parts if part.partition("=")[2] == BEST]
    if not best:
        return parse_baseline(text)
    if len(best) > 1:
        raise ValueError(f"hedger {text!r}: {' and '.join(best)} are to be tuned: choose one")
    given = ",".join(part for part in parts if part.partition("=")[2] != BEST)
    rule = parse_baseline(f"{kind}:{given}" if given else kind)
    return tuned(rule, best[0], scenario, tuning_paths(scenario, seed))
