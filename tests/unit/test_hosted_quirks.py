"""What real servers do beside the book: each ends as a reply, or as one line that says what to
do.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import openai
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import Asked, ChatServer, certificate, completion, says, send, sends
from sluicegate.budget import Budget
from sluicegate.config import EndpointSpec, ModelSpec, PriceParams
from sluicegate.errors import BudgetError, ConfigError, MissingExtraError
from sluicegate.generating import Failure, Reply, Request
from sluicegate.models import open_model, price_of
from sluicegate.models.reading import FILTER


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)


def questions(count: int, **more: Any) -> list[Request]:
    return [Request(({"role": "user", "content": f"question {n}"},), **more) for n in range(count)]


def opened(url: str, **more: Any) -> Any:
    fields = {"url": url, "model": "m", "allow_private": True, "timeout": 20, "tries": 2, **more}
    return open_model(ModelSpec(endpoint=EndpointSpec(**fields)), "judge", root=Path())


def one(body: bytes, **more: Any) -> Reply | Failure:
    """What a model makes of a server that always sends `body`."""
    with ChatServer(sends(body)) as server:
        (answer,) = opened(server.url).generate(questions(1, **more))
    return answer


@pytest.mark.parametrize(
    ("reason", "finished"),
    [("stop", True), ("eos", True), ("eos_token", True), ("end_turn", True), ("STOP", True),
     ("stop_sequence", True), ("length", False), ("MAX_TOKENS", False), ("model_length", False),
     (None, True)],
)  # fmt: skip
def test_finish_reasons_of_other_servers(reason: str | None, finished: bool) -> None:
    """Only a reason that says so means that the answer was cut; where there is none, its length
    tells.
    """
    answer = one(completion("one two", finish_reason=reason))
    assert isinstance(answer, Reply)
    assert answer.finished is finished
    cut = one(completion("one two", finish_reason=None), max_tokens=2)
    assert isinstance(cut, Reply)
    assert not cut.finished


def without_usage(text: str) -> bytes:
    body = json.loads(completion(text))
    del body["usage"]
    return json.dumps(body).encode()


def message(**fields: Any) -> bytes:
    """A completion whose message has these fields."""
    return completion("", message={"role": "assistant", **fields})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "sent a web page, not JSON: is its address"),
        (b'{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}', "is empty"),
        (completion("x", finish_reason="content_filter"), FILTER),
        (completion("x", finish_reason="SAFETY"), FILTER),
        (completion("x", finish_reason="error"), "broke its answer off"),
        (message(content=None, tool_calls=[{"id": "1"}]), "called a tool instead of answering"),
        (message(content=None), "no answer after its thoughts: give it more tokens"),
        (message(content=None, refusal="I will not."), "the model refused to answer: I will not."),
        (completion("<think>hm, well", finish_reason="length"), "give it more tokens"),
    ],
)  # fmt: skip
def test_no_answer_says_what_to_do(body: bytes, said: str) -> None:
    """What is no answer is a failure of one line with a way out."""
    answer = one(body)
    assert isinstance(answer, Failure)
    assert said in answer.reason
    assert "\n" not in answer.reason


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (completion("let me see</think>\n4"), "\n4"),
        (completion("<think>let me see</think>4"), "4"),
        (without_usage("fine"), "fine"),
        (message(content=[{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]), "a b"),
    ],
)  # fmt: skip
def test_answers_in_other_forms(body: bytes, text: str) -> None:
    """Thoughts are no answer, with or without their opening; parts are joined; tokens are counted
    by us if need be.
    """
    answer = one(body)
    assert isinstance(answer, Reply)
    assert answer.text == text
    assert answer.completion_tokens >= 1
    assert answer.prompt_tokens >= 1


def test_probabilities_begin_after_the_thoughts() -> None:
    """Places of thought tokens are left out, so that the first place is that of the answer."""
    places = [
        {"token": token, "logprob": -0.5, "top_logprobs": [{"token": "?", "logprob": -1.0}]}
        for token in ("so", "</think>", "4")
    ]
    answer = one(completion("so</think>4", logprobs={"content": places}), alternatives=1)
    assert isinstance(answer, Reply)
    assert [dict(place) for place in answer.alternatives] == [{"4": -0.5, "?": -1.0}]


def test_an_error_of_status_200_is_tried_again() -> None:
    """A server that reports its trouble as a success is asked again; at last its own words are
    told.
    """

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        bad = json.dumps({"error": {"message": "upstream overloaded", "code": 502}}).encode()
        send(writer, completion("fine") if asked.number == 2 else bad)

    with ChatServer(behave) as server:
        first, second = (opened(server.url).generate(questions(1))[0] for _ in range(2))
        assert len(server.asked) == 4
    assert isinstance(first, Reply)
    assert second == Failure("the endpoint answered 200: upstream overloaded")


def picky(refused: dict[str, str]) -> Callable[..., Any]:
    """A server that takes none of the parameters `refused`."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for name, text in refused.items():
            if name in asked.body:
                body = {"error": {"message": text, "param": name, "code": "unsupported_parameter"}}
                return send(writer, json.dumps(body).encode(), 400)
        send(writer, completion("fine"))

    return behave


