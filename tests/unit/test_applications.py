"""Code that answers: every question of it is counted, kept and asked once; no row is dropped."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.chat_server import Asked, ChatServer, says, send

from sluicegate.applications import Application, open_application
from sluicegate.applications.calls import MOST_CALLS, Role
from sluicegate.applications.running import Answered, Row, answer_rows
from sluicegate.applications.storing import publish_application, stored_application
from sluicegate.budget import Budget
from sluicegate.config import EndpointSpec, ModelSpec
from sluicegate.errors import BudgetError, ConfigError, IntegrityError, SluiceError
from sluicegate.models import open_model
from sluicegate.models.scripted import ScriptedModel
from sluicegate.prompts import Prompt
from sluicegate.records import GenerationSettings

CLASSIFY = Prompt("classify", "", "Classify: {{ text }}", ("text",), "", "")
EXTRACT = Prompt("extract", "Be exact.", "Extract: {{ text }}", ("text",), "", "")
CHAIN = """
    from app.parts import clean

    def answer(inputs, app):
        label = app.model().ask(app.prompt("classify").render(text=inputs["text"])).text
        found = app.model().ask(app.prompt("extract").render(text=inputs["text"]), max_tokens=20)
        return {"label": clean(label), "found": found.text}
"""
ROWS = [Row(f"row-{number}", {"text": f"ticket {number}"}) for number in range(6)]


def project(root: Path, code: str, **more: Any) -> Application:
    """An application of the file app/triage.py and its neighbour, on one model."""
    (root / "app").mkdir(exist_ok=True)
    (root / "app" / "triage.py").write_text(textwrap.dedent(code))
    (root / "app" / "parts.py").write_text("def clean(text):\n    return text.strip().lower()\n")
    given = {"prompts": {"classify": CLASSIFY, "extract": EXTRACT}, "models": {"main": "fake"}}
    return open_application("app.triage:answer", root, **{**given, **more})


def endpoint(url: str, **more: Any) -> Role:
    """The model behind a server on this machine."""
    spec = EndpointSpec(url=url, model="fake", allow_private=True, tries=1, **more)
    return Role("fake", open_model(ModelSpec(endpoint=spec), "fake", root=Path()), (1.0, 2.0))


def run(
    application: Application, role: Role, cache: Path, rows: list[Row] = ROWS, **more: Any
) -> list[Answered]:
    """All rows."""
    roles = {"main": role}
    return answer_rows(application, rows, roles, GenerationSettings(), cache=cache, **more)


def echoing(asked: Asked) -> str:
    return f" {asked.text.upper()} "


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_chain_of_two_calls(tmp_path: Path, kind: str) -> None:
    """Tokens, money and seconds of all calls of a row are the row's; calls keep what was asked."""
    code = CHAIN
    if kind == "async":
        code = code.replace("def answer", "async def answer")
        code = re.sub(r"app.model\(\).ask(\(.*\))", r"(await app.model().ask_async\1)", code)
        assert "await" in code
    budget = Budget()
    with ChatServer(says(echoing, 0.02)) as server:
        application = project(tmp_path, code)
        answered = run(application, endpoint(server.url), tmp_path / "cache", budget=budget)
        assert len(server.asked) == 12
        assert server.most_at_once > 1
        assert {one.body["max_tokens"] for one in server.asked} == {96, 20}
    first = answered[0].generation
    assert json.loads(first.text) == {
        "label": "classify: ticket 0",
        "found": " EXTRACT: TICKET 0 ",
    }
    assert (first.prompt_tokens, first.completion_tokens) == (40, 6)
    assert first.failure == ""
    assert first.finished
    assert 0.04 <= first.seconds < 20
    assert [call.prompt for call in answered[0].calls] == ["classify", "extract"]
    assert answered[0].calls[1].messages[0] == {"role": "system", "content": "Be exact."}
    assert sum(call.cost for call in answered[0].calls) == pytest.approx(52e-6)
    assert (budget.spent.made, budget.spent.prompt_tokens) == (12, 240)


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    """Nothing changed: no call and no process. One prompt of two: only its calls."""
    with ChatServer(says(echoing)) as server:
        application, role = project(tmp_path, CHAIN), endpoint(server.url)
        first = run(application, role, tmp_path / "cache")
        assert run(application, role, tmp_path / "cache") == first
        assert len(server.asked) == 12
        other = Prompt("extract", "", "Now extract: {{ text }}", ("text",), "", "")
        changed = project(tmp_path, CHAIN, prompts={"classify": CLASSIFY, "extract": other})
        second = run(changed, role, tmp_path / "cache")
        assert [one.text for one in server.asked[12:]] == pytest.approx(
            [one.text for one in server.asked[12:] if one.text.startswith("Now extract")]
        )
        assert len(server.asked) == 18
    assert changed.digest != application.digest
    assert second[0].calls[0] == first[0].calls[0]


