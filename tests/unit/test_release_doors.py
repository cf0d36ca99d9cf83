"""A release on Azure or behind LiteLLM: answered and scored like any other, by what it asks."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from chat_server import ChatServer, completion, sends
from sluicegate.hashing import canonical_json
from sluicegate.line.check import check_configuration
from sluicegate.line.pipeline.base_model import release_model
from sluicegate.line.pipeline.evaluate import candidate_release, compared
from sluicegate.line.run import open_run
from sluicegate.project import Project
from sluicegate.records import Evidence, Example
from sluicegate.scaffold import HOSTED, Endpoint, init

KEY = "door-key-0123456789abcdef"
CHAT = [
    {"content": "My bag is lost.", "role": "user"},
    {"content": "Which flight?", "role": "assistant"},
]
ROWS = [
    Example(
        f"r{n}",
        f"g{n}",
        {"chat": canonical_json([*CHAT, {"content": f"Flight {n}.", "role": "user"}]), "shop": "S"},
        ("Found.",),
        "s",
    )
    for n in range(3)
]
PROMPT = "name: summarize\nsystem: Answer for {{ shop }}.\nvariables: [shop]\nhistory: chat\n"
BODY = json.dumps(
    json.loads(completion("Found.")) | {"model": "m-1", "system_fingerprint": "fp"}
).encode()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose prompt goes on with a chat; the doors' key is in DOOR_KEY."""
    monkeypatch.setenv("DOOR_KEY", KEY)
    monkeypatch.setenv("OTHER", "another-key-0123456789")
    monkeypatch.setattr(sys, "path", list(sys.path))
    init(tmp_path / "p", HOSTED, Endpoint("http://127.0.0.1:9/v1", "fake"))
    (tmp_path / "p" / "prompts" / "summarize.yaml").write_text(PROMPT, "utf-8")
    sources = tmp_path / "p" / "registry" / "sources.yaml"
    named = "inputs: {chat: turns, shop: industry}\n      turns: [chat]"
    text = sources.read_text("utf-8").replace("inputs: {conversation: turns}", named)
    sources.write_text(text, "utf-8")
    return tmp_path / "p"


def asks(root: Path, entry: Mapping[str, Any]) -> str:
    """Make `entry` the release's model; its digest."""
    models = canonical_json({"models": {"main": entry}})
    (root / "registry" / "models.yaml").write_text(models, "utf-8")
    assert check_configuration(Project(root)) == []
    return release_model(open_run(root)).digest


def evidence(root: Path) -> Evidence:
    run = open_run(root)
    return compared(run, {"candidate": candidate_release(run)}, ROWS, "d" * 64, ["chrf"])[
        "candidate"
    ]


def is_sound(found: Evidence, root: Path) -> None:
    """All rows are answered by who says so, and the key is nowhere."""
    assert [row.output for row in found.rows] == ["Found."] * 3
    assert {row.answered_by for row in found.rows} == {"m-1 fp"}
    assert all(row.scores["chrf"] == pytest.approx(1.0) for row in found.rows)
    files = [path for path in root.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_release_on_azure(root: Path) -> None:
    """Turns and system text arrive in their roles; deployment and version are the identity, key and
    price are not.
    """
    with ChatServer(sends(BODY)) as server:
        entry = {
            "url": server.url.removesuffix("/v1"), "model": "d-2026", "api_version": "2024-10-21",
            "key_env": "DOOR_KEY", "allow_private": True,
        }  # fmt: skip
        digest = asks(root, {"azure": entry})
        is_sound(evidence(root), root)
        roles = [message["role"] for message in server.asked[0].body["messages"]]
        assert roles == ["system", "user", "assistant", "user"]
        assert server.asked[0].headers["api-key"] == KEY
        assert len(server.asked) == 3
        is_sound(evidence(root), root)
        assert len(server.asked) == 3, "answers are kept"
    assert asks(root, {"azure": {**entry, "key_env": "OTHER", "tries": 2}}) == digest
    assert asks(root, {"azure": {**entry, "model": "e-2026"}}) != digest
    assert asks(root, {"azure": {**entry, "api_version": "2025-01-01"}}) != digest


def test_a_release_behind_litellm(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same through LiteLLM's documented function; the vendor's name is the identity."""
    asked: list[dict[str, Any]] = []

    async def acompletion(**fields: Any) -> Any:
        asked.append(fields)
        return SimpleNamespace(model_dump_json=BODY.decode)

    monkeypatch.setitem(sys.modules, "litellm", SimpleNamespace(acompletion=acompletion))
    entry = {"model": "vendor/m-2026", "key_env": "DOOR_KEY"}
    digest = asks(root, {"litellm": entry})
    is_sound(evidence(root), root)
    assert [message["role"] for message in asked[0]["messages"]][-2:] == ["assistant", "user"]
    assert asked[0]["api_key"] == KEY
    assert asks(root, {"litellm": {**entry, "key_env": "OTHER"}}) == digest
    assert asks(root, {"litellm": {**entry, "model": "vendor/n-2026"}}) != digest


def test_a_release_behind_the_real_litellm(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installed LiteLLM calls a server of this machine."""
    pytest.importorskip("litellm")
    with ChatServer(sends(BODY)) as server:
        entry = {
            "model": "openai/m-2026", "key_env": "DOOR_KEY", "url": server.url,
            "allow_private": True,
        }  # fmt: skip
        asks(root, {"litellm": entry})
        is_sound(evidence(root), root)
        assert len(server.asked) == 3
