"""Walk-forward: each year is hedged with what the years before it say, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...agents import AgentSettings, PolicyHedger
from ...baselines import TunedHedge
from ...envs import Hedger, Known, Scenario
from ...envs.namespace import X
from ..evaluation import PER_PATH, Samples, with_references
from ..hedgers import named_hedgers
from ..runs import check_run
from .backtest import Backtest, check_months, check_scenario, judged, play_months
from .contracts import Contract, contracts
from .estimation import Estimated, estimate
from .price_history import PriceHistory

YEAR = 365.25  # days


@dataclass(frozen=True)
class Walk:
    """How a walk-forward goes.

    Attributes:
        rules: hedgers by name; ``band:width=best`` is tuned anew every year.
        agents: what is trained anew every year, each by the name of its algorithm.
        window: years of past that parameters are estimated on.
        days: the most calendar days of a contract, as in `contracts`.
        seed: of trainings, tuning, frictions and the bootstrap.
    """

    rules: tuple[str, ...]
    agents: tuple[AgentSettings, ...] = ()
    window: int = 3
    days: int | None = 30
    seed: int = 0


@dataclass(frozen=True)
class Fold:
    """A year of months, and what was known before it.

    Attributes:
        first: the day from which on months belong to it.
        past: the days before that, of the window.
        estimated: what they say of the scenario.
        months: of the year, in order.
    """

    first: np.datetime64
    past: PriceHistory
    estimated: Estimated
    months: tuple[Contract, ...]

    @property
    def scenario(self) -> Scenario:
        """With the market estimated on the past: what rules see and agents are trained on."""
        return self.estimated.scenario


@dataclass(frozen=True)
class Training:
    """One training of a walk-forward.

    Attributes:
        name: unique, ``2002-01-19/ppo``.
        scenario: that of its fold.
        settings: the agent's, with what the fold draws anew between paths.
        seed: of the walk.
    """

    name: str
    scenario: Scenario
    settings: AgentSettings
    seed: int


Trainer = Callable[[Sequence[Training]], Sequence[Hedger]]  # in their order, trained


@dataclass(frozen=True)
class Called:
    """A hedger under another name, so that a rule tuned anew is one hedger all the way."""

    hedger: Hedger
    name: str

    def start(self, n: int) -> Any:
        """The hedger's."""
        return self.hedger.start(n)

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """The hedger's."""
        return self.hedger.act(known, state)


def walk_forward(
    scenario: Scenario, history: PriceHistory, walk: Walk, trainer: Trainer
) -> Backtest:
    """Hedge each year of months with parameters, rules and agents made of the years before it.

    The first `Walk.window` years are for estimation only. From then on, every year, the scenario's
    market is estimated on the window that ends the day before (`estimate`); rules see that scenario
    and are tuned on it, agents are trained on it in simulation, and all of them hedge the months
    that begin in the year that follows. No holding depends on a price or a vol after its day
    (tests/experiments/history/test_walk_forward.py).

    Raises:
        ValueError: as `backtest`, `estimate` and `named_hedgers`; for a history that is not longer
            than the window, a run among the rules, or one agent given twice.
    """
    check_scenario(scenario)
    parts = folds(scenario, history, walk.window, walk.days)
    cut = [month for fold in parts for month in fold.months]
    check_months(history, cut)
    rules = [_rules(fold, walk) for fold in parts]
    tasks = [training(fold, settings, walk.seed) for fold in parts for settings in walk.agents]
    algorithms = [settings.algorithm for settings in walk.agents]
    if len(set(algorithms)) < len(algorithms):
        raise ValueError(f"agents {algorithms}: one stands twice: give each once")
    for task in tasks:
        check_run(task.scenario, task.settings)
    trained = list(trainer(tasks))
    samples: list[list[Samples]] = []
    everyone: list[Hedger] = []
    for k, fold in enumerate(parts):
        own = trained[k * len(algorithms) : (k + 1) * len(algorithms)]
        learned = [Called(hedger, name) for hedger, name in zip(own, algorithms, strict=True)]
        everyone = with_references([*rules[k], *learned])
        samples.append(play_months(fold.scenario, everyone, fold.months, walk.seed))
    joined = [_joined(each) for each in zip(*samples, strict=True)]
    result = judged(scenario, everyone, joined, history.name, cut, walk.seed)
    tuned = tuple(hedger.name for hedger in rules[0] if _tuned(hedger))
    return replace(result, all=replace(result.all, tuned=tuned), walk=_document(walk, parts, rules))


