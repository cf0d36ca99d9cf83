"""The router: who may ask, what is refused, what is answered by whom, and what is written down."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from click.testing import CliRunner

from chat_server import ChatServer, says
from served_project import (
    events,
    hosted_project,
    hosted_release,
    listening,
    promoted,
    rows_in,
    who,
)
from sluicegate.cli import sluice
from sluicegate.errors import ModelError, UsageError
from sluicegate.generating import Failure, Reply, Request
from sluicegate.ledger import Ledger
from sluicegate.line.serve.follow import Follower
from sluicegate.line.serve.start import key_file, open_router
from sluicegate.models.scripted import ScriptedModel
from sluicegate.project import Project
from sluicegate.prompts import Prompt
from sluicegate.records import Champion, GenerationSettings
from sluicegate.serving import Journal, KeyFile, Loaded, Releases, open_serving
from sluicegate.serving.router import Router
from sluicegate.traffic import TrafficLog

PROMPT = Prompt("p", "", "Say: {{ text }}", ("text",), "", "")
HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
DIGESTS = ("a" * 64, "b" * 64, "c" * 64)


def loaded(digest: str, answer: Any = None) -> Loaded:
    """A release that says its name, or what `answer` makes of the request."""
    said = answer or (lambda request: f"{digest[0]}: {request.messages[-1]['content']}")
    engine = open_serving(ScriptedModel(said))
    return Loaded(digest, PROMPT, GenerationSettings(max_new_tokens=64), engine)


def router_of(tmp_path: Path, *releases: Loaded, **more: Any) -> Router:
    """A router in which the first of the releases is the champion."""
    held = Releases()
    for release in releases:
        held.add(release)
    if releases:
        held.move(Champion(releases[0].digest, 7, 1))

    def load(digest: str) -> Loaded:
        raise ModelError(f"no {digest}")

    log = TrafficLog(f"sqlite:///{tmp_path / 'traffic.db'}")
    keys = KeyFile(tmp_path / "keys.json")
    return Router(held, keys, Journal(tmp_path / "journal", log), load, **more)


@pytest.fixture
def router(tmp_path: Path) -> Router:
    return router_of(tmp_path, loaded(DIGESTS[0]), loaded(DIGESTS[1]))


@pytest.fixture
def url(router: Router) -> Iterator[str]:
    with listening(router) as found:
        yield found


def post(url: str, body: object, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
    return httpx.post(f"{url}{path}", json=body, timeout=20, trust_env=False, **more)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_every_answer_names_who_gave_it(url: str, router: Router, tmp_path: Path) -> None:
    """Release, epoch and the row's key are headers; the row holds what was asked and answered."""
    answer = post(url, {**HELLO, "model": "champion", "user": "ann"})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "a: Hello"
    assert answer.json()["choices"][0]["finish_reason"] == "stop"
    assert answer.headers["x-sluice-release"] == DIGESTS[0]
    assert answer.headers["x-sluice-epoch"] == "7"
    router.journal.flush()
    row = router.journal.log.get(answer.headers["x-sluice-request"])
    assert row is not None
    assert row.key.startswith("e7-")
    assert (row.prompt, row.response, row.release) == ("Hello", "a: Hello", DIGESTS[0])
    assert row.latency is not None
    assert row.latency > 0
    assert (row.prompt_tokens, row.completion_tokens) == (1, 2)
    assert row.user not in ("", "ann")


def test_the_answer_comes_as_events(url: str) -> None:
    """With `stream` the same answer comes as chunks that end with [DONE], usage where asked for."""
    answer = post(url, {**HELLO, "stream": True, "stream_options": {"include_usage": True}})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-sluice-release"] == DIGESTS[0]
    chunks: list[Any] = events(answer.text)
    text = "".join(
        choice["delta"].get("content", "") for one in chunks for choice in one["choices"]
    )
    assert text == "a: Hello"
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert [c["finish_reason"] for one in chunks for c in one["choices"]] == [None, "stop"]


