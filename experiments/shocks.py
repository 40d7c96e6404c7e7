"""Shocks: named blows to a market's paths, laid over any scenario."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from ..envs import Episodes, Scenario
from ..envs.calendar import DAYS_PER_YEAR
from ..envs.frictions import ScheduledHalt
from ..envs.markets import MarketPaths
from ..envs.part import Kind

Share = Annotated[float, Field(ge=0, lt=1)]
Multiple = Annotated[float, Field(gt=0)]

LEAST = 1e-12


class Shock(Kind):
    """Something that happens to the market on every path.

    Whoever hedges is not told: marking, rules and policies keep the scenario's own parameters and
    see the prices and quotes that come.
    """

    def refusal(self, scenario: Scenario) -> str | None:
        """Why it cannot strike the scenario; null where it can."""
        return None

    def marked(self, scenario: Scenario) -> Scenario:
        """The scenario whose frictions the struck paths get."""
        return scenario

    @abstractmethod
    def strike(self, scenario: Scenario, paths: MarketPaths) -> MarketPaths:
        """The paths after it."""

    def charge(self, episodes: Episodes) -> Episodes:
        """What it does to the costs of the episodes marked on them."""
        return episodes


class DatedShock(Shock):
    """A shock at one date.

    ``at`` is the share of the episode's market steps that are over by then: the first step that is
    struck is the next one.
    """

    at: Share = 0.5

    def first(self, paths: MarketPaths) -> int:
        """The market date at which it first shows, from 1."""
        return 1 + int(self.at * (len(paths.times) - 1))

    def since(self, paths: MarketPaths) -> Tensor:
        """Whether each market date is one of it or after it, ``[T+1, 1]``."""
        return torch.arange(len(paths.times))[:, None] >= self.first(paths)


class Crash(DatedShock):
    """All assets fall by ``fall`` within a step; quoted vols are ``vol`` times as high from then.

    The path after it goes on as it would have. Source: 19 October 1987, the S&P 500 fell by 20.47 %
    and the Cboe's VXO rose from 36.37 to 150.19 (Cboe, VXO history).
    """

    kind: Literal["crash"] = "crash"
    fall: Annotated[float, Field(gt=0, lt=1)] = 0.2
    vol: Multiple = 1.0

    def strike(self, scenario: Scenario, paths: MarketPaths) -> MarketPaths:
        """``S_t (1 - fall)`` from the date on."""
        size = torch.tensor([1.0 - self.fall], dtype=paths.log_spot.dtype).log()
        leap = (self.since(paths) * size).expand_as(paths.log_spot)
        return _each(paths, lambda asset: requoted(leapt(asset, leap), self.vol, self.since(paths)))


class Gap(DatedShock):
    """The spot of a leg leaps over its strike within a step, to ``beyond`` past it.

    From above the strike to ``strike (1 - beyond)``, from below to ``strike (1 + beyond)``: the
    first leg that has a strike. Definition: the gap opening that no stop and no delta could trade.
    """

    kind: Literal["gap"] = "gap"
    beyond: Annotated[float, Field(gt=0, lt=1)] = 0.05

    def refusal(self, scenario: Scenario) -> str | None:
        """A leg must have a strike."""
        if _struck(scenario) is None:
            return "no leg of the position has a strike: choose another shock"
        return None

    def strike(self, scenario: Scenario, paths: MarketPaths) -> MarketPaths:
        """The leap is added to the path from the date on."""
        struck = _struck(scenario)
        assert struck is not None
        asset, level = struck
        date = self.first(paths)

        def leap(own: MarketPaths) -> MarketPaths:
            before, bar = own.log_spot[date - 1], own.log_spot.new_tensor(level)
            goal = torch.where(before > bar.log(), bar * (1 - self.beyond), bar * (1 + self.beyond))
            return leapt(own, self.since(paths) * (goal.log() - own.log_spot[date]))

        assets = [leap(own) if j == asset else own for j, own in enumerate(paths.assets)]
        return replace(assets[0], others=tuple(assets[1:]))


class VolShift(DatedShock):
    """Moves are ``times`` as large from a date on, and so are the quoted vols.

    With x a step's log-return, mu its drift and v its variance (the quoted vol's, or the model's
    own where it has one) times dt: x' = mu + times (x - mu + v / 2) - times^2 v / 2, so that in a
    GBM x' has ``times`` the vol and the same E[S]. Jumps are scaled along. A marking at a constant
    vol does not follow. Definition: vol doubling, as stress tests of option desks have it.
    """

    kind: Literal["vol-shift"] = "vol-shift"
    times: Multiple = 2.0

    def strike(self, scenario: Scenario, paths: MarketPaths) -> MarketPaths:
        """The returns after the date, scaled."""
        times = torch.full_like(paths.spot[:1], self.times)
        return _scaled_moves(scenario, paths, times, self.since(paths))


class RegimeFlip(DatedShock):
    """Calm paths turn rough and rough ones calm: vol is multiplied or divided by ``times``.

    A path is calm whose quoted vol at the date is at most the market's volatility; its moves are
    then scaled as `VolShift` does. Source for ``times``: Hardy, "A Regime-Switching Model of
    Long-Term Stock Returns", 2001: the S&P 500's monthly vols in its two regimes are 0.0350 and
    0.0748.
    """

    kind: Literal["regime-flip"] = "regime-flip"
    times: Multiple = 2.14

    def strike(self, scenario: Scenario, paths: MarketPaths) -> MarketPaths:
        """Each path's returns after the date, scaled up or down."""
        vol = paths.implied_vol
        now = (vol[0] if len(vol) == 1 else vol[self.first(paths) - 1]).expand_as(paths.spot[0])
        calm = now <= scenario.market.volatility * (1 + 1e-9)
        times = torch.where(calm, self.times, 1.0 / self.times)[None]
        return _scaled_moves(scenario, paths, times, self.since(paths))


