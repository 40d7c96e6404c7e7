"""Transfer: what was made for one scenario sees another as it would see home."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

from deephedge.agents import AgentSettings
from deephedge.agents.policy_hedger import PolicyHedger
from deephedge.baselines import DeltaHedge, OptimalHedge, parse_baseline
from deephedge.envs import Scenario, View, load_scenario, mark, rollout
from deephedge.envs.episodes import market_paths
from deephedge.envs.tape import Tape
from deephedge.experiments import evaluate, load_run, statistics
from deephedge.experiments.executor import executor_of
from deephedge.experiments.from_home import FromHome, HomeView, at_home
from deephedge.experiments.reports.transfer_figure import transfer_figure
from deephedge.experiments.scenario_grid import over
from deephedge.experiments.transfer import judge_column, transfer
from deephedge.experiments.transfer_tables import cell_of, markdown, matrix

VOLS = "market.sigma,marking.vol=0.2,0.3"


def quiet(fraction: float) -> None:
    """Nobody is told."""


def batch(scenario: Scenario, home: Scenario, paths: int = 64) -> tuple[Any, HomeView]:
    """Episodes of a scenario, and the view of them from home."""
    generator = torch.Generator().manual_seed(3)
    drawn = market_paths(scenario, paths, generator)
    orders = generator.clone_state()
    episodes = mark(scenario, drawn, generator)
    return episodes, HomeView(at_home(home, scenario), drawn, episodes, orders)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("short-call", "optimal"),
        ("short-call-jumps", "zakamouline"),
        ("gamma-hedge-jumps", "delta-gamma"),
        ("market-maker-book", "delta-gamma"),
        ("black-swan", "band"),
        ("portfolio-insurance", "cppi"),
    ],
)
def test_at_home_it_is_the_hedger_itself_bit_for_bit(
    name: str, rule: str, few_paths: None, brief: Callable[..., Scenario]
) -> None:
    scenario = load_scenario(name) if name == "black-swan" else brief(name)
    made = {"here": {rule: [rule]}}
    column = judge_column("here", {"here": scenario}, made, (0,), 600, 4, quiet)
    risk = evaluate(scenario, [parse_baseline(rule)], 600, 4).result(rule).risk
    assert column["cells"][0]["risk"] == {
        "value": risk.value,
        "low": risk.low,
        "high": risk.high,
    }


def test_a_delta_hedger_from_another_vol_hedges_at_that_vol() -> None:
    """The rule's own option ``vol``, which goes another way to the same deltas."""
    home, away = over(load_scenario("short-call"), [VOLS]).values()
    episodes, view = batch(away, home)
    own = rollout(away, episodes, FromHome("x", DeltaHedge(), view))
    same = rollout(away, episodes, DeltaHedge(vol=0.2))
    np.testing.assert_allclose(own.pnl, same.pnl, rtol=0, atol=1e-9)
    assert np.abs(own.pnl - rollout(away, episodes, DeltaHedge()).pnl).max() > 0.1


