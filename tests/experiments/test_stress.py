"""Stress tests and trade-offs: the same draws, the same hedgers, one difference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from deephedge.baselines import BandHedge, DeltaHedge
from deephedge.envs import Scenario, load_scenario
from deephedge.experiments import evaluate
from deephedge.experiments.shocks import SHOCKS, WideSpreads
from deephedge.experiments.stress import CALM, named_shocks, stress
from deephedge.experiments.trade_offs import MEASURES, trade_offs

Deephedge = Callable[..., Any]


@pytest.fixture(scope="module")
def plain() -> Scenario:
    """No optimum is known here, so that nothing is solved."""
    return load_scenario("sp500-call", {"calendar.steps": "5"})


def test_without_a_shock_it_is_the_evaluation(plain: Scenario, few_paths: None) -> None:
    found = stress(plain, [BandHedge()], {}, paths=600, seed=3)
    known = evaluate(plain, [BandHedge()], paths=600, seed=3)
    assert list(found.by_shock) == [CALM]
    for each in found.by_shock[CALM]:
        np.testing.assert_array_equal(each.result.pnl, known.result(each.result.name).pnl)
        assert each.added.value == 0.0
        assert each.worst == -each.result.pnl.min() == -each.result.pnl[each.worst_path]


def test_what_a_shock_adds_is_the_difference_on_the_same_draws(
    plain: Scenario, few_paths: None
) -> None:
    found = stress(plain, [], {"wide": WideSpreads(times=3.0)}, paths=600)
    calm = {each.result.name: each for each in found.by_shock[CALM]}
    for each in found.by_shock["wide"]:
        before = calm[each.result.name].result
        assert each.result.cost.value == pytest.approx(3 * before.cost.value)
        assert each.added.value == pytest.approx(each.result.risk.value - before.risk.value)


def test_shocks_by_name(plain: Scenario) -> None:
    assert set(named_shocks([], plain)) == set(SHOCKS) - {"correlation-one"}
    with pytest.raises(ValueError, match="did you mean 'crash-1987'"):
        named_shocks(["crash-1986"], plain)
    with pytest.raises(ValueError, match="'correlation-one': a market of one asset"):
        stress(plain, [], named_shocks(["correlation-one"], plain), paths=10)


def test_the_command(deephedge: Deephedge) -> None:
    arguments = ["stress", "sp500-call", "--shock", "crash", "--hedger", "delta"]
    arguments += ["--paths", "64", "--set", "calendar.steps=5"]
    document = deephedge(*arguments, "--json").json
    assert [each["name"] for each in document["shocks"]] == [CALM, "crash"]
    assert document["shocks"][1]["definition"]["fall"] == 0.2
    shown = deephedge(*arguments)
    assert shown.code == 0 and "crash: fall 0.2" in shown.out.replace("at 0.5, ", "")
    refused = deephedge("stress", "sp500-call", "--shock", "gap-through")
    assert refused.code == 2 and "did you mean 'gap-through-strike'" in refused.err


def test_trade_offs(plain: Scenario, few_paths: None) -> None:
    found = trade_offs(plain, [], paths=600, seed=1)
    styles = [each.style for each in found.hedgers]
    assert styles == sorted(styles, key=["none", "static", "dynamic"].index)
    by_name = {each.name: each.measures for each in found.hedgers}
    unhedged, delta = by_name["none"], by_name["delta"]
    calm = evaluate(plain, [], paths=600, seed=1)
    pnl = calm.result("none").pnl
    best = np.argsort(-pnl, kind="stable")[:60]
    assert unhedged["upside"].value == pytest.approx(pnl[best].mean())
    assert delta["upside"].value == pytest.approx(calm.result("delta").pnl[best].mean())
    assert delta["std"].value < unhedged["std"].value
    assert unhedged["shifted_risk"].value > unhedged["risk"].value
    for measures in by_name.values():
        assert set(measures) == set(MEASURES)
        change = measures["shifted_risk"].value - measures["risk"].value
        assert measures["added_by_shift"].value == pytest.approx(change)


def test_the_trade_offs_command(deephedge: Deephedge) -> None:
    arguments = ["trade-offs", "sp500-call", "--paths", "64", "--set", "calendar.steps=5"]
    names = [each["name"] for each in deephedge(*arguments, "--json").json["hedgers"]]
    assert names[:2] == ["none", "static"] and any(n.startswith("band:") for n in names)
    shown = deephedge(*arguments, "--markdown").out
    assert shown.startswith("|  | none (none) | static (static) |")
    assert DeltaHedge().name in shown