def test_repeats_are_calls_of_their_own(tmp_path: Path) -> None:
    """Each repeat of a row asks anew, also what another row has asked, and is told the same again."""
    rows = [Row("a", {"text": "same"}), Row("b", {"text": "same"}), Row("a", {"text": "same"}, 1)]
    with ChatServer(says(lambda asked: str(asked.number))) as server:
        application, role = project(tmp_path, CHAIN), endpoint(server.url)
        texts = [one.generation.text for one in run(application, role, tmp_path / "c", rows)]
        assert len(set(texts)) == 3
        changed = project(tmp_path, CHAIN + "\n    # another file, the same questions\n")
        again = [one.generation.text for one in run(changed, role, tmp_path / "c", rows)]
        assert (len(server.asked), again) == (6, texts)


FAILING: Mapping[str, tuple[str, str]] = {
    "raises": ("raise KeyError('label')", "app/triage.py:6: KeyError: 'label'"),
    "none": ("return None", "it returned None"),
    "wrong type": ("return {1, 2}", "it returned a set"),
    "not finite": ("return {'score': float('nan')}", "no JSON"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "ends its process": ("import os; os._exit(0)", "it ended the process that it runs in"),
    "hangs": ("import time; time.sleep(60)", "it took longer than 2 s (release.row_seconds)"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "it ended the process that it runs in"),
    "unknown prompt": ("app.prompt('clasify')", "did you mean classify?"),
    "unknown model": ("app.model('mian')", "did you mean main?"),
    "unknown override": ("app.model().ask([], max_token=3)", "did you mean max_tokens?"),
    "missing variable": ("app.prompt('classify').render()", "the data has no text"),
    "no messages": ("app.model().ask('hello')", "ask() takes chat messages"),
    "not installed": ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    "unlisted data": ("app.data('index.jsonl')", "has no data file 'index.jsonl'"),
}
ONE_FAILS = """
    def answer(inputs, app):
        reply = app.model().ask(app.prompt("classify").render(text=inputs["text"])).text
        print("noise", flush=True)
        if inputs["text"] == "ticket 2":
            {code}
        return reply
"""


@pytest.mark.parametrize("name", FAILING)
def test_a_failing_row(tmp_path: Path, name: str) -> None:
    """Only the row that fails has failed, with one line that says why; its neighbours answer."""
    code, reason = FAILING[name]
    with ChatServer(says(echoing)) as server:
        application = project(tmp_path, ONE_FAILS.format(code=code), row_seconds=2)
        answered = run(application, endpoint(server.url), tmp_path / "cache")
        assert len(server.asked) == 6, "a lost process costs no call a second time"
    failures = [one.generation.failure for one in answered]
    assert reason in failures[2]
    assert "\n" not in failures[2]
    assert [bool(failure) for failure in failures] == [False, False, True, False, False, False]
    assert answered[3].generation.text == " CLASSIFY: TICKET 3 "


def test_a_row_that_forks(tmp_path: Path) -> None:
    """What a child process of the application returns is no answer."""
    code = "import os\ndef answer(inputs, app):\n    return ['parent', 'child'][os.fork() == 0]\n"
    role = Role("fake", ScriptedModel(lambda request: "unused"))
    answered = run(project(tmp_path, code), role, tmp_path / "cache")
    assert [one.generation.text for one in answered] == ["parent"] * 6


def test_waiting_for_a_model_is_not_the_row_s_time(tmp_path: Path) -> None:
    """A slow model, or its rate limit, makes no row take too long."""
    with ChatServer(says(echoing, 1.5)) as server:
        application = project(tmp_path, CHAIN, row_seconds=2)
        answered = run(application, endpoint(server.url), tmp_path / "cache", ROWS[:2])
    assert [one.generation.failure for one in answered] == ["", ""]
    assert answered[0].generation.seconds >= 3


@pytest.mark.parametrize("code", ["raise ValueError('always')", "import os; os._exit(1)"])
def test_all_rows_fail(tmp_path: Path, code: str) -> None:
    """Where no row has an answer there is nothing to judge: an error, long before the last row."""
    application = project(tmp_path, f"def answer(inputs, app):\n    {code}\n")
    rows = [Row(str(number), {}) for number in range(300)]
    calls: list[int] = []
    role = Role("fake", ScriptedModel(lambda request: "unused"))
    with pytest.raises(ConfigError, match=r"the application failed on each of \d+ rows"):
        run(application, role, tmp_path / "c", rows, progress=lambda done, _: calls.append(done))
    assert max(calls) < 100


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_this_name\ndef answer(inputs, app): ...", "nothing_of_this_name"),
        ("raise RuntimeError('at once')\ndef answer(inputs, app): ...", "app/triage.py:1"),
        ("import os\nos._exit(0)\ndef answer(inputs, app): ...", "cannot be started"),
        ("answer = print", "failed on each of"),
    ],
)
def test_an_application_that_cannot_be_imported(tmp_path: Path, code: str, said: str) -> None:
    """It is said before any row runs, with the place."""
    role = Role("fake", ScriptedModel(lambda request: "unused"))
    with pytest.raises(ConfigError, match=said):
        run(project(tmp_path, code), role, tmp_path / "cache")


