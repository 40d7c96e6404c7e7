"""What was asked, beside what was found: so that work goes on only where it is the same work."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel
from torch import Tensor

from ..agents.training_state import LIBRARIES
from .plugins import loaded_plugins
from .runs import refuse_existing
from .whole_files import write_json


def versions() -> dict[str, str]:
    """What results depend on: with another version a study does not go on."""
    return {name: metadata.version(name) for name in ("deephedge", *LIBRARIES)}


def made_with() -> dict[str, str]:
    """The same with the user's plugins, by a digest of their text."""
    plugins = {
        f"plugin {Path(each.file).name}": hashlib.sha256(each.code).hexdigest()
        for each in loaded_plugins()
    }
    return versions() | plugins


def stable(value: Any) -> Any:
    """An argument as plain data, the same in every process; arrays by a digest of their bytes.

    A path is the text that was given, not what lies there.

    Raises:
        ValueError: for what has no such form, such as a function.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, BaseModel):
        return {"kind": type(value).__qualname__} | json.loads(value.model_dump_json())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): stable(each) for key, each in value.items()}
    if isinstance(value, list | tuple | range):
        return [stable(each) for each in value]
    if isinstance(value, np.ndarray | np.generic | Tensor):
        array = np.asarray(value)
        return f"{array.dtype}{array.shape} {hashlib.sha256(array.tobytes()).hexdigest()}"
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: stable(getattr(value, field.name)) for field in fields(value)}
    raise ValueError(f"{value!r}: a {type(value).__name__} cannot be written down: give plain data")


def found_answer(path: Path, question: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a file of `write_answer` holds; null where there is none.

    Raises:
        ValueError: in one line, when it answers another question, or is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        asked = found["question"]
        if not isinstance(asked, dict):
            raise TypeError(f"{type(asked).__name__} instead of a mapping")
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError):
        raise ValueError(f"{path}: damaged: remove it, and it is made anew") from None
    plain = json.loads(json.dumps(question))
    if asked != plain:
        keys = list(dict.fromkeys([*plain, *asked]))
        other = [key for key in keys if asked.get(key) != plain.get(key)]
        raise ValueError(
            f"{path} is of other {' and '.join(other)}: ask for the same, or give another --out"
        )
    return dict(found)


def write_answer(path: Path, question: Mapping[str, Any], **answer: Any) -> None:
    """A question and what was found, in one piece.

    Raises:
        ValueError: for what is no plain data, or a number that JSON has not, such as NaN.
    """
    try:
        write_json(path, {"question": question, **answer})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: its result is no plain data: {error}") from None


@contextmanager
def continued(path: Path, question: Mapping[str, Any]) -> Iterator[None]:
    """The folder of a study, a new one or one in which the same was asked; ``path`` lies in it.

    Nobody else works in it meanwhile. When the work fails before anything came of it, it is as if
    it had never been there.

    Raises:
        ValueError: in one line, before anything is touched, when the folder holds another study or
            something else, or when another process works in it.
    """
    folder = path.parent
    begun = folder.is_dir() and found_answer(path, question) is not None
    if not begun:
        refuse_existing(folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with holding(folder):
        if not begun:
            write_answer(path, question)
        try:
            yield
        except BaseException:
            if list(folder.iterdir()) == [path]:
                path.unlink()
                folder.rmdir()
                with suppress(OSError):  # from the first parent that others have put something in
                    for parent in made:
                        parent.rmdir()
            raise


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Nobody else works in the folder, until this ends or its process dies.

    Raises:
        ValueError: when somebody does.
    """
    try:
        import fcntl
    except ImportError:  # Windows has none; there it is left to the user
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(fcntl, handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(fcntl: Any, handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{folder}: another process works in it: wait for its end") from None
    except OSError:
        pass  # a file system without locks; there it is left to the user too
