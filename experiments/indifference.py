"""The indifference price: the premium at which a hedged deal is worth as much as none."""

from __future__ import annotations

import math

import numpy as np

from ..envs import Hedger, Scenario, rollout
from ..envs.objectives import Quadratic, RootMeanSquare, VaR
from ..envs.sample import Losses
from ..envs.shortfall import Shortfall
from . import statistics
from .evaluation import BLOCK, evaluation_block
from .statistics import Estimate

ROUNDING = 1e-12  # of a drift, a year


def indifference_price(
    scenario: Scenario,
    hedger: Hedger,
    alone: Hedger | None = None,
    paths: int = 100_000,
    seed: int = 0,
) -> Estimate:
    """The premium, money now, at which the hedged book is as good as no book, with its interval.

    With L the loss without any premium, hedged by ``hedger``, L_0 that of ``alone`` on the market
    without the book, and a risk rho that is cash-invariant,

        price = e^{-rT} (rho(L) - rho(L_0)).

    What is sold has its ask, what is bought minus its bid. For quadratic risk, where no premium
    makes the deal worth nothing, it is the one that leaves the least risk, ``e^{-rT} E[L]``. The
    better the hedger, the lower the price; the optimum's is the least (`Optimum.price`).

    Source: Buehler, Gonon, Teichmann, Wood, "Deep hedging", 2019, section 3.3; Carbonneau, "Deep
    hedging of long-term financial derivatives", 2021, section 2.3. Evidence:
    tests/experiments/test_indifference.py.

    Args:
        scenario: the deal; its own premium does not matter.
        hedger: a learned policy or a rule.
        alone: the best hedge on `without_position`; null is to hold nothing, which is best where
            what is traded earns the rate and no more.
        paths: of the same evaluation paths as `evaluate`.
        seed: of these paths.

    Raises:
        ValueError: for a risk that no premium makes even (semi-quadratic, shortfall, VaR), and
            without ``alone`` where trading may earn something by itself.
    """
    objective = scenario.objective
    best_without = isinstance(objective, RootMeanSquare)
    unsuited = best_without and not isinstance(objective, Quadratic)
    if unsuited or isinstance(objective, VaR | Shortfall):
        raise ValueError(
            f"objective {objective.label}: it has no indifference price: choose entropic, cvar, "
            "mean-std, mean-variance, expectile or quadratic"
        )
    if alone is None and not best_without and _earns(scenario):
        raise ValueError(
            f"scenario {scenario.name!r}: trading may earn more than the rate without the book: "
            "give alone=, a hedger trained on without_position(scenario)"
        )
    losses = _losses(scenario, hedger, paths, seed)
    if best_without:
        found = statistics.mean(losses)
    elif alone is None:
        found = statistics.risk(objective, losses)
    else:
        rest = _losses(without_position(scenario), alone, paths, seed)
        found = statistics.difference(objective, losses, rest)
    discount = math.exp(-scenario.market.rate * scenario.contract.horizon)
    low, high = (None if end is None else discount * end for end in (found.low, found.high))
    return Estimate(discount * found.value, low, high, found.warning)


def without_position(scenario: Scenario) -> Scenario:
    """The same market and hedges for a book that owes nothing: every leg and its opposite.

    Bounds and features keep their scale, so that a policy is trained on it as on any scenario.
    """
    if scenario.position.flow is not None:
        raise ValueError(
            f"scenario {scenario.name!r} has client flow, which has no price at the start: set "
            "position.flow to null"
        )
    halves = [
        leg.model_copy(update={"quantity": sign * leg.quantity / 2})
        for leg in scenario.position.legs
        for sign in (1.0, -1.0)
    ]
    position = scenario.position.model_copy(update={"legs": tuple(halves), "premium": 0.0})
    return scenario.model_copy(
        update={"name": f"{scenario.name} without its position", "position": position}
    )


def _losses(scenario: Scenario, hedger: Hedger, paths: int, seed: int) -> Losses:
    """At the end, as if no premium had been received, ``[paths]``."""
    growth = math.exp(scenario.market.rate * scenario.contract.horizon)
    found = []
    for block in range(-(-paths // BLOCK)):
        outcome = rollout(scenario, evaluation_block(scenario, seed, block), hedger)
        found.append(growth * outcome.premium - outcome.pnl)
    return np.concatenate(found)[:paths]


def _earns(scenario: Scenario) -> bool:
    """Whether holding a hedge instrument may gain something on average, as far as is known."""
    market = scenario.market
    pairs = zip(market.drifts, market.dividends, strict=True)
    drifts = [drift - market.rate + dividend for drift, dividend in pairs]
    drifts += [regime.drift for regime in getattr(market, "regimes", ())]
    fair = all(abs(drift) < ROUNDING for drift in drifts)
    return not fair or market.recorded_paths is not None or scenario.contract.options > 0
