"""Saved policies: they come back as they were, and a folder can do no harm."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from deephedge.agents import (
    AgentSettings,
    PolicyHedger,
    Trained,
    agent_names,
    load_policy,
    save_policy,
    train_agent,
)
from deephedge.agents import saved_policy as saved_policy_module
from deephedge.agents.random_state import global_generators
from deephedge.envs import Hedger, Scenario, View, load_scenario, rollout, simulate
from deephedge.envs.action import DiscreteAction

SPEC, WEIGHTS = "spec.json", "weights.safetensors"
Train = Callable[[str], Trained]


def save(folder: Path, result: Trained, scenario: Scenario) -> Path:
    save_policy(folder, result.hedger.policy, result.settings, scenario, result.view)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, trained: Train, short_call: Scenario) -> Path:
    """A good policy folder, not to be written to."""
    return save(tmp_path_factory.mktemp("run") / "policy", trained("ppo"), short_call)


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(saved, tmp_path / "run" / "policy"))


def holdings(hedger: Hedger, scenario: Scenario, paths: int = 300) -> NDArray[Any]:
    episodes = simulate(scenario, paths, torch.Generator().manual_seed(3), torch.float64)
    return np.asarray(rollout(scenario, episodes, hedger, record=True).holding)


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError) as refused:
        load_policy(folder)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 400
    return message


def change_spec(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    spec = json.loads((folder / SPEC).read_text())
    change(spec)
    (folder / SPEC).write_text(json.dumps(spec))


def with_weights(folder: Path, content: bytes) -> None:
    """Replace the weights, checksum and all."""
    (folder / WEIGHTS).write_bytes(content)
    change_spec(folder, lambda spec: spec.update(sha256=hashlib.sha256(content).hexdigest()))


@pytest.mark.parametrize("name", agent_names())
def test_a_policy_comes_back_with_identical_holdings(
    trained: Train, suited: Callable[[str], Scenario], tmp_path: Path, name: str
) -> None:
    result, scenario = trained(name), suited(name)
    loaded = load_policy(save(tmp_path / "run" / "policy", result, scenario))
    before, after = (holdings(hedger, scenario) for hedger in (result.hedger, loaded))
    assert np.ptp(before) > 0.1
    np.testing.assert_array_equal(before, after)
    assert loaded.name == "run"
    assert loaded.columns == result.hedger.columns
    kept = loaded.policy.state_dict()
    assert all(torch.equal(kept[k], v) for k, v in result.hedger.policy.state_dict().items())
    assert sorted(p.name for p in (tmp_path / "run" / "policy").iterdir()) == [SPEC, WEIGHTS]


@pytest.mark.parametrize("net", [(8,), (16, 8, 4)])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_its_shape_comes_back_too(
    three_steps: Scenario,
    tiny: Callable[..., AgentSettings],
    tmp_path: Path,
    net: tuple[int, ...],
    activation: str,
) -> None:
    result = train_agent(three_steps, tiny("ppo", net=net, activation=activation, steps=48))
    loaded = load_policy(save(tmp_path / "policy", result, three_steps), "mine")
    assert loaded.name == "mine"
    np.testing.assert_array_equal(
        holdings(result.hedger, three_steps), holdings(loaded, three_steps)
    )


@pytest.mark.parametrize("preset", ["gamma-hedge-jumps", "short-straddle-jumps", "sp500-call"])
def test_a_policy_of_any_scenario_comes_back(
    tiny: Callable[..., AgentSettings], tmp_path: Path, preset: str
) -> None:
    """Listed options, P&L among the features, random vols and calendars."""
    scenario = load_scenario(preset)
    result = train_agent(scenario, tiny("ppo", environments=4, steps=1))
    loaded = load_policy(save(tmp_path / "policy", result, scenario))
    np.testing.assert_array_equal(
        holdings(result.hedger, scenario, 50), holdings(loaded, scenario, 50)
    )


def test_a_discrete_on_policy_agent_comes_back(
    three_steps: Scenario, tiny: Callable[..., AgentSettings], tmp_path: Path
) -> None:
    result = train_agent(three_steps, tiny("ppo", action=DiscreteAction(levels=5), steps=48))
    loaded = load_policy(save(tmp_path / "policy", result, three_steps))
    found = holdings(loaded, three_steps)
    np.testing.assert_array_equal(holdings(result.hedger, three_steps), found)


def test_saving_and_loading_leave_the_global_generators_alone(
    trained: Train, short_call: Scenario, tmp_path: Path
) -> None:
    with global_generators(0):
        undisturbed = torch.rand(3), np.random.random(3)  # noqa: NPY002
    with global_generators(0):
        load_policy(save(tmp_path / "policy", trained("sac"), short_call))
        assert torch.equal(torch.rand(3), undisturbed[0])
        np.testing.assert_array_equal(np.random.random(3), undisturbed[1])  # noqa: NPY002


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """What a bomb makes when it goes off."""
    return tmp_path / "executed"


def bombs(mark: Path, tmp_path: Path) -> dict[str, bytes]:
    """Weights that execute when read by a pickle reader."""
    torch.save({"log_std": Bomb(mark)}, tmp_path / "bomb.pt")
    return {
        "pickle": pickle.dumps(Bomb(mark)),
        "old pickle": pickle.dumps(Bomb(mark), protocol=0),
        "torch": (tmp_path / "bomb.pt").read_bytes(),
    }


def test_the_bomb_would_go_off(mark: Path, tmp_path: Path) -> None:
    """Else the tests below would show nothing."""
    for bomb in ("pickle", "old pickle"):
        pickle.loads(bombs(mark, tmp_path)[bomb])
        mark.rmdir()
    torch.load(tmp_path / "bomb.pt", weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize("kind", ["pickle", "old pickle", "torch"])
@pytest.mark.parametrize("checksum", ["old", "matching"])
def test_a_pickle_in_place_of_the_weights_is_not_executed(
    folder: Path, mark: Path, tmp_path: Path, kind: str, checksum: str
) -> None:
    bomb = bombs(mark, tmp_path)[kind]
    if checksum == "matching":
        with_weights(folder, bomb)
        assert "not the weights" in refusal(folder)
    else:
        (folder / WEIGHTS).write_bytes(bomb)
        assert "checksum" in refusal(folder)
    assert not mark.exists()


def test_a_pickle_in_place_of_the_spec_is_not_executed(
    folder: Path, mark: Path, tmp_path: Path
) -> None:
    for bomb in bombs(mark, tmp_path).values():
        (folder / SPEC).write_bytes(bomb)
        assert "not JSON" in refusal(folder)
    assert not mark.exists()


def test_pickles_beside_the_weights_are_not_even_read(
    folder: Path, mark: Path, tmp_path: Path, short_call: Scenario, saved: Path
) -> None:
    found = bombs(mark, tmp_path)
    for name in (
        "evil.pkl",
        "policy.pth",
        "model.zip",
        "data.pkl",
        "__init__.py",
        "sitecustomize.py",
    ):
        kind = "torch" if name.endswith((".pth", ".zip")) else "pickle"
        (folder / name).write_bytes(found[kind])
        os.chmod(folder / name, 0)
    loaded = load_policy(folder)
    np.testing.assert_array_equal(
        holdings(loaded, short_call, 20), holdings(load_policy(saved), short_call, 20)
    )
    assert not mark.exists()


def test_loading_calls_no_unpickler(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("unpickled")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    load_policy(saved)


@pytest.mark.parametrize("kept", [0, 1, 8, 100, -1])
def test_truncated_weights_are_refused(folder: Path, kept: int) -> None:
    content = (folder / WEIGHTS).read_bytes()[:kept]
    (folder / WEIGHTS).write_bytes(content)
    message = refusal(folder)
    assert WEIGHTS in message and f"{len(content)} bytes that do not match" in message
    with_weights(folder, content)
    assert "not the weights" in refusal(folder)


@pytest.mark.parametrize("place", [0, 9, 500, -1])
def test_a_changed_byte_is_refused(folder: Path, place: int) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[place] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(content))
    assert "truncated or changed" in refusal(folder)


@given(data=st.data())
def test_no_damage_under_a_matching_checksum_gets_past(
    saved: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """In the header, where safetensors can go wrong: refused in one line, or still a policy."""
    content = bytearray((saved / WEIGHTS).read_bytes())
    header = int.from_bytes(content[:8], "little") + 8
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    folder = Path(shutil.copytree(saved, tmp_path_factory.mktemp("damaged") / "policy"))
    with_weights(folder, bytes(content))
    try:
        load_policy(folder)
    except ValueError as error:
        assert "\n" not in str(error)


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    name = next(iter(tensors))
    for wrong in (
        {k: v for k, v in tensors.items() if k != name},
        {**tensors, "more": torch.zeros(3)},
        {**tensors, name: torch.zeros(3, 5, 7)},
    ):
        save_file(wrong, folder / WEIGHTS)
        with_weights(folder, (folder / WEIGHTS).read_bytes())
        assert f"not the weights of {SPEC}" in refusal(folder)


@pytest.mark.parametrize("missing", [SPEC, WEIGHTS, None])
def test_missing_files_are_refused(folder: Path, missing: str | None) -> None:
    if missing is None:
        shutil.rmtree(folder)
    else:
        (folder / missing).unlink()
    message = refusal(folder)
    assert "cannot be read" in message and (missing or SPEC) in message


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"nonsense", b'{"format": 1', b"\xff\xfe\x00", b"[" * 100_000, b'{"format": 1}x'],
    ids=["empty", "brace", "word", "cut", "not UTF-8", "deep", "more"],
)
def test_wrong_json_is_refused(folder: Path, text: bytes) -> None:
    (folder / SPEC).write_bytes(text)
    message = refusal(folder)
    assert SPEC in message and "not JSON" in message


@pytest.mark.parametrize("text", ["[]", "null", "1", '"spec"', "{}"])
def test_json_that_is_no_spec_is_refused(folder: Path, text: str) -> None:
    (folder / SPEC).write_text(text)
    assert "format None, this version reads 1" in refusal(folder)


@pytest.mark.parametrize("number", [0, 2, 99, "1", None, 1.5])
def test_another_format_is_refused(folder: Path, number: Any) -> None:
    change_spec(folder, lambda spec: spec.update(format=number))
    assert f"format {number!r}, this version reads 1" in refusal(folder)


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown key": lambda s: s.update(extra=1),
    "settings.unknown": lambda s: s["settings"].update(unknown=1),
    "scenario.unknown": lambda s: s["scenario"].update(unknown=1),
    "scenario.market.unknown": lambda s: s["scenario"]["market"].update(unknown=1),
    "no settings": lambda s: s.pop("settings"),
    "no checksum": lambda s: s.pop("sha256"),
    "unknown algorithm": lambda s: s["settings"].update(algorithm="evil"),
    "unknown activation": lambda s: s["settings"].update(activation="os.system"),
    "negative vol": lambda s: s["scenario"]["market"].update(sigma=-1.0),
    "unknown market": lambda s: s["scenario"]["market"].update(kind="evil"),
    "unknown feature": lambda s: s["view"].update(features=["evil"]),
    "unknown action": lambda s: s["view"].update(action={"kind": "evil"}),
    "no layers": lambda s: s["settings"].update(net=[0]),
    "number for text": lambda s: s.update(sha256=1),
    "text for number": lambda s: s["settings"].update(steps="1"),
    "other columns": lambda s: s["columns"].reverse(),
    "fewer features": lambda s: s["view"].update(features=["delta"]),
    "another scenario": lambda s: s["scenario"]["position"]["legs"].append(
        s["scenario"]["position"]["legs"][0]
    ),
    "untrainable": lambda s: s["scenario"].update(objective={"kind": "var", "level": 0.9}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_spec_that_cannot_be_is_refused(folder: Path, change: str) -> None:
    change_spec(folder, CHANGES[change])
    refusal(folder)


def test_a_spec_of_another_algorithm_is_refused(folder: Path) -> None:
    change_spec(folder, lambda spec: spec["settings"].update(algorithm="sac"))
    assert "not the weights" in refusal(folder)


def test_half_a_save_is_never_loaded(
    folder: Path, trained: Train, short_call: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spec comes last: until then the old one does not match the new weights."""

    def break_off(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_text", break_off)
    for target in (folder, folder.parent / "new"):
        with pytest.raises(OSError, match="disk full"):
            save(target, trained("a2c"), short_call)
    monkeypatch.undo()
    assert "checksum" in refusal(folder)
    assert "cannot be read" in refusal(folder.parent / "new")


def test_the_spec_says_what_it_was_trained_on(
    saved: Path, trained: Train, short_call: Scenario
) -> None:
    spec = saved_policy_module.PolicySpec.model_validate_json((saved / SPEC).read_text())
    result = trained("ppo")
    assert (spec.scenario, spec.settings, spec.view) == (short_call, result.settings, result.view)
    assert isinstance(spec.view, View) and spec.columns == result.hedger.columns
    assert spec.sha256 == hashlib.sha256((saved / WEIGHTS).read_bytes()).hexdigest()


def test_a_loaded_policy_plays_another_scenario_with_the_same_columns(saved: Path) -> None:
    loaded = load_policy(saved)
    assert isinstance(loaded, PolicyHedger)
    for name in ("short-call-jumps", "short-put-jumps"):
        assert np.isfinite(holdings(loaded, load_scenario(name), 20)).all()
    with pytest.raises(ValueError, match="was trained to see"):
        holdings(loaded, load_scenario("short-straddle-jumps"), 20)
