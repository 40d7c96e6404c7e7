"""What a hedger is shown: the present and the past, and nothing that comes later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deephedge.envs import Episodes, Known, Scenario, View, load_scenario, mark, rollout, simulate
from deephedge.envs.desk import Desk
from deephedge.envs.markets import MarketPaths
from deephedge.envs.namespace import NUMPY, TORCH, X
from deephedge.envs.observation import FEATURES
from deephedge.envs.rewards import AccountingReward

N = 6
Make = Callable[..., Scenario]


class Reader:
    """Reads everything public on every date, writes it down, and decides by it."""

    name = "reader"

    def __init__(self, scenario: Scenario, differentiable: bool) -> None:
        jumps = scenario.market.model_fields_set >= {"intensity"}
        absent = {name for name, f in FEATURES.items() if f.latent} - ({"jump"} if jumps else set())
        absent |= {"spread"}  # tests/envs/test_liquidity.py
        absent |= {"aversion"} if scenario.contract.aversion is None else set()
        names = [name for name in FEATURES if name not in absent]
        view = View(features=(*names, "holding", "gap", "pnl"), reward=AccountingReward())
        self.desk = Desk(scenario, TORCH if differentiable else NUMPY, view)
        self.diary: list[dict[str, Any]] = []

    def start(self, n: int) -> None:
        return None

    def act(self, known: Known, state: None) -> tuple[X, None]:
        page = {name: getattr(known, name) for name in public(known)}
        page["observation"] = known.observe(self.desk)
        for name in [field.name for field in fields(Episodes)]:
            try:
                page[f"history of {name}"] = known.history(name)
            except ValueError:
                continue
        self.diary.append({key: frozen(value) for key, value in page.items()})
        read = sum(x.sum() for x in numbers(page))
        width = self.desk.view.action.width * known.contract.instruments
        sizes = 0.5 + 0.4 * np.sin(float(read) + np.arange(N * width)).reshape(N, width)
        action = torch.as_tensor(sizes) if self.desk.ops is TORCH else sizes
        return known.targets(self.desk, action), None


def public(known: Known) -> list[str]:
    """Everything that can be read off it, now or after a later change of `Known`."""
    names = [name for name in dir(known) if not name.startswith("_")]
    return [name for name in names if not callable(getattr(known, name))]


def numbers(page: dict[str, Any]) -> list[Any]:
    values = [
        np.asarray(value) for value in page.values() if isinstance(value, np.ndarray | Tensor)
    ]
    return [np.nan_to_num(value.astype(float)) for value in values]


def frozen(value: Any) -> Any:
    """A copy that later steps cannot change."""
    if isinstance(value, Tensor):
        return value.numpy().copy()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, tuple):
        return [frozen(item) for item in value]
    return value


@pytest.mark.parametrize("differentiable", [False, True], ids=["numpy", "torch"])
@pytest.mark.parametrize("seed", range(25))
def test_what_comes_later_changes_nothing_now(
    seed: int, differentiable: bool, random_scenario: Make
) -> None:
    """The same episodes up to date t and others after it: the same diary up to t."""
    scenario = random_scenario(seed, loss_limit=None)
    market = wandering(paths_of(scenario, seed), seed)
    reader = Reader(scenario, differentiable)
    rollout(scenario, mark(scenario, market), reader, differentiable=differentiable)
    dates = scenario.calendar.decisions
    assert len(reader.diary) == len(dates)
    for t, date in enumerate(dates):
        other = Reader(scenario, differentiable)
        changed = mark(scenario, futures(market, date, seed))
        rollout(scenario, changed, other, differentiable=differentiable)
        for page, again in zip(reader.diary[: t + 1], other.diary[: t + 1], strict=True):
            for key, value in page.items():
                np.testing.assert_equal(again[key], value, f"{key} at {page['t']} knows {t} + 1")
        if t + 1 < len(dates):
            assert (other.diary[t + 1]["spot"] != reader.diary[t + 1]["spot"]).all()


def paths_of(scenario: Scenario, seed: int) -> MarketPaths:
    generator = torch.Generator().manual_seed(seed)
    times = scenario.calendar.times(N, generator)
    return scenario.market.simulate(times, N, generator)


def wandering(paths: MarketPaths, seed: int) -> MarketPaths:
    """With a quoted vol that changes from day to day."""
    generator = torch.Generator().manual_seed(seed)
    vol = torch.rand(paths.spot.shape, generator=generator, dtype=torch.float64) * 0.3 + 0.1
    return replace(paths, implied_vol=vol)


def futures(paths: MarketPaths, date: int, seed: int) -> MarketPaths:
    """The same up to and including a market date, other prices, vols and jumps after it."""
    later = torch.arange(len(paths.spot))[:, None] > date
    generator = torch.Generator().manual_seed(seed + 1000)
    factor = torch.rand(paths.spot.shape, generator=generator, dtype=torch.float64) + 0.5
    spot = torch.where(later, paths.spot * factor, paths.spot)
    return replace(
        paths,
        spot=spot,
        log_spot=torch.where(later, spot.log(), paths.log_spot),
        implied_vol=torch.where(later, paths.implied_vol * factor, paths.implied_vol),
        jump=None if paths.jump is None else torch.where(later, factor, paths.jump),
    )


def test_the_present_is_the_episodes_at_t() -> None:
    scenario = load_scenario("book-jumps")
    episodes = simulate(scenario, N, torch.Generator().manual_seed(1))
    dates: list[int] = []

    class Checking:
        name = "checking"

        def start(self, n: int) -> None:
            return None

        def act(self, known: Known, state: None) -> tuple[X, None]:
            t = known.t
            for name in ("spot", "price", "delta", "gamma", "vega", "theta", "hedge_delta"):
                assert (getattr(known, name) == getattr(episodes, name)[t].numpy()).all()
                past = known.history(name)
                assert (past == getattr(episodes, name)[: t + 1].numpy()).all()
            assert known.time == pytest.approx(t / 365)
            assert known.time_left == pytest.approx((60 - t) / 365)
            assert known.vol == pytest.approx(np.full((1,), 0.18))
            assert known.neutral[:, 0] == pytest.approx(-known.delta)
            assert known.steps == 60
            if t == 0:
                assert (known.holding == 0).all()
                assert known.wealth == pytest.approx(np.zeros(N))
            else:
                assert (known.holding == t).all()
            dates.append(t)
            return np.full((N, 2), t + 1.0), None

    wide = scenario.model_copy(
        update={
            "hedges": tuple(
                hedge.model_copy(update={"limits": hedge.limits.bounded(100.0)})
                for hedge in load_scenario("book-jumps", {"hedges.1.limits": "{}"}).hedges
            )
        }
    )
    rollout(wide, episodes, Checking())
    assert dates == list(range(60))


@pytest.mark.parametrize(
    "name", ["carry", "growth", "premium", "latents", "numpy", "no_such", "_x"]
)
def test_only_series_of_the_past_have_a_history(name: str) -> None:
    """Dividends of the step ahead are a share of its last spot, so they have none."""
    scenario = load_scenario("book-jumps")

    class Prying:
        name = "prying"

        def start(self, n: int) -> None:
            return None

        def act(self, known: Known, state: None) -> tuple[X, None]:
            known.history(name)
            raise AssertionError(f"{name} was shown")

    episodes = simulate(scenario, N, torch.Generator())
    with pytest.raises(ValueError, match=f"no history of '{name}'"):
        rollout(scenario, episodes, Prying())


@pytest.mark.parametrize("name", ["spot", "price", "delta", "wealth", "time", "hedge_gamma"])
def test_what_is_shown_cannot_be_written_on(name: str) -> None:
    """Else a careless ``known.price *= 2`` would move prices, here and for the next hedger."""
    scenario = load_scenario("book-jumps")

    class Careless:
        name = "careless"

        def start(self, n: int) -> None:
            return None

        def act(self, known: Known, state: None) -> tuple[X, None]:
            assert known.t < 2, "it was allowed"
            if known.t == 1:
                getattr(known, name)[...] = 0.0
            return 0.0 * known.holding + 1.0, None

    with pytest.raises(ValueError, match="read-only"):
        rollout(scenario, simulate(scenario, N, torch.Generator()), Careless())


def test_what_a_hedger_makes_is_its_own_to_change() -> None:
    scenario = load_scenario("gamma-hedge-jumps")
    episodes = simulate(scenario, N, torch.Generator().manual_seed(3))
    desk = Desk(scenario, NUMPY)

    class Scribbling:
        name = "scribbling"

        def __init__(self, scribbles: bool) -> None:
            self.scribbles = scribbles

        def start(self, n: int) -> None:
            return None

        def act(self, known: Known, state: None) -> tuple[X, None]:
            targets = known.targets(desk, 0.1 * known.observe(desk)[:, :4].astype(float))
            if self.scribbles:
                for own in (known.neutral, known.holding, known.observe(desk)):
                    own[...] = 99.0
            return targets, None

    plain, scribbled = (rollout(scenario, episodes, Scribbling(s)).pnl for s in (False, True))
    assert (plain == scribbled).all()
