"""A project with releases on hosted models that say which release they are, and its router."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chat_server import Asked
from sluicegate.config import ModelSpec
from sluicegate.hashing import digest_value
from sluicegate.ledger import Ledger
from sluicegate.line.judge.clients import model_identity
from sluicegate.project import Project
from sluicegate.prompts import Prompt
from sluicegate.records import GenerationSettings, LedgerEntry, Lineage
from sluicegate.releasing import StoredRelease, store_release
from sluicegate.scaffold import HOSTED, Endpoint, init
from sluicegate.serving.app import make_app
from sluicegate.serving.router import Router
from sluicegate.traffic import serving

LINEAGE = Lineage("1" * 64, "2" * 64, {}, "4" * 64, "c0ffee", False)
PROMPT = Prompt("summarize", "You sum up.", "Sum up: {{ text }}", ("text",), "ann", "")


def hosted_project(root: Path, url: str) -> Project:
    """A hosted project whose models one, two and three are at `url`."""
    init(root, HOSTED, Endpoint(url, "one"))
    entry = "  {0}: {{endpoint: {{url: '{1}', model: {0}, allow_private: true, tries: 1, "
    entry += "concurrency: 64}}}}\n"
    models = "models:\n" + "".join(entry.format(name, url) for name in ("one", "two", "three"))
    (root / "registry" / "models.yaml").write_text(models)
    params = root / "params.yaml"
    lines = params.read_text().splitlines()
    params.write_text(
        "\n".join("  model: one" if one.startswith("  model:") else one for one in lines) + "\n"
    )
    return Project(root)


def hosted_release(project: Project, url: str, name: str, version: int) -> str:
    """Store and register a release on the model `name`; its digest."""
    spec = ModelSpec.model_validate(
        {"endpoint": {"url": url, "model": name, "allow_private": True}}
    )
    asked = model_identity(spec)
    stored = store_release(
        project,
        base_digest=digest_value(asked),
        base_name=name,
        adapter=None,
        prompt=PROMPT,
        generation=GenerationSettings(max_new_tokens=32),
        lineage=LINEAGE,
        asked=asked,
    )
    return registered(project, stored, version)


def registered(project: Project, stored: StoredRelease, version: int) -> str:
    """Enter a stored release as `register` does, without MLflow."""
    payload = {"version": version, "manifest": digest_value(stored.manifest), **stored.manifest}
    Ledger(project.ledger_url).append("register", stored.digest, "ann", payload)
    return stored.digest


def promoted(project: Project, digest: str, version: int = 1) -> LedgerEntry:
    """Move the champion, as `promote` does after it has asked its guard."""
    ledger = Ledger(project.ledger_url)
    champion = ledger.champion()
    epoch = champion.epoch if champion else 0
    return ledger.move_champion(digest, version, epoch, "promote", "ann", {})


def who(asked: Asked) -> str:
    """What the fake endpoint answers: the model's name, and what it was asked."""
    return f"{asked.body['model']}: {asked.text}"


def rows_in(project: Project) -> list[str]:
    """Keys of all rows in the traffic log."""
    from sluicegate.line.watch.imports import open_log

    return [row.key for row in open_log(project).window()]


@contextmanager
def listening(router: Router) -> Iterator[str]:
    """Within it the router listens at the address that is yielded."""
    server = serving.server(make_app(router), "127.0.0.1", 0)
    router.journal.start()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        threading.Event().wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        router.journal.close()


def events(text: str) -> list[dict[str, object]]:
    """The JSON of server-sent events, [DONE] aside."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]
