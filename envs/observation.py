"""What a learner sees: named, bounded features with analytic scaling, no running normaliser.

Market features are computed for a whole block at once, own features (holding, P&L) at every step.
Every feature is clipped to [-5, 5]. Sizes are in position sizes (the sum of ``|quantity|``), money
in `Contract.scale`. Evidence: tests/envs/test_observation.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from .contract import Contract
from .own_features import BOUND, OWN_FEATURES
from .signature import signature, words


class Visible(Protocol):
    """What market features are made of; K hedge instruments, the listed options first."""

    @property
    def times(self) -> Tensor:
        """Dates in years, ``[T+1, 1 or N]``."""

    @property
    def log_spot(self) -> Tensor:
        """``[T+1, N]``."""

    @property
    def vol(self) -> Tensor:
        """The quoted vol, broadcastable to ``[T+1, N]``."""

    @property
    def delta(self) -> Tensor:
        """The position's delta, ``[T+1, N]``."""

    @property
    def gamma(self) -> Tensor:
        """The position's gamma, ``[T+1, N]``."""

    @property
    def vega(self) -> Tensor:
        """The position's vega, ``[T+1, N]``."""

    @property
    def theta(self) -> Tensor:
        """The position's theta, ``[T+1, N]``."""

    @property
    def price(self) -> Tensor:
        """Mid prices of the hedge instruments, ``[T+1, N, K]``."""

    @property
    def hedge_delta(self) -> Tensor:
        """``[T+1, N, K]``."""

    @property
    def hedge_gamma(self) -> Tensor:
        """``[T+1, N, K]``."""

    @property
    def jump(self) -> Tensor | None:
        """The log-jump of the step that ended at t, ``[T+1, N]``."""

    @property
    def other_spots(self) -> tuple[Tensor, ...]:
        """The further assets' prices, each ``[T+1, N]``."""

    @property
    def other_deltas(self) -> tuple[Tensor, ...]:
        """The position's deltas to them, each ``[T+1, N]``."""

    @property
    def latents(self) -> dict[str, Tensor]:
        """States that only the model knows, ``[T+1, N]`` each."""

    @property
    def aversion(self) -> Tensor | None:
        """The objective's on each path, ``[1, N]``; null where all have the contract's."""

    @property
    def cost_level(self) -> Tensor | None:
        """What every cost is multiplied by, ``[1, N]``; null where by nothing."""

    @property
    def frictions(self) -> Any:
        """What trading costs beside the terms of a cost."""

    @property
    def contract(self) -> Contract:
        """The constants that scale the features."""


@dataclass(frozen=True)
class Feature:
    """A market feature: what it is, how many columns (one ``per`` what), its formula.

    ``latent`` names what only the model knows and the market must therefore expose.
    """

    meaning: str
    per: Literal["1", "legs", "instruments", "options", "others", "words"]
    formula: Callable[[Visible], Tensor | Sequence[Tensor]]
    latent: Literal["jump", "variance", "alpha", "regime"] | None = None


def _time_left(v: Visible) -> Tensor:
    left = v.times[-1:] - v.times
    return left / left[:1]


def _log_spot(v: Visible) -> Tensor:
    deviation = v.contract.volatility * v.contract.horizon**0.5 + 1e-8
    scaled: Tensor = (v.log_spot - math.log(v.contract.spot)) / deviation
    return scaled


def _signature(v: Visible) -> Sequence[Tensor]:
    passed = (1.0 - _time_left(v)).to(v.log_spot.dtype).expand_as(v.log_spot)
    return signature(torch.stack([passed, _log_spot(v)], -1)).unbind(-1)


def _moneyness(v: Visible) -> list[Tensor]:
    shortest = v.contract.horizon / v.contract.steps  # keeps the last steps finite
    columns = []
    for strike, maturity in zip(v.contract.strikes, v.contract.maturities, strict=True):
        end = v.times[-1:] if maturity is None else torch.full_like(v.times[-1:], maturity)
        left = end - v.times
        deviation = v.vol * left.clamp(min=shortest).sqrt().to(v.vol.dtype) + 1e-8
        alive = (left > -1e-12).to(v.log_spot.dtype)
        columns.append((v.log_spot - math.log(strike)) * (alive / deviation))
    return columns


def _step_length(v: Visible) -> Tensor:
    step = v.times.diff(dim=0) * (v.contract.steps / v.contract.horizon)
    return torch.cat([step, torch.zeros_like(step[:1])])


def _jump(v: Visible) -> Tensor:
    assert v.jump is not None  # a scenario refuses the feature in a market that does not jump
    return v.jump * 10


def _aversion(v: Visible) -> Tensor:
    own = v.contract.aversion
    assert own is not None  # a scenario refuses the feature where the objective has none
    drawn = torch.full_like(v.times[:1], own) if v.aversion is None else v.aversion
    return 0.5 * torch.log(drawn * v.contract.scale)


def _cost_level(v: Visible) -> Tensor:
    drawn = torch.ones_like(v.times[:1]) if v.cost_level is None else v.cost_level
    return 0.5 * torch.log(drawn * (v.contract.trade_cost / v.contract.scale))


def _spread(v: Visible) -> list[Tensor]:
    # A scenario refuses the feature where no spread widens.
    return [level.log() for level in v.frictions.spread]


def _log_ratio(values: Tensor, scale: float | Tensor) -> Tensor:
    return torch.log((values + 1e-8) / (scale + 1e-8))