class Seen:
    """A policy that writes down what it sees and holds half the bounds."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def predict(self, observation: Any, *rest: Any, **more: Any) -> tuple[Any, None]:
        """The same action whatever is seen."""
        self.rows.append(np.array(observation, dtype=np.float64))
        return np.full((len(observation), 2), 0.25, dtype=np.float32), None


def test_a_policy_sees_its_inputs_as_at_home() -> None:
    """Scales, marks, Greeks and P&L by hand at the vol of home, on the prices of the other."""
    base = load_scenario("short-call", {"market.rate": "0.05", "calendar.steps": "4"})
    home, away = over(base, [VOLS]).values()
    episodes, view = batch(away, home)
    seen = Seen()
    features = ("time_left", "moneyness", "delta", "gamma", "holding", "pnl")
    policy = PolicyHedger("x", seen, home, View(features=features))  # type: ignore[arg-type]
    outcome = rollout(away, episodes, FromHome("x", policy, view), record=True)
    spot, held = episodes.numpy().spot, np.asarray(outcome.holding)[..., 0]
    sigma, rate, years = 0.2, 0.05, 30 / 365
    step, deviation = years / 4, sigma * years**0.5

    def call(t: int) -> tuple[Any, Any, Any]:
        """Black-Scholes price, delta and gamma at the vol of home."""
        left = years - t * step
        spread = sigma * left**0.5
        d1 = (np.log(spot[t] / 100) + rate * left) / spread + spread / 2
        price = spot[t] * norm.cdf(d1) - 100 * np.exp(-rate * left) * norm.cdf(d1 - spread)
        return price, norm.cdf(d1), norm.pdf(d1) / (spot[t] * spread)

    cash, before = call(0)[0], np.zeros_like(held[0])
    for t in range(4):
        price, delta, gamma = call(t)
        pnl = cash + before * spot[t] - price
        expected = [
            1 - t / 4,
            np.log(spot[t] / 100) / (sigma * (years - t * step) ** 0.5),
            -delta,
            -gamma * 100 * sigma * step**0.5,
            before,
            pnl / (0.4 * 100 * deviation),
        ]
        for column, values in zip(seen.rows[t].T, expected, strict=True):
            np.testing.assert_allclose(column, np.clip(values, -5, 5), rtol=0, atol=3e-6)
        trade = held[t] - before
        cash = (cash - trade * spot[t] - 0.002 * np.abs(trade) * spot[t]) * np.exp(rate * step)
        before = held[t]


def test_spreads_are_seen_as_they_are() -> None:
    """Those of the place, which are wider after a jump, where home knows of none."""
    home = load_scenario("short-call-jumps")
    away = load_scenario("short-call-jumps", {"hedges.0.spread": "{after_jump: 3}"})
    episodes, view = batch(away, home)
    assert episodes.frictions is not None
    spread = Tape.of(episodes).frictions.spread
    ours = view._known._tape.frictions
    assert ours is not None and np.array_equal(ours.spread[0], spread[0]) and spread[0].max() > 1


def test_the_deal_is_a_fact_and_the_rest_belief() -> None:
    scenario = load_scenario("short-call")
    home, away = over(scenario, ["position.legs.0.claim.strike=100,110"]).values()
    believed = at_home(load_scenario("short-call-jumps"), away)
    assert believed.position == away.position
    assert believed.market.kind == "merton"
    assert at_home(home, home) is home


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"market.spot": "90"}, "prices start at"),
        ({"hedges.0.instrument": "{kind: future, tenor: 1}"}, "other instruments"),
        ({"liquidate": "true", "hedges.0.impact": "{permanent: 0.001}"}, "permanent impact"),
    ],
)
def test_what_cannot_be_hedged_from_elsewhere(changes: dict[str, str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        at_home(load_scenario("short-call"), load_scenario("short-call", changes))


def test_a_matrix_is_paired_and_the_optimum_is_lowest(few_paths: None) -> None:
    scenarios = over(load_scenario("short-call", {"calendar.steps": "6"}), [VOLS])
    found = transfer(scenarios, paths=1000, seed=2).document()
    for column, away in zip(found["columns"], scenarios.values(), strict=True):
        results = evaluate(away, [], 1000, 2)
        best = results.result("optimal").risk
        assert column["optimum"]["value"] == best.value
        for cell in column["cells"]:
            assert cell["above_optimum"]["value"] >= (
                0 if cell["contender"] == "optimal" else -0.01
            )
            home = cell_of(column, column["scenario"], cell["contender"])
            if cell["excess"] is not None:
                apart = cell["risk"]["value"] - home["risk"]["value"]
                assert cell["excess"]["value"] == pytest.approx(apart, abs=1e-12)
    elsewhere = cell_of(found["columns"][1], "sigma=0.2", "delta")["risk"]["value"]
    other = evaluate(scenarios["sigma=0.3"], [DeltaHedge(vol=0.2)], 1000, 2)
    assert elsewhere == pytest.approx(other.result("delta:vol=0.2").risk.value, abs=1e-9)
    width = found["made"]["sigma=0.2"]["band:width=best"]
    assert width.startswith("band:width=0.")
    headings, rows = matrix(found, "delta")
    assert headings == ["delta", "on sigma=0.2", "on sigma=0.3"]
    assert [row[0] for row in rows] == ["made for sigma=0.2", "made for sigma=0.3", "the optimum"]
    assert f"{found['columns'][0]['cells'][0]['risk']['value']:.4f}" == rows[0][1]
    again = json.loads(json.dumps(found, allow_nan=False))
    assert "made for sigma=0.3" in markdown(again)
    assert len(transfer_figure(again).axes) == 3


def test_a_grid() -> None:
    scenario = load_scenario("short-call")
    both = over(scenario, ["market.sigma,marking.vol=0.1,0.2", "objective.aversion=0.1,1"])
    assert [*both] == [f"sigma={s}, aversion={a}" for s in (0.1, 0.2) for a in (0.1, 1)]
    last = both["sigma=0.2, aversion=1"]
    assert (last.market.volatility, last.contract.aversion) == (0.2, 1.0)
    rates = over(scenario, ["hedges.0.costs.0.rate=0,0.001", "market.rate=0,0.1"])
    assert "hedges.0.costs.0.rate=0.001, market.rate=0.1" in rates
    assert over(scenario, []) == {"short-call": scenario}


@pytest.mark.parametrize("grid", ["market.sigma", "=0.1", "market.sigma=", "market.sigma,=0.1"])
def test_a_grid_that_cannot_be_read(grid: str) -> None:
    with pytest.raises(ValueError, match="give KEY=V1,V2"):
        over(load_scenario("short-call"), [grid])


@pytest.mark.parametrize(
    ("rules", "says"),
    [(["hull-white"], "hull-white"), (["dleta"], "did you mean 'delta'"), (["."], "made anew")],
)
def test_rules_that_cannot_be_made(rules: list[str], says: str) -> None:
    scenarios = over(load_scenario("short-call"), [VOLS])
    with pytest.raises(ValueError, match=says):
        transfer(scenarios, rules, paths=100)


@pytest.mark.slow
def test_policies_are_trained_on_each_scenario_once_and_judged_by_seed(
    few_paths: None,
    brief: Callable[..., Scenario],
    tiny: Callable[..., AgentSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenarios = over(brief(), [VOLS])
    arguments: Any = {"seeds": (0, 1), "paths": 600, "folder": tmp_path / "out"}
    study = transfer(scenarios, ["delta"], {"ppo": tiny()}, **arguments)
    found = study.document()
    column = found["columns"][1]
    away = scenarios["sigma=0.3"]
    runs = [load_run(Path(run), run) for run in study.made["sigma=0.3"]["ppo"]]
    risks = [evaluate(away, [run], 600).result(run.name).risk.value for run in runs]
    here = cell_of(column, "sigma=0.3", "ppo")
    assert [each["risk"]["value"] for each in here["seeds"]] == risks
    assert here["risk"]["value"] == statistics.mean(risks).value
    there = cell_of(column, "sigma=0.2", "ppo")
    pairs = [a["risk"]["value"] - r for a, r in zip(there["seeds"], risks, strict=True)]
    assert there["excess"]["low"] == pytest.approx(statistics.mean(pairs).low)
    monkeypatch.setattr("deephedge.experiments.runs.train_run", None)  # nothing is trained again
    assert transfer(scenarios, ["delta"], {"ppo": tiny()}, **arguments).document() == found
    with pytest.raises(ValueError, match="another"):
        transfer(scenarios, ["delta"], {"ppo": tiny()}, **(arguments | {"paths": 500}))


@pytest.mark.slow
def test_columns_are_the_same_from_two_processes(brief: Callable[..., Scenario]) -> None:
    scenarios = over(brief(), [VOLS])
    here, there = (
        transfer(scenarios, ["delta", "optimal"], paths=600, executor=executor_of(kind, 2))
        for kind in ("serial", "processes")
    )
    assert here.document() == there.document()


def test_at_the_command_line(tmp_path: Path, deephedge: Callable[..., Any]) -> None:
    out = tmp_path / "t"
    arguments = ["transfer", "short-call", "--over", VOLS, "--to", "short-call-jumps"]
    arguments += ["--set", "calendar.steps=3", "--paths", "100", "--hedger", "delta"]
    done = deephedge(*arguments, "--out", str(out), "--json")
    assert done.code == 0, done.err
    assert [c["scenario"] for c in done.json["columns"]][2] == "short-call-jumps"
    assert {"transfer.json", "transfer.md", "transfer.svg"} <= {path.name for path in out.iterdir()}
    assert "made for short-call-jumps" in deephedge(*arguments).out
    again = deephedge(*arguments, "--out", str(out), "--json")
    assert again.json == done.json
    other = deephedge(*arguments, "--out", str(out), "--seed", "1")
    assert other.code == 2 and "is of other" in other.err
    alone = deephedge("transfer", "short-call")
    assert alone.code == 2 and "give two or more values" in alone.err
    twice = deephedge("transfer", "short-call", "--to", "short-call")
    assert twice.code == 2 and "stands twice" in twice.err
    with_agent = deephedge("transfer", "short-call", "--over", VOLS, "--agent", "nobody")
    assert with_agent.code == 2


def test_the_optimum_of_home_is_asked_about_home() -> None:
    """Its holdings are those of its own programme, whatever the market is."""
    home, away = over(load_scenario("short-call", {"calendar.steps": "6"}), [VOLS]).values()
    episodes, view = batch(away, home)
    wrong = rollout(away, episodes, FromHome("x", OptimalHedge(), view), record=True)
    right = rollout(away, episodes, OptimalHedge(), record=True)
    assert np.abs(np.asarray(wrong.holding) - np.asarray(right.holding)).max() > 0.01
