"""Run directories: everything that is needed to evaluate, explain or repeat a training later."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from stable_baselines3.common.logger import CSVOutputFormat, KVWriter, TensorBoardOutputFormat

from ..agents import AgentSettings, PolicyHedger, Trained, load_policy, save_policy, train_agent
from ..agents.monitor import Progress
from ..envs import Scenario, dump_scenario

LIBRARIES = ("gymnasium", "numpy", "sb3-contrib", "scipy", "stable-baselines3", "torch")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that is there afterwards only if the work inside went well.

    Raises:
        ValueError: when it exists already: nothing is overwritten.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists: give another --out, or remove it")
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


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
        ValueError: when the folder exists or the scenario cannot be saved; nothing is left behind.
    """
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
        save_policy(
            folder / "policy", trained.hedger.policy, settings, scenario, trained.view
        )
    return trained


def load_run(folder: Path) -> PolicyHedger:
    """The policy of a run directory, called by the directory's name.

    Raises:
        ValueError: in one line, when it is no run, or of another version, or damaged.
    """
    if not (folder / "policy").is_dir():
        raise ValueError(f"{folder}: no run directory: it has no policy folder")
    return load_policy(folder / "policy", folder.name)


def run_config(scenario: Scenario, settings: AgentSettings, seed: int) -> str:
    """The fully resolved configuration as YAML."""
    tree = {
        "seed": seed,
        "threads": torch.get_num_threads(),
        "agent": json.loads(settings.model_dump_json()),
        "scenario": yaml.safe_load(dump_scenario(scenario)),
    }
    text: str = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    return text


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
    return " ".join(["deephedge", *sys.argv[1:]])


def write_json(path: Path, document: Any) -> None:
    """A small JSON file, in one piece."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
