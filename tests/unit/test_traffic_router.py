"""Traffic over HTTP: rows and feedback come in whole or are refused with a reason, and nobody
writes without the token.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from sluicegate.errors import ConfigError, EnvironmentFailure, MissingExtraError, SluiceError
from sluicegate.traffic import TrafficLog, serving
from sluicegate.traffic.intake import TOKEN_VARIABLE, traffic_router

TOKEN = "0123456789abcdef-token"
ROW = {"prompt": "p", "response": "r"}


@pytest.fixture
def log(tmp_path: Path) -> TrafficLog:
    """An empty log that does not wait long."""
    return TrafficLog(f"sqlite:///{tmp_path / 'traffic.db'}", wait=0.3)


@pytest.fixture
def client(log: TrafficLog, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client that sends the token; the router is mounted as an application would."""
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    app = FastAPI()
    app.include_router(traffic_router(log, most_bytes=20_000, most_rows=5), prefix="/traffic")
    with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}) as found:
        yield found


def test_rows_and_feedback_come_in(client: TestClient, log: TrafficLog) -> None:
    """A row, a list of rows and feedback are stored; sending them again adds nothing; counts say
    how many there are.
    """
    answer = client.post("/traffic/rows", json={**ROW, "key": "a", "user": "ann"})
    assert (answer.status_code, answer.json()) == (201, {"new": 1, "keys": ["a"]})
    answer = client.post(
        "/traffic/rows", json=[{**ROW, "key": "a"}, {**ROW, "time": "2026-05-01T00:00:00Z"}]
    )
    assert answer.json()["new"] == 1
    made = answer.json()["keys"][1]
    said = {"key": made, "thumb": -1, "correction": "better", "time": "2026-05-01T00:00:00Z"}
    assert [client.post("/traffic/feedback", json=said).json()["new"] for _ in range(2)] == [1, 0]
    found = log.get(made)
    assert found is not None
    assert found.feedback[0].correction == "better"
    assert client.get("/traffic/counts").json() == {"rows": 2}
    assert client.get("/traffic/counts", params={"until": "2026-06-01T00:00:00Z"}).json() == {
        "rows": 1
    }
    assert client.get("/traffic/health").json() == {"status": "ok", "empty": False}


@pytest.mark.parametrize(
    "header", [None, "", TOKEN, "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer \xff"]
)
def test_without_the_token_nothing_is_written_or_told(
    client: TestClient, log: TrafficLog, header: str | None
) -> None:
    """No token, a wrong one or another scheme is 401 everywhere but at the health check."""
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    client.headers.pop("Authorization")
    for call in (
        client.post("/traffic/rows", json=ROW, headers=headers),
        client.post("/traffic/feedback", json={"key": "a", "thumb": 1}, headers=headers),
        client.get("/traffic/counts", headers=headers),
    ):
        assert call.status_code == 401
    assert client.get("/traffic/health", headers=headers).status_code == 200
    assert log.count() == 0


