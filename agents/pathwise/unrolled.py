"""The holdings of whole episodes as one autograd operation.

What is held, and the P&L where it is seen, enter the next date's decision, so that a gradient goes
from date to date. Autograd would take up every line of desk and ledger at every date, one by one;
here the dates are played without it, the slopes of those lines are found for all dates at once, and
only the chain itself is followed date by date (Werbos, "Backpropagation through time: what it does
and how to do it", 1990). That takes less time and up to half as much memory again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...envs.desk import Desk
from ...envs.ledger import Account, step
from ...envs.tape import Tape
from ...envs.terminal_wealth import books_apart
from .dense import Activation, Dense, inside

Columns = tuple[Tensor, ...]
Slopes = list[tuple[int, int, Columns]]  # of a line to an input, [N] at each date


def can_unroll(desk: Desk, tape: Tape) -> bool:
    """Whether each date's books stand apart, and every instrument can be traded at each."""
    return books_apart(desk, tape) and tape.closed is None


def unrolled(
    desk: Desk, tape: Tape, market: Tensor, activation: Activation, parameters: Sequence[Tensor]
) -> tuple[Columns, Tensor]:
    """What is held over each step, ``[T, N]`` per instrument, and the actions ``[T, width, N]``.

    For episodes that `can_unroll` allows and the network of `Dense`, whose observations ``[T, N,
    F]`` are ``market``, own columns last and unfilled: they are written there. Evidence: equal to
    the same dates under autograd in tests/agents/test_unrolled.py.
    """
    *held, actions = _Unrolled.apply(  # type: ignore[no-untyped-call]
        desk, tape, market, activation, *parameters
    )
    return tuple(held), actions


class _Unrolled(torch.autograd.Function):
    """The state before a date is what is held, with cash and wealth where the P&L is seen."""

    @staticmethod
    def forward(
        ctx: Any,
        desk: Desk,
        tape: Tape,
        market: Tensor,
        activation: Activation,
        *parameters: Tensor,
    ) -> Any:
        account = desk.open(tape)
        network = Dense(parameters, activation, len(desk.own_columns(account, tape, 0)))
        states, numbers, values = [_state(desk, account)], [], []
        for t, seen in enumerate(market.unbind(0)):
            action, given = network.forward(seen, desk.own_columns(account, tape, t))
            asked = desk.targets(action.unbind(0), account, tape, t)
            held = desk.admissible(asked, account, tape, t)
            if desk.sees_pnl:
                account, _ = step(account, held, tape.period(t), desk.costs, desk.ops)
            else:
                account = account._replace(holding=held)
            states.append(_state(desk, account))
            numbers.append(action)
            values.append(given)
        columns = tuple(map(torch.stack, zip(*states, strict=True)))
        actions = torch.stack(numbers)
        # Not `save_for_backward`, which takes tensors alone; these live as long as the graph.
        ctx.saved = desk, tape, network, values, columns, actions
        ctx.mark_non_differentiable(actions)
        return *(column[1:] for column in columns[: len(account.holding)]), actions

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        desk, tape, network, values, columns, actions = ctx.saved
        chain = _Chain(desk, tape, tuple([column[:-1] for column in columns]), actions)
        found = network.zeros()
        to_states = actions.new_zeros((len(columns), *columns[0].shape))
        for row, gradient in zip(to_states, gradients[:-1], strict=False):
            row[1:] = gradient
        states = [row.unbind(0) for row in to_states]
        to_numbers = torch.zeros_like(actions)
        numbers = [block.unbind(0) for block in to_numbers.unbind(1)]
        for t, to_action in reversed(list(enumerate(to_numbers.unbind(0)))):
            before, after = ([state[t + late] for state in states] for late in (0, 1))
            _add_pulled(after, chain.held_to_books, after, t)
            _add_pulled(after, chain.numbers_to_held, [number[t] for number in numbers], t)
            own = network.backward(to_action, values[t], found)
            _add_pulled(after, chain.states_to_held, before, t)
            _add_pulled(after, chain.states_to_books, before, t)
            _add_pulled(own, chain.states_to_own, before, t)
        return None, None, None, None, *found


def _state(desk: Desk, account: Account) -> Columns:
    seen = (account.cash, account.wealth) if desk.sees_pnl else ()
    return *account.holding, *seen


def _add_pulled(lines: Sequence[Tensor], slopes: Slopes, inputs: Sequence[Tensor], t: int) -> None:
    """Add what the gradients to lines of date t are to their inputs."""
    for line, column, slope in slopes:
        inputs[column].addcmul_(lines[line], slope[t])


class _Chain:
    """What the lines of desk and ledger do at every date: slopes of what a step makes of what.

    A path's line depends on nothing of another path or date: the gradient of its sum has them all.
    Lines and states are counted as in a state; the books are its cash and wealth.
    """

    def __init__(self, desk: Desk, tape: Tape, states: Columns, actions: Tensor) -> None:
        dates, count = (slice(0, len(actions)), slice(None)), len(desk.costs)
        with torch.enable_grad():
            before, numbers = _leaves(states), _leaves(actions.unbind(1))
            account = desk.open(tape)._replace(holding=before[:count])
            if desk.sees_pnl:
                account = account._replace(cash=before[count], wealth=before[count + 1])
            own = desk.own_columns(account, tape, dates)
            asked = desk.targets(numbers, account, tape, dates)
            held = desk.admissible(asked, account, tape, dates)
            books: Columns = ()
            target = _leaves(held)
            if desk.sees_pnl:
                after, _ = step(account, target, tape.all_periods(), desk.costs, desk.ops)
                books = (after.cash, after.wealth)
        self.states_to_own = _slopes(own, before)
        self.states_to_held = _slopes(held, before)
        self.numbers_to_held = _slopes(held, numbers, [inside(number) for number in numbers])
        self.states_to_books = _slopes(books, before, offset=count)
        self.held_to_books = _slopes(books, target, offset=count)


def _leaves(columns: Sequence[Tensor]) -> Columns:
    return tuple([column.detach().requires_grad_() for column in columns])


def _slopes(
    lines: Sequence[Tensor],
    inputs: Columns,
    where: Sequence[Tensor] | None = None,
    offset: int = 0,
) -> Slopes:
    """Of each line, counted from ``offset``, to each input; where ``where`` is false it is 0."""
    return [
        (row, column, (slope if where is None else slope * where[column]).unbind(0))
        for row, line in enumerate(lines, offset)
        if line.requires_grad
        for column, slope in enumerate(
            torch.autograd.grad(
                line, inputs, torch.ones_like(line), retain_graph=True, allow_unused=True
            )
        )
        if slope is not None
    ]
