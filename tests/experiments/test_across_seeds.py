"""Agents across seeds: figures of an evaluation, its pairs, and what is said where there are none.

Bands of several widths stand for the policies of an agent's seeds: what matters is their P&L.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from deephedge.baselines import BandHedge
from deephedge.envs import Scenario
from deephedge.experiments.across_seeds import across_seeds
from deephedge.experiments.evaluation import Evaluation, evaluate
from deephedge.experiments.seed_statistics import AgentResult, holm
from deephedge.experiments.seed_tables import (
    agents_table,
    as_csv,
    latex,
    latex_text,
    markdown,
    notes,
    pairs_table,
    scenarios_table,
    terminal,
    write_tables,
)

AGENTS = {
    "narrow": ["band:width=0.02", "band:width=0.04", "band:width=0.06"],
    "wide": ["band:width=0.2", "band:width=0.25", "band:width=0.4"],
}


@pytest.fixture(scope="module")
def plain(brief: Callable[..., Scenario]) -> Evaluation:
    widths = [float(name.partition("=")[2]) for names in AGENTS.values() for name in names]
    return evaluate(brief(), [BandHedge(width=width) for width in widths], 4_000)


@pytest.fixture(scope="module")
def judged(plain: Evaluation) -> Evaluation:
    return replace(plain, across=across_seeds(plain, AGENTS))


def agent(evaluation: Evaluation, name: str) -> AgentResult:
    assert evaluation.across is not None
    return next(each for each in evaluation.across.agents if each.name == name)


def test_figures_of_an_agent_are_those_of_its_policies(judged: Evaluation) -> None:
    for name, policies in AGENTS.items():
        found, results = agent(judged, name), [judged.result(each) for each in policies]
        assert found.policies == tuple(policies) and found.warning is None
        risks = [each.risk.value for each in results]
        assert found.risk.values == tuple(risks)
        assert found.risk.seeds == pytest.approx(
            stats.t.interval(0.95, 2, loc=np.mean(risks), scale=stats.sem(risks))
        )
        delta = judged.result("delta").risk.value
        assert found.versus_delta.values == pytest.approx([risk - delta for risk in risks])
        gaps = [each.gap_closed.value for each in results if each.gap_closed is not None]
        assert found.gap_closed is not None and found.gap_closed.values == tuple(gaps)


def test_the_paths_error_is_that_of_the_evaluation_where_seeds_do_not_differ(
    plain: Evaluation,
) -> None:
    """Three seeds of one policy: what is left is the paths' error, paired with delta's too."""
    name = "band:width=0.25"
    found = across_seeds(plain, {"same": [name] * 3}).agents[0]
    result = plain.result(name)
    for figure, estimate in (
        (found.risk, result.risk),
        (found.versus_delta, result.versus_delta),
    ):
        assert figure.both is not None and figure.seeds is not None
        assert estimate is not None and estimate.low is not None and estimate.high is not None
        assert figure.seeds == pytest.approx((estimate.value,) * 2)
        low, high = figure.both
        assert high - low == pytest.approx(estimate.high - estimate.low, rel=0.02)


def test_all_pairs_are_corrected_together(judged: Evaluation) -> None:
    assert judged.across is not None
    contrasts = judged.across.contrasts
    assert [(each.first, each.second) for each in contrasts] == [
        ("narrow", "delta"),
        ("wide", "delta"),
        ("narrow", "wide"),
    ]
    raw = [each.p for each in contrasts if each.p is not None]
    assert [each.adjusted for each in contrasts] == holm(raw)
    for each in contrasts[:2]:
        found = agent(judged, each.first).versus_delta
        assert each.difference == pytest.approx(found.value)
        assert found.both is not None and (each.low, each.high) == pytest.approx(found.both)
        assert each.low is not None and each.high is not None and each.p is not None
        assert (each.p < 0.05) == (each.high < 0 or each.low > 0)


def test_a_single_seed_has_no_interval_and_no_pair(plain: Evaluation) -> None:
    single = replace(plain, across=across_seeds(plain, {k: v[:1] for k, v in AGENTS.items()}))
    assert single.across is not None and single.across.contrasts == ()
    assert all(each.risk.both is None for each in single.across.agents)
    assert any("no interval over seeds" in line for line in notes(single))
    (row,) = [row for row in agents_table(single)[1] if row[0] == "wide"]
    assert row[3] == "none" and row[2] == row[-1]
    assert terminal([single]) and markdown([single]) and latex([single])


def test_a_warning_leaves_the_seeds_interval_alone(plain: Evaluation) -> None:
    name = AGENTS["wide"][0]
    risk = replace(plain.result(name).risk, low=None, high=None, warning="one path decides")
    hedgers = tuple(replace(h, risk=risk) if h.name == name else h for h in plain.hedgers)
    doubtful = replace(plain, hedgers=hedgers)
    doubtful = replace(doubtful, across=across_seeds(doubtful, AGENTS))
    wide = agent(doubtful, "wide")
    assert wide.warning == "one path decides" and wide.risk.both is None
    assert wide.risk.seeds is not None and agent(doubtful, "narrow").risk.both is not None
    assert doubtful.across is not None
    adjusted = [each.adjusted is None for each in doubtful.across.contrasts]
    assert adjusted == [False, True, True]
    assert "wide: one path decides." in notes(doubtful)


def test_what_cannot_be_looked_at_is_refused(plain: Evaluation) -> None:
    with pytest.raises(ValueError, match="no agent was trained"):
        across_seeds(plain, {})
    with pytest.raises(ValueError, match="'ppo' has no policy"):
        across_seeds(plain, {"ppo": []})
    with pytest.raises(ValueError, match="no hedger 'ppo-seed0'"):
        across_seeds(plain, {"ppo": ["ppo-seed0"]})
    with pytest.raises(ValueError, match="no agent was looked at"):
        agents_table(plain)


def test_the_document_adds_to_the_evaluation(plain: Evaluation, judged: Evaluation) -> None:
    document = json.loads(json.dumps(judged.document(), allow_nan=False))
    added = document.pop("across_seeds")
    assert document == json.loads(json.dumps(plain.document()))
    assert added["statistic"] == "mean"
    assert [each["name"] for each in added["agents"]] == list(AGENTS)
    risk = added["agents"][0]["risk"]
    assert risk["values"] == [judged.result(name).risk.value for name in AGENTS["narrow"]]
    assert risk["both"][0] < risk["seeds"][0] < risk["value"] < risk["seeds"][1] < risk["both"][1]


def test_the_tables_have_a_row_for_each_agent(judged: Evaluation) -> None:
    headings, rows = agents_table(judged)
    assert [row[0] for row in rows] == ["delta", "optimal", *AGENTS]
    assert {len(row) for row in rows} == {len(headings)}
    narrow = agent(judged, "narrow")
    assert rows[2][1:3] == ["3", f"{narrow.risk.value:.4f}"]
    assert rows[2][-1].split() == [f"{value:.4f}" for value in narrow.risk.values]
    assert len(pairs_table(judged)[1]) == 3
    text = terminal([judged])
    assert "each seed" in text and text.count("\n-----") == 2


def test_csv_has_all_digits(judged: Evaluation) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv([judged]))))
    assert [row["agent"] for row in rows] == list(AGENTS)
    for row in rows:
        found = agent(judged, row["agent"])
        assert tuple(map(float, row["risk_by_seed"].split(";"))) == found.risk.values
        both = (float(row["risk_both_low"]), float(row["risk_both_high"]))
        assert both == found.risk.both
        assert 0.0 <= float(row["p_delta"]) <= float(row["p_delta_holm"]) <= 1.0


def test_latex_is_whole_and_escaped(judged: Evaluation) -> None:
    odd = judged.scenario.model_copy(update={"name": "50 % of_{x} & $y"})
    text = latex([replace(judged, scenario=odd), judged])
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 5
    for block in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        columns, body = block
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(columns) - 1}
        assert [body.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1] * 3
    assert r"50 \% of\_\{x\} \& \$y" in text
    assert latex_text("-0.25") == "$-$0.25"
    assert latex_text("ppo-2") == "ppo-2"
    assert latex_text("< 0.0001") == "$<$ 0.0001"


def test_scenarios_stand_side_by_side(judged: Evaluation) -> None:
    nowhere = tuple(replace(each, gap_closed=None) for each in judged.hedgers)
    other = replace(
        judged,
        hedgers=nowhere,
        scenario=judged.scenario.model_copy(update={"name": "other"}),
    )
    other = replace(other, across=across_seeds(other, {"wide": AGENTS["wide"]}))
    headings, rows = scenarios_table([judged, other])
    assert headings == ["agent", "short-call, gap closed", "other, less delta"]
    assert [row[0] for row in rows] == list(AGENTS)
    assert rows[0][2] == "" and rows[1][1].count("%") == 1 and "[" in rows[1][2]
    assert "gap closed" not in agents_table(other)[0]
    assert "All scenarios" in markdown([judged, other])


def test_files_beside_the_evaluation(judged: Evaluation, tmp_path: Path) -> None:
    write_tables(tmp_path, [judged])
    assert {path.name for path in tmp_path.iterdir()} == {"table.md", "table.csv", "table.tex"}
    assert (tmp_path / "table.md").read_text("utf-8") == markdown([judged])
