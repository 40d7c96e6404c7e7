"""Recorded prices: arrays as fields of a part, and the files that they are read from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema
from torch import Tensor

Floats = NDArray[np.float64]
HIGHEST_VOL = 5.0  # an implied vol above 500 % is taken for one written in percent
UNLIKE = 2.0  # how many times longer or shorter than a recorded step a market step may be


class Recording:
    """A read-only float64 array as a field of a part; it exists in Python only.

    Recordings of the same numbers are equal. A part that holds one cannot be saved.
    """

    def __init__(self, values: Any) -> None:
        self.values: Floats = np.array(values, dtype=np.float64)
        self.values.flags.writeable = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recording) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self.values.shape)

    def __repr__(self) -> str:
        return f"Recording of shape {self.values.shape}"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls._of)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"not": {}}  # nothing in JSON is one

    @classmethod
    def _of(cls, values: Any) -> Recording:
        if isinstance(values, cls):
            return values
        try:
            return cls(values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"not an array of numbers ({error}): give one") from None


def exactly_one(**given: object) -> None:
    """Refuse none or several of the keys that are not null.

    Raises:
        ValueError: naming the keys.
    """
    number = sum(value is not None for value in given.values())
    if number != 1:
        raise ValueError(f"{number} of {' and '.join(given)} are given: give exactly one")


def stamp(file: str) -> tuple[Path, int]:
    """A file and when it was last changed: what a cached reading of it is known by.

    Raises:
        ValueError: if there is no such file.
    """
    path = Path(file).expanduser().absolute()
    if not path.is_file():
        raise ValueError(f"{file}: there is no such file: check the path")
    return path, path.stat().st_mtime_ns


def read_columns(path: Path) -> dict[str, Sequence[object]]:
    """The columns of a CSV or Parquet file by name, in lower case.

    The columns of a CSV whose first line is all numbers are called ``column 1``, ``column 2``...

    Raises:
        ValueError: for another type of file, one that cannot be read, has rows of unequal length,
            or two columns of one name.
        ImportError: for Parquet without the extra ``data``.
    """
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path}: the name must end in {' or '.join(readers)}: convert the file")
    try:
        header, columns = readers[path.suffix.lower()](path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read ({error}): export it again") from error
    names = [name.strip().lower() for name in header]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: there are two columns {name!r}: keep one")
    return dict(zip(names, columns, strict=True))


def read_array(path: Path) -> Floats:
    """A NumPy file.

    Raises:
        ValueError: if it cannot be read or holds no numbers.
    """
    try:
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{path}: is not an array of numbers ({error}): save it again") from None


def as_numbers(where: str, cells: Sequence[object]) -> Floats:
    """Cells as float64, empty ones as NaN.

    Raises:
        ValueError: naming the first that is no number.
    """
    try:
        return np.array(cells, dtype=np.float64)
    except (TypeError, ValueError):
        for row, cell in enumerate(cells, start=1):
            if not _is_number(cell):
                raise ValueError(
                    f"{where}, row {row}: {cell!r} is not a number: write it like 1234.5"
                ) from None
        raise


def check_positive(where: str, values: Floats, *, vols: bool = False) -> Floats:
    """The values, unless one of them is not a finite number above 0.

    Raises:
        ValueError: naming the first such value, or the first vol that looks like percent.
    """
    for place in np.argwhere(~(np.isfinite(values) & (values > 0)))[:1]:
        raise ValueError(
            f"{where}, row {place[0] + 1}{_column(place)}: {values[tuple(place)]:g} is not a "
            "finite number above 0: correct it or leave its row out"
        )
    for place in np.argwhere(values > HIGHEST_VOL)[: int(vols)]:
        raise ValueError(
            f"{where}, row {place[0] + 1}{_column(place)}: the vol {values[tuple(place)]:g} is "
            f"above {HIGHEST_VOL:g} and may be in percent: divide it by 100"
        )
    return values


def check_steps(clock: Tensor, period: float) -> None:
    """Refuse a calendar whose steps are not those of a history of one row every ``period`` years.

    Raises:
        ValueError: if they are more than twice as long, or as short, on average.
    """
    step = float((clock[-1] - clock[0]).mean()) / (len(clock) - 1)
    if not period / UNLIKE <= step <= period * UNLIKE:
        raise ValueError(
            f"a market step of {step:.3g} years for a recorded step of {period:.3g}: every market "
            "step takes one row of the history, so take a calendar with as long steps, or mend "
            "market.period"
        )


def _column(place: NDArray[np.int64]) -> str:
    return f", column {place[1] + 1}" if len(place) > 1 else ""


def _is_number(cell: object) -> bool:
    try:
        float(cell)  # type: ignore[arg-type]  # what is no number is what is asked
    except (TypeError, ValueError):
        return False
    return True


def _read_csv(path: Path) -> tuple[list[str], list[Sequence[object]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    if not rows:
        raise ValueError(f"{path}: is empty: write a row for every date")
    width = len(rows[0])
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise ValueError(
                f"{path}, line {number}: {len(row)} cells where the first line has {width}: "
                "give every line as many"
            )
    header = [f"column {place + 1}" for place in range(width)]
    if not all(map(_is_number, rows[0])):
        header, rows = rows[0], rows[1:]
    return header, list(zip(*rows, strict=True)) or [()] * width


def _read_parquet(path: Path) -> tuple[list[str], list[Sequence[object]]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f"{path}: Parquet needs the extra 'data': pip install 'deephedge[data]'"
        ) from error
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            table = file.read()
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from error
    return list(table.column_names), [column.to_pylist() for column in table.columns]
