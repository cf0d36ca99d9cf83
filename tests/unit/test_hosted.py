"""Endpoints, good and bad: every request ends in bounded time as a reply or a failure, and nothing
unsafe is called.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import Asked, ChatServer, certificate, completion, says, send, sends
from sluicegate.config import EndpointSpec, ModelSpec
from sluicegate.errors import ConfigError
from sluicegate.generating import Failure, Reply, Request
from sluicegate.models import open_model, openai_door
from sluicegate.models.reading import FILTER, MEANING


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def questions(count: int, **more: Any) -> list[Request]:
    """Different questions."""
    return [
        Request(({"role": "user", "content": f"question {number}"},), **more)
        for number in range(count)
    ]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., list[Reply | Failure]]:
    """Ask `asked` of an endpoint at `url`; further arguments are fields of the endpoint."""

    def asking(url: str, asked: Sequence[Request], **more: Any) -> list[Reply | Failure]:
        fields = {
            "url": url,
            "model": "judge",
            "allow_private": True,
            "timeout": 20,
            "tries": 2,
            **more,
        }
        spec = ModelSpec(endpoint=EndpointSpec(**fields))
        return open_model(spec, "judge", root=tmp_path).generate(asked)

    return asking


Ask = Callable[..., list[Reply | Failure]]


def reasons(answers: Sequence[Reply | Failure]) -> list[str]:
    """Why each failed; an answer that is no failure fails the test."""
    assert all(isinstance(answer, Failure) for answer in answers), answers
    return [answer.reason for answer in answers if isinstance(answer, Failure)]


def test_answers_come_in_order(ask: Ask) -> None:
    """Replies are in the order of the questions, whatever order they came in, and no more are in
    the air than allowed.
    """

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.01 + 0.03 * (asked.number % 3))
        send(writer, completion(asked.text.upper()))

    with ChatServer(behave) as server:
        answers = ask(server.url, questions(40), concurrency=7)
        assert server.most_at_once == 7
    assert [answer.text for answer in answers if isinstance(answer, Reply)] == [
        f"QUESTION {i}" for i in range(40)
    ]
    assert all(
        isinstance(answer, Reply) and answer.finished and answer.prompt_tokens == 20
        for answer in answers
    )
    assert all(isinstance(answer, Reply) and 0.01 <= answer.seconds < 20 for answer in answers)


def test_the_request_says_what_the_question_says(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Model, messages, settings and key go out as OpenAI's interface defines them."""
    monkeypatch.setenv("JUDGE_KEY", "sk-one\n")
    asked = Request(
        ({"role": "system", "content": "be fair"}, {"role": "user", "content": "ö 🙂"}),
        5,
        0.5,
        7,
        3,
    )
    with ChatServer(says(lambda _: "4")) as server:
        ask(server.url + "/", [asked], key_env="JUDGE_KEY")
        request = server.asked[0]
    assert request.path == "/v1/chat/completions"
    assert request.headers["authorization"] == "Bearer sk-one"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.body == {
        "model": "judge", "messages": [dict(one) for one in asked.messages],
        "max_tokens": 5, "temperature": 0.5,
        "seed": 7, "logprobs": True, "top_logprobs": 3,
    }  # fmt: skip


def test_probabilities_become_alternatives(ask: Ask) -> None:
    """Log probabilities of likely tokens are kept per place, equal texts added; where none came
    there are none.
    """
    place = {"token": "4", "logprob": -0.1, "bytes": [52]}
    others = [
        {"token": "4", "logprob": -0.1},
        {"token": "5", "logprob": -3.0},
        {"token": "5", "logprob": -3.0},
    ]
    with_them = completion("4", logprobs={"content": [{**place, "top_logprobs": others}]})
    with ChatServer(sends(with_them)) as server:
        (reply,) = ask(server.url, questions(1, alternatives=3))
    assert isinstance(reply, Reply)
    (likely,) = reply.alternatives
    assert likely["4"] == -0.1
    assert math.isclose(likely["5"], -3.0 + math.log(2))
    with ChatServer(sends(completion("4", logprobs=None))) as server:
        (reply,) = ask(server.url, questions(1, alternatives=2))
    assert isinstance(reply, Reply)
    assert reply.alternatives == ()


