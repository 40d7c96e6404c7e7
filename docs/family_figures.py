"""The figures of the pages on markets and claims: ``docs/figures/market-*.svg``, ``claim-*.svg``.

`make_figures` draws them. Every market is simulated with the same seed; every claim is valued on
spots that have stood still, at three times to its maturity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from deephedge.envs.instruments import (
    AmericanPut,
    AsianCall,
    BarrierCall,
    Call,
    Claim,
    ConvertibleBond,
    DigitalCall,
    Exchange,
    FloatingLookbackPut,
    ForwardStartCall,
    LookbackCall,
    PathClaim,
    Put,
    VarianceSwap,
)
from deephedge.envs.markets import (
    Asset,
    Bates,
    Bootstrap,
    CorrelatedGBM,
    Deal,
    Defaultable,
    Garch,
    GeometricBrownianMotion,
    Heston,
    Kou,
    Market,
    MarketPaths,
    Merton,
    RegimeSwitching,
    RoughBergomi,
    Sabr,
    StochasticImpliedVol,
)
from deephedge.envs.pricing import ConstantVolMarking
from deephedge.experiments.reports.svg import COLORS, INK, MUTE, drawing, new_figure

PENS = [COLORS[name][0] for name in ("blue", "vermilion", "green", "purple")]
DAYS, PATHS, SHOWN = 30, 100_000, 4


def markets() -> dict[str, dict[str, Market]]:
    """The markets of each page."""
    returns = np.random.default_rng(2).standard_t(4, size=5000) * 0.008
    history = 100 * np.exp(np.cumsum(returns))
    return {
        "jumps": {"gbm": GeometricBrownianMotion(), "merton": Merton(), "kou": Kou()},
        "stochastic-volatility": {"heston": Heston(), "bates": Bates(), "sabr": Sabr()},
        "rough-volatility": {"rough-bergomi": RoughBergomi()},
        "garch": {
            "gjr": Garch(),
            "student": Garch(innovations="student", degrees=4.0),
        },
        "regimes": {"regime-switching": RegimeSwitching()},
        "several-assets": {"correlated-gbm": CorrelatedGBM(others=(Asset(sigma=0.3),))},
        "history": {"bootstrap of Student's t": Bootstrap(history=history, block=5.0)},
        "deals": {"deal": Deal(closing=60 / 365)},
        "default": {"defaultable": Defaultable(hazard=0.3)},
        "implied-volatility": {"stochastic-implied-vol": StochasticImpliedVol()},
    }


def claims() -> dict[str, dict[str, Claim]]:
    """The claims of each page; each lives for a year."""
    return {
        "vanilla-and-digital": {
            "call": Call(strike=100.0),
            "put": Put(strike=100.0),
            "digital call": DigitalCall(strike=100.0, cash=20.0),
        },
        "asian": {
            "arithmetic": AsianCall(strike=100.0),
            "geometric": AsianCall(strike=100.0, average="geometric"),
        },
        "barrier": {
            "up and out": BarrierCall(strike=100.0, barrier=130.0, direction="up", knock="out"),
            "down and out": BarrierCall(strike=100.0, barrier=90.0, direction="down", knock="out"),
            "down and in": BarrierCall(strike=100.0, barrier=90.0, direction="down", knock="in"),
        },
        "lookback": {
            "fixed call": LookbackCall(strike=100.0),
            "floating put": FloatingLookbackPut(),
        },
        "forward-start-and-variance": {
            "forward start": ForwardStartCall(start=0.5, moneyness=1.0),
            "variance swap": VarianceSwap(strike_vol=0.2, notional=200.0),
        },
        "several-assets": {"exchange": Exchange(asset=0, other=1)},
        "convertible-bond": {
            "convertible bond": ConvertibleBond(shares=1.0),
            "call": Call(strike=100.0),
        },
        "american": {"American put": AmericanPut(strike=100.0), "put": Put(strike=100.0)},
        "any-payoff": {
            "a call by regression": PathClaim(
                function=lambda path: (path.spot[-1] - 100).clamp(min=0)
            ),
            "its formula": Call(strike=100.0),
        },
    }


@drawing()
def market_figure(chosen: dict[str, Market]) -> Figure:
    """Paths of a month, and how often the month's log-return lies beyond a number of deviations."""
    figure = new_figure(4.6)
    above, below = figure.subplots(2, height_ratios=[1.1, 1.0])
    times = torch.linspace(0, DAYS / 365, DAYS + 1, dtype=torch.float64)[:, None]
    deviations = np.linspace(0, 5, 101)
    for (name, market), pen in zip(chosen.items(), PENS, strict=False):
        paths = market.simulate(times, PATHS, torch.Generator().manual_seed(5))
        days = times[:, 0].numpy() * 365
        for asset, line in zip(paths.assets, ("-", (0, (2, 1))), strict=False):
            shown = (asset.spot[:, :SHOWN] / asset.spot[0, :SHOWN] * 100).numpy()
            above.plot(days, shown, color=pen, linewidth=1.0, alpha=0.8, linestyle=line)
        moves = (paths.log_spot[-1] - paths.log_spot[0]).numpy()
        falls = -(moves - moves.mean()) / moves.std()
        share = [float((falls > d).mean()) for d in deviations]
        below.plot(
            deviations, np.where(np.array(share) > 2e-5, share, np.nan), color=pen, label=name
        )
    normal = [0.5 * math.erfc(d / math.sqrt(2)) for d in deviations]
    below.plot(deviations, normal, color=MUTE, linestyle=(0, (2, 2)), label="normal")
    below.set_yscale("log")
    below.set_ylim(1e-5, 1)
    below.set_title("share of months that fall by so many deviations or more")
    above.set_title(f"{SHOWN} paths of each over {DAYS} days (a second asset: dotted)")
    below.legend()
    return figure


