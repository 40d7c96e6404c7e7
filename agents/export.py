"""Policies outside deephedge: a plain torch program, ONNX, a table of holdings."""

from __future__ import annotations

import csv
import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from .policy_figure import policy_grid
from .policy_hedger import PolicyHedger
from .policy_module import PolicyModule, network_of

FILES = {"torch": "policy.pt2", "onnx": "policy.onnx", "csv": "holdings.csv"}
INTERFACE = "interface.json"
OUTPUT = "holdings"
SPOTS, HOLDINGS = 41, 21  # of the table, at each date


def export_policy(hedger: PolicyHedger, folder: Path, formats: Sequence[str] = ("torch",)) -> None:
    """Write a policy to ``folder`` so that it runs without deephedge.

    ``torch`` is a program of `torch.export`: ``torch.export.load(file).module()`` is a module that
    takes a mapping of the inputs in ``interface.json``, float64 ``[N]`` each, and gives the
    holdings over (t, t+1], float64 ``[N, K]``. ``onnx`` is the same as an ONNX model. Scaling,
    action map and limits are inside. ``csv`` is a table of the underlying's holding for every date,
    spot and holding before the trade, with no option held and no P&L so far.

    Evidence: tests/agents/test_export.py.

    Raises:
        ValueError: for a format that there is not, a policy with a memory, or, but for ``csv``,
            actions around a base.
        ImportError: ONNX without the extra ``export``.
    """
    for name in formats:
        if name not in FILES:
            raise ValueError(f"unknown format {name!r}: choose one of {', '.join(FILES)}")
    network_of(hedger.policy)
    module = PolicyModule(hedger) if {"torch", "onnx"} & {*formats} else None
    if "onnx" in formats:
        _check_onnx()
    folder.mkdir(parents=True, exist_ok=True)
    if module is not None:
        program = exported(module)
        interface = {"inputs": module.inputs, "output": OUTPUT, "instruments": _instruments(hedger)}
        text = json.dumps(interface, indent=1)
        (folder / INTERFACE).write_text(text + "\n", encoding="utf-8")
        if "torch" in formats:
            torch.export.save(program, folder / FILES["torch"])
        if "onnx" in formats:
            _write_onnx(program, module, folder / FILES["onnx"])
    if "csv" in formats:
        _write_table(hedger, folder / FILES["csv"])


def exported(module: PolicyModule) -> ExportedProgram:
    """The module as a `torch.export` program for any number of paths."""
    paths = Dim("paths")
    shapes = {name: {0: paths} for name in module.inputs}
    return torch.export.export(module.eval(), (_example(module),), dynamic_shapes=(shapes,))


def _example(module: PolicyModule) -> dict[str, torch.Tensor]:
    return {name: torch.ones(2, dtype=torch.float64) for name in module.inputs}


def _instruments(hedger: PolicyHedger) -> list[str]:
    return [str(vars(hedge.instrument)["kind"]) for hedge in hedger.scenario.hedges]


def _write_onnx(program: ExportedProgram, module: PolicyModule, path: Path) -> None:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it tells of libraries that are not there and not needed
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, at itself
            model = torch.onnx.export(
                program,
                (_example(module),),
                dynamo=True,
                verbose=False,
                input_names=list(module.inputs),
                output_names=[OUTPUT],
            )
    finally:
        logger.setLevel(level)
    assert model is not None
    model.save(str(path))


def _check_onnx() -> None:
    try:
        import onnx
        import onnxscript
    except ImportError as error:
        raise ImportError(
            "ONNX needs the extra 'export': pip install 'deephedge[export]'"
        ) from error
    del onnx, onnxscript


def _write_table(hedger: PolicyHedger, path: Path) -> None:
    grid = policy_grid(hedger.scenario, hedger, SPOTS, HOLDINGS)
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["years_left", "spot", "holding", "target"])
        for t, left in enumerate(grid.years_left):
            for m, spot in enumerate(grid.spot):
                for h, holding in enumerate(grid.holding):
                    table.writerow(map(float, (left, spot, holding, grid.target[t, h, m])))