class WideSpreads(Shock):
    """Every cost is ``times`` what it was, all episode long: liquidity dries up.

    Definition: the scenario's cost terms, multiplied.
    """

    kind: Literal["wide-spreads"] = "wide-spreads"
    times: Multiple = 10.0

    def strike(self, scenario: Scenario, paths: MarketPaths) -> MarketPaths:
        """Prices are what they were."""
        return paths

    def charge(self, episodes: Episodes) -> Episodes:
        """The level of every cost."""
        level = torch.full_like(episodes.spot[:1], self.times)
        if episodes.cost_level is not None:
            level = level * episodes.cost_level
        return replace(episodes, cost_level=level)


class TradingHalt(DatedShock):
    """Nothing can be traded for ``days`` calendar days; prices go on.

    Definition: `ScheduledHalt` from the decision date at the share ``at`` of them, on as many
    decision dates as fall into the days on average, at least one.
    """

    kind: Literal["trading-halt"] = "trading-halt"
    days: Annotated[float, Field(gt=0)] = 3.0

    def marked(self, scenario: Scenario) -> Scenario:
        """With the halt beside any that the scenario has."""
        decisions = len(scenario.calendar.decisions)
        dates = round(self.days / DAYS_PER_YEAR / scenario.calendar.horizon * decisions)
        halt = ScheduledHalt(start=int(self.at * decisions), dates=max(dates, 1))
        halts = (*scenario.execution.halts, halt)
        changed = scenario.execution.model_copy(update={"halts": halts})
        return scenario.model_copy(update={"execution": changed})

    def strike(self, scenario: Scenario, paths: MarketPaths) -> MarketPaths:
        """Prices are what they were."""
        return paths


class OneFactor(DatedShock):
    """All assets move as one from a date on: correlations go to 1.

    Step by step a further asset's log-return becomes mean + std times the first asset's, in the
    first's own means and deviations over the batch: each keeps its mean and vol, jumps included.
    Source: Longin and Solnik, "Extreme Correlation of International Equity Markets", 2001, for
    correlations that rise in falling markets; 1 is the limit.
    """

    kind: Literal["one-factor"] = "one-factor"

    def refusal(self, scenario: Scenario) -> str | None:
        """There must be several assets."""
        if len(scenario.market.spots) < 2:
            return "a market of one asset has no correlations: choose another shock"
        return None

    def strike(self, scenario: Scenario, paths: MarketPaths) -> MarketPaths:
        """The returns of the further assets after the date, replaced."""
        since = self.since(paths)[1:]
        lead = paths.log_spot.diff(dim=0)
        standard = lead - lead.mean(dim=1, keepdim=True)
        standard = standard / standard.std(dim=1, keepdim=True, correction=0).clamp(min=LEAST)

        def follow(own: MarketPaths) -> MarketPaths:
            moves = own.log_spot.diff(dim=0)
            mean, std = moves.mean(1, keepdim=True), moves.std(1, keepdim=True, correction=0)
            followed = torch.where(since, mean + std * standard, moves)
            jump = own.jump
            if jump is not None and paths.jump is not None:
                deviation = lead.std(1, keepdim=True, correction=0).clamp(min=LEAST)
                scaled = paths.jump[1:] * std / deviation
                jump = torch.cat([jump[:1], torch.where(since, scaled, jump[1:])])
            return replace(_rebuilt(own, followed), jump=jump)

        return replace(paths, others=tuple(map(follow, paths.others)))


