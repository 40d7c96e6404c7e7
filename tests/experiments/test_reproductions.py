"""Published tables, run again: the papers' own numbers come out, and verdicts say what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import QuantLib
from scipy import stats

from deephedge.envs import Scenario, rollout, simulate
from deephedge.envs.hedger import Hedger
from deephedge.envs.stream import Role, generator_of, stream_of
from deephedge.experiments import evaluate
from deephedge.experiments.commands import reproduce as command_module
from deephedge.experiments.reproductions import Published, paper_names, read_paper, verdicts
from deephedge.experiments.reproductions.paper import merged
from deephedge.experiments.reproductions.practitioner import PractitionerDelta
from deephedge.experiments.reproductions.reproduce import Run, opening_price, reproduce_cell
from deephedge.experiments.reproductions.table import cell_table, spelled
from deephedge.experiments.reproductions.verdict import compared

CAO, SABR = "cao-chen-hull-poulos", "cao-chen-hull-poulos-sabr"
PATHS = 20_000
NEAR = 4  # standard errors


def scenario_of(name: str, cell: str) -> Scenario:
    paper = read_paper(name)
    return paper.scenario_of(paper.cell(cell))


@pytest.mark.parametrize(
    ("name", "cell", "price"),
    [
        (CAO, "1m-weekly", 2.2565),
        (CAO, "1m-3-day", 2.3122),
        (CAO, "3m-daily", 3.9073),
        (SABR, "1m-weekly", 2.2584),
        (SABR, "1m-3-day", 2.3143),
        (SABR, "3m-daily", 3.9174),
        ("neagu-godin-kosseim", "semi-quadratic", 7.71587),
    ],
)
def test_the_price_at_the_start_is_the_papers(name: str, cell: str, price: float) -> None:
    assert opening_price(scenario_of(name, cell)) == pytest.approx(price, abs=6e-5)


@pytest.mark.parametrize(
    ("name", "cell", "row"),
    [
        (CAO, "1m-weekly", "delta"),
        (CAO, "1m-daily", "delta"),
        (CAO, "3m-weekly", "delta"),
        (SABR, "1m-weekly", "practitioner-delta"),
        (SABR, "1m-weekly", "minimum-variance"),
        ("neagu-godin-kosseim", "semi-quadratic", "delta"),
    ],
)
def test_a_rule_of_the_paper_comes_out(name: str, cell: str, row: str) -> None:
    """Within 4 standard errors of both samples and the table's tolerance, in every figure."""
    paper = read_paper(name)
    rules = {"hedgers": (row,) if row != "delta" else (), "learners": ()}
    alone = paper.model_copy(update=rules)
    found = reproduce_cell(alone, paper.cell(cell), Run(paths=PATHS, seed=3))
    published = paper.cell(cell).published[row]
    for measure, theirs in published.figures.items():
        ours = found["rows"][row]["figures"][measure]
        error = (ours["high"] - ours["low"]) / 2 / 1.96
        room = NEAR * np.hypot(error, published.error) + paper.tolerance
        assert abs(ours["value"] - theirs) < room, measure


def test_the_initial_trade_and_the_liquidation_are_charged() -> None:
    """In the money on paths that stand still, a share is bought and sold again, at 1 % of 100."""
    paper, still = read_paper(CAO), {"market": {"sigma": 1e-6, "drift": 0.0}}
    deep = {**still, "marking": {"vol": 1e-6}, "position": {"legs": {0: {"claim": {"strike": 90}}}}}
    scenario = paper.scenario_of(paper.cell("1m-weekly"), deep)
    delta = evaluate(scenario, [], 100).result("delta")
    assert delta.pnl == pytest.approx(-2.0, abs=1e-4)


