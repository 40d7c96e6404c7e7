"""The hedger protocol: anything that maps what is known at t to target holdings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from .contract import Contract
from .desk import Desk
from .episodes import Episodes
from .ledger import Account
from .namespace import NUMPY, Namespace, X
from .rule import Rule
from .scenario import Scenario
from .tape import Tape

# The series whose entry at t is known at t; not growth and carry, which are of the step ahead.
HISTORIES = (
    *("times", "spot", "log_spot", "vol", "price", "mark", "cash_flow", "jump"),
    *("delta", "gamma", "vega", "theta", "hedge_delta", "hedge_gamma", "hedge_vega"),
)


class Hedger(Protocol):
    """Batch in, batch out: baselines, learned policies and saved runs alike."""

    @property
    def name(self) -> str:
        """How tables and figures call it."""

    def start(self, n: int) -> Any:
        """The state before the first decision on ``n`` paths (null for a rule without memory)."""

    def act(self, known: Known, state: Any) -> tuple[X, Any]:
        """Target holdings ``[N, K]`` over (t, t+1], and the next state."""


class Known:
    """What is known at decision date ``t``: the present, and the past through `history`.

    Arrays are NumPy (float64 in an evaluation) or torch, as the rollout runs; nothing here shows a
    date after t (tests/envs/test_hedger.py).
    """

    def __init__(
        self, scenario: Scenario, episodes: Episodes, tape: Tape, observed: Observations
    ) -> None:
        self._episodes, self._tape, self._observed = episodes, tape, observed
        self.scenario = scenario
        self.t = 0
        self.account: Account
        _protect(*vars(episodes).values())

    def _at(self, t: int, account: Account) -> Known:
        self.t, self.account = t, account
        _protect(account.cash, account.wealth, *account.ordered)
        return self

    def _moved(self, episodes: Episodes, tape: Tape, observed: Observations) -> None:
        """Trades have moved the market: it is another batch from now on."""
        self._episodes, self._tape, self._observed = episodes, tape, observed
        _protect(*vars(episodes).values())

    @property
    def ops(self) -> Namespace:
        """The namespace of the arrays."""
        return self._episodes.ops

    @property
    def contract(self) -> Contract:
        """The scenario's constants."""
        return self._episodes.contract

    @property
    def steps(self) -> int:
        """The number of decision dates, T."""
        return self._episodes.steps

    @property
    def time(self) -> X:
        """Years since the start, ``[1 or N]``."""
        return self._episodes.times[self.t]

    @property
    def time_left(self) -> X:
        """Years to the end of the episode (the calendar is known), ``[1 or N]``."""
        return self._episodes.times[-1] - self._episodes.times[self.t]

    @property
    def spot(self) -> X:
        """Of the first asset, ``[N]``."""
        return self._episodes.spot[self.t]

    @property
    def vol(self) -> X:
        """The quoted vol, ``[1 or N]``."""
        vol = self._episodes.vol
        return vol[0] if len(vol) == 1 else vol[self.t]

    @property
    def price(self) -> X:
        """Mid prices of the hedge instruments, ``[N, K]``."""
        return self._episodes.price[self.t]

    @property
    def delta(self) -> X:
        """The position's delta to the first asset, ``[N]``."""
        return self._episodes.delta[self.t]

    @property
    def gamma(self) -> X:
        """The position's gamma, ``[N]``."""
        return self._episodes.gamma[self.t]

    @property
    def vega(self) -> X:
        """The position's vega, ``[N]``."""
        return self._episodes.vega[self.t]

    @property
    def theta(self) -> X:
        """The position's theta, ``[N]``."""
        return self._episodes.theta[self.t]

    @property
    def hedge_delta(self) -> X:
        """``[N, K]``."""
        return self._episodes.hedge_delta[self.t]

    @property
    def hedge_gamma(self) -> X:
        """``[N, K]``."""
        return self._episodes.hedge_gamma[self.t]

    @property
    def hedge_vega(self) -> X:
        """``[N, K]``."""
        return self._episodes.hedge_vega[self.t]

    @property
    def holding(self) -> X:
        """Holdings once every order under way is dealt (without a delay: now), ``[N, K]``."""
        return stack(self.account.ordered)

    @property
    def closed(self) -> tuple[bool, ...]:
        """Which instruments cannot be traded now and stay as they are."""
        closed = self._episodes.closed
        return (False,) * self.contract.instruments if closed is None else closed[self.t]

    @property
    def wealth(self) -> X:
        """Marked P&L so far, ``[N]``."""
        return self.account.wealth

    @property
    def neutral(self) -> X:
        """The delta-one holdings that are delta-neutral when no option is held, ``[N, D]``."""
        return -stack(tuple(delta[self.t] for delta in self._tape.delta))

    def history(self, name: str) -> X:
        """A series of `Episodes` up to and including t; ``[1, ...]`` where it never changes.

        Raises:
            ValueError: for a name that is not in `HISTORIES`, and for ``jump`` where nothing jumps.
        """
        values = getattr(self._episodes, name) if name in HISTORIES else None
        if values is None:
            raise ValueError(f"no history of {name!r}: choose one of {', '.join(HISTORIES)}")
        return values if len(values) == 1 else values[: self.t + 1]

    def latent(self, name: str) -> X:
        """A state that only the model knows, ``[N]``: for rules that are given the model.

        Raises:
            ValueError: for a state that the market does not have.
        """
        states = self._episodes.latents
        if name not in states:
            has = ", ".join(states) or "none"
            raise ValueError(f"no latent {name!r}: this market's are {has}")
        state = states[name][0 if len(states[name]) == 1 else self.t]
        _protect(state)
        return state

    def observe(self, desk: Desk) -> X:
        """The observation ``[N, F]`` of a policy that acts through ``desk``.

        Float32; in torch of the ledger's dtype, so that a float64 gradient loses no digit to it.
        """
        return self._observed.at(desk, self.t, self.account, self._tape)

    def targets(self, desk: Desk, action: X) -> X:
        """The target holdings ``[N, K]`` that ``action [N, width]`` asks for through the view."""
        numbers = tuple(action[..., i] for i in range(action.shape[-1]))
        return self.asked(desk, numbers)

    def asked(self, desk: Desk, numbers: tuple[X, ...]) -> X:
        """The same for an action given number by number, ``[N]`` each."""
        tape = self._observed.based(desk.action.built_on, self.scenario, self._tape)
        return stack(desk.targets(numbers, self.account, tape, self.t))

    def seen(self, desk: Desk) -> tuple[X, list[X]]:
        """The observation in parts: market features ``[N, F]`` and own columns, ``[N]`` each.

        The own columns of the former are there, unfilled, and come last; in torch they may be
        filled in place.
        """
        return self._observed.parts(desk, self.t, self.account, self._tape)


