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
    """What arrives is one object with `text`; text that Slack would read as a command arrives
    inert.
    """
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
    """Redirects are not followed, errors are told, and neither warning holds the secret part of the
    address.
    """
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


def test_the_address_arrives_as_it_was_given(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path and query, which hold the secret, are not changed on the way."""
    monkeypatch.setenv("ALARMS", f"{server}/a%20b/C?Sig=x%2By&v=1")
    assert alerting.send("drift", "ALARMS") == ""
    ((path, _),) = Receiver.taken
    assert path == "/a%20b/C?Sig=x%2By&v=1"


def test_several_addresses_are_told(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address gets the message, and one that fails is told of."""
    monkeypatch.setenv("ALARMS", f"{server}/one\n{server}/broken/{SECRET} json://{server[7:]}/two")
    warning = alerting.send("drift", "ALARMS")
    assert warning == "the alarm was not sent to the address in ALARMS: it answers 500"
    assert sorted(path for path, _ in Receiver.taken) == ["/broken/" + SECRET, "/one", "/two"]


@pytest.mark.parametrize(
    ("address", "service"),
    [
        ("https://hooks.slack.com/services/T12345678/B12345678/abcdefghijklmnopqrstuvwx", "Slack"),
        ("https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "Discord"),
        ("mailtos://ann:secret@example.org?smtp=mail.example.org", "Email"),
        (
            "https://prod-1.westeurope.logic.azure.com:443/workflows/abcd0123/triggers/manual/paths"
            "/invoke?api-version=2016-06-01&sp=x&sv=1.0&sig=abc",
            "Workflows",
        ),
        ("https://alarms.example.org/hook", "JSON"),
    ],
)
def test_services_are_known_by_their_address(address: str, service: str) -> None:
    """What Slack, Discord, Teams and mail servers want is apprise's to know; the rest gets JSON."""
    assert type(alerting._service(address)).__name__ == f"Notify{service}"


def test_no_text_mentions_a_channel_of_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a service would read as a command is replaced before the service sees it."""
    service = alerting._service("https://hooks.slack.com/services/T12345678/B12345678/" + "a" * 24)
    said: list[str] = []
    monkeypatch.setattr(
        type(service), "notify", lambda self, body, title: bool(said.append(body)) or True
    )
    assert alerting._taken(service, "drift <!channel> & more")
    assert said == ["drift \u2039!channel\u203a & more"]


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://x/y", "http://", "http://[", "http://h:99999/", "javascript:1"],
)
def test_only_addresses_of_services_are_used(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Anything else is refused before anything is opened."""
    monkeypatch.setenv("ALARMS", url)
    assert "does not hold an address of a service" in alerting.send("drift", "ALARMS")
    monkeypatch.setenv("ALARMS", f"http://127.0.0.1:9/ {url}")
    assert "(number 2 of 2)" in alerting.send("drift", "ALARMS")


def test_nobody_listening_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A dead address is told in words that hold no part of it, and no log shows it."""
    monkeypatch.setenv("ALARMS", "http://127.0.0.1:9/secret")
    warning = alerting.send("drift", "ALARMS")
    assert "cannot be reached" in warning
    assert "secret" not in warning + "".join(capfd.readouterr())
