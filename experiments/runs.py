"""Run directories: everything that is needed to evaluate, explain or repeat a training later."""

from __future__ import annotations

import json
import platform
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.logger import CSVOutputFormat, KVWriter, TensorBoardOutputFormat

from ..agents import AgentSettings, PolicyHedger, Trained, load_policy, save_policy, train_agent
from ..agents.factory import check_fit, view_of
from ..agents.monitor import Progress
from ..envs import Scenario, dump_scenario
from ..envs.action import DiscreteAction
from ..envs.learning import LearningProblem
from ..envs.namespace import NUMPY
from ..envs.presets import dump_yaml, read_yaml

LIBRARIES = ("gymnasium", "numpy", "sb3-contrib", "scipy", "stable-baselines3", "torch")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that is there afterwards only if the work inside went well.

    Raises:
        ValueError: when it exists already: nothing is overwritten.
    """
    refuse_existing(folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # from the first parent that others have put something in
            for parent in made:
                parent.rmdir()
        raise


def refuse_existing(folder: Path) -> None:
    """Nothing is overwritten.

    Raises:
        ValueError: when the folder exists.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists: give another --out, or remove it")


def folder_name(name: str) -> str:
    """A scenario's name as that of a folder: no separators, never ``..``."""
    return re.sub(r"[^\w.+-]+", "-", name).strip(".-") or "scenario"


def free_folder(folder: Path) -> Path:
    """``folder``, or with the first free number behind it."""
    number, free = 2, folder
    while free.exists():
        number, free = number + 1, folder.with_name(f"{folder.name}-{number}")
    return free


def train_run(
    folder: Path,
    scenario: Scenario,
    settings: AgentSettings,
    seed: int = 0,
    *,
    name: str | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train into ``folder``: config.yaml, meta.json, tb/, metrics.csv and policy/.

    Raises:
        ValueError: when the folder exists or the scenario cannot be trained on or saved; like any
            other failure it leaves nothing behind.
    """
    check_run(scenario, settings)
    config = run_config(scenario, settings, seed)
    with new_folder(folder):
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        started = time.perf_counter()
        writers: list[KVWriter] = [
            TensorBoardOutputFormat(str(folder / "tb")),
            CSVOutputFormat(str(folder / "metrics.csv")),
        ]
        try:
            trained = train_agent(
                scenario,
                settings,
                seed,
                name=name or folder.name,
                writers=writers,
                progress=progress,
            )
        finally:
            for writer in writers:
                writer.close()
        seconds = time.perf_counter() - started
        write_json(folder / "meta.json", run_meta(seed, seconds))
        save_policy(folder / "policy", trained.hedger.policy, settings, scenario, trained.view)
    return trained


def check_run(scenario: Scenario, settings: AgentSettings) -> None:
    """Refuse what cannot be trained or saved.

    Raises:
        ValueError: when the algorithm does not fit the scenario, when there are too many actions,
            when the objective has no pointwise loss, or when a part of the scenario exists in
            Python only.
    """
    check_fit(scenario, settings)
    view = view_of(scenario, settings)
    if isinstance(view.action, DiscreteAction):
        view.action.table(len(scenario.hedges))
    LearningProblem(scenario, view, NUMPY)
    dump_scenario(scenario)


def load_run(folder: Path, name: str | None = None) -> PolicyHedger:
    """The policy of a run directory, called by the directory's name unless another is given.

    Raises:
        ValueError: in one line, when it is no run, or of another version, or damaged.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such run directory")
    if not (folder / "policy").is_dir():
        raise ValueError(f"{folder}: not a run directory: it has no folder 'policy'")
    return load_policy(folder / "policy", name or folder.resolve().name)


def run_config(scenario: Scenario, settings: AgentSettings, seed: int) -> str:
    """The fully resolved configuration as YAML."""
    tree = {
        "seed": seed,
        "threads": torch.get_num_threads(),
        "agent": json.loads(settings.model_dump_json()),
        "view": json.loads(view_of(scenario, settings).model_dump_json()),
        "scenario": read_yaml(dump_scenario(scenario), scenario.name),
    }
    return dump_yaml(tree)


def run_meta(seed: int, seconds: float) -> dict[str, Any]:
    """Versions, seed, platform, command and wall time."""
    return {
        "deephedge": metadata.version("deephedge"),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "seed": seed,
        "command": command(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
    }


def command() -> str:
    """How this was started, for a person to repeat."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def write_json(path: Path, document: Any) -> None:
    """A small JSON file, in one piece."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
