"""Bootstrap: paths made of blocks of recorded returns."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor

from .history import (
    Floats,
    Recording,
    as_numbers,
    check_positive,
    check_steps,
    exactly_one,
    read_columns,
    stamp,
)
from .market import Market, Positive, Walk

FEWEST_ROWS = 3


class Bootstrap(Market):
    """Recorded log-returns in blocks of random places and lengths, ``block`` rows long on average.

    Every market step takes one recorded return, whatever the step's length, and with it the vol
    quoted on that day; so the steps of the calendar are to be the rows of the history, which are
    ``period`` years apart. After each step the next row follows, the first after the last, or with
    probability 1 / ``block`` any row, alike.

    With ``demean`` a deterministic drift is taken off so that d log E[S] / dt = ``drift``
    exactly, on every date; else the history keeps its own mean and ``drift`` has to be 0.

    ``file`` is a CSV or Parquet file with a column ``spot`` and, if there are quotes, ``vol`` (per
    sqrt(year)), oldest row first; ``history`` in its place an array ``[rows]`` or ``[rows, 2]``.
    Without quotes the vol quoted is the realised one.

    Source: Politis and Romano, "The Stationary Bootstrap", 1994. Evidence:
    tests/envs/test_history_markets.py.
    """

    foresees: ClassVar[bool] = False

    kind: Literal["bootstrap"] = "bootstrap"
    file: str | None = None
    history: Recording | None = None
    block: Annotated[float, Field(ge=1)] = 20.0
    period: Positive = 1 / 252
    demean: bool = True

    @model_validator(mode="after")
    def _readable(self) -> Bootstrap:
        exactly_one(file=self.file, history=self.history)
        if self.drift and not self.demean:
            raise ValueError(
                f"drift {self.drift:g} on top of the history's own: set it to 0, or demean to true"
            )
        if self.history is not None:
            _checked("history", self.history.values)
        _ = self._rows
        return self

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """One row of the history a step.

        Raises:
            ValueError: if the steps are far from ``period`` long.
        """
        check_steps(clock, self.period)
        device, steps = generator.device, len(clock) - 1
        returns = torch.from_numpy(self._returns).to(device)
        offset = torch.from_numpy(self._offset(steps)).to(device)
        quotes = None if self._quotes is None else torch.from_numpy(self._quotes).to(device, dtype)
        log_spot = torch.empty((steps + 1, paths), dtype=dtype, device=device)
        vol = torch.empty_like(log_spot) if quotes is not None else None
        # The sum is kept in float64: offset and returns nearly cancel over many steps.
        total = torch.zeros(paths, dtype=torch.float64, device=device)
        row = torch.randint(0, len(returns), (paths,), generator=generator, device=device)
        for t in range(steps + 1):
            log_spot[t] = total + offset[t]
            if vol is not None and quotes is not None:
                vol[t] = quotes[row if t == 0 else row + 1]
            if t == steps:
                break
            if t:
                row = self._next(row, len(returns), generator)
            total += returns[row]
        return Walk(log_spot, log_spot.new_full((1, 1), self.volatility) if vol is None else vol)

    def risk_neutral(self) -> Market:
        """Refused: a history has no pricing measure."""
        raise TypeError(
            "a bootstrap has no pricing measure, so nothing can be priced by its model: mark with "
            "black-scholes or market-vol, or fit a market to the history"
        )

    @property
    def volatility(self) -> float:
        """That of the recorded log-returns."""
        return float(self._returns.std()) / math.sqrt(self.period)

    def _next(self, row: Tensor, rows: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        u = torch.rand(row.shape, generator=generator, dtype=torch.float64, device=device)
        anew = torch.randint(0, rows, row.shape, generator=generator, device=device)
        return torch.where(u * self.block < 1, anew, (row + 1) % rows)

    def _offset(self, steps: int) -> Floats:
        """Log spot less, if it is to be taken off, log E of the growth of the sums, ``[T+1]``.

        The growth on paths that are at a row follows from that on paths at the row before and, for
        those that start anew, from that of all: returns of one block depend on each other, so the
        powers of their mean would not do.
        """
        offset = np.full(steps + 1, math.log(self.spot))
        if not self.demean:
            return offset
        gross = np.exp(self._returns)
        growth = gross / len(gross)
        for t in range(1, steps + 1):
            mean = growth.sum()
            growth /= mean
            offset[t:] -= math.log(mean)
            anew = 1 / self.block
            growth = gross * (anew / len(gross) + (1 - anew) * np.roll(growth, 1))
        return offset

    @property
    def _rows(self) -> Floats:
        """Spots and quotes, ``[rows, 1 or 2]``."""
        if self.history is not None:
            return self.history.values.reshape(len(self.history.values), -1)
        assert self.file is not None
        return _read(*stamp(self.file))

    @property
    def _returns(self) -> Floats:
        return np.diff(np.log(self._rows[:, 0]))

    @property
    def _quotes(self) -> Floats | None:
        rows = self._rows
        return rows[:, 1].copy() if rows.shape[1] > 1 else None


@lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> Floats:
    columns = read_columns(path)
    if "spot" not in columns:
        raise ValueError(f"{path}: no column 'spot' among {', '.join(columns)}: name one so")
    names = [name for name in ("spot", "vol") if name in columns]
    numbers = [as_numbers(f"{path}, column {name!r}", columns[name]) for name in names]
    return _checked(str(path), np.stack(numbers, axis=1))


def _checked(where: str, rows: Floats) -> Floats:
    """Rows of spots and quotes, unless they are impossible."""
    if rows.ndim not in {1, 2} or (rows.ndim == 2 and rows.shape[1] not in {1, 2}):
        raise ValueError(
            f"{where} has the shape {rows.shape}: give spots [rows], or spots and vols [rows, 2]"
        )
    if len(rows) < FEWEST_ROWS:
        raise ValueError(f"{where} has {len(rows)} rows: give at least {FEWEST_ROWS}")
    table = rows.reshape(len(rows), -1)
    check_positive(where, table[:, :1])
    check_positive(where, table[:, 1:], vols=True)
    if np.ptp(table[:, 0]) == 0:
        raise ValueError(f"{where}: the spot never moves: give a history that does")
    return rows
