"""The bench: the form of its document and what it counts; never how fast it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from deephedge.envs import Scenario
from deephedge.experiments import bench as module
from deephedge.experiments.bench import Sizes, Work, bench, everything, timed

SMALL = Sizes(paths=8, single=7, numbers=10, environments=32)


@pytest.mark.slow
def test_the_document(brief: Callable[..., Scenario], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure but the bounds has a bound before it and the ratio to that."""
    monkeypatch.setattr(module, "LEAST", 1)
    told: list[tuple[int, int]] = []
    found = bench(brief(), 0.0, SMALL, lambda *done: told.append(done))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert {"cpu", "cores", "threads", "python", "torch", "deephedge"} <= {*found["machine"]}
    rates: dict[str, float] = {}
    for each in found["figures"]:
        assert 0 < each["low"] <= each["rate"] <= each["high"] and each["repeats"] == 1
        if each["bound"] is None:
            assert each["ratio"] is None
        else:
            assert each["ratio"] > 0 and each["bound"] in rates
        rates[each["what"]] = each["rate"]
    assert len(rates) == len(found["figures"]) == len(told) == told[-1][0]


def test_what_is_counted(brief: Callable[..., Scenario]) -> None:
    counts = {work.what: work.count for work in everything(brief(), SMALL)}
    assert counts["prices"] == counts["episodes: marks, Greeks, features"] == 8 * 5
    assert counts["vector environment"] == 2 * 5 * 8
    assert counts["rollout of delta"] == 8 * 5
    assert counts["deep-hedging, learning"] == 32 * 5
    assert counts["ppo, learning"] % 32 == 0


def test_median_quartiles_and_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound and work in turns, by a clock of our own: 1 and 3 seconds, 2 and 6 ..."""
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])

    def taking(seconds: list[float]) -> Callable[[], None]:
        def run() -> None:
            clock[0] += seconds.pop(0)

        return run

    bound = Work("b", "numbers", 30, taking([1.0, 2.0, 3.0, 5.0, 6.0]))
    work = Work("w", "steps", 30, taking([99.0, 3.0, 6.0, 10.0, 15.0, 30.0]), bound)
    found = timed(work, 0.0)
    assert (found.low, found.rate, found.high) == (2.0, 3.0, 5.0)
    assert (found.repeats, found.bound, found.ratio) == (5, "b", pytest.approx(1 / 3))
    assert timed(Work("x", "steps", 8, taking([2.0] * 6)), 0.0).ratio is None


def test_at_the_command_line(
    deephedge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = Work("torch.randn", "numbers", 3, lambda: torch.randn(100))
    works = [numbers, Work("x", "steps", 2, lambda: torch.randn(100), numbers)]
    monkeypatch.setattr(module, "everything", lambda scenario, sizes: works)
    done = deephedge("bench", "--seconds", "0", "--json")
    assert [each["what"] for each in done.json["figures"]] == ["torch.randn", "x"]
    shown = deephedge("bench", "short-call-jumps", "--seconds", "0").out
    assert "short-call-jumps on" in shown and "of torch.randn" in shown
    assert deephedge("bench", "nothing").code == 2
