"""Headless Chromium for tests, spoken to over a pipe in the DevTools protocol: no driver, no port, no library."""

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 30.0  # a first start on a busy machine
# As root in a container there is neither the kernel's sandbox nor room in /dev/shm; the pages are the tests' own.
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--remote-debugging-pipe",
)  # fmt: skip
# Chromium reads commands from file 3 and writes answers to file 4.
AS_3_AND_4 = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
ABOVE_4 = 10  # so that neither pipe is in the way of the other


def find_chromium() -> str | None:
    """The program of a Chromium, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class BrowserError(Exception):
    """The browser answered with an error, or a script in the page threw one."""


class Browser:
    """One tab. complaints: what the console, the policy or an uncaught error said since the page was opened."""

    def __init__(self, commands: int, answers: int):
        self._commands, self._answers, self._unread = commands, answers, b""
        self._last_id, self._session = 0, None
        self._events: list[dict] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        """The result of a DevTools command. Raises BrowserError, also where no answer comes."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        _write_all(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next_message()).get("id") != self._last_id:
            self._events.append(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, page: Path) -> None:
        """Load a file and wait until all of it is there."""
        self._events.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._events.append(self._next_message())
        self.settle()

    def settle(self) -> None:
        """Wait for two frames: observers and pending layout have had their turn."""
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")

    def wait_for(self, script: str, value: Any) -> None:
        """Frame by frame until the script's value is this one. A busy machine may need many frames for a click.

        Raises BrowserError, with the value that stayed, after SECONDS.
        """
        deadline = time.monotonic() + SECONDS
        while (seen := self.evaluate(script)) != value:
            if time.monotonic() > deadline:
                raise BrowserError(f"{script} stayed {seen!r} and never became {value!r}")
            self.settle()

    def evaluate(self, script: str) -> Any:
        """The value of a script in the page, promises awaited. Raises BrowserError for what it throws."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(answer["exceptionDetails"].get("exception", {}).get("description", "threw"))
        return answer["result"].get("value")

    @property
    def complaints(self) -> list[str]:
        said = []
        for event in self._events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                said.append(str(params["exceptionDetails"]))
            elif event.get("method") == "Runtime.consoleAPICalled":
                said.append(str(params["args"]))
            elif event.get("method") == "Log.entryAdded":
                said.append(params["entry"]["text"])
        return said

    @property
    def fetched(self) -> list[str]:
        """Addresses that the page asked for, itself and data: URIs left out."""
        sent = [event["params"] for event in self._events if event.get("method") == "Network.requestWillBeSent"]
        return [
            one["request"]["url"]
            for one in sent
            if one.get("type") != "Document" and not one["request"]["url"].startswith("data:")
        ]

    def resize(self, width: int, height: int = 800) -> None:
        """A window of so many CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.settle()

    def emulate(self, media: str = "", scheme: str = "light") -> None:
        """media: "print", or "" for the screen; scheme: light or dark."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.settle()

    def press(self, key: str) -> None:
        """Enter, a space or Tab, as from a keyboard."""
        code, text = {"Enter": (13, "\r"), " ": (32, " "), "Tab": (9, "")}[key]
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text)

    def click(self, selector: str) -> None:
        """A press of the mouse in the middle of the first element of the selector."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.evaluate(f"{found}.scrollIntoView({{block: 'nearest', inline: 'nearest'}})")
        self.settle()  # a page that follows its reader may move the element once more
        x, y = self.evaluate(
            f"(() => {{ const box = {found}.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, whole_page: bool = True) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole_page)
        path.write_bytes(b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])

    def _next_message(self) -> dict:
        deadline = time.monotonic() + SECONDS
        while b"\0" not in self._unread:
            if not select.select([self._answers], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise BrowserError(f"no answer in {SECONDS:.0f} s")
            received = os.read(self._answers, 1 << 20)
            if not received:
                raise BrowserError("the browser has ended")
            self._unread += received
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[Browser]:
    """A running browser with its own profile folder; it has ended when the block ends."""
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    high = [fcntl.fcntl(handle, fcntl.F_DUPFD, ABOVE_4) for handle in (theirs_in, theirs_out)]
    command = [program, *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [sys.executable, "-c", AS_3_AND_4, *map(str, high), *command],
        pass_fds=high, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for handle in (theirs_in, theirs_out, *high):
        os.close(handle)
    try:
        yield Browser(ours_out, ours_in)
    finally:
        os.close(ours_out)  # a browser whose pipe is closed ends by itself
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)


def _write_all(handle: int, message: bytes) -> None:
    while message:
        message = message[os.write(handle, message) :]