def test_the_releases_own_prompt_answers(url: str, router: Router) -> None:
    """`/v1/answer` renders the release's prompt; other inputs than its variables are refused."""
    answer = post(url, {"inputs": {"text": "good day"}}, "/v1/answer")
    assert answer.json()["answer"] == "a: Say: good day"
    assert answer.json()["release"] == answer.headers["x-sluice-release"] == DIGESTS[0]
    router.journal.flush()
    row = router.journal.log.get(answer.json()["request"])
    assert row is not None
    assert row.inputs == {"text": "good day"}
    for inputs in ({}, {"text": "a", "more": "b"}, {"text": 1}):
        assert post(url, {"inputs": inputs}, "/v1/answer").status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        [], {}, {"messages": []}, {"messages": "Hi"}, {**HELLO, "n": 2}, {**HELLO, "tools": []},
        {**HELLO, "max_tokens": 10**9}, {**HELLO, "max_tokens": True}, {**HELLO, "stream": "yes"},
        {**HELLO, "temperature": 1e309}, {**HELLO, "model": "../../etc/passwd"},
        {**HELLO, "model": "A" * 64}, {**HELLO, "model": "champion\r\nX-Sluice-Release: b"},
        {**HELLO, "model": {"$ne": 1}}, {**HELLO, "model": "a" * 100_000},
        {"messages": [{"role": "tool", "content": "x"}]}, {**HELLO, "user": "x" * 2000},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(url: str, body: Any) -> None:
    """A wrong, unknown or hostile field is 400 with a sentence, never a silent other answer."""
    content = json.dumps(body).replace("Infinity", "1e309")
    answer = httpx.post(
        f"{url}/v1/chat/completions",
        content=content,
        headers={"Content-Type": "application/json"},
        trust_env=False,
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert len(answer.text) < 2000
    assert "x-sluice-release" not in answer.headers


def test_keys_say_who_may_what(url: str, router: Router, tmp_path: Path) -> None:
    """Without a key nobody, with one what its role allows; pins are an operator's alone."""
    tokens = {role: router.keys.add(role, role, 0) for role in ("client", "operator", "auditor")}
    pinned = {**HELLO, "model": DIGESTS[1]}
    assert post(url, HELLO).status_code == 401
    assert post(url, HELLO, headers=bearer("sluice-" + "x" * 43)).status_code == 401
    assert post(url, HELLO, headers=bearer(tokens["client"])).status_code == 200
    assert post(url, HELLO, headers=bearer(tokens["auditor"])).status_code == 403
    assert post(url, pinned, headers=bearer(tokens["client"])).status_code == 403
    unknown = {**HELLO, "model": "f" * 64}
    assert post(url, unknown, headers=bearer(tokens["client"])).status_code == 403
    assert post(url, unknown, headers=bearer(tokens["operator"])).status_code == 503
    answer = post(url, pinned, headers=bearer(tokens["operator"]))
    assert answer.json()["choices"][0]["message"]["content"] == "b: Hello"
    assert answer.headers["x-sluice-release"] == DIGESTS[1]
    for role, status in (("client", 403), ("operator", 200), ("auditor", 200)):
        got = httpx.get(f"{url}/metrics", headers=bearer(tokens[role]), trust_env=False)
        assert got.status_code == status
    twice = [("Authorization", f"Bearer {tokens['client']}")] * 2
    assert httpx.post(
        f"{url}/v1/chat/completions", json=HELLO, headers=twice, trust_env=False
    ).status_code == 401  # fmt: skip
    router.keys.remove("client")
    assert post(url, HELLO, headers=bearer(tokens["client"])).status_code == 401
    held = (tmp_path / "keys.json").read_text()
    assert not any(token in held for token in tokens.values())
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0


def test_a_damaged_key_file_lets_nobody_in(url: str, tmp_path: Path) -> None:
    """It is not taken for a router without keys."""
    (tmp_path / "keys.json").write_text('{"keys": [}')
    assert post(url, HELLO).status_code == 503


def test_without_keys_only_this_machine_is_answered(url: str, router: Router) -> None:
    """A page of another site can neither name another host nor post another type; and where the
    address can be reached from elsewhere, nobody is let in.
    """
    assert post(url, HELLO, headers={"Host": "evil.example"}).status_code == 403
    answer = httpx.post(
        f"{url}/v1/chat/completions",
        content=json.dumps(HELLO),
        headers={"Content-Type": "text/plain"},
        trust_env=False,
    )
    assert answer.status_code == 415
    assert post(url, {**HELLO, "model": DIGESTS[1]}).status_code == 403
    router.host = "0.0.0.0"
    assert post(url, HELLO).status_code == 401


def test_a_key_has_a_limit(url: str, router: Router) -> None:
    """Beyond it: 429 and when to come again."""
    token = router.keys.add("slow", "client", 10)
    found = [post(url, HELLO, headers=bearer(token)) for _ in range(3)]
    assert [one.status_code for one in found] == [200, 429, 429]
    assert int(found[1].headers["retry-after"]) >= 1


def test_bodies_are_bounded(url: str) -> None:
    """A body over 1 MiB is 413, however it is told; a smuggled second request is not answered."""
    big = {"messages": [{"role": "user", "content": "x" * (1 << 20)}]}
    assert post(url, big).status_code == 413
    host, port = url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    )
    inner = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"
    with socket.create_connection((host, int(port)), 5) as two:
        two.sendall(f"{head}Content-Length: 4\r\nContent-Length: 40\r\n\r\nabcd{inner}".encode())
        assert b" 400 " in two.recv(4096).split(b"\r\n")[0]
    with socket.create_connection((host, int(port)), 5) as long:
        long.sendall(f"{head}X-A: {'a' * 70_000}\r\n\r\n".encode())
        assert b" 400 " in long.recv(4096).split(b"\r\n")[0]