SHOCKS: dict[str, Shock] = {
    "crash": Crash(fall=0.2),
    "crash-1987": Crash(fall=0.2047, vol=4.13),
    "gap-through-strike": Gap(),
    "vol-doubling": VolShift(),
    "vol-regime-flip": RegimeFlip(),
    "spreads-x10": WideSpreads(),
    "trading-halt": TradingHalt(),
    "correlation-one": OneFactor(),
}


def leapt(asset: MarketPaths, leap: Tensor) -> MarketPaths:
    """An asset's path plus ``leap [T+1, N]`` of its log-price, which counts as its jump."""
    log_spot = asset.log_spot + leap
    jump = torch.zeros_like(log_spot) if asset.jump is None else asset.jump.clone()
    jump[1:] += leap.diff(dim=0)
    return replace(asset, log_spot=log_spot, spot=log_spot.exp(), jump=jump)


def requoted(asset: MarketPaths, times: Tensor | float, since: Tensor) -> MarketPaths:
    """Quoted vols, and what the model holds of them, ``times`` as high where ``since [T+1, 1]``."""
    if isinstance(times, float) and times == 1.0:
        return asset
    factor = torch.where(since, torch.as_tensor(times, dtype=asset.spot.dtype), 1.0)
    powers = {"variance": 2, "alpha": 1}
    latents = {
        name: values * factor ** powers[name] if name in powers else values
        for name, values in asset.latents.items()
    }
    return replace(asset, implied_vol=asset.implied_vol * factor, latents=latents)


def _scaled_moves(
    scenario: Scenario, paths: MarketPaths, times: Tensor, since: Tensor
) -> MarketPaths:
    """Every asset's returns after the date ``times [1, N]`` as large, `VolShift`'s formula."""
    clock = paths.variance_time.diff(dim=0)
    scaled = []
    for asset, drift in zip(paths.assets, scenario.market.drifts, strict=True):
        mean = drift * paths.times.diff(dim=0)
        own = asset.latents.get("variance", asset.implied_vol**2)
        variance = (own if len(own) == 1 else own[:-1]) * clock
        moves = asset.log_spot.diff(dim=0)
        larger = mean + times * (moves - mean + variance / 2) - times**2 * variance / 2
        jump = asset.jump
        if jump is not None:
            jump = torch.where(since, jump * times, jump)
        rebuilt = _rebuilt(asset, torch.where(since[1:], larger, moves))
        scaled.append(requoted(replace(rebuilt, jump=jump), times, since))
    return replace(scaled[0], others=tuple(scaled[1:]))


def _rebuilt(asset: MarketPaths, moves: Tensor) -> MarketPaths:
    """The asset's path from its log-returns ``[T, N]``."""
    start = asset.log_spot[:1]
    log_spot = torch.cat([start, start + moves.cumsum(dim=0)])
    return replace(asset, log_spot=log_spot, spot=log_spot.exp())


def _each(paths: MarketPaths, change: Callable[[MarketPaths], MarketPaths]) -> MarketPaths:
    first, *others = map(change, paths.assets)
    return replace(first, others=tuple(others))


def _struck(scenario: Scenario) -> tuple[int, float] | None:
    """Asset and strike of the first leg that has one."""
    for leg in scenario.position.legs:
        strike = getattr(leg.claim, "strike", None)
        if isinstance(strike, float | int):
            return leg.claim.asset, float(strike)
    return None