def test_a_model_without_an_answer(tmp_path: Path) -> None:
    """A server's failure is not the candidate's, also where the application hides it."""

    async def behave(asked: Asked, writer: Any) -> None:
        send(writer, b'{"error": {"message": "down"}}', 503)

    code = """
        def answer(inputs, app):
            try:
                return app.model().ask(app.prompt("classify").render(text="x")).text
            except Exception:
                return "sorry"
    """
    with ChatServer(behave) as server, pytest.raises(SluiceError, match="got no answer") as told:
        run(project(tmp_path, code), endpoint(server.url), tmp_path / "cache")
    assert not isinstance(told.value, ConfigError)


def test_a_budget_that_is_spent(tmp_path: Path) -> None:
    """The run stops; what was answered is not asked again."""
    with ChatServer(says(echoing)) as server:
        application, role = project(tmp_path, CHAIN), endpoint(server.url, concurrency=1)
        with pytest.raises(BudgetError):
            run(application, role, tmp_path / "cache", budget=Budget(tokens=400))
        asked = len(server.asked)
        assert 0 < asked < 12
        run(application, role, tmp_path / "cache")
        assert len(server.asked) == 12


def test_an_agent_that_never_ends(tmp_path: Path) -> None:
    """A row asks so often and no oftener."""
    code = """
        def answer(inputs, app):
            while inputs["text"] == "ticket 1":
                app.model().ask([{"role": "user", "content": "again"}])
            return "good"
    """
    model = ScriptedModel(lambda request: "go on")
    answered = run(project(tmp_path, code), Role("fake", model), tmp_path / "cache")
    assert "one row may ask" in answered[1].generation.failure
    assert len(model.asked) == MOST_CALLS


def test_keys_stay_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application gets neither the keys of models nor the line's own variables."""
    monkeypatch.setenv("MY_KEY", "secret")
    monkeypatch.setenv("SLUICE_LEDGER_URL", "postgresql://u:p@host/db")
    monkeypatch.setenv("OTHER", "seen")
    code = """
        import os

        def answer(inputs, app):
            return [os.environ.get(name) for name in ("MY_KEY", "SLUICE_LEDGER_URL", "OTHER")]
    """
    role = Role("fake", ScriptedModel(lambda request: "unused"))
    answered = run(project(tmp_path, code), role, tmp_path / "c", ROWS[:1], hidden={"MY_KEY"})
    assert json.loads(answered[0].generation.text) == [None, None, "seen"]


