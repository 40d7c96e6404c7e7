"""The dot plot of agents across seeds: every seed is a dot, and the caption says who differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deephedge.baselines import BandHedge
from deephedge.envs import Scenario
from deephedge.experiments.across_seeds import across_seeds
from deephedge.experiments.evaluation import Evaluation, evaluate
from deephedge.experiments.reports.report import Section, write_report
from deephedge.experiments.reports.seeds_figure import seed_plates, seeds_figure, told_apart
from deephedge.experiments.seed_statistics import AcrossSeeds, Contrast

AGENTS = {
    "narrow": ["band:width=0.02", "band:width=0.06"],
    "wide": ["band:width=0.2", "band:width=0.25"],
}


@pytest.fixture(scope="module")
def plain(brief: Callable[..., Scenario]) -> Evaluation:
    widths = [float(name.partition("=")[2]) for names in AGENTS.values() for name in names]
    return evaluate(brief(), [BandHedge(width=width) for width in widths], 1_000)


@pytest.fixture(scope="module")
def across(plain: Evaluation) -> AcrossSeeds:
    return across_seeds(plain, AGENTS)


def test_every_seed_is_a_dot_and_both_intervals_are_bars(across: AcrossSeeds) -> None:
    figure = seeds_figure(across, "versus_delta")
    (axes,) = figure.axes
    dots = [line.get_xdata() for line in axes.lines if line.get_marker() == "o"]
    assert [tuple(np.asarray(x)) for x in dots] == [a.versus_delta.values for a in across.agents]
    bars = [tuple(np.asarray(x.get_xdata())) for x in axes.lines if x.get_alpha() == 0.55]
    expected = [ends for a in across.agents for ends in (a.versus_delta.both, a.versus_delta.seeds)]
    assert bars == expected
    shown = [text.get_text() for text in axes.texts]
    assert shown[::2] == list(AGENTS)
    value = across.agents[0].versus_delta.value
    assert shown[1].startswith("−" if value < 0 else "+")


def test_it_is_drawn_where_there_are_several_seeds(plain: Evaluation, across: AcrossSeeds) -> None:
    assert list(seed_plates(plain)) == []
    single = across_seeds(plain, {"wide": AGENTS["wide"][:1]})
    assert list(seed_plates(replace(plain, across=single))) == []
    titles = [title for _, title, _ in seed_plates(replace(plain, across=across))]
    known = all(agent.gap_closed is not None for agent in across.agents)
    assert titles == ["Risk less delta's, by seed", "Gap closed, by seed"][: 1 + known]
    unknown = tuple(replace(agent, gap_closed=None) for agent in across.agents)
    nowhere = replace(plain, across=replace(across, agents=unknown))
    assert len(list(seed_plates(nowhere))) == 1
    with pytest.raises(ValueError, match="no gap_closed: no optimum is known"):
        seeds_figure(replace(across, agents=unknown), "gap_closed")


def test_who_is_told_apart_is_said(across: AcrossSeeds) -> None:
    def of(*adjusted: float | None) -> AcrossSeeds:
        pairs = [("a", "delta", -1.0), ("b", "delta", 1.0), ("a", "b", -2.0)]
        return replace(
            across,
            contrasts=tuple(
                Contrast(first, second, difference, None, None, p, p)
                for (first, second, difference), p in zip(pairs, adjusted, strict=True)
            ),
        )

    told = "Told apart after Holm's correction for"
    assert (
        told_apart(of(0.01, 0.2, 0.04)) == f"{told} 3: a below delta, a below b. The other 1: not."
    )
    assert told_apart(of(0.01, 0.01, 0.01)).endswith("a below delta, delta below b, a below b.")
    assert told_apart(of(0.5, 0.5, None)) == f"{told} 2: none."
    assert told_apart(of(None, None, None)) == "No pair can be tested."


def test_the_report_has_a_section_of_its_own(
    plain: Evaluation, across: AcrossSeeds, tmp_path: Path
) -> None:
    for evaluation, count in ((plain, 0), (replace(plain, across=across), 1)):
        path = tmp_path / "report.html"
        write_report(path, "title", [Section(evaluation, [], {}, {}, [])], "command")
        text = path.read_text("utf-8")
        assert text.count("<h3>Across training seeds</h3>") == count
        assert "<script" not in text
