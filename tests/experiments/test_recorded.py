"""Evaluations read from their documents say what the evaluations said."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from deephedge.baselines import StaticHedge
from deephedge.envs import Scenario
from deephedge.experiments.evaluation import Evaluation, HedgerResult, evaluate
from deephedge.experiments.recorded import ALWAYS, SOMETIMES, read_evaluations
from deephedge.experiments.reports.wording import verdict


@pytest.fixture(scope="module")
def evaluation(brief: Callable[..., Scenario]) -> Evaluation:
    return evaluate(brief(), [StaticHedge()], 300, seed=3)


def written(folder: Path, document: Any) -> Path:
    path = folder / "evaluation.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_nothing_but_the_paths_is_lost(evaluation: Evaluation, tmp_path: Path) -> None:
    (found,) = read_evaluations(written(tmp_path, evaluation.document()))
    assert [h.document() for h in found.hedgers] == [h.document() for h in evaluation.hedgers]
    assert found.document() == evaluation.document()
    assert (found.name, found.objective) == ("short-call", evaluation.scenario.objective.label)
    assert found.basis == "300 evaluation paths, seed 3"
    assert all(len(hedger.pnl) == 0 for hedger in found.hedgers)


def test_a_floor_and_what_it_has_no_interval_for(
    brief: Callable[..., Scenario], tmp_path: Path
) -> None:
    scenario = brief(objective="{kind: shortfall, threshold: 1.0, weight: 1.0}")
    known = evaluate(scenario, [], 50)
    (found,) = read_evaluations(written(tmp_path, [known.document()]))
    assert [h.document() for h in found.hedgers] == [h.document() for h in known.hedgers]


def test_every_figure_is_read() -> None:
    special = {"name", "risk", "versus_delta", "gap_closed", "pnl"}
    assert {*ALWAYS, *SOMETIMES} | special == {field.name for field in fields(HedgerResult)}


def test_the_verdict_is_that_of_the_paths_as_far_as_they_are_known(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    (found,) = read_evaluations(written(tmp_path, evaluation.document()))
    whole, part = verdict(evaluation), verdict(found)
    assert part.partition(";")[0] == whole.partition(";")[0]
    assert "static" in part and part.endswith(".")


def test_a_backtest_has_all_months_and_each_source(evaluation: Evaluation, tmp_path: Path) -> None:
    part = evaluation.document()
    document = {"data": "S&P 500", "first": "1999-01-19", "last": "2018-11-05", "months": 239}
    document |= {"all": part, "by_source": {"vix": part}}
    for tree in (document, {"command": "deephedge backtest", "backtest": document}):
        whole, source = read_evaluations(written(tmp_path, tree))
        assert whole.name == "short-call on S&P 500"
        assert source.name == "short-call on S&P 500, marked at vix"
        assert whole.basis == "300 months of S&P 500, 1999-01-19 to 2018-11-05"


def without(*keys: Any) -> Callable[[Any], Any]:
    def cut(document: Any) -> Any:
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return document

    return cut


def with_value(value: Any, *keys: Any) -> Callable[[Any], Any]:
    def put(document: Any) -> Any:
        inner = document
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        return document

    return put


BAD = [
    (lambda d: "{", "not JSON"),
    (lambda d: [], "it is empty"),
    (lambda d: 3, "int instead of a mapping"),
    (lambda d: {"frontier": []}, "it has no 'paths'"),
    (without("hedgers", 1, "risk"), "it has no 'risk'"),
    (without("hedgers", 0, "intervals", "cost"), "it has no 'cost'"),
    (with_value("much", "hedgers", 0, "mean"), "'much' is no number"),
    (with_value(True, "hedgers", 0, "mean"), "True is no number"),
    (with_value(float("nan"), "hedgers", 0, "mean"), "nan is no number"),
    (with_value([], "hedgers"), "no hedger in it"),
    (with_value(3, "hedgers", 0, "name"), "3 is no name"),
    (with_value([1.0], "hedgers", 0, "intervals", "cost"), "not enough values"),
    (with_value("x", "hedgers"), "string indices"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_what_is_no_evaluation_is_refused_in_one_line(
    evaluation: Evaluation, tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    path = written(tmp_path, change(copy.deepcopy(evaluation.document())))
    with pytest.raises(ValueError, match=message) as refused:
        read_evaluations(path)
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)
