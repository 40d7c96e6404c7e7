"""What the studies of trainings share: they go on where they were left, and judge on one set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Hashable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deephedge.envs import Hedger, Scenario, mark, rollout
from deephedge.envs.episodes import market_paths
from deephedge.experiments.from_home import FromHome, HomeView, at_home
from deephedge.experiments.whole_files import write_json

BLOCK, EVALUATION_SEED = 10_000, 1_000
Document = dict[str, Any]


def losses(
    scenario: Scenario, hedgers: Iterable[Hedger], paths: int, home: Scenario | None = None
) -> list[NDArray[Any]]:
    """Each hedger's losses ``[paths]`` on the same fresh paths, seen from ``home`` if given."""
    hedgers, generator = list(hedgers), torch.Generator().manual_seed(EVALUATION_SEED)
    parts: list[list[NDArray[Any]]] = [[] for _ in hedgers]
    for _ in range(paths // BLOCK):
        drawn = market_paths(scenario, BLOCK, generator)
        orders = generator.clone_state()
        episodes = mark(scenario, drawn, generator)
        placed = hedgers
        if home is not None:
            view = HomeView(at_home(home, scenario), drawn, episodes, orders)
            placed = [FromHome(hedger.name, hedger, view) for hedger in hedgers]
        for hedger, found in zip(placed, parts, strict=True):
            found.append(-np.asarray(rollout(scenario, episodes, hedger).pnl))
    return [np.concatenate(found) for found in parts]


def go_on(
    script: str,
    results: Path,
    constants: Document,
    wanted: Iterable[Hashable],
    key: Callable[[Document], Hashable],
    measure: Callable[[Any], Document],
    summary: Callable[[list[Document]], Document] | None = None,
) -> None:
    """Measure what is wanted and not yet in the file; it is written after every training."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=results)
    out: Path = parser.parse_args().out
    torch.set_num_threads(1)
    document: Document = {
        "command": f"python docs/{script}",
        "versions": {lib: metadata.version(lib) for lib in ("deephedge", "numpy", "torch")},
        **constants,
        "runs": json.loads(out.read_text(encoding="utf-8"))["runs"] if out.exists() else [],
    }
    done = {key(run) for run in document["runs"]}
    for each in [each for each in wanted if each not in done]:
        document["runs"].append(measure(each))
        document |= {} if summary is None else summary(document["runs"])
        write_json(out, document)
