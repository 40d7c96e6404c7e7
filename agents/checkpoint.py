"""A tree of plain data in one file: safetensors for the arrays, JSON for the rest. No pickle."""

from __future__ import annotations

import hashlib
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor

FORMAT = 1
STATE = "state.safetensors"

# None, bool, int, float, str, arrays, tensors, and lists, tuples, deques and dicts of such.
Plain = Any
Arrays = dict[str, NDArray[Any]]


def is_plain(value: object) -> bool:
    """Whether `write_checkpoint` can write it."""
    if isinstance(value, (list, tuple, deque)):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(is_plain(key) and is_plain(item) for key, item in value.items())
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in "biuf"
    return value is None or isinstance(value, Tensor) or type(value) in (bool, int, float, str)


def has_checkpoint(folder: Path) -> bool:
    """Whether ``folder`` holds one."""
    return (folder / STATE).is_file()


def write_checkpoint(folder: Path, state: Plain, identity: Mapping[str, str]) -> None:
    """Put a new checkpoint in the place of the old one, in one step of the file system.

    A process killed at any moment leaves the old file or the new one, whole. It is not forced to
    the disk: after a power cut the checksum tells.

    Args:
        folder: made if missing.
        state: what `read_checkpoint` gives back.
        identity: what the reader must ask for.
    """
    arrays: Arrays = {}
    tree = {"identity": dict(identity), "state": _packed(state, arrays)}
    text = json.dumps(tree, allow_nan=False)
    header = {"format": str(FORMAT), "tree": text, "sha256": _digest(text, arrays)}
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "state.part"
    save_file(arrays, part, header)
    part.replace(folder / STATE)


def read_checkpoint(folder: Path, identity: Mapping[str, str]) -> Plain:
    """The state that was written.

    Raises:
        ValueError: in one line, when the file is truncated or changed, of another format, or when
            its identity is another; no code in it is ever run.
    """
    path = folder / STATE
    damaged = f"{path}: truncated or changed: remove {folder} to train from the start"
    try:
        with safe_open(path, framework="numpy") as file:
            header: dict[str, str] = file.metadata() or {}
            arrays: Arrays = {key: np.array(file.get_tensor(key)) for key in file.keys()}
    except (OSError, SafetensorError):
        raise ValueError(damaged) from None
    if header.get("format") != str(FORMAT):
        raise ValueError(
            f"{path}: format {header.get('format')!r}, this version reads {FORMAT}: go on with the "
            f"version that wrote it, or remove {folder} to train from the start"
        )
    text = header.get("tree", "")
    if header.get("sha256") != _digest(text, arrays):
        raise ValueError(damaged)
    document = json.loads(text)
    written = document["identity"]
    for key in sorted(written.keys() | identity.keys()):
        if written.get(key) != identity.get(key):
            raise ValueError(
                f"{path}: written with {key} {written.get(key)}, this is {identity.get(key)}: go "
                f"on as it was begun, or remove {folder} to train from the start"
            )
    return _unpacked(document["state"], arrays)


def _digest(text: str, arrays: Arrays) -> str:
    """SHA-256 of the tree and of every array with its name, type and shape."""
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _packed(value: Plain, arrays: Arrays) -> Any:
    """JSON for a value; what JSON has no word for is an object with one tagged entry."""

    def kept(array: Any) -> str:
        name = str(len(arrays))
        arrays[name] = np.asarray(array, order="C")
        return name

    def each(items: Iterable[Any]) -> list[Any]:
        return [_packed(item, arrays) for item in items]

    if isinstance(value, float) and not isinstance(value, np.generic):
        return value if math.isfinite(value) else {"float": str(value)}
    tagged: dict[type, Callable[[], Any]] = {
        np.ndarray: lambda: {"array": kept(value)},
        np.generic: lambda: {"scalar": kept(value)},
        Tensor: lambda: {"tensor": kept(value.detach().cpu().numpy())},
        list: lambda: each(value),
        tuple: lambda: {"tuple": each(value)},
        deque: lambda: {"deque": each(value), "most": value.maxlen},
        dict: lambda: {"dict": [each(pair) for pair in value.items()]},
    }
    return next((pack() for kind, pack in tagged.items() if isinstance(value, kind)), value)


def _unpacked(packed: Any, arrays: Arrays) -> Plain:
    if isinstance(packed, list):
        return [_unpacked(item, arrays) for item in packed]
    if not isinstance(packed, dict):
        return packed
    (tag, held), *_ = packed.items()
    built: dict[str, Callable[[], Plain]] = {
        "array": lambda: arrays[held],
        "scalar": lambda: arrays[held][()],
        "tensor": lambda: torch.from_numpy(arrays[held]).clone(),
        "float": lambda: float(held),
        "tuple": lambda: tuple(_unpacked(held, arrays)),
        "deque": lambda: deque(_unpacked(held, arrays), packed["most"]),
        "dict": lambda: dict(map(tuple, _unpacked(held, arrays))),
    }
    return built[tag]()
