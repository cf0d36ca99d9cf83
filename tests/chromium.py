"""A real browser without a window, driven by Chrome's protocol: keys in, text and pictures out."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_CODES = {"ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13}


class Page:
    """One page of the browser."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.trouble: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        """One command, and its result; what the page complains of meanwhile is kept."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            found = json.loads(self._socket.recv(timeout=30))
            if found.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.trouble.append(json.dumps(found["params"]))
            if found.get("id") == number:
                assert "error" not in found, found
                return dict(found["result"])

    def run(self, script: str) -> Any:
        """What a piece of script returns."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, name: str) -> str:
        """What the element with this id shows."""
        return str(self.run(f"document.getElementById({name!r})?.innerText ?? ''"))

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def wait(self, holds: Callable[[], object]) -> None:
        """Until something holds, at most 20 seconds."""
        end = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < end, self.run("document.body.innerText")
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """One key of the keyboard, down and up."""
        code = key if len(key) > 1 else f"Digit{key}" if key.isdigit() else f"Key{key.upper()}"
        number = _CODES.get(key) or ord(key.upper())
        plain = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=code,
                windowsVirtualKeyCode=number, **plain,
            )  # fmt: skip

    def picture(self, path: Path) -> None:
        """What it looks like, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A fresh browser with one page; `folder` is for its files."""
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    process = subprocess.Popen(
        [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--remote-debugging-port=0", "--window-size=1280,900",
            f"--user-data-dir={folder}", "about:blank",
        ],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        port = next(
            found[1]
            for line in process.stderr
            if (found := re.search(r"listening on ws://127\.0\.0\.1:(\d+)/", line))
        )
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as answer:
            pages = [one for one in json.load(answer) if one["type"] == "page"]
        with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(20)