def folds(
    scenario: Scenario, history: PriceHistory, window: int = 3, days: int | None = 30
) -> list[Fold]:
    """The years of a walk, each with the scenario estimated on the ``window`` years before it.

    Raises:
        ValueError: for a window below a year or no month after it; as `contracts` and `estimate`.
    """
    if window < 1:
        raise ValueError(f"window is {window} years; it must be at least 1")
    cut = contracts(history, days)
    found = []
    year = window
    while (first := _after(history, year)) <= cut[-1].dates[0]:
        months = [m for m in cut if first <= m.dates[0] < _after(history, year + 1)]
        if months:
            past = _between(history, _after(history, year - window), first)
            found.append(Fold(first, past, estimate(scenario, past), tuple(months)))
        year += 1
    if not found:
        raise ValueError(
            f"{history.name}: {history.dates[0]} to {history.dates[-1]} has no month after a "
            f"window of {window} years: give a longer history or a shorter window"
        )
    return found


def training(fold: Fold, settings: AgentSettings, seed: int) -> Training:
    """An agent's training for a fold; what the fold draws anew joins what the agent's own do."""
    own, drawn = settings.vary, fold.estimated.vary
    vary = own.model_copy(update={"uniform": {**own.uniform, **drawn.uniform}})
    return Training(
        f"{fold.first}/{settings.algorithm}",
        fold.scenario,
        settings.model_copy(update={"vary": vary}),
        seed,
    )


def _after(history: PriceHistory, years: int) -> np.datetime64:
    day: np.datetime64 = history.dates[0] + np.timedelta64(round(years * YEAR), "D")
    return day


def _between(history: PriceHistory, first: np.datetime64, end: np.datetime64) -> PriceHistory:
    """The days from ``first`` to the one before ``end``."""
    rows = (history.dates >= first) & (history.dates < end)
    if rows.sum() < 3:
        raise ValueError(
            f"{history.name}: {rows.sum()} days between {first} and {end}: fill the gap"
        )
    columns = ("dates", "close", "vol", "vol_source")
    return replace(history, **{name: getattr(history, name)[rows] for name in columns})


def _rules(fold: Fold, walk: Walk) -> list[Hedger]:
    found: list[Hedger] = []
    for text, hedger in zip(
        walk.rules, named_hedgers(walk.rules, fold.scenario, walk.seed), strict=True
    ):
        if isinstance(hedger, PolicyHedger):
            raise ValueError(
                f"hedger {text!r} is a run, trained once and not on the past of each year: give "
                "--agent to train one every year, or leave --walk-forward out"
            )
        found.append(Called(hedger, text) if isinstance(hedger, TunedHedge) else hedger)
    return found


def _tuned(hedger: Hedger) -> bool:
    return isinstance(hedger, Called) and isinstance(hedger.hedger, TunedHedge)


def _joined(parts: Sequence[Samples]) -> Samples:
    return {key: np.concatenate([part[key] for part in parts]) for key in PER_PATH}


def _document(
    walk: Walk, parts: Sequence[Fold], rules: Sequence[Sequence[Hedger]]
) -> Mapping[str, Any]:
    """As plain data: windows, estimates, tuned options, trainings."""
    return {
        "window_years": walk.window,
        "agents": [{"name": each.algorithm, "steps": each.steps} for each in walk.agents],
        "folds": [
            {
                "first": str(fold.first),
                "estimated_on": [str(fold.past.dates[0]), str(fold.past.dates[-1])],
                "months": len(fold.months),
                "market": fold.scenario.market.model_dump(mode="json"),
                "vary": fold.estimated.vary.model_dump(mode="json")["uniform"],
                "tuned": {each.name: each.hedger.name for each in own if isinstance(each, Called)},
            }
            for fold, own in zip(parts, rules, strict=True)
        ],
    }
