"""What a person sees of an episode: a blotter line, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scenario import Scenario


def blotter(history: Sequence[dict[str, Any]], scenario: Scenario) -> str:
    """The present date in one line."""
    now = history[-1]
    return (
        f"t {len(history) - 1:3d}/{len(scenario.calendar.decisions)}  spot {now['spot']:9.3f}  "
        f"delta {now['delta']:+7.3f}  holding {now['holding']:+7.3f}  cost {now['cost']:7.4f}  "
        f"P&L {now['pnl']:+8.4f}  total {now['wealth']:+8.4f}"
    )


def picture(history: Sequence[dict[str, Any]], scenario: Scenario) -> NDArray[np.uint8]:
    """Spot, holding against delta and marked P&L so far, ``[480, 640, 3]``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    spot, holding, pnl = figure.subplots(3, sharex=True)

    def series(key: str) -> list[float]:
        return [step[key] for step in history]

    spot.plot(series("spot"), color="#333333")
    spot.set_ylabel("spot")
    holding.step(range(len(history)), series("holding"), where="pre", label="holding")
    holding.plot([-delta for delta in series("delta")], "--", label="delta-neutral")
    holding.set_ylabel("holding")
    holding.legend(loc="best", fontsize=8)
    pnl.plot(series("wealth"), color="#2a7f62")
    pnl.axhline(0.0, color="#999999", linewidth=0.8)
    pnl.set_ylabel("P&L")
    pnl.set_xlabel("decision date")
    pnl.set_xlim(0, len(scenario.calendar.decisions))
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
