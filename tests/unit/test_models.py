"""Models by their entries: nothing is asked twice, a kill loses nothing, and a key is found
nowhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import Asked, ChatServer, completion, says, send
from sluicegate.budget import Budget
from sluicegate.config import EndpointSpec, ModelSpec
from sluicegate.errors import ConfigError, EnvironmentFailure, SluiceError
from sluicegate.generating import Failure, Reply, Request, all_replies, request_of
from sluicegate.models import MODELS, Entry, open_model, price_of, resolve_base
from sluicegate.models.cache import FILE
from sluicegate.models.scripted import ScriptedModel
from sluicegate.records import GenerationSettings
from soak_scale import scaled


def questions(count: int, **more: Any) -> list[Request]:
    return [Request(({"role": "user", "content": f"question {n}"},), **more) for n in range(count)]


def model(url: str, **more: Any) -> ModelSpec:
    fields = {
        "url": url,
        "model": "judge",
        "allow_private": True,
        "timeout": 20,
        "tries": 1,
        **more,
    }
    return ModelSpec(endpoint=EndpointSpec(**fields))


def ask(url: str, folder: Path, asked: list[Request], **more: Any) -> list[Reply | Failure]:
    return open_model(model(url, **more), "judge", root=folder, cache=folder / "cache").generate(
        asked
    )


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    """Equal questions are asked once, in one call and in later ones; the copies say that they cost
    nothing.
    """
    place = {"token": "5", "logprob": -0.25, "top_logprobs": [{"token": "5", "logprob": -0.25}]}

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        send(
            writer,
            completion("5 ö 🙂\n\x00", finish_reason="length", logprobs={"content": [place]}),
        )

    with ChatServer(behave) as server:
        first = ask(server.url, tmp_path, [*questions(3), *questions(2)])
        again = ask(server.url, tmp_path, questions(5))
        assert len(server.asked) == 5
    assert [answer.cached for answer in first if isinstance(answer, Reply)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert [answer.cached for answer in again if isinstance(answer, Reply)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    kept, fresh = again[0], again[4]
    assert isinstance(kept, Reply)
    assert isinstance(fresh, Reply)
    assert (kept.text, kept.finished, kept.alternatives) == ("5 ö 🙂\n\x00", False, ({"5": -0.25},))
    assert (kept.text, kept.alternatives) == (fresh.text, fresh.alternatives)


def test_every_part_of_a_question_counts(tmp_path: Path) -> None:
    """Another setting, message, model or address is another question."""
    base = Request(({"role": "user", "content": "q"},))
    variants = [
        base,
        Request(({"role": "system", "content": "q"},)),
        Request(({"role": "user", "content": "q"}, {"role": "user", "content": ""})),
        Request(base.messages, max_tokens=1),
        Request(base.messages, temperature=1.0),
        Request(base.messages, seed=1),
        Request(base.messages, alternatives=1),
    ]
    with ChatServer(says(lambda _: "x")) as server:
        ask(server.url, tmp_path, variants)
        assert len(server.asked) == len(variants)
        ask(server.url, tmp_path, variants, model="other")
        assert len(server.asked) == 2 * len(variants)
        one, two = (
            open_model(model(url), "j", root=tmp_path, cache=tmp_path)
            for url in (server.url, server.url + "/")
        )
        assert one.identity == two.identity


def test_failures_are_not_kept(tmp_path: Path) -> None:
    """What failed is asked again the next time, and only that."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        broken = asked.text == "question 2" and asked.number < 6
        send(writer, b"?" if broken else completion("good"))

    with ChatServer(behave) as server:
        first = ask(server.url, tmp_path, questions(5))
        second = ask(server.url, tmp_path, questions(5))
        assert len(server.asked) == 6
    assert [isinstance(answer, Failure) for answer in first] == [False, False, True, False, False]
    assert all(isinstance(answer, Reply) for answer in second)


