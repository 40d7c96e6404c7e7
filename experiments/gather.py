"""What a report is made of: runs, judged afresh scenario by scenario, and recorded evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..agents.saved_policy import SPEC
from ..baselines import baseline_kinds
from ..envs import Scenario
from .compare import judge
from .evaluation import Report
from .recorded import RecordedEvaluation, read_evaluations
from .reports.report import RecordedSection, Shown
from .runs import POLICY, finished_run, load_run, unfinished_runs


@dataclass(frozen=True)
class Gathered:
    """The parts of a report, found and read but not yet judged.

    Attributes:
        runs: the run directories of each scenario, in the order given.
        recorded: evaluations from files.
        unfinished: run directories inside a folder that have no policy yet: left out.
    """

    runs: dict[Scenario, list[Path]]
    recorded: list[tuple[Path, RecordedEvaluation]]
    unfinished: list[Path]

    @property
    def title(self) -> str:
        """The scenarios by name, or how many there are."""
        names = [scenario.name for scenario in self.runs]
        names += [evaluation.name for _, evaluation in self.recorded]
        unique = list(dict.fromkeys(names))
        return " and ".join(unique) if len(unique) < 4 else f"{len(unique)} scenarios"

    def sections(
        self, paths: int = 100_000, seed: int = 0, progress: Report | None = None
    ) -> list[Shown]:
        """A section for each scenario, its runs on the same fresh paths, then one for each file.

        ``progress`` is told of all the paths together. Runs of one scenario whose folders have the
        same name are called by as much of the path as tells them apart.

        Raises:
            ValueError: in one line, from a damaged run or a hedger.
        """
        total = paths * len(self.runs)
        found: list[Shown] = []
        for i, (scenario, folders) in enumerate(self.runs.items()):

            def telling(done: int, _: int, before: int = i * paths) -> None:
                if progress is not None:
                    progress(before + done, total)

            names = distinct_names(folders)
            trained = [finished_run(f, n) for f, n in zip(folders, names, strict=True)]
            section = judge(scenario, trained, paths=paths, seed=seed, progress=telling)
            section.notes.append(f"From the runs {', '.join(map(str, folders))}.")
            found.append(section)
        return [*found, *(_section(path, evaluation) for path, evaluation in self.recorded)]


def _section(path: Path, evaluation: RecordedEvaluation) -> RecordedSection:
    notes = [f"As recorded in {path}, which has no paths: no P&L is drawn."]
    if evaluation.tuned:
        notes.append(
            f"Chosen for the lowest risk, on paths of their own: {', '.join(evaluation.tuned)}."
        )
    return RecordedSection(evaluation, notes)


def gather(sources: Sequence[Path]) -> Gathered:
    """Find what ``sources`` hold: run directories, folders of them, and JSON of evaluations.

    Two runs belong together where they were trained on equal scenarios, not merely on scenarios of
    one name (tests/experiments/test_gather.py).

    Raises:
        ValueError: in one line, for a source that holds none of these.
    """
    gathered = Gathered({}, [], [])
    seen: set[Path] = set()
    for source in sources:
        if source.is_file():
            gathered.recorded.extend((source, found) for found in read_evaluations(source))
            continue
        for folder in _runs(source):
            if folder.resolve() not in seen:
                seen.add(folder.resolve())
                gathered.runs.setdefault(load_run(folder).scenario, []).append(folder)
        if not (source / POLICY).is_dir():
            gathered.unfinished.extend(unfinished_runs(source))
    return gathered


def _runs(source: Path) -> list[Path]:
    """The source itself where it is a run, else the finished runs inside."""
    if not source.exists():
        raise ValueError(f"{source}: there is no such folder or file")
    inside = sorted(path.parents[1] for path in source.glob(f"**/{POLICY}/{SPEC}"))
    if source in inside or not inside:
        load_run(source)  # refuses in its own words what is no run
        return [source]
    return inside


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, each with as many parents as tells all of them apart and from rules."""
    parts = [folder.resolve().parts for folder in folders]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names) and not baseline_kinds().keys() & set(names):
            return names
    raise ValueError(f"{', '.join(map(str, folders))}: a run stands twice")