def test_parts_settings_and_data(tmp_path: Path) -> None:
    """An Answer's parts are JSON texts; settings and declared files are the release's."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "index.jsonl").write_text('"passage"')
    code = """
        from sluicegate import Answer

        def answer(inputs, app):
            passage = app.data("index.jsonl").read_text()
            call = {"name": "search", "arguments": {"q": 1}}
            return Answer(app.settings["greeting"], contexts=[passage], tool_calls=[call])
    """
    more = {"settings": {"greeting": "hello"}, "data": ["app/index.jsonl"]}
    application = project(tmp_path, code, **more)
    role = Role("fake", ScriptedModel(lambda request: "unused"))
    (answered,) = run(application, role, tmp_path / "cache", ROWS[:1])
    assert answered.generation.text == "hello"
    assert answered.generation.fields == {
        "contexts": '["\\"passage\\""]',
        "tool_calls": '[{"arguments":{"q":1},"name":"search"}]',
    }
    (tmp_path / "app" / "index.jsonl").write_text('"another"')
    assert project(tmp_path, code, **more).digest != application.digest


def test_the_digest_covers_what_is_imported(tmp_path: Path) -> None:
    """Files that the entry imports, directly or not, count; a file beside them does not."""
    before = project(tmp_path, CHAIN)
    assert list(before.files) == ["app/parts.py", "app/triage.py"]
    (tmp_path / "app" / "other.py").write_text("x = 1\n")
    assert project(tmp_path, CHAIN).digest == before.digest
    (tmp_path / "app" / "__init__.py").write_text("from . import other\n")
    assert list(project(tmp_path, CHAIN).files) == [
        "app/__init__.py", "app/other.py", "app/parts.py", "app/triage.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("app.triag:answer", "did you mean app.triage?"),
        ("app.triage:anser", "did you mean answer?"),
        ("app.triage:one", "takes 1 arguments, not two"),
        ("os:getcwd", "there is no os.py"),
    ],
)
def test_a_wrong_entry(tmp_path: Path, entry: str, said: str) -> None:
    """It is named with what was probably meant, and nothing is imported for that."""
    project(tmp_path, "raise SystemExit\n\ndef answer(inputs, app): ...\n\ndef one(inputs): ...\n")
    with pytest.raises(ConfigError) as told:
        open_application(entry, tmp_path, prompts={}, models={})
    assert said in str(told.value)


@pytest.mark.parametrize("name", ["app/indx.jsonl", "../secret", "app/link"])
def test_wrong_data(tmp_path: Path, name: str) -> None:
    """A missing file is named; nothing outside the project is part of a release."""
    root = tmp_path / "project"
    root.mkdir()
    project(root, CHAIN)
    (tmp_path / "secret").write_text("x")
    (root / "app" / "index.jsonl").write_text("x")
    (root / "app" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match=r"did you mean app/index\.jsonl|out of the project"):
        project(root, CHAIN, data=[name])


def test_the_store_keeps_an_application(tmp_path: Path) -> None:
    """What was stored answers later, whatever the project holds by then; damage is noticed."""
    root, store = tmp_path / "project", tmp_path / "store"
    root.mkdir()
    code = 'def answer(inputs, app):\n    return app.prompt("classify").render(text="x")[0]\n'
    digest = publish_application(project(root, code, settings={"a": [1]}), store)
    project(root, "def answer(inputs, app): ...\n")
    stored = stored_application(store, digest)
    assert publish_application(stored, store) == digest
    role = Role("fake", ScriptedModel(lambda request: "unused"))
    (answered,) = run(stored, role, tmp_path / "cache", ROWS[:1])
    assert json.loads(answered.generation.text)["content"] == "Classify: x"
    (stored.root / "app" / "triage.py").write_text("changed = True\n")
    with pytest.raises(IntegrityError, match=r"triage\.py is not what was stored"):
        stored_application(store, digest)
    again = project(root, code, settings={"a": [1]})
    assert publish_application(again, store) == digest
    assert stored_application(store, digest).content == again.content
