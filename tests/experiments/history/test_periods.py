"""Years and crises: every month in its year, crises by their days, figures by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deephedge.envs.objectives import MeanVariance
from deephedge.experiments import contracts, sp500
from deephedge.experiments.history.contracts import Contract
from deephedge.experiments.history.periods import by_crisis, by_year

OBJECTIVE = MeanVariance(aversion=0.3)


@pytest.fixture(scope="module")
def months() -> list[Contract]:
    return contracts(sp500())


def test_every_month_is_in_one_year(months: list[Contract]) -> None:
    pnl = {"delta": np.arange(len(months), dtype=float)}
    years = by_year(OBJECTIVE, months, pnl)
    assert [int(year.name) for year in years] == list(range(1999, 2019))
    assert sum(year.months for year in years) == len(months)
    marked = {year.name for year in years if year.crises}
    assert {"2008", "2010", "2011", "2015", "2018"} <= marked
    assert not {"2003", "2005", "2012", "2013", "2014", "2017"} & marked
    rows = [i for i, month in enumerate(months) if str(month.dates[0])[:4] == "2008"]
    of_2008 = next(year for year in years if year.name == "2008")
    assert of_2008.hedgers["delta"] == pytest.approx(
        {
            "mean": np.mean(rows),
            "std": np.std(rows),
            "worst": min(rows),
            "risk": -np.mean(rows) + 0.15 * np.var(rows),
        }
    )


def test_a_month_is_in_a_crisis_if_one_of_its_steps_is(months: list[Contract]) -> None:
    pnl = {"delta": np.arange(len(months), dtype=float)}
    crises = {crisis.name: crisis for crisis in by_crisis(OBJECTIVE, months, pnl)}
    assert [name[:4] for name in crises] == ["2008", "2010", "2011", "2015", "2018", "2018"]
    first, last = np.datetime64("2008-09-15"), np.datetime64("2009-03-09")
    # A step from one close to the next is inside if it ends on one of the crisis' days, or later
    # than the first and begins before the last.
    inside = [
        i
        for i, month in enumerate(months)
        if any(d >= first for d in month.dates[1:]) and any(d < last for d in month.dates[:-1])
    ]
    found = crises["2008 credit crisis"]
    assert found.months == len(inside) and found.hedgers["delta"]["worst"] == inside[0]
    assert found.hedgers["delta"]["mean"] == np.mean(inside)
    assert "2008 credit crisis" in found.crises


def test_crises_without_a_month_are_left_out(months: list[Contract]) -> None:
    early = months[:24]
    assert by_crisis(OBJECTIVE, early, {"delta": np.zeros(24)}) == []
