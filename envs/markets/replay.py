"""Replay: the user's own paths."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor

from .history import (
    Floats,
    Recording,
    as_numbers,
    check_positive,
    check_steps,
    exactly_one,
    read_array,
    read_columns,
    stamp,
)
from .market import Market, Positive, Walk


class Replay(Market):
    """Recorded paths of spots and, if there are any, of quoted vols, on the calendar's dates.

    ``file`` is a CSV or Parquet file with a row for every date and a column for every path (one
    called ``date`` is passed over), or a .npy array ``[T+1, M]``; ``paths`` such an array in its
    place. ``vol_file`` or ``vols`` hold the vols per sqrt(year), alike; without them the vol quoted
    is the realised one, by ``period``, the years from row to row.

    In ``random`` order every path is one of the M, all alike; in ``sequential`` order a batch holds
    the first of them, each once. With ``rescale`` each path is multiplied so that it starts at
    ``spot``; else ``spot`` is no more than a scale. The paths keep the drift they have, so
    ``drift`` has to be 0. Evidence: tests/envs/test_history_markets.py.
    """

    foresees: ClassVar[bool] = False

    kind: Literal["replay"] = "replay"
    file: str | None = None
    paths: Recording | None = None
    vol_file: str | None = None
    vols: Recording | None = None
    order: Literal["random", "sequential"] = "random"
    rescale: bool = True
    period: Positive = 1 / 252

    @model_validator(mode="after")
    def _readable(self) -> Replay:
        exactly_one(file=self.file, paths=self.paths)
        if self.vol_file is not None or self.vols is not None:
            exactly_one(vol_file=self.vol_file, vols=self.vols)
        if self.drift:
            raise ValueError(f"drift {self.drift:g}, but recorded paths keep theirs: set it to 0")
        if self.paths is not None:
            _checked("paths", self.paths.values)
        if self.vols is not None:
            _checked("vols", self.vols.values, vols=True)
        spots = self._recording.values
        quotes = self._quotes
        if quotes is not None and quotes.shape != spots.shape:
            raise ValueError(
                f"vols of shape {quotes.shape} for spots of shape {spots.shape}: give one for each"
            )
        return self

    def walk(
        self, clock: Tensor, paths: int, generator: torch.Generator, dtype: torch.dtype
    ) -> Walk:
        """The recorded paths.

        Raises:
            ValueError: if they do not have the calendar's dates, or too few are recorded for
                ``paths`` in sequential order.
        """
        spots, quotes = self._recording.values, self._quotes
        if len(spots) != len(clock):
            raise ValueError(
                f"{len(spots)} dates are recorded and the calendar has {len(clock)}: set "
                f"calendar.steps to {len(spots) - 1}, or record {len(clock)} rows"
            )
        check_steps(clock, self.period)
        chosen = self._choose(paths, generator)
        log_spot = np.log(spots[:, chosen])
        if self.rescale:
            log_spot += math.log(self.spot) - log_spot[:1]
        device = generator.device
        if quotes is None:
            vol = torch.full((1, 1), self.volatility, dtype=dtype, device=device)
        else:
            vol = torch.from_numpy(quotes[:, chosen]).to(device, dtype)
        return Walk(torch.from_numpy(log_spot).to(device, dtype), vol)

    def risk_neutral(self) -> Market:
        """Refused: recorded paths have no pricing measure."""
        raise TypeError(
            "recorded paths have no pricing measure, so nothing can be priced by their model: mark "
            "with black-scholes or market-vol"
        )

    @property
    def recorded_steps(self) -> int:
        """T."""
        return len(self._recording.values) - 1

    @property
    def recorded_paths(self) -> int | None:
        """M in sequential order."""
        return self._recording.values.shape[1] if self.order == "sequential" else None

    @property
    def volatility(self) -> float:
        """That of all recorded log-returns."""
        return _deviation(self._recording) / math.sqrt(self.period)

    def _choose(self, paths: int, generator: torch.Generator) -> NDArray[np.int64]:
        """Which of the M recorded paths, ``[N]``."""
        recorded = self._recording.values.shape[1]
        if self.order == "random":
            device = generator.device
            drawn = torch.randint(0, recorded, (paths,), generator=generator, device=device)
            return drawn.cpu().numpy()
        if paths > recorded:
            raise ValueError(
                f"{paths} paths in sequential order and {recorded} are recorded: ask for at most "
                f"{recorded}, or set market.order to random"
            )
        return np.arange(paths)

    @property
    def _recording(self) -> Recording:
        """The spots ``[T+1, M]``."""
        if self.paths is not None:
            return self.paths
        assert self.file is not None
        return _read(*stamp(self.file), False)

    @property
    def _quotes(self) -> Floats | None:
        """``[T+1, M]``."""
        if self.vols is not None:
            return self.vols.values
        return None if self.vol_file is None else _read(*stamp(self.vol_file), True).values


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, vols: bool) -> Recording:
    if path.suffix.lower() == ".npy":
        return Recording(_checked(str(path), read_array(path), vols=vols))
    columns = {name: cells for name, cells in read_columns(path).items() if name != "date"}
    if not columns:
        raise ValueError(f"{path}: has no column of prices: write one for every path")
    numbers = [as_numbers(f"{path}, column {name!r}", cells) for name, cells in columns.items()]
    return Recording(_checked(str(path), np.stack(numbers, axis=1), vols=vols))


@lru_cache(maxsize=8)  # it is asked for often, and the paths may be many
def _deviation(paths: Recording) -> float:
    return float(np.diff(np.log(paths.values), axis=0).std())


def _checked(where: str, values: Floats, *, vols: bool = False) -> Floats:
    """Paths ``[T+1, M]``, unless they are impossible."""
    if values.ndim != 2 or len(values) < 2 or not values.shape[1]:
        raise ValueError(
            f"{where} has the shape {values.shape}: give a row for each of at least 2 dates and a "
            "column for each path"
        )
    return check_positive(where, values, vols=vols)