def test_the_practitioners_delta_is_black_scholes_at_quantlibs_sabr_vol() -> None:
    scenario = scenario_of(SABR, "1m-weekly")
    market: Any = scenario.market
    episodes = simulate(scenario, 64, generator_of(stream_of(5, Role.EVALUATION)))
    held = np.asarray(rollout(scenario, episodes, PractitionerDelta(), record=True).holding)
    arrays = episodes.numpy()
    for t in range(len(held)):
        left = float(arrays.times[-1, 0] - arrays.times[t, 0])
        for j in range(64):
            spot, alpha = float(arrays.spot[t, j]), float(arrays.latents["alpha"][t, j])
            vol = QuantLib.sabrVolatility(100.0, spot, left, alpha, 1.0, market.nu, market.rho)
            d1 = (np.log(spot / 100) + vol**2 * left / 2) / (vol * np.sqrt(left))
            assert held[t, j, 0] == pytest.approx(stats.norm.cdf(d1), abs=1e-6)


def test_the_practitioners_delta_is_for_sabr() -> None:
    with pytest.raises(ValueError, match=r"'practitioner-delta'.*of kind sabr: take delta"):
        hedger: Hedger = PractitionerDelta()
        evaluate(scenario_of(CAO, "1m-weekly"), [hedger], 10)


# Verdicts


def estimate(value: float, half: float | None = None) -> dict[str, float | None]:
    ends = (None, None) if half is None else (value - half, value + half)
    return {"value": value, "low": ends[0], "high": ends[1]}


@pytest.mark.parametrize(
    ("ours", "theirs", "error", "verdict"),
    [
        (estimate(9.0, 0.5), 10.0, 0.0, "beaten"),
        (estimate(9.0, 0.5), 10.0, 0.5, "not beaten"),  # 1.0 against hypot(0.5, 0.98) = 1.1
        (estimate(9.0, 1.5), 10.0, 0.0, "not beaten"),
        (estimate(11.0, 1.5), 10.0, 0.0, "not beaten"),
        (estimate(11.0, 0.5), 10.0, 0.5, "not beaten"),
        (estimate(11.0, 0.5), 10.0, 0.0, "lost to"),
        (estimate(9.9), 10.0, 0.0, "beaten"),
        (estimate(10.0), 10.0, 0.0, "not beaten"),
    ],
)
def test_a_comparison(ours: Any, theirs: float, error: float, verdict: str) -> None:
    assert compared(ours, theirs, error) == verdict


def test_verdicts() -> None:
    paper = read_paper(CAO)
    published = {
        "delta": Published(method="rule", figures={"loss": 70.0, "std": 50.0, "risk": 145.0}),
        "rl": Published(method="model-free", figures={"risk": 140.0}),
        "other": Published(method="model-free", figures={"loss": 1.0}),  # not judged by the paper
    }

    def of(name: str, loss: float, std: float, risk: float) -> dict[str, str]:
        figures = {"loss": estimate(loss, 9), "std": estimate(std, 9), "risk": estimate(risk, 0.1)}
        return verdicts(paper, name, figures, published)

    assert of("delta", 70.5, 49.5, 145.4) == {"delta": "reproduced"}
    assert of("delta", 70.0, 50.0, 145.6) == {"delta": "not reproduced"}
    assert of("band", 70.0, 50.0, 141.0) == {"delta": "beaten", "rl": "lost to"}
    assert of("rl", 70.0, 50.0, 140.05) == {"delta": "beaten", "rl": "not beaten"}  # no rule


# The data


def test_every_paper_can_be_read_trained_and_judged() -> None:
    for name in paper_names():
        paper = read_paper(name)
        assert paper.name == name
        for cell in paper.cells:
            scenario = paper.scenario_of(cell)
            for learner in paper.learners:
                trained_on = paper.scenario_of(cell, learner.train)
                steps = learner.settings_of(trained_on).steps
                assert steps == learner.episodes * len(scenario.calendar.decisions)
            for row in cell.must:
                assert row in [learner.name for learner in paper.learners]
            for row in cell.published.values():
                assert set(row.figures) <= {*paper.measures, paper.judged}


