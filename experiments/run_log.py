"""What a training tells while it runs: metrics.csv, TensorBoard's events and the seconds so far."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import CSVOutputFormat, KVWriter, TensorBoardOutputFormat
from torch.utils.tensorboard import SummaryWriter

from .tensorboard_view import LAYOUT, HParams, hparams_summaries


class RunLog(KVWriter):
    """The log of a run directory, which goes on where its `state` was taken.

    Nothing is touched before the first row. Then what was written after that state, by a process
    that was killed, goes: rows of metrics.csv, and the ends of TensorBoard's event files.
    """

    def __init__(self, folder: Path, hparams: HParams | None = None) -> None:
        self._folder, self._hparams = folder, hparams or {}
        self._metrics, self._events = folder / "metrics.csv", folder / "tb"
        self._kept: dict[str, Any] = {"metrics": "", "events": {}, "seconds": 0.0}
        self._formats: list[KVWriter] = []
        self._started = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time of the training, all its processes together."""
        before: float = self._kept["seconds"]
        return before + time.perf_counter() - self._started

    def state(self) -> dict[str, Any]:
        """The rows so far and the lengths of the event files."""
        if not self._formats:
            return self._kept | {"seconds": self.seconds}
        return {
            "metrics": self._metrics.read_text(encoding="utf-8"),
            "events": {path.name: path.stat().st_size for path in self._events.iterdir()},
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._kept = state

    def write(
        self,
        key_values: dict[str, Any],
        key_excluded: dict[str, tuple[str, ...]],
        step: int = 0,
    ) -> None:
        """One row, as SB3's logger gives it."""
        if not self._formats:
            self._open()
        for each in self._formats:
            each.write(key_values, key_excluded, step)

    def _open(self) -> None:
        lengths = self._kept["events"]
        for path in self._events.glob("*"):
            if path.name in lengths:
                os.truncate(path, lengths[path.name])
            else:
                path.unlink()
        rows = CSVOutputFormat(str(self._metrics))
        if self._kept["metrics"]:
            rows.file.write(self._kept["metrics"])
            rows.file.flush()
            rows.keys = self._kept["metrics"].partition("\n")[0].split(",")
        board = TensorBoardOutputFormat(str(self._events))
        if not lengths:
            self._describe(board.writer)
        self._formats = [board, rows]

    def _describe(self, writer: SummaryWriter) -> None:
        """What the curves belong to, at the head of the first event file."""
        writer.add_custom_scalars(LAYOUT)
        told = json.dumps(self._hparams, sort_keys=True).encode()
        trial = f"{self._folder.resolve().name} {hashlib.sha256(told).hexdigest()[:8]}"
        assert writer.file_writer is not None
        for summary in hparams_summaries(self._hparams, trial):
            writer.file_writer.add_summary(summary)

    def close(self) -> None:
        """Close the files."""
        for each in self._formats:
            each.close()
