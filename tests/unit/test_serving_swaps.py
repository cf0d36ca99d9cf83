"""Moves under load, and kills: no request fails, no answer is another release's, no row is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import ChatServer, says
from served_project import hosted_project, hosted_release, listening, promoted, rows_in, who
from sluicegate.line.serve.start import open_router
from sluicegate.project import Project

CLIENTS, MOVES, KILLS = 16, 200, 2


class Clients:
    """Threads that ask without a pause until told to stop; `said` is (release, text, key)."""

    def __init__(self, url: str, count: int) -> None:
        self.url, self.stop = url, threading.Event()
        self.said: list[tuple[str, str, str]] = []
        self.failed: list[str] = []
        self.threads = [threading.Thread(target=self.ask, args=(n,)) for n in range(count)]
        for one in self.threads:
            one.start()

    def ask(self, number: int) -> None:
        with httpx.Client(trust_env=False, timeout=20) as client:
            while not self.stop.is_set():
                text = f"{number}-{len(self.said)}"
                body = {"messages": [{"role": "user", "content": text}]}
                try:
                    got = client.post(f"{self.url}/v1/chat/completions", json=body)
                    content = got.json()["choices"][0]["message"]["content"]
                    assert content.endswith(f": {text}")
                    key = got.headers["x-sluice-request"]
                    self.said.append((got.headers["x-sluice-release"], content, key))
                except (httpx.HTTPError, KeyError, ValueError, AssertionError) as error:
                    self.failed.append(f"{type(error).__name__}: {error}")
                    time.sleep(0.02)

    def end(self) -> None:
        self.stop.set()
        for one in self.threads:
            one.join(30)


def test_moves_under_load(tmp_path: Path) -> None:
    """200 promotions and roll-backs under 16 clients: no failed request, every text is what the
    named release gives, and every answer has its row, once.
    """
    with ChatServer(says(who)) as server:
        project = hosted_project(tmp_path / "p", server.url)
        names = {
            hosted_release(project, server.url, name, n): name
            for n, name in enumerate(("one", "two", "three"), start=1)
        }
        digests = list(names)
        router, follower = open_router(project, "127.0.0.1")
        promoted(project, digests[0])
        follower.look()
        with listening(router) as url:
            clients = Clients(url, CLIENTS)
            for move in range(MOVES):
                promoted(project, digests[(move + 1) % len(digests)])
                follower.look()
            clients.end()
    assert clients.failed == []
    assert len(clients.said) > MOVES
    assert {release for release, _, _ in clients.said} == set(digests)
    wrong = [said for said in clients.said if not said[1].startswith(f"{names[said[0]]}: ")]
    assert wrong == []
    keys = rows_in(project)
    assert len(keys) == len(set(keys))
    assert set(keys) == {key for _, _, key in clients.said}


def start(project: Project, port: int) -> subprocess.Popen[bytes]:
    """`sluice serve` in a process of its own, ready."""
    command = [sys.executable, "-m", "sluicegate", "serve", "--port", str(port)]
    with (project.root / "serve.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=project.root, stderr=log, stdout=log)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).is_success:
                return process
        except httpx.HTTPError:
            time.sleep(0.1)
    raise AssertionError((project.root / "serve.log").read_text())


@pytest.mark.slow
def test_kills_lose_no_row(tmp_path: Path) -> None:
    """kill -9 under load, again and again: every answer that a client got has its row, once, and
    the same champion answers afterwards.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ChatServer(says(who)) as server:
        project = hosted_project(tmp_path / "p", server.url)
        digest = hosted_release(project, server.url, "two", 1)
        promoted(project, digest)
        said = []
        for _ in range(KILLS):
            process = start(project, port)
            clients = Clients(f"http://127.0.0.1:{port}", 8)
            time.sleep(0.7)
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)
            clients.end()
            said += clients.said
        process = start(project, port)
        time.sleep(1.0)
        process.terminate()
        assert process.wait(20) is not None
    assert len(said) > KILLS
    assert {release for release, _, _ in said} == {digest}
    keys = rows_in(project)
    assert len(keys) == len(set(keys))
    assert {key for _, _, key in said} - set(keys) == set()
    assert list((project.state / "serve").glob("*.jsonl")) == []