def test_parameters_that_a_server_does_not_take(caplog: pytest.LogCaptureFixture) -> None:
    """They are left out, or named otherwise, in one more try; that is told once, and remembered for
    later requests.
    """
    refused = {
        "max_tokens": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        "temperature": "'temperature' does not support 0.0 with this model.",
        "seed": "Unknown parameter: seed",
    }
    with ChatServer(picky(refused)) as server, caplog.at_level(logging.WARNING):
        model = opened(server.url, concurrency=1)
        answers = model.generate(questions(3, max_tokens=9))
        assert all(isinstance(answer, Reply) for answer in answers)
        assert len(server.asked) == 3 + 3
        assert server.asked[-1].body["max_completion_tokens"] == 9
        assert not refused.keys() & server.asked[-1].body.keys()
    told = [record.getMessage() for record in caplog.records if "takes no" in record.getMessage()]
    assert len(told) == 3
    with ChatServer(picky(refused)) as server:
        answers = opened(server.url, concurrency=8).generate(questions(30))
    assert all(isinstance(answer, Reply) for answer in answers)


def test_a_response_format_is_passed_on() -> None:
    """The JSON schema of a request reaches the server as it is."""
    form = {"type": "json_schema", "json_schema": {"name": "score", "schema": {"type": "object"}}}
    with ChatServer(says(lambda _: "{}")) as server:
        opened(server.url).generate(questions(1, response_format=form))
    assert server.asked[0].body["response_format"] == form


def test_too_long_for_the_context() -> None:
    """A request over the context says so, whatever words the server has for it."""
    for text in (
        "This model's maximum context length is 8192 tokens.",
        "prompt is too long: 9000 tokens",
        "the request exceeds the available context size",
    ):
        with ChatServer(sends(json.dumps({"error": {"message": text}}).encode(), 400)) as server:
            (answer,) = opened(server.url).generate(questions(1))
        assert isinstance(answer, Failure)
        assert answer.too_long
        assert "longer than the model's context" in answer.reason


def test_only_what_is_needed_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment of OpenAI's client goes to another server: no organisation, no
    machine, no key.
    """
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "mine-alone-0123456789")
    with ChatServer(says(lambda _: "yes")) as server:
        opened(server.url).generate(questions(1))
    assert "authorization" not in server.asked[0].headers
    assert "mine-alone" not in str(server.asked[0].headers)
    assert not [name for name in server.asked[0].headers if name.startswith("x-stainless")]


def test_azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment on Azure is called at its own path, with its version and its own header for the
    key.
    """
    monkeypatch.setenv("AZURE_KEY", "azure-key-0123456789")
    with ChatServer(says(lambda _: "yes")) as server:
        settings = {
            "url": server.url.removesuffix("/v1"), "model": "gpt", "api_version": "2024-10-21",
            "key_env": "AZURE_KEY", "allow_private": True, "price": {"input": 1.0, "output": 2.0},
        }  # fmt: skip
        spec = ModelSpec.model_validate({"azure": settings})
        (reply,) = open_model(spec, "a", root=tmp_path).generate(questions(1))
    assert isinstance(reply, Reply)
    asked = server.asked[0]
    assert asked.path == "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    assert asked.headers["api-key"] == "azure-key-0123456789"
    assert price_of(spec) == PriceParams(input=1.0, output=2.0)


class Proxy:
    """An egress proxy: CONNECT to any name ends at `port` of this machine; `asked` is what came
    in.
    """

    def __init__(self, port: int, status: int = 200) -> None:
        self._port, self._status, self.asked = port, status, list[str]()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head)
        writer.write(f"HTTP/1.1 {self._status} X\r\n\r\n".encode())
        if self._status != 200:
            return writer.close()
        other_reader, other = await asyncio.open_connection("127.0.0.1", self._port)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(pump(reader, other), pump(other_reader, writer))


class ProxyServer(ChatServer):
    """`Proxy` in a thread of its own."""

    def __init__(self, proxy: Proxy) -> None:
        super().__init__(says(lambda _: ""))
        self._proxy = proxy

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._proxy, "127.0.0.1", 0)