def test_a_router_without_a_token_has_to_be_asked_for(
    log: TrafficLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the variable the router is not made, unless anonymous writing is allowed in so many
    words.
    """
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(ConfigError, match=TOKEN_VARIABLE):
        traffic_router(log)
    app = FastAPI()
    app.include_router(traffic_router(log, allow_anonymous=True))
    assert (
        TestClient(app, base_url="http://localhost:8765").post("/rows", json=ROW).status_code == 201
    )
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(ConfigError, match="short"):
        traffic_router(log, allow_anonymous=True)


@pytest.mark.parametrize(
    ("host", "kind", "status"),
    [
        ("127.0.0.1:8765", "application/json", 201),
        ("[::1]:8765", "Application/JSON; charset=utf-8", 201),
        ("localhost", "text/plain", 415),
        ("localhost", "application/x-www-form-urlencoded", 415),
        ("localhost", "", 415),
        ("evil.example", "application/json", 403),
        ("localhost.evil.example:8765", "application/json", 403),
        ("127.0.0.1.evil.example", "application/json", 403),
        ("192.168.1.1", "application/json", 403),
        ("", "application/json", 403),
        ("127.0.0.1:evil.example", "application/json", 403),
        ("localhost:80:evil.example", "application/json", 403),
        ("[::1]evil.example", "application/json", 403),
        ("[::1", "application/json", 403),
        ("evil@127.0.0.1", "application/json", 403),
        ("127.1", "application/json", 403),
        ("localhost,evil.example", "application/json", 403),
    ],
)
def test_without_a_token_no_page_of_another_site_writes(
    log: TrafficLog, monkeypatch: pytest.MonkeyPatch, host: str, kind: str, status: int
) -> None:
    """What a browser sends for a foreign page, or to a name that leads here by DNS, is refused;
    counts are not told.
    """
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    app = FastAPI()
    app.include_router(traffic_router(log, allow_anonymous=True))
    with TestClient(app, headers={"host": host}) as client:
        answer = client.post("/rows", content=json.dumps(ROW), headers={"content-type": kind})
        assert (answer.status_code, log.count()) == (status, int(status == 201))
        assert client.get("/counts").status_code == (403 if status == 403 else 200)


class BrokenLog(TrafficLog):
    """A log whose every transaction raises `error`."""

    error: SluiceError

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Any]:
        raise self.error
        yield


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (EnvironmentFailure("connection to 10.1.2.3 as app failed"), 503),
        (MissingExtraError("psycopg 10.1.2.3", "postgres"), 500),
    ],
)
def test_what_is_wrong_here_is_told_to_our_own_log(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: SluiceError,
    status: int,
) -> None:
    """Health tells nobody what a driver says, and a missing package is the server's fault; our log
    has the reason.
    """
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    log = BrokenLog(f"sqlite:///{tmp_path / 'traffic.db'}")
    log.error = error
    app = FastAPI()
    app.include_router(traffic_router(log))
    client = TestClient(app)
    health = client.get("/health")
    assert (health.status_code, health.json()["status"], "10.1.2.3" in health.text) == (
        503,
        "unavailable",
        False,
    )
    assert "10.1.2.3" in caplog.text
    answer = client.post("/rows", json=ROW, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == status
    if status == 500:
        assert "psycopg" not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "not JSON"),
        (b"{", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b'{"prompt": "p", "response": "r", "latency": NaN}', 400, "NaN"),
        (b'{"prompt": "p", "response": "r", "latency": 1e999}', 422, "latency"),
        (b"[" * 15_000, 400, "deep"),
        (b"1" * 5_000, 400, "not JSON"),
        (b'"text"', 422, "object"),
        (b"null", 422, "object"),
        (b'{"prompt": "p"}', 422, "response is missing"),
        (
            b'[{"prompt": "p", "response": "r"}, {"prompt": 1, "response": "r"}]',
            422,
            "row 1: prompt",
        ),
        (json.dumps([ROW] * 6).encode(), 413, "6 rows"),
        (json.dumps({**ROW, "prompt": "x" * 30_000}).encode(), 413, "larger"),
    ],
)
def test_a_wrong_body_is_refused_whole(
    client: TestClient, log: TrafficLog, body: bytes, status: int, reason: str
) -> None:
    """Each kind of wrong body has its status and a reason, and no row of such a request is stored."""
    answer = client.post("/traffic/rows", content=body)
    assert (answer.status_code, reason in answer.json()["detail"]) == (status, True), answer.text
    assert log.count() == 0


def test_a_body_without_a_length_is_not_read_past_the_limit(client: TestClient) -> None:
    """A stream that says no size is cut off at the limit."""
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        for _ in range(1_000):
            sent.append(1)
            yield b" " * 1_000

    assert client.post("/traffic/rows", content=endless()).status_code == 413


def test_a_body_that_says_it_is_too_large_is_not_read(client: TestClient) -> None:
    """The header alone is enough to refuse it."""
    sent: list[int] = []

    def endless() -> Iterator[bytes]:
        sent.append(1)
        yield b" " * 10

    headers = {"Content-Length": "9" * 30}
    answer = client.post("/traffic/rows", content=endless(), headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")


@contextmanager
def served(log: TrafficLog, **limits: Any) -> Iterator[int]:
    """The server of the command in a thread; its port."""
    app = FastAPI()
    app.include_router(traffic_router(log, most_bytes=20_000))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = serving.server(app, "127.0.0.1", port, **limits)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    while not made.started:
        assert thread.is_alive()
        time.sleep(0.05)
    yield port
    made.should_exit = True
    thread.join(20)


def is_closed(connection: socket.socket, seconds: float) -> bool:
    """Whether the server closes a connection within the time."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_idle_connections_do_not_exhaust_the_server(
    log: TrafficLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sends nothing, or half a request, loses its place to the next and, in time,
    altogether.
    """
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    header = {"Authorization": f"Bearer {TOKEN}"}
    with served(log, seconds=1.5, most=10) as port:
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for one in idle[::2]:
            with suppress(ConnectionError):
                one.sendall(b"POST /rows HTTP/1.1\r\nHost: x\r\n")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            assert http.post("/rows", json=ROW, headers=header).status_code == 201
            assert sum(is_closed(one, 0.01) for one in idle) >= 30
            assert all(is_closed(one, 5) for one in idle)
            assert http.post("/rows", json=ROW, headers=header).status_code == 201
        for one in idle:
            one.close()
    assert log.count() == 2


@pytest.mark.parametrize(("token", "status"), [(TOKEN, b"413"), ("wrong", b"401")])
def test_a_refused_body_is_not_read_to_its_end(
    log: TrafficLog, monkeypatch: pytest.MonkeyPatch, token: str, status: bytes
) -> None:
    """Too long or without the token: the server answers and closes, however much is still sent."""
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    head = f"POST /rows HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    with (
        served(log) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
    ):
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        sent = 0
        with suppress(ConnectionError):
            while sent < 200 << 20:
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                sent += 0x10000
        assert sent < 50 << 20
        with suppress(ConnectionError):
            assert status in connection.recv(100)


def test_feedback_on_nothing_is_not_found(client: TestClient) -> None:
    """An unknown key is 404, feedback that says nothing or has no key 422."""
    assert client.post("/traffic/feedback", json={"key": "nobody", "thumb": 1}).status_code == 404
    assert client.post("/traffic/feedback", json={"key": "nobody"}).status_code == 422
    assert client.post("/traffic/feedback", json={"thumb": 1}).status_code == 422
    assert client.post("/traffic/feedback", json={"key": "\x00", "thumb": 1}).status_code == 422
    assert client.get("/traffic/counts", params={"since": "soon"}).status_code == 422


def test_a_database_that_refuses_is_503(
    client: TestClient, log: TrafficLog, tmp_path: Path
) -> None:
    """While another process holds the database the client is told to send again, and nothing was
    stored.
    """
    assert client.post("/traffic/rows", json={**ROW, "key": "a"}).status_code == 201
    holder = sqlite3.connect(tmp_path / "traffic.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answer = client.post("/traffic/rows", json={**ROW, "key": "b"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    holder.execute("ROLLBACK")
    holder.close()
    assert client.post("/traffic/rows", json={**ROW, "key": "b"}).json()["new"] == 1


def test_requests_at_once_share_commits(client: TestClient, log: TrafficLog) -> None:
    """Requests of several clients at the same time all come in."""
    answers: list[Any] = []

    def send(number: int) -> None:
        answers.append(
            client.post("/traffic/rows", json={**ROW, "key": f"k{number % 12}"}).json()["new"]
        )

    threads = [threading.Thread(target=send, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(answers), sum(answers), log.count()) == (24, 12, 12)


def test_the_server_of_the_command_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    """`sluice traffic serve` takes rows with the token, refuses without, and killed -9 it has lost
    nothing.
    """
    (tmp_path / "params.yaml").touch()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SLUICE_TRAFFIC")
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "sluicegate", "traffic", "serve", "--port", str(port)],
        cwd=tmp_path,
        env={**environment, TOKEN_VARIABLE: TOKEN},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:
            wait_for(http, server)
            assert http.post("/rows", json=ROW).status_code == 401
            header = {"Authorization": f"Bearer {TOKEN}"}
            keys = [
                http.post("/rows", json=ROW, headers=header).json()["keys"][0] for _ in range(5)
            ]
    finally:
        server.kill()
        server.wait()
    assert [
        row.key for row in TrafficLog(f"sqlite:///{tmp_path / '.sluice' / 'traffic.db'}").window()
    ] == keys


def wait_for(http: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    """Until the server answers."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            http.get("/health").raise_for_status()
            return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start: {server.poll()}")
