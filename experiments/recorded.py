"""Evaluations as their JSON documents tell them: figures and intervals, without the paths."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .evaluation import HedgerResult
from .statistics import Estimate

ALWAYS = ("mean", "std", "var_95", "cvar_95", "cvar_99", "cost", "turnover", "trades")
SOMETIMES = ("breach", "effectiveness", "below_floor", "shortfall")


@dataclass(frozen=True)
class RecordedEvaluation:
    """Several hedgers on the same paths, read from a document; the paths themselves are gone.

    Attributes:
        name: of the scenario, or of a backtest's part.
        objective: its label.
        basis: on what the hedgers were evaluated, in words.
        hedgers: their figures, without P&L of single paths.
        tuned: the names of those with an option that was chosen on other paths.
        source: the document.
    """

    name: str
    objective: str
    basis: str
    hedgers: tuple[HedgerResult, ...]
    tuned: tuple[str, ...]
    source: Mapping[str, Any]

    def document(self) -> Mapping[str, Any]:
        """As it was read."""
        return self.source


def read_evaluations(path: Path) -> list[RecordedEvaluation]:
    """The evaluations in a JSON file of ``evaluate``, ``compare``, ``train`` or ``backtest``.

    A backtest has one of all months and one for each source of the marks.

    Raises:
        ValueError: in one line, for a file that cannot be read or holds no evaluation.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    try:
        return _evaluations(document)
    except KeyError as error:
        fault = f"it has no {error}"
    except (TypeError, ValueError, AttributeError) as error:
        fault = str(error)
    raise ValueError(
        f"{path}: no evaluation ({fault}): give the JSON of evaluate, compare, train or backtest"
    )


def _evaluations(document: Any) -> list[RecordedEvaluation]:
    if isinstance(document, list):
        if not document:
            raise ValueError("it is empty")
        return [found for each in document for found in _evaluations(each)]
    if not isinstance(document, dict):
        raise TypeError(f"{type(document).__name__} instead of a mapping")
    if "backtest" in document:  # as docs/results has it, beside its command
        return _evaluations(document["backtest"])
    if "months" in document:
        return _backtest(document)
    paths, seed = int(document["paths"]), int(document["seed"])
    return [_evaluation(document, document["scenario"], basis(paths, seed))]


def basis(paths: int, seed: int) -> str:
    """On what hedgers are evaluated, in words."""
    return f"{paths:,} evaluation paths, seed {seed}"


def _backtest(document: Mapping[str, Any]) -> list[RecordedEvaluation]:
    span = f"{document['data']}, {document['first']} to {document['last']}"
    whole = document["all"]
    parts = {f"{whole['scenario']} on {document['data']}": whole}
    for source, part in document["by_source"].items():
        parts[f"{whole['scenario']} on {document['data']}, marked at {source}"] = part
    return [
        _evaluation(part, name, f"{int(part['paths'])} months of {span}")
        for name, part in parts.items()
    ]


def _evaluation(document: Mapping[str, Any], name: str, on: str) -> RecordedEvaluation:
    hedgers = tuple(_hedger(each) for each in document["hedgers"])
    if not hedgers:
        raise ValueError("no hedger in it")
    return RecordedEvaluation(
        name=_text(name),
        objective=_text(document["objective"]),
        basis=on,
        hedgers=hedgers,
        tuned=tuple(map(_text, document.get("tuned", ()))),
        source=document,
    )


def _hedger(document: Mapping[str, Any]) -> HedgerResult:
    """The inverse of `HedgerResult.document`, but for the P&L of every path."""
    intervals, versus = document["intervals"], document["versus_delta"]
    figures: dict[str, Any] = {
        name: _estimate(document[name], intervals[name]) for name in ALWAYS
    } | {
        name: _estimate(document[name], intervals[name])
        for name in SOMETIMES
        if document.get(name) is not None
    }
    gap, risk = document["gap_closed"], document["risk"]
    warning = document.get("warning")
    return HedgerResult(
        name=_text(document["name"]),
        risk=_estimate(risk["value"], (risk["low"], risk["high"]), warning),
        versus_delta=(
            None
            if versus is None
            else _estimate(versus["difference"], (versus["low"], versus["high"]))
        ),
        gap_closed=None if gap is None else _estimate(gap, intervals.get("gap_closed")),
        pnl=np.empty(0),
        **{"breach": None, "effectiveness": None, **figures},
    )


def _estimate(value: Any, ends: Any, warning: Any = None) -> Estimate:
    low, high = (None, None) if ends is None else ends
    honest = low is not None and high is not None
    return Estimate(
        _number(value),
        _number(low) if honest else None,
        _number(high) if honest else None,
        None if warning is None else _text(warning),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no name")
    return value