FEATURES: dict[str, Feature] = {
    "time_left": Feature("time to the end of the episode over its length", "1", _time_left),
    "step_length": Feature("length of the step ahead over the mean step", "1", _step_length),
    "log_spot": Feature(
        "log(S / S0) over volatility sqrt(horizon)",
        "1",
        _log_spot,
    ),
    "signature": Feature(
        "iterated integrals of time and `log_spot` up to now, to depth 3 (`signature`)",
        "words",
        _signature,
    ),
    "moneyness": Feature(
        "log(S / strike) over quoted vol sqrt(time to maturity), 0 past it", "legs", _moneyness
    ),
    "vol": Feature(
        "log(quoted vol / the market's volatility)",
        "1",
        lambda v: _log_ratio(v.vol, v.contract.volatility),
    ),
    "delta": Feature("position delta per size", "1", lambda v: v.delta / v.contract.size),
    "gamma": Feature(
        "change of delta per size for a move of one standard deviation over a mean step",
        "1",
        lambda v: v.gamma * (v.contract.one_step_move / v.contract.size),
    ),
    "vega": Feature(
        "position vega over size S0 sqrt(horizon)",
        "1",
        lambda v: v.vega / (v.contract.size * v.contract.spot * v.contract.horizon**0.5),
    ),
    "theta": Feature(
        "theta over a mean step in units of the money scale",
        "1",
        lambda v: v.theta * (v.contract.horizon / v.contract.steps / v.contract.scale),
    ),
    "option_price": Feature(
        "price of each listed option in units of the money scale of one unit",
        "options",
        lambda v: _columns(v.price * (v.contract.size / v.contract.scale), v.contract),
    ),
    "option_delta": Feature(
        "delta of each listed option",
        "options",
        lambda v: _columns(v.hedge_delta, v.contract),
    ),
    "option_gamma": Feature(
        "gamma of each listed option, scaled as `gamma`",
        "options",
        lambda v: _columns(v.hedge_gamma * v.contract.one_step_move, v.contract),
    ),
    "other_spots": Feature(
        "log(S / S0) of each further asset over volatility sqrt(horizon)",
        "others",
        lambda v: [
            torch.log(spot / start) / (v.contract.volatility * v.contract.horizon**0.5 + 1e-8)
            for spot, start in zip(v.other_spots, v.contract.spots[1:], strict=True)
        ],
    ),
    "other_deltas": Feature(
        "position delta to each further asset per size",
        "others",
        lambda v: [delta / v.contract.size for delta in v.other_deltas],
    ),
    "jump": Feature("10 times the log-jump of the step just ended (latent)", "1", _jump, "jump"),
    "variance": Feature(
        "log(root of the instantaneous variance / the market's volatility) (latent)",
        "1",
        lambda v: _log_ratio(v.latents["variance"].clamp(min=0).sqrt(), v.contract.volatility),
        "variance",
    ),
    "alpha": Feature(
        "log of SABR's alpha over its start (latent)",
        "1",
        lambda v: _log_ratio(v.latents["alpha"], v.latents["alpha"][:1]),
        "alpha",
    ),
    "aversion": Feature(
        "half the log of the objective's aversion times the money scale", "1", _aversion
    ),
    "cost_level": Feature(
        "half the log of the cost of trading the size once over the money scale", "1", _cost_level
    ),
    "spread": Feature(
        "log of what each instrument's costs are multiplied by", "instruments", _spread
    ),
    "regime": Feature(
        "the number of the regime, from 0 (latent)", "1", lambda v: v.latents["regime"], "regime"
    ),
}


def _columns(values: Tensor, contract: Contract) -> list[Tensor]:
    """Each option's series ``[T+1, N]``; of those on the run the newest contract's."""
    columns, first = [], 0
    for count in contract.listings:
        newest = [min(t, count - 1) for t in range(len(values))] if count > 1 else []
        each = [values[t, :, first + k] for t, k in enumerate(newest)]
        columns.append(torch.stack(each) if each else values[..., first])
        first += count
    return columns


def columns(names: Sequence[str], contract: Contract) -> list[str]:
    """The observation's column names: market features first, own features last."""
    counts = {
        "legs": len(contract.strikes),
        "instruments": contract.instruments,
        "options": len(contract.listings),
        "others": len(contract.spots) - 1,
        "words": words(2),
    }
    result = []
    for name in [n for n in names if n in FEATURES]:
        count = counts.get(FEATURES[name].per)
        result += [name] if count is None else [f"{name}_{i}" for i in range(count)]
    for name in [n for n in names if n in OWN_FEATURES]:
        if name == "holding":
            result += [f"holding_{k}" for k in range(contract.hedges)]
        elif name == "pending":
            owners = range(contract.instruments)
            result += [f"pending_{i}_{k}" for i in range(contract.delay) for k in owners]
        elif name == "displacement":
            result += [f"displacement_{k}" for k, rate in enumerate(contract.transient) if rate]
        elif name == "gap" and contract.delta_ones > 1:
            result += [f"gap_{j}" for j in range(contract.delta_ones)]
        else:
            result.append(name)
    return result


def market_features(names: Sequence[str], visible: Visible) -> Tensor:
    """The whole block's observations ``[T+1, N, F]``, float32; own features are left at 0."""
    steps, paths = visible.log_spot.shape
    width = len(columns(names, visible.contract))
    block = torch.zeros((steps, paths, width), device=visible.log_spot.device)
    column = 0
    for name in [n for n in names if n in FEATURES]:
        values = FEATURES[name].formula(visible)
        for value in [values] if isinstance(values, Tensor) else values:
            block[..., column] = value.clamp(-BOUND, BOUND)
            column += 1
    return block