def test_too_much_at_once_is_told_to_come_again(tmp_path: Path) -> None:
    """Beyond the limit: 429 with Retry-After, at once; those before are answered."""
    going = threading.Event()

    def slow(request: Request) -> str:
        going.wait(10)
        return "done"

    router = router_of(tmp_path, loaded(DIGESTS[0], slow), most=2)
    with listening(router) as url:
        found: list[int] = []
        threads = [
            threading.Thread(target=lambda: found.append(post(url, HELLO).status_code))
            for _ in range(2)
        ]
        for one in threads:
            one.start()
        until = time.monotonic() + 10
        while router.busy < 2 and time.monotonic() < until:
            time.sleep(0.01)
        answer = post(url, HELLO)
        going.set()
        for one in threads:
            one.join(10)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert found == [200, 200]


def broken(request: Request) -> str:
    raise RuntimeError("out of memory")


def silent(request: Request) -> Failure:
    return Failure("http://secret.internal:8000 gave no answer")


@pytest.mark.parametrize("answer", [broken, silent])
def test_a_dead_engine_is_503(tmp_path: Path, answer: Any) -> None:
    """Never another release, and nothing of the engine's own words; it is tried again each time."""
    router = router_of(tmp_path, loaded(DIGESTS[0], answer), loaded(DIGESTS[1]))
    with listening(router) as url:
        for _ in range(2):
            found = post(url, HELLO)
            assert found.status_code == 503
            assert "retry-after" in found.headers
            assert "secret" not in found.text
            assert "x-sluice-release" not in found.headers
    assert router.journal.log.count() == 0


def test_nothing_promoted_is_503(tmp_path: Path) -> None:
    """A router without a champion is not ready and says so."""
    with listening(router_of(tmp_path)) as url:
        assert post(url, HELLO).status_code == 503
        ready = httpx.get(f"{url}/readyz", trust_env=False)
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200


def test_an_answer_that_cannot_be_recorded_is_not_given(url: str, router: Router) -> None:
    """What is not in the record was not answered: 503."""
    assert post(url, HELLO).status_code == 200
    router.journal.flush()
    router.journal.folder.chmod(0o500)
    try:
        if (router.journal.folder / "x").parent.stat().st_uid == 0:
            router.journal.folder = router.journal.folder / "gone"
        assert post(url, HELLO).status_code == 503
    finally:
        router.journal.folder.chmod(0o700) if router.journal.folder.exists() else None


def test_a_request_keeps_its_release(tmp_path: Path) -> None:
    """A move during an answer changes nothing about it; the old release is closed after it."""
    going, closed = threading.Event(), list[str]()

    def slow(request: Request) -> str:
        going.wait(10)
        return "old"

    releases = [loaded(DIGESTS[0], slow), *(loaded(digest) for digest in DIGESTS[1:])]
    router = router_of(tmp_path, releases[0])
    closing = releases[0].engine.close
    releases[0].engine.close = lambda: (closed.append("a"), closing())  # type: ignore[method-assign]
    with listening(router) as url:
        found: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: found.append(post(url, HELLO)))
        asking.start()
        while not router.busy:
            time.sleep(0.01)
        for epoch, release in enumerate((*releases[1:], loaded("d" * 64)), start=8):
            router.releases.add(release)
            router.releases.move(Champion(release.digest, epoch, 1))
        assert post(url, HELLO).headers["x-sluice-release"] == "d" * 64
        assert not closed
        going.set()
        asking.join(10)
    assert found[0].json()["choices"][0]["message"]["content"] == "old"
    assert (found[0].headers["x-sluice-release"], found[0].headers["x-sluice-epoch"]) == (
        DIGESTS[0], "7",
    )  # fmt: skip
    assert closed == ["a"]


