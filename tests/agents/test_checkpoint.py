"""A checkpoint on disk: what goes in comes out, it is whole at any moment, damage is refused."""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open
from safetensors.numpy import save_file

from deephedge.agents import checkpoint as module
from deephedge.agents.checkpoint import (
    STATE,
    has_checkpoint,
    is_plain,
    read_checkpoint,
    write_checkpoint,
)

Same = Callable[[Any, Any], bool]
WHO = {"seed": "1", "torch": "2"}


TYPES = st.sampled_from(["float32", "float64", "int64", "uint32", "uint8", "bool"])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | arrays.arrays(TYPES, arrays.array_shapes(min_dims=0, min_side=0, max_side=3))
    | st.floats(width=32).map(np.float32)
    | st.lists(st.floats(width=32), max_size=3).map(torch.tensor)
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(lambda items: deque(items, maxlen=5))
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tree=TREES)
def test_what_goes_in_comes_out(tree: Any, same: Same, tmp_path: Path) -> None:
    assert is_plain(tree)
    write_checkpoint(tmp_path, tree, WHO)
    assert same(read_checkpoint(tmp_path, WHO), tree)


def test_views_and_shared_arrays_come_out_as_arrays_of_their_own(tmp_path: Path) -> None:
    whole = np.arange(12.0).reshape(3, 4)
    state = [whole.T, whole[:, 1], np.broadcast_to(True, 3), torch.arange(6).reshape(2, 3).T]
    write_checkpoint(tmp_path, [*state, whole], WHO)
    read = read_checkpoint(tmp_path, WHO)
    for one, two in zip(read, [*state, whole], strict=True):
        np.testing.assert_array_equal(one, two)
    read[0][:] = 0.0  # writable, and nobody else's
    np.testing.assert_array_equal(read[-1], whole)


@pytest.mark.parametrize("value", [object(), np.array(["text"]), {1, 2}, len, [object()]])
def test_other_things_are_not_plain(value: Any, tmp_path: Path) -> None:
    assert not is_plain(value)


def test_no_pickle_is_written_or_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("pickle")

    for owner, name in ((pickle, "loads"), (pickle, "load"), (pickle, "dumps"), (torch, "load")):
        monkeypatch.setattr(owner, name, refuse)
    monkeypatch.setattr(torch, "save", refuse)
    write_checkpoint(tmp_path, {"a": torch.ones(3), "b": np.ones(2)}, WHO)
    assert torch.equal(read_checkpoint(tmp_path, WHO)["a"], torch.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


def rewritten(path: Path, **changes: str) -> None:
    """The same arrays under another header."""
    with safe_open(path, framework="numpy") as file:
        header = file.metadata() | changes
        kept = {key: file.get_tensor(key) for key in file.keys()}
    save_file(kept, path, header)


@pytest.mark.parametrize("what", ["cut", "flipped", "empty", "other tree", "other array", "text"])
def test_damage_is_refused_in_one_line(what: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, {"a": np.arange(50.0), "n": 7}, WHO)
    path = tmp_path / STATE
    data = bytearray(path.read_bytes())
    if what == "cut":
        path.write_bytes(data[:-9])
    elif what == "flipped":
        data[-1] ^= 1
        path.write_bytes(data)
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "text":
        path.write_text("not a checkpoint at all")
    elif what == "other tree":
        rewritten(path, tree='{"identity": {}, "state": 8}')
    else:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata()
        save_file({"0": np.arange(1.0, 51.0)}, path, header)
    with pytest.raises(ValueError, match=r"truncated or changed: remove .* to train from") as bad:
        read_checkpoint(tmp_path, WHO)
    assert str(path) in str(bad.value) and "\n" not in str(bad.value)


def test_every_bit_counts(tmp_path: Path) -> None:
    """Wherever one is flipped, in the header or in an array, the file is refused."""
    write_checkpoint(tmp_path, {"a": np.arange(5.0), "n": [7, "x"]}, WHO)
    path = tmp_path / STATE
    data = path.read_bytes()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(ValueError):
            read_checkpoint(tmp_path, WHO)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (WHO | {"torch": "3"}, "written with torch 2, this is 3"),
        (WHO | {"scenario": "a"}, "written with scenario None, this is a"),
        ({"seed": "1"}, "written with torch 2, this is None"),
    ],
)
def test_another_training_is_refused(asked: dict[str, str], message: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 1, WHO)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(tmp_path, asked)


def test_another_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_checkpoint(tmp_path, 1, WHO)
    monkeypatch.setattr(module, "FORMAT", 2)
    with pytest.raises(ValueError, match="format '1', this version reads 2"):
        read_checkpoint(tmp_path, WHO)


def test_a_death_between_any_two_calls_leaves_a_whole_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first write is of one file beside it, the last call puts that in its place."""
    folder = tmp_path / "checkpoint"
    assert not has_checkpoint(folder)
    write_checkpoint(folder, "old", WHO)

    class DeathError(BaseException):
        pass

    def half(kept: Any, path: Path, header: Any) -> None:
        path.write_bytes(b"half")
        raise DeathError

    def no_rename(*arguments: Any) -> None:
        raise DeathError

    for owner, name, death in ((module, "save_file", half), (Path, "replace", no_rename)):
        with monkeypatch.context() as patched, pytest.raises(DeathError):
            patched.setattr(owner, name, death)
            write_checkpoint(folder, "new", WHO)
        assert has_checkpoint(folder) and read_checkpoint(folder, WHO) == "old"
    write_checkpoint(folder, "new", WHO)
    assert read_checkpoint(folder, WHO) == "new"
    assert [path.name for path in folder.iterdir()] == [STATE]