def test_every_answer_is_told_once(tmp_path: Path) -> None:
    """`took` is told of each request once, cached and repeated ones among them; no request, no
    answer.
    """
    seen: list[int] = []
    with ChatServer(says(lambda _: "x")) as server:
        client = open_model(model(server.url), "j", root=tmp_path, cache=tmp_path)
        client.generate(questions(4))
        client.generate([*questions(6), *questions(6)], took=lambda place, _: seen.append(place))
        assert client.generate([]) == []
    assert sorted(seen) == list(range(12))


def test_a_changed_cache_is_not_believed(tmp_path: Path) -> None:
    """A row whose bytes are not those written is asked for again; a file that is no database is an
    error with a hint.
    """
    with ChatServer(says(lambda asked: str(asked.number))) as server:
        ask(server.url, tmp_path, questions(2))
        with sqlite3.connect(tmp_path / "cache" / FILE) as database:
            database.execute(
                'UPDATE replies SET value = replace(value, \'"text":"1"\', \'"text":"9"\')'
            )
        texts = [
            answer.text
            for answer in ask(server.url, tmp_path, questions(2))
            if isinstance(answer, Reply)
        ]
        assert "9" not in texts
        assert len(server.asked) == 3
        (tmp_path / "cache" / FILE).write_bytes(b"not a database" * 1000)
        for suffix in ("-wal", "-shm"):
            (tmp_path / "cache" / f"{FILE}{suffix}").unlink(missing_ok=True)
        with pytest.raises(EnvironmentFailure, match="not a database") as caught:
            ask(server.url, tmp_path, questions(2))
        assert caught.value.hint


ASKING = """
import sys
from pathlib import Path
from sluicegate.models import open_model
from sluicegate.config import EndpointSpec, ModelSpec
from sluicegate.generating import Request, Reply
fields = {"url": sys.argv[1], "model": "m", "allow_private": True, "concurrency": 4}
spec = ModelSpec(endpoint=EndpointSpec(**fields))
asked = [Request(({"role": "user", "content": f"question {n}"},)) for n in range(int(sys.argv[3]))]
print("ready", flush=True)
answers = open_model(spec, "m", root=Path(), cache=Path(sys.argv[2])).generate(asked)
assert [a.text for a in answers] == [q.messages[0]["content"] for q in asked], answers
print(sum(not a.cached for a in answers))
"""