def test_endpoint_down(ask: Ask) -> None:
    """Where nobody listens, every question is a failure, soon: after some in a row the rest is not
    tried.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        started = time.monotonic()
        answers = ask(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", questions(200), tries=3)
    assert time.monotonic() - started < 20
    said = reasons(answers)
    assert len(said) == 200
    assert "Connection refused" in said[0]
    assert said[-1].startswith("not asked, as the requests before failed: ")


def test_an_unknown_name(ask: Ask) -> None:
    """A host that has no address is a failure of each question, never an exception."""
    assert "has no address" in reasons(ask("https://judge.invalid/v1", questions(3)))[2]


def test_slow_and_dripping_answers_are_cut(ask: Ask) -> None:
    """One deadline holds over the whole request, however steadily bytes trickle in, and it is not
    tried again.
    """

    async def drip(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.number % 2:
            await asyncio.sleep(60)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(2000):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    with ChatServer(drip) as server:
        started = time.monotonic()
        said = reasons(ask(server.url, questions(4), timeout=0.6, concurrency=4))
        assert time.monotonic() - started < 8
        assert len(server.asked) == 4
    assert said == ["no complete answer within 0.6 s"] * 4


def test_a_short_storm_of_refusals_is_sat_out(ask: Ask) -> None:
    """After 429 and 503 the same question is asked again, no sooner than Retry-After says, and
    nothing is lost.
    """
    times: list[float] = []

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        times.append(time.monotonic())
        if asked.number <= 6:
            send(writer, b"{}", 429 if asked.number % 2 else 503, Retry_After="1")
        else:
            send(writer, completion("fine"))

    with ChatServer(behave) as server:
        answers = ask(server.url, questions(6), concurrency=6, tries=3)
        assert len(server.asked) == 12
    assert all(isinstance(answer, Reply) for answer in answers)
    assert times[6] - times[0] >= 0.99


@pytest.mark.parametrize(("wait", "requests"), [("3600", 1), ("0", 3)])
def test_a_storm_without_end(ask: Ask, wait: str, requests: int) -> None:
    """Tries are counted, and a server that asks for an hour is not waited for."""
    with ChatServer(sends(b'{"error": {"message": "slow down"}}', 429, Retry_After=wait)) as server:
        started = time.monotonic()
        said = reasons(ask(server.url, questions(1), tries=3))
        assert len(server.asked) == requests
    assert time.monotonic() - started < 8
    assert said == ["the endpoint answered 429: slow down"]


def cut_mid_body(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + completion("half")[:40])
    writer.close()


def test_connection_cut(ask: Ask) -> None:
    """An answer that stops half way is tried again, and what is there of it is never used."""

    async def once(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.number == 1:
            cut_mid_body(asked, writer)
        else:
            send(writer, completion("whole"))

    async def always(asked: Asked, writer: asyncio.StreamWriter) -> None:
        cut_mid_body(asked, writer)

    with ChatServer(once) as server:
        (reply,) = ask(server.url, questions(1))
        assert isinstance(reply, Reply)
        assert reply.text == "whole"
    with ChatServer(always) as server:
        (said,) = reasons(ask(server.url, questions(1), tries=3))
        assert len(server.asked) == 3
    assert "cut before the answer was complete" in said


def test_giant_answer(ask: Ask) -> None:
    """Of an endless answer a few megabytes are read, then the connection is closed."""
    written = 0

    async def endless(asked: Asked, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        block = b"%x\r\n" % (1 << 16) + b" " * (1 << 16) + b"\r\n"
        while written < 1 << 30:
            writer.write(block)
            await writer.drain()
            written += 1 << 16

    with ChatServer(endless) as server:
        (said,) = reasons(ask(server.url, questions(1)))
        assert len(server.asked) == 1
    assert said == "the endpoint's answer is longer than 4 MB"
    assert written < 64 << 20


WRONG = {
    "nothing": b"",
    "half": completion("x")[:-5],
    "list": b"[]",
    "null": b"null",
    "number for text": completion("x").replace(b'"x"}', b"5}"),
    "negative tokens": completion("x").replace(b'"prompt_tokens": 20', b'"prompt_tokens": -1'),
    "tokens as text": completion("x").replace(b'"prompt_tokens": 20', b'"prompt_tokens": "20"'),
    "not a number": completion(
        "x", logprobs={"content": [{"token": "a", "logprob": math.nan, "top_logprobs": []}]}
    ),
    "infinite": completion(
        "x", logprobs={"content": [{"token": "a", "logprob": -math.inf, "top_logprobs": []}]}
    ),
    "lone surrogate": completion("x").replace(b'"x"}', b'"\\ud800"}'),
    "not UTF-8": completion("x").replace(b'"x"}', b'"\xff"}'),
    "deep": b'{"choices":' * 5000,
    "a filter": completion("x", finish_reason="content_filter"),
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
def test_wrong_answers(ask: Ask, body: bytes) -> None:
    """Whatever is not exactly a completion is a failure that says where; it is not asked again."""
    with ChatServer(sends(body)) as server:
        (said,) = reasons(ask(server.url, questions(1)))
        assert len(server.asked) == 1
    assert said.startswith(
        ("the endpoint's answer cannot be read: ", "the content filter of the server")
    )


def test_one_wrong_answer_spoils_no_other(ask: Ask) -> None:
    """Failures are those of their own rows."""
    with ChatServer(says(lambda asked: asked.text)) as server:
        inner = server.behave

        async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
            if asked.text == "question 3":
                send(writer, b"nonsense")
            else:
                await inner(asked, writer)

        server.behave = behave
        answers = ask(server.url, questions(9))
    assert [number for number, answer in enumerate(answers) if isinstance(answer, Failure)] == [3]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"error": {"message": "con\x07 too\\n long"}}', "the endpoint answered 400"),
        (400, b'{"error": {"message": "odd\\n words"}}', "the endpoint answered 400: odd  words"),
        (401, b"", f"the endpoint answered 401: {MEANING[401]}"),
        (404, b'{"error": "no model"}', f"the endpoint answered 404: {MEANING[404]}: no model"),
        (
            400,
            b'{"error": {"message": "This model\'s maximum context length is 8"}}',
            "the endpoint answered 400: the request is longer than the model's context: "
            "This model's maximum context length is 8",
        ),
        (
            400,
            b'{"error": {"message": "no", "code": "content_filter"}}',
            f"the endpoint answered 400: {FILTER}: no",
        ),
        (418, b"[" * 100_000, "the endpoint answered 418"),
        (
            400,
            json.dumps({"error": {"message": "x" * 5000}}).encode(),
            f"the endpoint answered 400: {'x' * 200}",
        ),
    ],
)
def test_refusals_say_why(ask: Ask, status: int, body: bytes, said: str) -> None:
    """Status and the server's words reach the person, short and printable; only what may pass is
    tried again.
    """
    with ChatServer(sends(body, status)) as server:
        assert reasons(ask(server.url, questions(1))) == [said]
        assert len(server.asked) == 1


def test_unfinished_answers_say_so(ask: Ask) -> None:
    """An answer cut by its length limit is a reply that is not finished."""
    with ChatServer(sends(completion("one two", finish_reason="length"))) as server:
        (reply,) = ask(server.url, questions(1))
    assert isinstance(reply, Reply)
    assert not reply.finished


def test_redirects_are_not_followed(ask: Ask) -> None:
    """A redirect is a failure, and the place it names is never called."""
    with ChatServer(says(lambda _: "stolen")) as other:
        with ChatServer(sends(b"", 307, Location=f"{other.url}/chat/completions")) as server:
            (said,) = reasons(ask(server.url, questions(1)))
        assert not other.asked
    assert said.startswith("the endpoint answered with a redirect (307), which is never followed")


def test_compressed_answers_are_refused(ask: Ask) -> None:
    """A body that would grow when unpacked is not unpacked."""
    with ChatServer(sends(b"\x1f\x8b", Content_Encoding="gzip")) as server:
        assert reasons(ask(server.url, questions(1))) == [
            "the endpoint compressed its answer unasked"
        ]


def test_proxies_of_the_environment_are_not_used(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable does not send the request, and its key, elsewhere."""
    with (
        ChatServer(says(lambda _: "right")) as server,
        ChatServer(says(lambda _: "wrong")) as proxy,
    ):
        for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        (reply,) = ask(server.url, questions(1))
        assert not proxy.asked
    assert isinstance(reply, Reply)
    assert reply.text == "right"


