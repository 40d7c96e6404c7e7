"""Hedges a contract a month on real prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs import Episodes, Hedger, Scenario, mark
from ...envs.markets import MarketPaths
from ...envs.pricing import MarketVolMarking
from ...envs.stream import Role, generator_of, stream_of
from ..evaluation import (
    PER_PATH,
    Evaluation,
    Samples,
    play,
    summarise,
    tuned_among,
    with_references,
)
from .block_bootstrap import BlockBootstrap, block_bootstrap
from .contracts import SCALE, Contract, by_steps, contracts
from .periods import Period, by_crisis, by_year
from .price_history import PriceHistory


@dataclass(frozen=True)
class Backtest:
    """Hedgers on the same months of real prices, all together and by the source of the mark.

    Attributes:
        history: the data's name.
        all: every month; intervals are over months as if they were independent.
        by_source: the months marked from each source, where there are enough to summarise.
        months: in the order of the samples.
        walk: how it walked forward, as plain data; null where nothing was estimated.
    """

    history: str
    all: Evaluation
    by_source: dict[str, Evaluation]
    months: tuple[Contract, ...]
    walk: Mapping[str, Any] | None = None

    @property
    def starts(self) -> NDArray[Any]:
        """The first day of every month."""
        return np.array([month.dates[0] for month in self.months])

    @cached_property
    def bootstrap(self) -> BlockBootstrap:
        """Intervals that let months depend on their neighbours, and tests against delta."""
        losses = {each.name: -each.pnl for each in self.all.hedgers}
        return block_bootstrap(self.all.scenario.objective, losses, seed=self.all.seed)

    @cached_property
    def years(self) -> list[Period]:
        """By the calendar year that months begin in."""
        return by_year(self.all.scenario.objective, self.months, self._pnl)

    @cached_property
    def crises(self) -> list[Period]:
        """The months that share a day with a known crisis."""
        return by_crisis(self.all.scenario.objective, self.months, self._pnl)

    @property
    def _pnl(self) -> dict[str, NDArray[np.float64]]:
        return {each.name: each.pnl for each in self.all.hedgers}

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "data": self.history,
            "first": str(self.starts[0]),
            "last": str(self.starts[-1]),
            "months": len(self.months),
            "all": self.all.document(),
            "bootstrap": self.bootstrap.document(),
            "by_year": [period.document() for period in self.years],
            "by_crisis": [period.document() for period in self.crises],
            "by_source": {name: e.document() for name, e in self.by_source.items()},
            "walk_forward": self.walk,
        }


LEAST_MONTHS = 12


def backtest(
    scenario: Scenario,
    hedgers: Sequence[Hedger],
    history: PriceHistory,
    days: int | None = 30,
    seed: int = 0,
) -> Backtest:
    """Take the scenario's position on at the start of every month, in units where the spot is 100.

    The scenario gives position, costs, limits and objective; prices, dates and marks come from the
    history, so its market is not used but for rates. Months are those of `contracts`, and none
    overlaps another. Marks use the vol recorded on the day and hedgers see nothing later than it
    (tests/experiments/history/test_backtest.py). What frictions draw follows from the ``seed`` and
    the month's first day.

    Raises:
        ValueError: for a history too short, or a scenario that is not marked at the market's vol or
            whose options have maturities of their own, or that is not in units of 100, or that
            does not decide every day.
    """
    check_scenario(scenario)
    cut = contracts(history, days)
    check_months(history, cut)
    everyone = with_references(hedgers)
    samples = play_months(scenario, everyone, cut, seed)
    return judged(scenario, everyone, samples, history.name, cut, seed)


def judged(
    scenario: Scenario,
    hedgers: Sequence[Hedger],
    samples: Sequence[Samples],
    history: str,
    cut: Sequence[Contract],
    seed: int,
) -> Backtest:
    """The figures of hedgers, none and delta among them, from their samples in ``cut``'s order."""
    sources = np.array([contract.vol_source for contract in cut])
    by_source = {}
    for source in sorted(set(sources.tolist())):
        chosen = sources == source
        if chosen.sum() >= LEAST_MONTHS and not chosen.all():
            part = [{key: values[chosen] for key, values in sample.items()} for sample in samples]
            results = summarise(scenario, hedgers, part)
            by_source[source] = Evaluation(scenario, int(chosen.sum()), seed, results)
    figures = summarise(scenario, hedgers, samples)
    whole = Evaluation(scenario, len(cut), seed, figures, tuned_among(hedgers))
    return Backtest(history, whole, by_source, tuple(cut))