def test_requests_that_wait_go_together(tmp_path: Path) -> None:
    """What comes while the model works is one batch of the next call."""
    sizes: list[int] = []

    class Model(ScriptedModel):
        def generate(self, requests: Any, **more: Any) -> list[Reply | Failure]:
            sizes.append(len(requests))
            time.sleep(0.2)
            return super().generate(requests, **more)

    release = Loaded(
        DIGESTS[0], PROMPT, GenerationSettings(), open_serving(Model(lambda request: "x"))
    )
    with listening(router_of(tmp_path, release)) as url:
        threads = [threading.Thread(target=post, args=(url, HELLO)) for _ in range(9)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(20)
    assert sum(sizes) == 9
    assert len(sizes) <= 4


def test_keys_are_made_shown_and_taken_away(tmp_path: Path, monkeypatch: Any) -> None:
    """`sluice serve key` prints a key once and lists no hash; another host needs one."""
    (tmp_path / "params.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    token = run(sluice, ["serve", "key", "add", "ann", "--role", "client"]).output.strip()
    assert key_file(Project(tmp_path)).caller([f"Bearer {token}"]) is not None
    listed = run(sluice, ["serve", "key", "list", "--json"]).output
    assert json.loads(listed) == [{"name": "ann", "per_minute": 600, "role": "client"}]
    assert isinstance(run(sluice, ["serve", "key", "add", "ann", "--role", "client"]).exception,
                      UsageError)  # fmt: skip
    assert run(sluice, ["serve", "key", "remove", "ann"]).exit_code == 0
    with pytest.raises(UsageError, match="a key is needed"):
        open_router(Project(tmp_path), "0.0.0.0")


def test_the_router_follows_the_ledger(tmp_path: Path) -> None:
    """A promotion is loaded beside what serves and answers next; a release that may not serve is
    refused once, in the ledger and for all to see, and what served goes on.
    """
    with ChatServer(says(who)) as server:
        project = hosted_project(tmp_path / "p", server.url)
        one = hosted_release(project, server.url, "one", 1)
        two = hosted_release(project, server.url, "two", 2)
        router, follower = open_router(project, "127.0.0.1")
        promoted(project, one)
        follower.look()
        with listening(router) as url:
            assert post(url, HELLO).headers["x-sluice-release"] == one
            promoted(project, two, 2)
            follower.look()
            answer = post(url, HELLO)
            assert answer.headers["x-sluice-release"] == two
            assert answer.json()["choices"][0]["message"]["content"] == "two: Hello"
            stored = project.store / "prompts" / f"{router.releases.find(one).prompt.digest}.json"
            third = hosted_release(project, server.url, "three", 3)
            stored.write_text('{"name": "other"}')
            promoted(project, third, 3)
            for _ in range(3):
                follower.look()
            assert post(url, HELLO).headers["x-sluice-release"] == two
            ready = httpx.get(f"{url}/readyz", trust_env=False).json()
            assert (ready["status"], ready["release"]) == ("degraded", two)
            assert ready["wrong"] == [f"the champion {third[:12]} of the ledger is refused"]
            refused = Ledger(project.ledger_url).entries("serve_refused")
            assert [(entry.release, entry.payload["refused_epoch"]) for entry in refused] == [
                (third, 3)
            ]
            promoted(project, one)
            follower.look()
            assert post(url, HELLO).headers["x-sluice-release"] == one
            assert httpx.get(f"{url}/readyz", trust_env=False).json()["status"] == "ready"
        assert len(rows_in(project)) == 4


def test_a_ledger_that_is_away_stops_nothing(tmp_path: Path) -> None:
    """What is served goes on, and the router says that it cannot see the ledger."""
    router = router_of(tmp_path, loaded(DIGESTS[0]))
    project = Project(tmp_path)
    project.state.mkdir()
    (project.state / "ledger.db").mkdir()
    follower = Follower(project, router.releases, router.standing, router.counters)
    with listening(router) as url:
        follower.look()
        assert post(url, HELLO).status_code == 200
        ready = httpx.get(f"{url}/readyz", trust_env=False)
        assert (ready.status_code, ready.json()["wrong"]) == (200, ["the ledger cannot be read"])