def test_missing_key(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its key an endpoint is not called; the error names the variable."""
    for value in ("", "  ", "ключ", "two words", "line\u2028x"):
        monkeypatch.setenv("JUDGE_KEY", value)
        with pytest.raises(ConfigError, match="JUDGE_KEY") as caught:
            ask("http://127.0.0.1:1/v1", questions(1), key_env="JUDGE_KEY")
        assert not value.strip() or value not in str(caught.value)
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(ConfigError, match="is not set"):
        ask("http://127.0.0.1:1/v1", questions(1), key_env="JUDGE_KEY")


def test_tls_is_verified_for_the_name(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate must be trusted and be for the name in the address, though a number is
    called.
    """
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *a, **k: real("127.0.0.1", *a, **k))
    good, context = certificate(tmp_path, "judge.example")
    with ChatServer(says(lambda _: "safe"), tls=context) as server:
        url = f"https://judge.example:{server.port}/v1"
        (said,) = reasons(ask(url, questions(1), tries=3))
        assert "its certificate is not trusted" in said
        monkeypatch.setenv("SSL_CERT_FILE", str(good))
        (reply,) = ask(url, questions(1))
        assert isinstance(reply, Reply)
        assert server.asked[0].headers["host"] == f"judge.example:{server.port}"
        (said,) = reasons(ask(f"https://other.example:{server.port}/v1", questions(1)))
        assert "its certificate is not trusted" in said
        assert len(server.asked) == 1


def test_tls_cut(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that breaks during the handshake, or inside the encrypted answer, is a
    failure.
    """

    async def always(asked: Asked, writer: asyncio.StreamWriter) -> None:
        cut_mid_body(asked, writer)

    trusted, context = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with ChatServer(always, tls=context) as server:
        (said,) = reasons(ask(server.url, questions(1), timeout=5))
        assert len(server.asked) == 2
    assert "cut before the answer was complete" in said
    with ChatServer(
        says(lambda _: "plain")
    ) as server:  # answers TLS with nothing that it understands
        (said,) = reasons(ask(f"https://127.0.0.1:{server.port}/v1", questions(1), timeout=2))
    assert said.startswith(("https://127.0.0.1", "no complete answer"))


def test_inside_a_running_event_loop(ask: Ask) -> None:
    """A notebook or an asynchronous flow may ask too."""

    async def main(url: str) -> list[Reply | Failure]:
        return ask(url, questions(3))

    with ChatServer(says(lambda _: "yes")) as server:
        assert all(isinstance(answer, Reply) for answer in asyncio.run(main(server.url)))


def test_the_limit_is_the_documented_one() -> None:
    """4 MB, as the message says."""
    assert openai_door.MOST_BYTES == 4 * 1024 * 1024