@drawing()
def claim_figure(chosen: dict[str, Claim]) -> Figure:
    """Value and delta over the spot, with half a year, a quarter and a month left."""
    figure = new_figure(5.2)
    value, delta = figure.subplots(2, sharex=True)
    spot = torch.linspace(60, 140, 161, dtype=torch.float64)
    for (name, claim), pen in zip(chosen.items(), PENS, strict=False):
        for left, dash in ((0.48, "-"), (0.24, (0, (5, 1.5))), (0.08, (0, (1, 1)))):
            price, slope = _standing(claim, spot, left)
            label = name if dash == "-" else None
            value.plot(spot, price, color=pen, linestyle=dash, label=label)
            delta.plot(spot, slope, color=pen, linestyle=dash)
    value.set_title("value with half a year left; dashed a quarter, dotted a month", color=INK)
    delta.set_title("delta", color=INK)
    delta.set_xlabel("spot")
    value.legend()
    return figure


def _standing(claim: Claim, spot: torch.Tensor, left: float) -> tuple[Sequence[float], ...]:
    """Value and delta when the spot has come in a straight line from 100 in 1 - left years."""
    steps = 25  # a date for every fortnight
    now = round((1 - left) * steps)
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)[:, None]
    reached = (times / max(1 - left, 0.01)).clamp(max=1)
    path = 100 * (spot / 100) ** reached if now else spot.expand(steps + 1, -1).clone()
    vol = torch.full((1, 1), 0.2, dtype=torch.float64)

    def flat(values: torch.Tensor, others: tuple[MarketPaths, ...] = ()) -> MarketPaths:
        return MarketPaths(times, values, values.log(), vol, others=others)

    market = CorrelatedGBM(others=(Asset(),), rate=0.03)
    single = GeometricBrownianMotion(rate=0.03)
    other = flat(torch.full_like(path, 100.0))
    paths = flat(path, (other,) if claim.reach else ())
    marking = ConstantVolMarking(vol=0.2)
    greeks = marking.value(claim, times[-1], market if claim.reach else single, paths)
    return greeks.price[now].tolist(), greeks.delta[now].tolist()


def family_figures() -> dict[str, Callable[[], Figure]]:
    """Every figure by its file's name."""
    found: dict[str, Callable[[], Figure]] = {}
    for page, chosen in markets().items():
        found[f"market-{page}"] = lambda chosen=chosen: market_figure(chosen)
    for page, listed in claims().items():
        found[f"claim-{page}"] = lambda listed=listed: claim_figure(listed)
    return found