def test_merging() -> None:
    tree = {"a": {"kind": "x", "p": 1, "q": 2}, "b": [{"c": 1}, {"d": 2}], "e": 3}
    assert merged(tree, {"a": {"q": 5}})["a"] == {"kind": "x", "p": 1, "q": 5}
    assert merged(tree, {"a": {"kind": "y"}})["a"] == {"kind": "y"}
    assert merged(tree, {"b": {1: {"d": 7}}})["b"] == [{"c": 1}, {"d": 7}]
    assert merged(tree, {"b": [], "f": {"g": 1}}) == {**tree, "b": [], "f": {"g": 1}}
    assert tree["e"] == 3 and tree["b"] == [{"c": 1}, {"d": 2}]


def test_names_of_tuned_rules() -> None:
    assert spelled("band:width=0.1", "width") == spelled("band", "width") == "band:width=best"
    assert spelled("band:width=0.1,to=centre", "width") == "band:width=best,to=centre"
    assert spelled("leland", None) == "leland"


# The command

QUICK = ["--steps", "40", "--paths", "300"]


def test_the_command_lists(deephedge: Callable[..., Any]) -> None:
    listed = deephedge("reproduce", "--json")
    assert (
        list(listed.json)
        == paper_names()
        == list(deephedge("list", "reproductions", "--json").json)
    )
    shown = deephedge("reproduce")
    assert shown.code == 0 and all(name in shown.out for name in paper_names())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["cao-chen-hul-poulos"], "did you mean 'cao-chen-hull-poulos'?"),
        ([CAO, "--cells", "1m-wekly"], "unknown cell '1m-wekly': did you mean '1m-weekly'?"),
        ([CAO, "--out", "no/such/place.json"], "there is no folder no/such: make it first"),
        ([CAO, "--out", "other.json"], "it is there and holds no results of cao-chen-hull-poulos"),
    ],
)
def test_bad_input(
    words: list[str], why: str, deephedge: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "other.json").write_text('{"name": "other"}')
    ran = deephedge("reproduce", *words)
    assert ran.code == 2 and why in ran.err and ran.err.count("\n") == 1
    assert (tmp_path / "other.json").read_text() == '{"name": "other"}'


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learners that learn next to nothing, at once."""
    tiny = {"environments": 8, "net": (4,)}

    def read(name: str) -> Any:
        paper = read_paper(name)
        learners = tuple(each.model_copy(update={"settings": tiny}) for each in paper.learners)
        return paper.model_copy(
            update={"learners": learners, "hedgers": ("leland", "band:width=best")}
        )

    monkeypatch.setattr(command_module, "read_paper", read)


def test_the_command_keeps_what_it_found(
    small: None, deephedge: Callable[..., Any], tmp_path: Path
) -> None:
    command = ["reproduce", CAO, *QUICK, "--out", "cao.json", "--json"]
    first = deephedge(*command, "--cells", "1m-3-day")
    assert first.code == 0, first.err
    assert json.loads((tmp_path / "cao.json").read_text()) == first.json
    both = deephedge(*command, "--cells", "1m-weekly").json
    assert list(both["cells"]) == ["1m-weekly", "1m-3-day"]  # in the paper's order
    assert both["cells"]["1m-3-day"] == first.json["cells"]["1m-3-day"]
    cell = both["cells"]["1m-weekly"]
    assert cell["paths"] == 300 and cell["command"].startswith("deephedge reproduce cao-")
    assert {row["method"] for row in cell["rows"].values()} == {"rule", "pathwise", "model-free"}
    assert cell["rows"]["ppo"]["training"]["settings"]["steps"] == 40
    text = cell_table(both, "1m-weekly")
    for name, row in cell["rows"].items():
        assert spelled(name, row["tuned"]) in text


@pytest.mark.slow
def test_deep_hedging_beats_the_papers_learner_and_the_must() -> None:
    """1 month, weekly: at most 133.5 % of the price where the paper's agent has 140.5."""
    paper = read_paper(CAO)
    alone = paper.model_copy(update={"learners": paper.learners[:1], "hedgers": ()})
    found = reproduce_cell(alone, paper.cell("1m-weekly"), Run(paths=100_000, seed=1))
    row = found["rows"]["deep-hedging"]
    assert row["figures"]["risk"]["high"] < 133.5 and row["verdict"]["rl"] == "beaten"
