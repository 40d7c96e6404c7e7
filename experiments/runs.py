"""Run directories: everything that is needed to evaluate, explain or repeat a training later."""

from __future__ import annotations

import csv
import json
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..agents import AgentSettings, PolicyHedger, Trained, load_policy, save_policy, train_agent
from ..agents.checkpoint import STATE, has_checkpoint
from ..agents.factory import check_fit, view_of
from ..agents.monitor import Progress
from ..agents.training_state import LIBRARIES
from ..envs import Scenario, dump_scenario, parse_scenario
from ..envs.action import DiscreteAction
from ..envs.learning import LearningProblem
from ..envs.namespace import NUMPY
from ..envs.presets import dump_yaml, read_yaml
from .run_log import RunLog
from .tensorboard_view import hparams
from .whole_files import write_json, write_text

CONFIG, CHECKPOINT, POLICY = "config.yaml", "checkpoint", "policy"
METRICS = "metrics.csv"


@dataclass(frozen=True)
class UnfinishedRun:
    """A training that was killed or interrupted, as its config.yaml tells it.

    Attributes:
        folder: the run directory.
    """

    folder: Path
    scenario: Scenario
    settings: AgentSettings
    seed: int


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that is there afterwards only if the work inside went well or can be continued.

    Raises:
        ValueError: when it exists already: nothing is overwritten.
    """
    refuse_existing(folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        if has_checkpoint(folder / CHECKPOINT) or (folder / POLICY).is_dir():
            raise
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # from the first parent that others have put something in
            for parent in made:
                parent.rmdir()
        raise


def refuse_existing(folder: Path) -> None:
    """Nothing is overwritten.

    Raises:
        ValueError: when the folder exists, or lies in what is a file.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists: give another --out, or remove it")
    for parent in folder.parents:
        if parent.exists() and not parent.is_dir():
            raise ValueError(f"{folder}: {parent} is a file: give another --out")


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

    While it trains, checkpoint/ holds what `resume_run` goes on from.

    Raises:
        ValueError: when the folder exists or the scenario cannot be trained on or saved; like any
            other failure before the first checkpoint it leaves nothing behind.
    """
    check_run(scenario, settings)
    config = run_config(scenario, settings, seed)
    with new_folder(folder):
        write_text(folder / CONFIG, config)
        run = UnfinishedRun(folder, scenario, settings, seed)
        return _train(run, name, progress)


def resume_run(run: UnfinishedRun, *, progress: Progress | None = None) -> Trained:
    """Train a run to its end: from its checkpoint, or from the start where it had none yet.

    The policy is the one that the training would have come to, bit for bit, on the same machine
    (tests/experiments/test_resume.py). The folder is kept whatever happens.

    Raises:
        ValueError: in one line, when the checkpoint is damaged, or of another training or version.
    """
    return _train(run, None, progress)


def _train(run: UnfinishedRun, name: str | None, progress: Progress | None) -> Trained:
    folder = run.folder
    log = RunLog(folder, hparams(run.scenario, run.settings, run.seed))
    try:
        trained = train_agent(
            run.scenario,
            run.settings,
            run.seed,
            name=name or folder.resolve().name,
            writers=[log],
            progress=progress,
            checkpoint=folder / CHECKPOINT,
        )
    finally:
        log.close()
    write_json(folder / "meta.json", run_meta(run.seed, log.seconds))
    part = folder / "policy.part"
    save_policy(part, trained.hedger.policy, run.settings, run.scenario, trained.view)
    part.rename(folder / POLICY)  # now the run is finished
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
    return trained


def complete_run(
    folder: Path,
    scenario: Scenario,
    settings: AgentSettings,
    seed: int,
    report: Callable[[float], None],
) -> None:
    """What ``folder`` lacks of a training: all of it, what comes after its checkpoint, or nothing.

    It is work for an executor: what comes of it is the run directory.

    Raises:
        ValueError: as `train_run` and `resume_run`.
    """

    def progress(steps: int, risk: float) -> None:
        report(min(1.0, steps / settings.steps))

    if (folder / POLICY).is_dir():
        return
    if (folder / CONFIG).is_file():
        resume_run(unfinished_run(folder), progress=progress)
        return
    if folder.exists():  # its process was killed before the first file was whole
        (folder / CONFIG).with_suffix(".part").unlink(missing_ok=True)
        folder.rmdir()
    train_run(folder, scenario, settings, seed, progress=progress)


def unfinished_run(folder: Path) -> UnfinishedRun:
    """The training of a run directory that has no policy yet.

    Raises:
        ValueError: in one line, when it is no run, or a finished one, or its config.yaml is damaged
            or of another version.
    """
    _check_directory(folder)
    if (folder / POLICY).is_dir():
        raise ValueError(f"{folder}: a finished training: evaluate it, or train another")
    return _configured(folder)


def _configured(folder: Path) -> UnfinishedRun:
    """What a run directory's config.yaml says, whether the training is finished or not."""
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder}: not a run directory: it has no {CONFIG}")
    tree = read_yaml(path.read_text(encoding="utf-8"), str(path))
    try:
        return UnfinishedRun(
            folder,
            parse_scenario(tree["scenario"]),
            AgentSettings.model_validate(tree["agent"]),
            int(tree["seed"]),
        )
    except KeyError as error:
        raise ValueError(f"{path}: it has no {error}: train the run anew") from None
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, ("agent", *fault["loc"])))
        raise ValueError(f"{path}: {key}: {fault['msg'].lower()}") from None


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
        view.action.table(view.action.steered(scenario.contract))
    LearningProblem(scenario, view, NUMPY)
    dump_scenario(scenario)


def load_run(folder: Path, name: str | None = None) -> PolicyHedger:
    """The policy of a run directory, called by the directory's name unless another is given.

    Raises:
        ValueError: in one line, when it is no run, or of another version, or damaged.
    """
    _check_directory(folder)
    if not (folder / POLICY).is_dir():
        if (folder / CONFIG).is_file():
            raise ValueError(f"{folder}: an unfinished training: {how_to_resume(folder)}")
        raise ValueError(f"{folder}: not a run directory: it has no folder {POLICY!r}")
    return load_policy(folder / POLICY, name or folder.resolve().name)


def finished_run(folder: Path, name: str | None = None) -> Trained:
    """A finished training with its settings and how its risk fell, as `train_run` returned it.

    Raises:
        ValueError: in one line, as `load_run`, or where metrics.csv has no risk in it.
    """
    hedger = load_run(folder, name)
    settings, risks = _configured(folder).settings, _risks(folder / METRICS)
    return Trained(hedger, settings, hedger.view, risks, min(risk for _, risk in risks))


def _risks(path: Path) -> list[tuple[int, float]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("hedge/risk")]
        found = [(int(row["time/total_timesteps"]), float(row["hedge/risk"])) for row in rows]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: cannot be read: {error}: copy the run again") from None
    if not found:
        raise ValueError(f"{path}: it has no risk in it: copy the run again")
    return found


def unfinished_runs(folder: Path) -> list[Path]:
    """The run directories in ``folder``, itself included, that have a checkpoint and no policy."""
    found = sorted(path.parents[1] for path in folder.glob(f"**/{CHECKPOINT}/{STATE}"))
    return [run for run in found if not (run / POLICY).is_dir()]


def how_to_resume(folder: Path) -> str:
    """What to type, as a part of a message."""
    return f"continue with: deephedge train --resume {shlex.quote(str(folder))}"


def _check_directory(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such run directory")


def run_config(scenario: Scenario, settings: AgentSettings, seed: int) -> str:
    """The fully resolved configuration as YAML."""
    tree = {
        "seed": seed,
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