def test_an_egress_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through HTTPS_PROXY a name is reached that has no address here; TLS goes end to end, so the
    proxy sees no key.
    """
    monkeypatch.setenv("JUDGE_KEY", "sk-0123456789abcdefghij")
    monkeypatch.setenv("NO_PROXY", "")
    trusted, context = certificate(tmp_path, "judge.invalid")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with ChatServer(says(lambda _: "safe"), tls=context) as server:
        proxy = Proxy(server.port)
        with ProxyServer(proxy) as running:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{running.port}")
            model = opened("https://judge.invalid/v1", key_env="JUDGE_KEY", allow_private=False)
            answers = model.generate(questions(5))
            assert all(isinstance(answer, Reply) for answer in answers), answers
            assert proxy.asked[0].startswith("CONNECT judge.invalid:443 ")
            assert "sk-0123" not in "".join(proxy.asked)
            assert server.asked[0].headers["authorization"] == "Bearer sk-0123456789abcdefghij"
            monkeypatch.setenv("NO_PROXY", "judge.invalid")
            (answer,) = model.generate(questions(1))
            assert answer == Failure("the name judge.invalid has no address")
        proxy = Proxy(server.port, status=407)
        with ProxyServer(proxy) as running:
            monkeypatch.setenv("NO_PROXY", "")
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{running.port}")
            (answer,) = model.generate(questions(1))
    assert isinstance(answer, Failure)
    assert "the proxy that HTTPS_PROXY names refused it" in answer.reason
    assert "word" not in answer.reason


def test_a_proxy_is_no_way_around_the_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the name has an address here that is not allowed, nothing is sent to the proxy."""
    proxy = Proxy(1)
    with ProxyServer(proxy) as running:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{running.port}")
        monkeypatch.setenv("NO_PROXY", "")
        for host in ("localhost", "10.0.0.1", "169.254.169.254"):
            with pytest.raises(ConfigError, match="not a public address"):
                opened(f"https://{host}/v1", allow_private=False).generate(questions(1))
    assert not proxy.asked


class FakeLiteLLM(SimpleNamespace):
    """LiteLLM's documented `acompletion`: OpenAI's fields in, OpenAI's answer or exception out."""

    def __init__(self, body: bytes, error: Exception | None = None) -> None:
        super().__init__(asked=[], body=body, error=error)

    async def acompletion(self, **fields: Any) -> Any:
        self.asked.append(fields)
        if self.error is not None:
            raise self.error
        return SimpleNamespace(model_dump_json=lambda: self.body.decode())


def through_litellm(monkeypatch: pytest.MonkeyPatch, fake: FakeLiteLLM, **more: Any) -> Any:
    monkeypatch.setitem(sys.modules, "litellm", fake)
    monkeypatch.setenv("VENDOR_KEY", "vk-0123456789abcdefghij")
    settings = {"model": "anthropic/claude", "key_env": "VENDOR_KEY", "tries": 3, **more}
    return open_model(ModelSpec.model_validate({"litellm": settings}), "other", root=Path())


def test_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other vendors answer through LiteLLM: its name, its tries, our budget and our reading."""
    fake = FakeLiteLLM(completion("hm</think>fine"))
    model = through_litellm(monkeypatch, fake)
    (reply,) = model.generate(questions(1, max_tokens=5, seed=3))
    assert isinstance(reply, Reply)
    assert reply.text == "fine"
    asked = fake.asked[0]
    assert (asked["model"], asked["max_tokens"], asked["seed"]) == ("anthropic/claude", 5, 3)
    assert (asked["api_key"], asked["num_retries"]) == ("vk-0123456789abcdefghij", 2)
    assert "vk-" not in model.identity
    with pytest.raises(BudgetError, match="token budget"):
        model.generate(questions(1), budget=Budget(tokens=5))
    assert len(fake.asked) == 1


def test_refusals_through_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exceptions, which are kinds of OpenAI's, become failures without the key."""
    request = httpx2.Request("POST", "https://vendor.example")
    response = httpx2.Response(401, request=request)
    text = "wrong key vk-0123456789abcdefghij"
    fake = FakeLiteLLM(b"", openai.AuthenticationError(text, response=response, body=None))
    (answer,) = through_litellm(monkeypatch, fake).generate(questions(1))
    assert isinstance(answer, Failure)
    assert "401: the API key was refused" in answer.reason
    assert "vk-0" not in answer.reason


def test_litellm_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without LiteLLM the error is the line that installs it."""
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(MissingExtraError) as caught:
        open_model(ModelSpec.model_validate({"litellm": {"model": "a/b"}}), "x", root=Path())
    assert caught.value.hint == "pip install 'sluicegate[litellm]'"
