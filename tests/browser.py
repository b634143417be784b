"""A real headless Chromium for tests, driven over a pipe with its DevTools protocol: no package, no
port, no network.
"""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PROGRAM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip


class Browser:
    """One page in its own Chromium with a fresh profile below `folder`; a context manager."""

    def __init__(self, folder: Path, width_px: int = 1440, height_px: int = 900) -> None:
        assert PROGRAM is not None
        commands_out, self._write = os.pipe()
        self._read, answers_in = os.pipe()
        size = f"--window-size={width_px},{height_px}"
        # the browser takes commands at descriptor 3 and answers at 4
        shell = f'exec "$@" 3<&{commands_out} 4>&{answers_in}'
        arguments = [PROGRAM, *FLAGS, size, f"--user-data-dir={folder}/profile", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "browser", *arguments],
            pass_fds=(commands_out, answers_in),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands_out)
        os.close(answers_in)
        self._ids = itertools.count(1)
        self._buffer = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []  # requests, logs and errors of the page

    def __enter__(self) -> "Browser":
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *error: object) -> None:
        self._session = None
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, timeout_s: float = 60, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result; RuntimeError says what failed."""
        message = {"id": next(self._ids), "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline_s = time.monotonic() + timeout_s
        while True:
            answer = self._receive(deadline_s)
            if answer.get("id") != message["id"]:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            else:
                return dict(answer["result"])

    def _receive(self, deadline_s: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], deadline_s - time.monotonic())
            data = os.read(self._read, 2**20) if ready else b""
            if not data:
                raise RuntimeError("the browser did not answer")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(text))

    def open(self, url: str) -> None:
        """Open an address; scripts of the page may still be running."""
        self.call("Page.navigate", url="about:blank")
        self.events.clear()
        self.call("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page (awaited when it is a promise)."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(
                details.get("exception", details).get("description", details["text"])
            )
        return result["result"].get("value")

    def wait_for(self, script: str, timeout_s: float = 30) -> Any:
        """Wait until an expression is true, and return it."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := self.evaluate(script)):
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"never became true: {script}; {self.problems()}")
            time.sleep(0.01)
        return value

    def press(self, key: str) -> None:
        """Press and release a key: a letter, or a name such as `ArrowRight`."""
        named = {"key": key, "windowsVirtualKeyCode": {"Escape": 27, "Enter": 13}.get(key, 0)}
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def mouse(self, kind: str, x_px: float, y_px: float) -> None:
        """Send `mousePressed`, `mouseMoved` or `mouseReleased` at a place of the window."""
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=x_px, y=y_px, button="left", clickCount=1
        )

    def screenshot(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def requests(self) -> list[str]:
        """Addresses that the page asked for since it was opened."""
        self.call("Runtime.evaluate", expression="0")
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def problems(self) -> list[str]:
        """Errors and refusals that the page logged since it was opened."""
        self.call("Runtime.evaluate", expression="0")
        found = []
        for event in self.events:
            parameters = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                found.append(parameters["entry"]["text"])
        return found