def _protect(*arrays: X) -> None:
    """What is shown is the books themselves: a hedger may not write on them."""
    for array in arrays:
        if isinstance(array, np.ndarray):
            array.flags.writeable = False


class Observations:
    """Blocks of market features of one batch, once per feature set; edges, once per base."""

    def __init__(self, episodes: Episodes, as_numpy: bool) -> None:
        self._episodes, self._as_numpy = episodes, as_numpy
        self._blocks: dict[tuple[str, ...], X] = {}
        self._tapes: dict[Rule, Tape] = {}

    def at(self, desk: Desk, t: int, account: Account, tape: Tape) -> X:
        """The observation at date t, a fresh array."""
        market, own = self.parts(desk, t, account, tape)
        if self._as_numpy:
            observation = market.copy()
            for column, value in enumerate(own, start=market.shape[1] - len(own)):
                observation[:, column] = value
            return observation
        head = market[:, : market.shape[1] - len(own)].to(account.wealth.dtype)
        return torch.cat([head, torch.stack(own, -1)], -1) if own else head

    def parts(self, desk: Desk, t: int, account: Account, tape: Tape) -> tuple[X, list[X]]:
        """Market features and own columns at date t."""
        if desk.features not in self._blocks:
            block = self._episodes.features(desk.features)
            self._blocks[desk.features] = block.cpu().numpy() if self._as_numpy else block
        return self._blocks[desk.features][t], desk.own_columns(account, tape, t)

    def based(self, base: Rule | None, scenario: Scenario, tape: Tape) -> Tape:
        """The tape with the base's edges, where actions are built on one."""
        if base is None:
            return tape
        if base not in self._tapes:
            edges = base_edges(base, scenario, self._episodes)
            if not self._as_numpy:
                like = self._episodes.spot
                edges = tuple(
                    (torch.as_tensor(low).to(like), torch.as_tensor(high).to(like))
                    for low, high in edges
                )
            self._tapes[base] = replace(tape, base=edges)
        return self._tapes[base]


def base_edges(rule: Rule, scenario: Scenario, episodes: Episodes) -> tuple[tuple[X, X], ...]:
    """The edges of a rule's no-trade region along torch ``episodes``, K pairs of ``[T, N]``.

    The lower edge is where the rule goes from the lower bound of every holding, the upper one from
    the upper bounds; a rule that heeds no present holding has one edge. Those of delta-one
    instruments are counted from the holding that is delta-neutral beside the rule's own options.
    The rule is shown no P&L. Evidence: tests/envs/test_base_actions.py.

    Raises:
        ValueError: where the rule does not fit the scenario.
    """
    reason = rule.refusal(scenario)
    if rule.sees_pnl:
        reason = "its holdings depend on the P&L, which a base is not shown: take another rule"
    if reason is not None:
        raise ValueError(f"base {rule.name!r}: {reason}")
    tape, desk = Tape.of(episodes), Desk(scenario, NUMPY)
    known = Known(scenario, episodes.numpy(), tape, Observations(episodes, True))
    lower, upper = (_edge(known, rule, desk, [b[i] for b in desk.bounds]) for i in (0, 1))
    return tuple(
        (low, low if np.array_equal(low, high) else high)
        for low, high in zip(lower, upper, strict=True)
    )


def _edge(known: Known, rule: Rule, desk: Desk, start: list[float]) -> list[X]:
    """Where the rule goes from the holdings ``start`` at every date, K arrays ``[T, N]``."""
    zero = np.zeros(len(known._tape.premium))
    account = Account(zero, tuple(np.full_like(zero, units) for units in start), zero)
    first, state = desk.options, rule.start(len(zero))
    rows = []
    for t in range(known.steps):
        target, state = rule.act(known._at(t, account), state)
        held = np.array(target, dtype=np.float64).T
        held[first:] -= desk.neutral(known._tape, t, list(held[:first]))
        rows.append(held)
    return list(np.stack(rows, axis=1))


def stack(columns: tuple[X, ...]) -> X:
    """K columns ``[N]`` as ``[N, K]``."""
    if isinstance(columns[0], torch.Tensor):
        return torch.stack(columns, -1) if len(columns) > 1 else columns[0][:, None]
    return np.stack(columns, -1)