def play_months(
    scenario: Scenario, hedgers: Sequence[Hedger], cut: Sequence[Contract], seed: int
) -> list[Samples]:
    """What every hedger makes of the months, in their order."""
    row = {contract.start: i for i, contract in enumerate(cut)}
    samples: list[Samples] = [{key: np.empty(len(cut)) for key in PER_PATH} for _ in hedgers]
    groups = list(by_steps(cut).values())
    if scenario.frictions:  # each month has draws of its own, whatever months there are beside it
        groups = [[contract] for contract in cut]
    for group in groups:
        episodes = month_episodes(scenario, group, seed)
        rows = np.array([row[contract.start] for contract in group])
        play(scenario, hedgers, episodes, samples, rows)
    return samples


def check_months(history: PriceHistory, cut: Sequence[Contract]) -> None:
    """Refuse too few months to say anything of."""
    if len(cut) < LEAST_MONTHS:
        raise ValueError(
            f"{history.name}: {len(cut)} whole months, fewer than {LEAST_MONTHS}: give more data"
        )


def check_scenario(scenario: Scenario) -> None:
    """Refuse a scenario that real months cannot be put in place of."""
    if len(scenario.market.spots) > 1:
        raise ValueError(
            f"scenario {scenario.name!r} has {len(scenario.market.spots)} assets: a backtest has "
            "the prices of one"
        )
    if not isinstance(scenario.marking, MarketVolMarking):
        raise ValueError(
            f"scenario {scenario.name!r} is marked at a vol of its own: a backtest needs marking "
            "{kind: market-vol}, as in sp500-call"
        )
    if scenario.position.flow is not None:
        raise ValueError(
            f"scenario {scenario.name!r} has client flow, whose options outlive a month: set "
            "position.flow to null"
        )
    claims = [leg.claim for leg in scenario.position.legs] + list(scenario.listed)
    if any(claim.maturity is not None for claim in claims):
        raise ValueError(
            f"scenario {scenario.name!r} has an option with a maturity of its own: leave it out, "
            "every option of a backtest expires with its month"
        )
    if scenario.market.spot != SCALE:
        raise ValueError(
            f"scenario {scenario.name!r} has market.spot {scenario.market.spot:g}: a month is in "
            f"units worth {SCALE:g} at its start, so set market.spot={SCALE:g} and strikes near it"
        )
    if scenario.crowd is not None or any(h.spread and h.spread.after_jump for h in scenario.hedges):
        raise ValueError(
            f"scenario {scenario.name!r} has a crowd or spreads that widen after jumps: real "
            "prices have been moved already and tell no jumps, so leave them out"
        )
    if scenario.calendar.decide_every != 1:
        raise ValueError(
            f"scenario {scenario.name!r} decides every {scenario.calendar.decide_every} steps: a "
            "backtest decides every trading day, leave calendar.decide_every out"
        )


def month_episodes(scenario: Scenario, group: Sequence[Contract], seed: int = 0) -> Episodes:
    """Months of equally many trading days as one batch of episodes, float64.

    Frictions draw from the stream of the ``seed`` and the first month's first day.
    """
    spot = torch.from_numpy(np.stack([contract.spot for contract in group], -1))
    paths = MarketPaths(
        times=torch.from_numpy(np.stack([contract.times for contract in group], -1)),
        spot=spot,
        log_spot=spot.log(),
        implied_vol=torch.from_numpy(np.stack([contract.vol for contract in group], -1)),
    )
    day = group[0].dates[0].astype(object).toordinal()
    return mark(scenario, paths, generator_of(stream_of(seed, Role.EVALUATION, day)))
