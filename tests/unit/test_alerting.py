"""A message to a webhook: what is sent, in which time, and what a failure may say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sluicegate.line.watch import alert as alerting

SECRET = "T0/B0/xyzzy-secret"


class Receiver(BaseHTTPRequestHandler):
    """Takes messages; paths below /moved, /broken and /slow behave as they are called."""

    taken: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "/slow/" in self.path:
            for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 400:
                self.wfile.write(bytes([byte]))
                time.sleep(0.1)
            return
        self.taken.append((self.path, body))
        code = 302 if "/moved/" in self.path else 500 if "/broken/" in self.path else 200
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server() -> Iterator[str]:
    """A server on loopback; its address."""
    Receiver.taken = []
    made = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    made.daemon_threads = True
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_the_message_is_json_with_text_that_mentions_nobody(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives is one object with `text`; text that Slack would read as a command arrives inert."""
    monkeypatch.setenv("ALARMS", f"{server}/{SECRET}")
    assert alerting.send("drift <!channel> & more — ü", "ALARMS") == ""
    ((path, body),) = Receiver.taken
    assert path == f"/{SECRET}"
    assert json.loads(body) == {"text": "drift &lt;!channel&gt; &amp; more — ü"}


@pytest.mark.parametrize(
    ("path", "words"), [("moved", "302, a redirect"), ("broken", "answers 500")]
)
def test_a_refusal_is_a_warning_without_the_address(
    server: str, monkeypatch: pytest.MonkeyPatch, path: str, words: str
) -> None:
    """Redirects are not followed, errors are told, and neither warning holds the secret part of the address."""
    monkeypatch.setenv("ALARMS", f"{server}/{path}/{SECRET}")
    warning = alerting.send("drift", "ALARMS")
    assert words in warning
    assert "ALARMS" in warning
    assert "secret" not in warning
    assert [taken for taken, _ in Receiver.taken] == [f"/{path}/{SECRET}"]


def test_a_server_that_drips_is_given_up_in_time(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that keeps the line busy byte by byte costs the seconds given, not more."""
    monkeypatch.setenv("ALARMS", f"{server}/slow/{SECRET}")
    began = time.monotonic()
    warning = alerting.send("drift", "ALARMS", seconds=0.5)
    assert "no answer within 0.5 s" in warning
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://x/y",
        "http://",
        "http://[",
        "http://h:99999/",
        "javascript:1",
        "no address",
    ],
)
def test_only_http_addresses_are_used(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Anything but http and https is refused before it is opened."""
    monkeypatch.setenv("ALARMS", url)
    assert "does not hold an http or https address" in alerting.send("drift", "ALARMS")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/secret", "http://127.0.0.1:9/a b\r\nHost: evil/secret"]
)
def test_nobody_listening_is_a_warning(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """A dead or malformed address is told in words that hold no part of it."""
    monkeypatch.setenv("ALARMS", url)
    warning = alerting.send("drift", "ALARMS")
    assert "cannot be reached" in warning
    assert "secret" not in warning
