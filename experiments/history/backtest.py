"""Hedges a contract a month on real prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...envs import Episodes, Hedger, Scenario, mark
from ...envs.markets import MarketPaths
from ...envs.pricing import MarketVolMarking
from ..evaluation import (
    PER_PATH,
    Evaluation,
    Samples,
    play,
    summarise,
    tuned_among,
    with_references,
)
from .price_history import SCALE, Contract, PriceHistory, by_steps, contracts


@dataclass(frozen=True)
class Backtest:
    """Hedgers on the same months of real prices, all together and by the source of the mark.

    Attributes:
        history: the data's name.
        all: every month; intervals are over months.
        by_source: the months marked from each source, where there are enough to summarise.
        starts: the first day of every month, in the order of the samples.
    """

    history: str
    all: Evaluation
    by_source: dict[str, Evaluation]
    starts: NDArray[Any]

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "data": self.history,
            "first": str(self.starts[0]),
            "last": str(self.starts[-1]),
            "months": len(self.starts),
            "all": self.all.document(),
            "by_source": {name: e.document() for name, e in self.by_source.items()},
        }


LEAST_MONTHS = 12


def backtest(
    scenario: Scenario, hedgers: Sequence[Hedger], history: PriceHistory, days: int = 30
) -> Backtest:
    """Take the scenario's position on at the start of every month, in units where the spot is 100.

    The scenario gives position, costs, limits and objective; prices, dates and marks come from the
    history, so its market is not used but for rates. Marks use the vol recorded on the day and
    hedgers see nothing later than it (tests/experiments/history/test_backtest.py).

    Raises:
        ValueError: for a history too short, or a scenario that is not marked at the market's vol or
            whose options have maturities of their own, or that is not in units of 100, or that
            does not decide every day.
    """
    check_scenario(scenario)
    cut = contracts(history, days)
    if len(cut) < LEAST_MONTHS:
        raise ValueError(
            f"{history.name}: {len(cut)} whole months, fewer than {LEAST_MONTHS}: give more data"
        )
    everyone = with_references(hedgers)
    order = {contract.start: i for i, contract in enumerate(cut)}
    samples: list[Samples] = [{key: np.empty(len(cut)) for key in PER_PATH} for _ in everyone]
    for group in by_steps(cut).values():
        episodes = month_episodes(scenario, group)
        rows = np.array([order[contract.start] for contract in group])
        play(scenario, everyone, episodes, samples, rows)
    sources = np.array([contract.vol_source for contract in cut])
    by_source = {}
    for source in sorted(set(sources.tolist())):
        chosen = sources == source
        if chosen.sum() >= LEAST_MONTHS and not chosen.all():
            part = [{key: values[chosen] for key, values in sample.items()} for sample in samples]
            results = summarise(scenario, everyone, part)
            by_source[source] = Evaluation(scenario, int(chosen.sum()), 0, results)
    figures, tuned = summarise(scenario, everyone, samples), tuned_among(everyone)
    whole = Evaluation(scenario, len(cut), 0, figures, tuned)
    starts = np.array([contract.dates[0] for contract in cut])
    return Backtest(history.name, whole, by_source, starts)


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


def month_episodes(scenario: Scenario, group: Sequence[Contract]) -> Episodes:
    """Months of equally many trading days as one batch of episodes, float64."""
    spot = torch.from_numpy(np.stack([contract.spot for contract in group], -1))
    paths = MarketPaths(
        times=torch.from_numpy(np.stack([contract.times for contract in group], -1)),
        spot=spot,
        log_spot=spot.log(),
        implied_vol=torch.from_numpy(np.stack([contract.vol for contract in group], -1)),
    )
    return mark(scenario, paths)