def test_a_kill_pays_for_nothing_twice(tmp_path: Path) -> None:
    """Killed at any moment and run again, only questions that were in the air are asked a second
    time.
    """
    chance = random.Random(4)
    count, kills, killed = 120, scaled(2, 60), 0
    for trial in range(kills):
        cache = tmp_path / str(trial)
        with ChatServer(says(lambda asked: asked.text, 0.02)) as server:
            command = [sys.executable, "-c", ASKING, server.url, str(cache), str(count)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as running:
                assert running.stdout is not None
                assert running.stdout.readline() == b"ready\n"
                wanted, patience = chance.randint(1, count - 5), time.monotonic() + 60
                while len(server.asked) < wanted and time.monotonic() < patience:
                    time.sleep(0.001)
                running.send_signal(signal.SIGKILL)
            time.sleep(0.1)
            before = [asked.text for asked in server.asked]
            killed += len(before) < count
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            after = [asked.text for asked in server.asked[len(before) :]]
            assert int(done.stdout.split()[-1]) == len(after)
            assert len(set(before) & set(after)) <= 4
            assert len(set(before) | set(after)) == count
    print(f"{kills} kills, {killed} of them before the last question")
    assert killed


def hostile(key: str) -> Any:
    """Answers that repeat what the request's headers said, each time in another way."""

    async def behave(asked: Asked, writer: asyncio.StreamWriter) -> None:
        told = asked.headers.get("authorization", "")
        assert told == f"Bearer {key}"
        error = json.dumps(
            {"error": {"message": f"Incorrect API key {key}; masked: {key[:9]}***{key[-4:]}"}}
        ).encode()
        place = {"token": told, "logprob": -0.5}
        ways = [
            lambda: send(writer, completion(f"you said {told}")),
            lambda: send(writer, completion("fine"), X_Echo=told),
            lambda: send(writer, error, 401, X_Echo=told),
            lambda: send(writer, error, 500),
            lambda: send(writer, error, 429, Retry_After=key),
            lambda: send(writer, b"", 302, Location=f"http://127.0.0.1:1/{key}"),
            lambda: send(writer, f"<html>{told}</html>".encode()),
            lambda: send(writer, completion("fine", finish_reason=told)),
            lambda: send(writer, completion("fine", logprobs={"content": [place]})),
            lambda: send(writer, completion("\\u0020".join(key))),
            lambda: writer.write(f"HTTP/1.1 200 {told}\r\n{told}\r\n\r\n".encode()),
            lambda: (
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{told}".encode()),
                writer.close(),
            ),
        ]
        ways[(asked.number - 1) % len(ways)]()

    return behave


def test_canary_keys_are_found_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 20 planted keys none is in a cache, an answer, an error with its chain and local
    variables, or a debug log.
    """
    caplog.set_level(logging.DEBUG, logger="")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    chance = random.Random(0)
    keys = [
        "sk-" + "".join(chance.choices("abcdefghijkmnpqrstuvwxyz23456789", k=40)) for _ in range(20)
    ]
    written = []
    for number, key in enumerate(keys):
        monkeypatch.setenv("CANARY_KEY", key)
        with ChatServer(hostile(key)) as server:
            spec = model(server.url, key_env="CANARY_KEY", tries=2, concurrency=2)
            client = open_model(spec, "j", root=tmp_path, cache=tmp_path / f"cache{number}")
            answers = client.generate(questions(12))
            written += [
                *map(repr, answers),
                repr(pickle.dumps(answers)),
                repr(vars(client)),
                client.identity,
            ]
            written += [
                repr(vars(value)) for value in vars(client).values() if hasattr(value, "__dict__")
            ]
            errors: list[SluiceError] = []
            for budget in (Budget(tokens=200), Budget(seconds=1e-3)):
                with pytest.raises(SluiceError) as caught:
                    open_model(spec, "j", root=tmp_path).generate(questions(50), budget=budget)
                errors.append(caught.value)
            with pytest.raises(SluiceError) as caught:
                all_replies(open_model(spec, "j", root=tmp_path).generate(questions(12)), "j")
            errors.append(caught.value)
        monkeypatch.setenv("CANARY_KEY", f"{key} {key}")
        with pytest.raises(ConfigError) as refused:
            open_model(spec, "j", root=tmp_path, cache=tmp_path)
        for place, error in enumerate((*errors, refused.value)):
            assert error.__traceback__ is not None
            error.__traceback__ = (
                error.__traceback__.tb_next
            )  # the frame of this test holds the keys
            ours = traceback.TracebackException.from_exception(error, capture_locals=True)
            (tmp_path / f"error{number}-{place}").write_text("".join(ours.format()))
        assert any(isinstance(answer, Reply) for answer in answers)
        assert sum(isinstance(answer, Failure) for answer in answers) > 5
    for name in ("httpcore2.connection", "httpcore2.http11", "httpx2"):
        logging.getLogger(name).debug("somebody else's request")
    (tmp_path / "answers").write_text("\n".join(written))
    (tmp_path / "log").write_text(
        "\n".join(record.getMessage() + str(record.args) for record in caplog.records)
    )
    assert "somebody else's request" in (tmp_path / "log").read_text()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 20 + 4 * 20 + 2
    for path in files:
        content = path.read_bytes()
        found = [key for key in keys if key.encode() in content or key[3:12].encode() in content]
        assert not found, (path.name, found)


def test_settings_of_a_release_reach_the_server(tmp_path: Path) -> None:
    """A hosted model answers in order with the settings of a release; what it does not have is
    refused.
    """
    settings = GenerationSettings(
        max_new_tokens=7, temperature=0.5, top_p=0.9, seed=3, stop=("##",)
    )
    asked = [request_of([{"role": "user", "content": f"say {n}"}], settings) for n in range(5)]
    with ChatServer(says(lambda asked: f"{asked.text}!")) as server:
        client = open_model(model(server.url), "m", root=tmp_path, cache=tmp_path)
        answers = all_replies(client.generate(asked), "m")
        assert [answer.text for answer in answers] == [f"say {n}!" for n in range(5)]
        body = server.asked[0].body
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (7, 0.5, 0.9)
        assert (body["seed"], body["stop"]) == (3, ["##"])
        client.generate(asked)
        assert len(server.asked) == 5
        client.generate([replace(one, top_p=1.0) for one in asked])
        assert len(server.asked) == 10
        assert client.context == 2048
        assert client.count_tokens([{"role": "user", "content": "say 1"}]) >= 20
        with pytest.raises(ConfigError, match="repetition_penalty"):
            client.generate([replace(asked[0], repetition_penalty=1.1)])


def test_hosted_models_and_weights_are_not_mixed_up(tmp_path: Path) -> None:
    """No adapter on a hosted model, no release built on one, no unknown kind: clear refusals."""
    spec = model("http://127.0.0.1:1/v1")
    with pytest.raises(ConfigError, match="takes no adapter"):
        open_model(spec, "j", root=tmp_path, adapter=tmp_path)
    with pytest.raises(ConfigError, match="has no weights here"):
        resolve_base(spec, "j", tmp_path)
    with pytest.raises(ConfigError, match="no kind 'azzure'") as caught:
        open_model(ModelSpec.model_validate({"azzure": {}}), "j", root=tmp_path)
    assert "azure" in caught.value.hint
    spec = ModelSpec.model_validate({"azure": {"url": "https://x.example", "model": "m"}})
    with pytest.raises(ConfigError, match="azure: api_version"):
        open_model(spec, "j", root=tmp_path)
    for wrong in ({}, {"path": "a", "hub": "b"}, {"path": "a", "licens": "MIT"}):
        with pytest.raises(ValueError, match="exactly one of"):
            ModelSpec.model_validate(wrong)


def open_shouting(entry: Entry) -> ScriptedModel:
    """A kind of a team's own."""
    return ScriptedModel(lambda request: str(entry.settings) + request.messages[0]["content"])


def test_a_kind_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row in the table, or `module:function`, is all that a new kind of model needs."""
    for kind in ("shout", f"{__name__}:open_shouting"):
        monkeypatch.setitem(MODELS, "shout", f"{__name__}:open_shouting")
        spec = ModelSpec.model_validate({kind: "!", "licence": "MIT"})
        (reply,) = open_model(spec, "s", root=tmp_path).generate(questions(1))
        assert isinstance(reply, Reply)
        assert reply.text == "!question 0"
        assert (spec.weights, price_of(spec), spec.licence) == (False, None, "MIT")


def test_the_scripted_model() -> None:
    """The fake that ships answers by function: text, whole replies or failures, and remembers what
    it was asked.
    """
    replies: dict[str, str | Reply | Failure] = {
        "question 0": "fine",
        "question 1": Reply("x", 1, 1, 0.0, alternatives=({"x": -0.1},)),
        "question 2": Failure("down"),
    }
    client = ScriptedModel(lambda question: replies[question.messages[-1]["content"]])
    seen: list[int] = []
    answers = client.generate(questions(3), took=lambda place, _: seen.append(place))
    assert isinstance(answers[0], Reply)
    assert answers[0].text == "fine"
    assert answers[1:] == [replies["question 1"], replies["question 2"]]
    assert (seen, client.asked) == ([0, 1, 2], questions(3))
    assert client.identity != ScriptedModel(str, name="other").identity


def test_opening_a_hosted_model_is_light() -> None:
    """Judging by a hosted model, and evaluating, load no torch until weights are asked."""
    code = (
        "import sys; from pathlib import Path; from sluicegate.models import open_model\n"
        "import sluicegate.line.judge.clients, sluicegate.engines, sluicegate.evaluation.answers\n"
        "from sluicegate.config import EndpointSpec, ModelSpec\n"
        "spec = ModelSpec(endpoint=EndpointSpec(url='https://x.example/v1', model='m'))\n"
        "open_model(spec, 'm', root=Path(), cache=Path())\n"
        "print({'torch', 'transformers', 'mlflow', 'peft'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "set()"
