"""The scenario: the frozen description of one hedging problem."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from .action import DiscreteAction
from .calendar import Calendar
from .constraints import Limits
from .contract import Contract
from .costs import Cost, total_cost
from .frictions import Counterparty, Crowd, Execution, Financing
from .hedge import Hedge as Hedge
from .instruments import (
    Basket,
    Claim,
    DeltaOne,
    Exchange,
    ForwardStart,
    Future,
    Instrument,
    ListedOption,
    OnTheRunOption,
    PathClaim,
    Position,
    PrepaidForward,
    RolledOption,
    SpotStruckOption,
)
from .markets import Market
from .namespace import SCALAR
from .objectives import Objective
from .observation import FEATURES
from .part import Part
from .pricing import Marking
from .view import View

BOUND_IN_SIZES = 2.0  # where a holding has no bound of its own


class Scenario(Part):
    """Market, position, instruments, marking, costs, constraints, calendar, objective, and a view.

    ``hedges`` names options first, then what closes the deltas: an underlying or a future, at most
    one for each asset. With ``liquidate`` the holdings
    are sold at the end, at cost; otherwise they are counted at mid. A position still alive at the
    end is closed out at its mark. ``loss_limit`` (money) stops and liquidates an episode whose
    marked loss has reached it. ``capital`` is the money that stands behind the deal: P&L does not
    count it, rules and limits that ask what is owned do. ``delta_range`` is where position and
    hedge together shall keep their delta, in position sizes: time outside it is reported.
    Frictions (`envs.frictions`) are off unless they are given.
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
    capital: Annotated[float, Field(gt=0)] | None = None
    delta_range: Annotated[tuple[float, float], Field(strict=False)] | None = None
    execution: Execution = Execution()
    financing: Financing = Financing()
    counterparty: Counterparty | None = None
    crowd: Crowd | None = None
    objective: Objective
    view: View = View()

    @field_validator("hedges")
    @classmethod
    def _delta_one_last(cls, hedges: tuple[Hedge, ...]) -> tuple[Hedge, ...]:
        closing = [h.instrument for h in hedges if isinstance(h.instrument, DeltaOne)]
        tail = [hedge.instrument for hedge in hedges[len(hedges) - len(closing) :]]
        if not closing or tail != closing:
            raise ValueError(
                f"{len(hedges)} hedges with {len(closing)} underlyings or futures: list the "
                "options first and at least one underlying or future, last"
            )
        assets = [instrument.asset for instrument in closing]
        if len(set(assets)) < len(assets):
            raise ValueError(
                f"underlyings and futures on assets {assets}: keep one of them for each asset"
            )
        return hedges

    @model_validator(mode="after")
    def _parts_fit(self) -> Scenario:
        recorded = self.market.recorded_steps
        if recorded is not None and recorded != self.calendar.steps:
            raise ValueError(
                f"market: its recorded paths have {recorded} steps and the calendar has "
                f"{self.calendar.steps}: set calendar.steps to {recorded}, or record others"
            )
        for key, claim in self._claims:
            self._check_claim(key, claim)
            self._check_maturity(key, claim)
        for i, hedge in enumerate(self.hedges):
            self._check_instrument(f"hedges.{i}", hedge.instrument)
        self._check_flow()
        if isinstance(self.view.action, DiscreteAction):
            self.view.action.table(self.view.action.steered(self.contract))
        self.check_features(self.view)
        return self

    @model_validator(mode="after")
    def _frictions_of_hedges_fit(self) -> Scenario:
        for i, hedge in enumerate(self.hedges):
            if hedge.spread is not None and hedge.spread.after_jump and not self.market.jumps:
                raise ValueError(
                    f"hedges.{i}.spread: after_jump in a market without jumps: leave it out"
                )
            if hedge.spread is not None and hedge.spread.with_vol and self.marking_is_constant:
                raise ValueError(
                    f"hedges.{i}.spread: with_vol where the quoted vol never changes: leave it out"
                )
            tenor = getattr(hedge.instrument, "tenor", math.inf)
            sold = self.liquidate and self.calendar.horizon < tenor
            if hedge.impact is not None and hedge.impact.permanent and not sold:
                raise ValueError(
                    f"hedges.{i}.impact: permanent, and what is held at the end or as a future "
                    "expires would go at the price that buying it made: set liquidate: true, with "
                    "an underlying or a future of a longer tenor"
                )
        return self

    @model_validator(mode="after")
    def _frictions_fit(self) -> Scenario:
        if self.crowd is not None and self.market.recorded_steps is not None:
            raise ValueError("crowd: recorded prices have been moved already: leave it out")
        for i, leg in enumerate(() if self.crowd is None else self.crowd.legs):
            self._check_marking(f"crowd.legs.{i}", leg.claim)
        if self.financing.margin is not None and self.capital is None:
            raise ValueError("financing.margin: nothing stands behind the deal: set capital")
        self.execution.check(len(self.calendar.decisions))
        if self.delta_range is not None and self.delta_range[0] > self.delta_range[1]:
            raise ValueError(f"delta_range {self.delta_range}: the lower end comes first")
        return self

    @model_validator(mode="after")
    def _limits_leave_room(self) -> Scenario:
        for i, hedge in enumerate(self.hedges):
            try:
                hedge.limits.bounded(self._reach)
            except ValueError as error:
                raise ValueError(f"hedges.{i}.limits: {error}") from None
        return self

    @property
    def _claims(self) -> list[tuple[str, Claim]]:
        """Every claim with its key."""
        legs = [(f"position.legs.{i}", leg.claim) for i, leg in enumerate(self.position.legs)]
        return legs + [
            (f"hedges.{i}", hedge.instrument.option)
            for i, hedge in enumerate(self.hedges)
            if isinstance(hedge.instrument, ListedOption)
        ]

    def _check_claim(self, key: str, claim: Claim) -> None:
        self._check_asset(key, claim.reach)
        self._check_marking(key, claim)
        if isinstance(claim, ForwardStart) and claim.start >= self.calendar.horizon:
            raise ValueError(
                f"{key}: start {claim.start:g} years is not within the episode's "
                f"{self.calendar.horizon:g}: start earlier"
            )
        if claim.exercisable and key.startswith("hedges"):
            raise ValueError(
                f"{key}: the hedger would have to decide when to exercise: list a European option"
            )
        if claim.pays_early and key.startswith("hedges"):
            raise ValueError(
                f"{key}: a listed {type(claim).__name__} would pay before it settles: hold it in "
                "the position"
            )
        if isinstance(claim, Basket | Exchange) and key.startswith("hedges"):
            raise ValueError(
                f"{key}: a listed {type(claim).__name__} has deltas to several assets, and only "
                "one would be closed: list an option on one asset"
            )

    def _check_asset(self, key: str, asset: int) -> None:
        count = len(self.market.spots)
        if asset >= count:
            raise ValueError(f"{key}: asset {asset} in a market of {count}: they count from 0")

    def _check_instrument(self, key: str, instrument: Instrument) -> None:
        self._check_asset(key, instrument.written_on)
        if isinstance(instrument, SpotStruckOption):
            self._check_marking(key, instrument.claim)
        if isinstance(instrument, Future | RolledOption):
            self.calendar.check_rolls(f"{key}: tenor", instrument.tenor)
        if isinstance(instrument, OnTheRunOption):
            every = self.calendar.decide_every
            self.calendar.check_listings(f"{key}: tenor", instrument.tenor, every)
            if self.execution.delay:
                raise ValueError(
                    f"{key}: an order for the option on the run is dealt when another one is: set "
                    "execution.delay to 0"
                )

    def _check_flow(self) -> None:
        flow, key = self.position.flow, "position.flow"
        if flow is None:
            return
        self._check_asset(key, flow.asset)
        for claim in flow.claims:
            self._check_marking(key, claim)
        for tenor in flow.tenor:
            self.calendar.check_listings(f"{key}: tenor", tenor, 1)
        if self.moves_prices or self.counterparty is not None:
            raise ValueError(
                f"{key}: beside permanent impact or a counterparty that defaults: leave one out"
            )

    def _check_marking(self, key: str, claim: Claim) -> None:
        reason = self.marking.refusal(claim, self.market)
        if reason is not None:
            raise ValueError(f"{key}: {reason}")
        if isinstance(claim, PathClaim) and not self.calendar.fixed:
            raise ValueError(
                f"{key}: a payoff of your own on a calendar whose dates differ from path to path: "
                "choose a calendar whose dates do not"
            )

    def _check_maturity(self, key: str, claim: Claim) -> None:
        if claim.maturity is None:
            return
        # A listed option settles into the account, so on a date at which the account is kept.
        every = self.calendar.decide_every if key.startswith("hedges") else 1
        inside = self.calendar.check_date(f"{key}: maturity", claim.maturity, every)
        if not inside and claim.path_dependent:
            raise ValueError(
                f"{key}: maturity {claim.maturity:g} years is beyond the episode's "
                f"{self.calendar.horizon:g}: what it depends on is not simulated, so end it inside"
            )

    def check_features(self, view: View) -> None:
        """Refuse a view that asks for what the market does not expose, or steers what is not there.

        Raises:
            ValueError: naming the feature and what the market has, or the action map.
        """
        reason = view.action.refusal(self.contract)
        if reason is not None:
            raise ValueError(f"view.action: {reason}")
        exposed = [*self.market.latents, *(["jump"] if self.market.jumps else [])]
        present = {
            "pending": ("an order under way", self.execution.delay > 0),
            "displacement": ("transient impact", any(self.contract.transient)),
            "spread": ("spreads that widen", any(hedge.spread for hedge in self.hedges)),
        }
        for name in view.features or ():
            what, there = present.get(name, ("", True))
            if not there:
                raise ValueError(
                    f"view.features: {name!r} in a scenario without {what}: drop the feature"
                )
            if name == "aversion" and self.contract.aversion is None:
                raise ValueError(
                    f"view.features: 'aversion' with the objective {self.objective.label}, which "
                    "has no objective.aversion: drop the feature"
                )
            latent = FEATURES[name].latent if name in FEATURES else None
            if latent is not None and latent not in exposed:
                raise ValueError(
                    f"view.features: {name!r} in a market that has no {latent}: drop the feature "
                    f"(this market exposes {', '.join(exposed) or 'nothing'})"
                )

    @property
    def frictions(self) -> tuple[str, ...]:
        """The keys of the frictions that are on, those of the prices themselves aside."""
        on = [
            f"hedges.{i}.{name}"
            for i, hedge in enumerate(self.hedges)
            for name in ("spread", "impact", "borrow_fee")
            if getattr(hedge, name)
        ]
        on += ["execution"] if self.execution != Execution() else []
        on += ["financing"] if self.financing != Financing() else []
        return tuple(on + (["counterparty"] if self.counterparty is not None else []))

    @property
    def moves_prices(self) -> bool:
        """Whether what the hedger trades moves the market for good."""
        return any(h.impact is not None and h.impact.permanent > 0 for h in self.hedges)

    @property
    def listed(self) -> tuple[Claim, ...]:
        """The claims of the listed options among the hedge instruments."""
        instruments = [hedge.instrument for hedge in self.hedges]
        return tuple(i.option for i in instruments if isinstance(i, ListedOption))

    @property
    def delta_ones(self) -> tuple[DeltaOne, ...]:
        """The hedge instruments that close a delta, which come last."""
        instruments = [hedge.instrument for hedge in self.hedges]
        return tuple(i for i in instruments if isinstance(i, DeltaOne))

    @property
    def columns(self) -> tuple[Hedge, ...]:
        """The hedge of each of the ledger's K instruments: on the run there is one a contract."""
        return tuple(
            hedge
            for hedge, count in zip(self.hedges, self._contracts, strict=True)
            for _ in range(count)
        )

    @property
    def _contracts(self) -> tuple[int, ...]:
        """How many instruments each hedge is to the ledger."""
        dates = len(self.calendar.decisions)
        return tuple(
            dates if isinstance(hedge.instrument, OnTheRunOption) else 1 for hedge in self.hedges
        )

    @property
    def costs(self) -> tuple[tuple[Cost, ...], ...]:
        """The cost terms of each hedge instrument."""
        return tuple(hedge.costs for hedge in self.columns)

    @property
    def limits(self) -> tuple[Limits, ...]:
        """The limits of each hedge instrument, with finite bounds."""
        return tuple(hedge.limits.bounded(self._reach) for hedge in self.columns)

    @property
    def _reach(self) -> float:
        """Units either side, where a holding has no bound of its own."""
        return BOUND_IN_SIZES * self.position.size

    @property
    def contract(self) -> Contract:
        """The constants that scale the features and the rewards."""
        claims = [leg.claim for leg in self.position.legs if not leg.claim.reach]
        struck = [(c.strike, c.maturity) for c in claims if hasattr(c, "strike")]
        instruments = [hedge.instrument for hedge in self.columns]
        options = len(self.hedges) - len(self.delta_ones)
        return Contract(
            spots=self.market.spots,
            strikes=tuple(strike for strike, _ in struck),
            maturities=tuple(maturity for _, maturity in struck),
            size=self.position.size,
            volatility=self.market.volatility,
            horizon=self.calendar.horizon,
            steps=len(self.calendar.decisions),
            options=sum(self._contracts[:options]),
            listings=self._contracts[:options],
            assets=tuple(instrument.written_on for instrument in instruments),
            aversion=getattr(self.objective, "aversion", None),
            trade_cost=self._trade_cost,
            delay=self.execution.delay,
            transient=tuple(0.0 if h.impact is None else h.impact.transient for h in self.columns),
        )

    @property
    def _trade_cost(self) -> float:
        first = next(hedge for hedge in self.hedges if isinstance(hedge.instrument, DeltaOne))
        spot = self.market.spots[first.instrument.written_on]
        return float(total_cost(first.costs, self.position.size, spot, SCALAR))

    @property
    def features(self) -> tuple[str, ...]:
        """The view's features, or the default set for this scenario."""
        return self.features_of(self.view)

    def features_of(self, view: View) -> tuple[str, ...]:
        """The features of any view on this scenario."""
        if view.features is not None:
            chosen = list(view.features)
        else:
            held = all(isinstance(leg.claim, PrepaidForward) for leg in self.position.legs)
            chosen = ["time_left", *(["log_spot"] if held else ["moneyness", "delta", "gamma"])]
            chosen += [] if self.marking_is_constant else ["vol"]
            chosen += [] if self.calendar.fixed else ["step_length"]
            chosen += ["other_spots", "other_deltas"] if len(self.market.spots) > 1 else []
            options = len(self.hedges) > len(self.delta_ones)
            chosen += ["option_price", "option_delta", "option_gamma"] if options else []
            chosen += ["spread"] if any(hedge.spread for hedge in self.hedges) else []
            chosen += ["holding", "gap"]
            chosen += ["pending"] if self.execution.delay else []
            chosen += ["displacement"] if any(self.contract.transient) else []
            chosen += ["pnl"] if self.objective.needs_pnl else []
        market_side = [name for name in chosen if name in FEATURES]
        return tuple(market_side + [name for name in chosen if name not in FEATURES])

    @property
    def marking_is_constant(self) -> bool:
        """Whether every path is marked at one and the same vol."""
        return "vol" in type(self.marking).model_fields
