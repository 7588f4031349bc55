"""A headless Chromium, driven through its own protocol over a pipe: no port, no further package."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 600  # seconds, after which a browser hangs, however busy the machine is
PAPER = 718  # pixels between the margins of an A4 page

# The browser reads descriptor 3 and writes 4.
_START = """import fcntl, os, sys
ends = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
for end, fd in zip(ends, (3, 4)):
    os.dup2(end, fd)
os.execv(sys.argv[3], sys.argv[3:])"""


def executable() -> str | None:
    """The path of a Chromium or Chrome, if one is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab; every event it has reported stands in `events`."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", url="about:blank")
        attached = browser.call("Target.attachToTarget", flatten=True, **target)
        self._session = attached["sessionId"]
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command; what happens meanwhile is kept."""
        return self._browser.call(method, self._session, self.events, **parameters)

    def show(self, path: Path, width: int, *, dark: bool = False, media: str = "screen") -> None:
        """Load a page in a window of so many pixels, and wait until it is there."""
        self.change(width, dark=dark, media=media)
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._browser.receive(self._session, self.events)

    def change(self, width: int, *, dark: bool = False, media: str = "screen") -> None:
        """Show the same page in another window, in other light, on paper."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript, as JSON gives it."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        same = {"key": key, "windowsVirtualKeyCode": code, "text": chr(code)}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, **same)

    def picture(self) -> bytes:
        """The whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def asked_for(self) -> list[str]:
        """Addresses that the page has asked for, apart from what stands in it."""
        sent = [event["request"]["url"] for event in self.told("Network.requestWillBeSent")]
        return [url for url in sent if not url.startswith("data:")]

    def told(self, method: str) -> list[dict[str, Any]]:
        """What the events of one kind have said since the page was loaded."""
        return [event["params"] for event in self.events if event["method"] == method]


class Browser:
    """A running browser; commands go out one at a time, and are waited for."""

    def __init__(self, out: int, back: int) -> None:
        self._out, self._back, self._rest, self._number = out, back, b"", 0

    def call(
        self,
        method: str,
        session: str | None = None,
        events: list[dict[str, Any]] | None = None,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Send a command, and wait for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self.receive(session, events)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def receive(self, session: str | None, events: list[dict[str, Any]] | None) -> dict[str, Any]:
        """The next message, which is kept if it is an event of the session."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], PATIENCE)
            data = os.read(self._back, 1 << 16) if ready else b""
            if not data:
                raise EOFError("the browser has gone")
            self._rest += data
        text, _, self._rest = self._rest.partition(b"\0")
        message = dict(json.loads(text))
        if events is not None and "method" in message and message.get("sessionId") == session:
            events.append(message)
        return message


@contextmanager
def browser(path: str, profile: Path) -> Iterator[Browser]:
    """Start the browser at `path`, with an empty profile and no network; end it afterwards."""
    theirs, out = os.pipe()
    back, answers = os.pipe()
    arguments = [
        path, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--hide-scrollbars", "--no-first-run", "--disable-background-networking",
        "--proxy-server=127.0.0.1:9", f"--user-data-dir={profile}", "--remote-debugging-pipe",
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(theirs), str(answers), *arguments],
        pass_fds=(theirs, answers),
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    os.close(answers)
    try:
        yield Browser(out, back)
    finally:
        os.close(out)
        os.close(back)
        process.kill()
        process.wait()
