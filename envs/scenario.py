"""The scenario: the frozen description of one hedging problem."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from .action import DiscreteAction
from .calendar import Calendar
from .constraints import Limits
from .costs import Cost
from .instruments import Claim, EuropeanOption, Instrument, ListedOption, Position, Underlying
from .markets import Market
from .objectives import Objective
from .observation import FEATURES, Contract
from .part import Part
from .pricing import Marking
from .view import View

BOUND_IN_SIZES = 2.0  # where a holding has no bound of its own


class Hedge(Part):
    """A hedge instrument with what trading it costs and what limits it."""

    instrument: Instrument
    costs: Annotated[tuple[Cost, ...], Field(strict=False)] = ()
    limits: Limits = Limits()


class Scenario(Part):
    """Market, position, instruments, marking, costs, constraints, calendar, objective, and a view.

    ``hedges`` names listed options first and the underlying last. With ``liquidate`` the holdings
    are sold at the end, at cost; otherwise they are counted at mid. A position still alive at the
    end is closed out at its mark. ``loss_limit`` (money) stops and liquidates an episode whose
    marked loss has reached it.
    """

    name: str
    description: str = ""
    market: Market
    calendar: Calendar
    position: Position
    hedges: Annotated[tuple[Hedge, ...], Field(min_length=1, strict=False)]
    marking: Marking
    liquidate: bool = False
    loss_limit: Annotated[float, Field(gt=0)] | None = None
    objective: Objective
    view: View = View()

    @field_validator("hedges")
    @classmethod
    def _underlying_last(cls, hedges: tuple[Hedge, ...]) -> tuple[Hedge, ...]:
        kinds = [isinstance(hedge.instrument, Underlying) for hedge in hedges]
        if kinds != [False] * (len(hedges) - 1) + [True]:
            raise ValueError(
                f"{len(hedges)} hedges with {sum(kinds)} underlying: list the options first and "
                "exactly one underlying, last"
            )
        return hedges

    @model_validator(mode="after")
    def _dates_fit(self) -> Scenario:
        legs = [("position.legs", i, leg.claim) for i, leg in enumerate(self.position.legs)]
        for key, i, claim in [*legs, *[("hedges", i, c) for i, c in enumerate(self.listed)]]:
            self._check_maturity(f"{key}.{i}", claim)
        if isinstance(self.view.action, DiscreteAction):
            self.view.action.table(len(self.hedges))
        return self

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Scenario:
        for i, hedge in enumerate(self.hedges):
            try:
                hedge.limits.bounded(self._reach)
            except ValueError as error:
                raise ValueError(f"hedges.{i}.limits: {error}") from None
        return self

    def _check_maturity(self, key: str, claim: Claim) -> None:
        calendar = self.calendar
        if claim.maturity is None:
            return
        if not calendar.fixed:
            raise ValueError(
                f"{key}: maturity {claim.maturity:g} on a calendar whose dates differ from path to "
                "path: leave it out, the option then expires with the episode"
            )
        step = calendar.horizon / calendar.steps
        count = claim.maturity / step
        if count < 1 - 1e-9:
            raise ValueError(
                f"{key}: maturity {claim.maturity:g} years is before the first step, {step:g} "
                "years: lengthen it or take more steps"
            )
        if count > calendar.steps - 1e-6:  # at the end, or alive there
            return
        # A listed option settles into the account, so on a date at which the account is kept.
        every = calendar.decide_every if key.startswith("hedges") else 1
        if abs(count / every - round(count / every)) > 1e-6:
            below = int(count / every) * every
            above = min(below + every, calendar.steps)
            raise ValueError(
                f"{key}: maturity {claim.maturity:.6g} years falls between the dates "
                f"{below * step:.6g} and {above * step:.6g}: choose one of them"
            )

    @property
    def listed(self) -> tuple[Claim, ...]:
        """The listed options among the hedge instruments."""
        instruments = [hedge.instrument for hedge in self.hedges]
        return tuple(i.option for i in instruments if isinstance(i, ListedOption))

    @property
    def costs(self) -> tuple[tuple[Cost, ...], ...]:
        """The cost terms of each hedge instrument."""
        return tuple(hedge.costs for hedge in self.hedges)

    @property
    def limits(self) -> tuple[Limits, ...]:
        """The limits of each hedge instrument, with finite bounds."""
        return tuple(hedge.limits.bounded(self._reach) for hedge in self.hedges)

    @property
    def _reach(self) -> float:
        """Units either side, where a holding has no bound of its own."""
        return BOUND_IN_SIZES * self.position.size

    @property
    def contract(self) -> Contract:
        """The constants that scale the features and the rewards."""
        claims = [leg.claim for leg in self.position.legs]
        return Contract(
            spot=self.market.spot,
            strikes=tuple(c.strike for c in claims if isinstance(c, EuropeanOption)),
            maturities=tuple(c.maturity for c in claims if isinstance(c, EuropeanOption)),
            size=self.position.size,
            volatility=self.market.volatility,
            horizon=self.calendar.horizon,
            steps=len(self.calendar.decisions),
            options=len(self.listed),
            instruments=len(self.hedges),
        )

    @property
    def features(self) -> tuple[str, ...]:
        """The view's features, or the default set for this scenario."""
        return self.features_of(self.view)

    def features_of(self, view: View) -> tuple[str, ...]:
        """The features of any view on this scenario."""
        if view.features is not None:
            chosen = list(view.features)
        else:
            chosen = ["time_left", "moneyness", "delta", "gamma"]
            chosen += [] if self.marking_is_constant else ["vol"]
            chosen += [] if self.calendar.fixed else ["step_length"]
            chosen += ["option_price", "option_delta", "option_gamma"] if self.listed else []
            chosen += ["holding", "gap"]
            chosen += ["pnl"] if self.objective.needs_pnl else []
        market_side = [name for name in chosen if name in FEATURES]
        return tuple(market_side + [name for name in chosen if name not in FEATURES])

    @property
    def marking_is_constant(self) -> bool:
        """Whether every path is marked at one and the same vol."""
        return "vol" in type(self.marking).model_fields
