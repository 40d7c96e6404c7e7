"""Headless Chromium over its debugging pipe: to look at pages, and to test what a reader sees."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT = 60.0  # seconds
# Chromium reads its orders from file 3 and answers in file 4, messages end with a zero byte. Not
# sh: dash knows no file above 9.
WITH_PIPES = 'exec "$0" "$@" 3<&{0} 4>&{1}'


def find_chromium() -> str | None:
    """The browser's path, null where none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One page of a browser.

    Attributes:
        requests: the addresses that were asked for, in their order.
        complaints: what was written to the console as an error or a warning, and exceptions.
    """

    def __init__(self, orders: int, answers: int) -> None:
        self._orders, self._answers, self._buffer = orders, answers, b""
        self._last, self._session = 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **arguments: Any) -> Any:
        """A command of the DevTools protocol and its result.

        Raises:
            RuntimeError: when the browser refuses it.
            TimeoutError: when it does not answer.
        """
        self._last += 1
        message = {"id": self._last, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._orders, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + TIMEOUT
        while True:
            answer = self._next(until)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def open(self, url: str, width: int, height: int) -> None:
        """Load a page, as seen in a window of that size.

        Raises:
            RuntimeError: when it cannot be loaded.
        """
        mobile = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self._loaded = False
        failure = self.call("Page.navigate", url=url).get("errorText")
        if failure:
            raise RuntimeError(f"{url}: {failure}")
        until = time.monotonic() + TIMEOUT
        while not self._loaded:
            self._next(until)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited where it is a promise."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", found))
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = TIMEOUT) -> None:
        """Wait until a JavaScript expression is true.

        Raises:
            TimeoutError: when it does not become true.
        """
        until = time.monotonic() + seconds
        while not self.evaluate(expression):
            if time.monotonic() > until:
                raise TimeoutError(f"not within {seconds:g} seconds: {expression}")
            time.sleep(0.2)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Save a PNG of the window, or of the whole page however long."""
        image = self.call(
            "Page.captureScreenshot", captureBeyondViewport=whole, **self._clip(whole)
        )
        path.write_bytes(base64.b64decode(image["data"]))

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"clip": {"x": 0, "y": 0, "scale": 1} | {k: size[k] for k in ("width", "height")}}

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = until - time.monotonic()
            ready = left > 0 and select.select([self._answers], [], [], left)[0]
            piece = os.read(self._answers, 1 << 20) if ready else b""
            if not piece:
                raise TimeoutError("the browser does not answer")
            self._buffer += piece
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
            self.complaints.append(str([each.get("value") for each in told["args"]]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(told["exceptionDetails"]["text"])


@contextmanager
def chromium(executable: str) -> Iterator[Page]:
    """A page of a fresh headless browser, which ends afterwards."""
    read_orders, orders = os.pipe()
    answers, write_answers = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [
            *("bash", "-c", WITH_PIPES.format(read_orders, write_answers), executable),
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe"),
            *("--disable-background-networking", "--disable-component-update"),
            f"--user-data-dir={profile}",
        ]
        quiet = subprocess.DEVNULL
        browser = subprocess.Popen(
            command,
            pass_fds=(read_orders, write_answers),
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
        )
        os.close(read_orders)
        os.close(write_answers)
        try:
            yield Page(orders, answers)
        finally:
            os.close(orders)
            os.close(answers)
            os.killpg(browser.pid, signal.SIGTERM)
            browser.wait()
