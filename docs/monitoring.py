"""Makes the pictures of docs/monitoring.md: ``python docs/monitoring.py``.

Trains two small runs, starts TensorBoard on them and looks at its pages with Chromium. One run is
well, the other is sick on purpose: its learning rate is fifty times too high.
"""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import Page, chromium, find_chromium
from PIL import Image

from deephedge.agents import agent_settings
from deephedge.envs import load_scenario
from deephedge.experiments.runs import train_run

FIGURES = Path(__file__).resolve().parent / "figures"
SCENARIO = "short-call-jumps"
STEPS = 900_000
RUNS = {"well": {}, "sick": {"learning_rate": 0.05}}
# The tab, a window's size, and what its page has once it is drawn.
SHOTS = {
    "charts": ("custom_scalars", (1180, 1010), "vz-line-chart2", 6),
    "images": ("images", (1180, 1960), "tf-image-loader", 4),
    "histograms": ("histograms", (1180, 700), "vz-histogram-timeseries", 4),
    "hparams": ("hparams", (1780, 330), "tf-hparams-main", 1),
}
COLORS = 200  # of a picture
DRAWN = 12.0  # seconds for a page to draw what it has loaded
COUNT = """(() => { const found = (root) => [...root.querySelectorAll('*')].reduce(
  (n, e) => n + e.matches(SELECTOR) + (e.shadowRoot ? found(e.shadowRoot) : 0), 0);
  return found(document) >= LEAST; })()"""

FULL_SIZE = """(() => { const click = (root) => root.querySelectorAll('*').forEach((e) => {
  if (e.matches('paper-checkbox') && e.textContent.includes('actual image size')) e.click();
  if (e.shadowRoot) click(e.shadowRoot); });
  click(document); })()"""


def main() -> None:
    """Train, look, save."""
    executable = find_chromium()
    if executable is None:
        sys.exit("no Chromium is installed: the pictures cannot be made")
    with tempfile.TemporaryDirectory() as folder:
        logs = Path(sys.argv[1]) if len(sys.argv) > 1 else trained(Path(folder))
        with tensorboard(logs) as address, chromium(executable) as page:
            for name in SHOTS:
                shoot(page, address, name)


def trained(folder: Path) -> Path:
    """The folder with the runs in it."""
    scenario = load_scenario(SCENARIO)
    for name, changes in RUNS.items():
        train_run(folder / name, scenario, agent_settings("ppo", steps=STEPS, **changes))
    return folder


@contextmanager
def tensorboard(logs: Path) -> Iterator[str]:
    """The address of a TensorBoard that has read ``logs``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--load_fast", "false"]
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    try:
        address = f"http://127.0.0.1:{port}"
        runs = len(list(logs.glob("*/tb")))
        until = time.monotonic() + 120
        while time.monotonic() < until:
            time.sleep(1)
            try:
                with urllib.request.urlopen(f"{address}/data/runs") as answer:
                    if answer.read().count(b"/tb") >= runs:
                        break
            except OSError:
                continue
        yield address
    finally:
        server.terminate()
        server.wait()


def shoot(page: Page, address: str, name: str) -> None:
    """One tab as a small PNG."""
    tab, (width, height), selector, least = SHOTS[name]
    page.open("about:blank", width, height)  # a new fragment alone would load nothing
    page.open(f"{address}/?darkMode=false#{tab}", width, height)
    page.wait(COUNT.replace("SELECTOR", repr(selector)).replace("LEAST", str(least)))
    page.evaluate(FULL_SIZE)
    time.sleep(DRAWN)
    path = FIGURES / f"tensorboard-{name}.png"
    page.screenshot(path)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        image.convert("RGB").quantize(COLORS).save(path, optimize=True)


if __name__ == "__main__":
    main()
