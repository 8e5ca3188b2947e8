"""A headless chromium, driven over its own pipe: no driver, no Node, no network, and a profile that ends with it.

Debian's chromium is enough; where there is none, tests are skipped, or fail where CI is set.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.topics import Countdown, TookTooLong

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
    "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE: Final = 60.0
FORGOTTEN: Final = 3.0
"""Seconds after which a question that met a change of pages is asked again."""
OVERFLOW: Final = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""How many pixels a page is wider than its window."""
SCREENSHOTS: Final = Path(__file__).parents[2] / "build" / "screenshots"


def chromium() -> str:
    """Return the browser. Skips where there is none; fails where CI is set."""
    found = next((path for path in map(shutil.which, NAMES) if path is not None), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no chromium, and CI is set: apt-get install chromium")
        pytest.skip("no chromium: apt-get install chromium")
    return found


class Refused(Exception):
    """The browser answered with an error, or the page's script raised one."""


class Browser:
    """One process; commands wait for their answers."""

    def __init__(self, process: subprocess.Popen[bytes], to: int, out: int) -> None:
        self._process = process
        self._to, self._out = to, out
        self._number = 0
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str | None = None, *, within: float = PATIENCE, **params: Any) -> dict[str, Any]:
        """Return the answer to a command of the DevTools protocol. Raises Refused, TookTooLong."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        countdown = Countdown(within)
        while True:
            told = self._next(countdown, method)
            if told.get("id") == self._number:
                if "error" in told:
                    raise Refused(f"{method}: {told['error']}")
                answer: dict[str, Any] = told["result"]
                return answer
            if "method" in told:  # else the late answer to a command that nobody waits for any more
                self.events.append(told)

    @contextmanager
    def page(
        self,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        script: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[Page]:
        """Give an empty page of that width, in that scheme, with or without JavaScript."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700)
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        page.call("Emulation.setScriptExecutionDisabled", value=not script)
        if headers:
            page.call("Network.setExtraHTTPHeaders", headers=dict(headers))
        try:
            yield page
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)

    def _next(self, countdown: Countdown, waits_for: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if countdown.over:
                raise TookTooLong(f"the browser did not answer {waits_for}")
            if select.select([self._out], [], [], 1.0)[0]:
                part = os.read(self._out, 1 << 20)
                if not part:
                    raise Refused(f"the browser ended with {self._process.wait(5)} at {waits_for}")
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(line)
        return told


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, *, within: float = PATIENCE, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, within=within, **params)

    def open(self, url: str) -> None:
        """Go there, and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.until(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url.split('#', maxsplit=1)[0])})")

    def evaluate(self, expression: str, *, within: float = PATIENCE) -> Any:
        """Return what an expression is worth on the page. Raises Refused, TookTooLong."""
        told = self.call("Runtime.evaluate", within=within, expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in told:
            raise Refused(f"{expression}: {told['exceptionDetails']}")
        return told["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until the expression is true. Raises TookTooLong."""
        countdown = Countdown(PATIENCE)
        while True:
            # The page changes under us: then the browser refuses the question, or forgets it.
            with suppress(Refused, TookTooLong):
                if self.evaluate(expression, within=FORGOTTEN):
                    return
            if countdown.over:
                raise TookTooLong(f"never true: {expression}")
            select.select([], [], [], 0.02)

    def type(self, selector: str, text: str) -> None:
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Press the left button in the middle of an element, as a hand does."""
        at = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}}); "
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def complaints(self) -> list[str]:
        """Return what the browser had to say of errors and of what the page's policy forbade."""
        self.evaluate("1")
        mine = [each for each in self._browser.events if each.get("sessionId") == self._session]
        return [
            *(each["params"]["entry"]["text"] for each in mine if each["method"] == "Log.entryAdded"),
            *(str(each["params"]["exceptionDetails"]) for each in mine if each["method"] == "Runtime.exceptionThrown"),
        ]

    def requested(self) -> list[str]:
        """Return the addresses that the page asked for."""
        mine = [each for each in self._browser.events if each.get("sessionId") == self._session]
        return [each["params"]["request"]["url"] for each in mine if each["method"] == "Network.requestWillBeSent"]

    def screenshot(self, name: str) -> Path:
        """Keep the whole page as a picture under build/screenshots/."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        where = SCREENSHOTS / f"{name}.png"
        where.write_bytes(base64.b64decode(told["data"]))
        return where


@contextmanager
def browsing() -> Iterator[Browser]:
    """Give a browser with an empty profile. Skips, or fails in CI, where there is none."""
    path = chromium()
    profile = tempfile.mkdtemp(prefix="streamapp-browser-")
    their_in, ours_out = os.pipe()
    ours_in, their_out = os.pipe()

    # The pipe is at 3 and 4, wherever it was before.
    wired = f'exec "$@" 3<&{their_in} 4>&{their_out}'
    command = ["bash", "-c", wired, "bash", path, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(their_in, their_out),
        start_new_session=True,
    )  # fmt: skip
    os.close(their_in)
    os.close(their_out)
    try:
        yield Browser(process, ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        shutil.rmtree(profile, ignore_errors=True)


__all__ = ["OVERFLOW", "SCREENSHOTS", "Browser", "Page", "Refused", "browsing", "chromium"]
