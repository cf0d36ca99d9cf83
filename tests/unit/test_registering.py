"""Registering: of one release there is one entry and one manifest, however many stores share the
ledger.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from sluicegate.cli import sluice
from sluicegate.errors import IntegrityError, ReleaseError
from sluicegate.hashing import digest_value, read_json, write_json
from sluicegate.ledger import Ledger
from sluicegate.project import MARKER, Project
from sluicegate.records import GenerationSettings, LedgerEntry
from sluicegate.releasing import (
    StoredRelease,
    bootstrap,
    commit_of,
    load_registered,
    load_stored,
    promote,
    register,
    rollback,
    store_release,
    verify,
)
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import LINEAGE, PROMPT, RULES, decided, entered


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Project, Project]:
    """A developer's project and that of a build machine, with stores of their own and one ledger."""
    monkeypatch.setenv("SLUICE_LEDGER_URL", f"sqlite:///{tmp_path / 'shared.db'}")
    for name in ("desk", "ci"):
        (tmp_path / name / "registry").mkdir(parents=True)
        (tmp_path / name / "registry" / "gates.yaml").write_text(RULES)
    return Project(tmp_path / "desk"), Project(tmp_path / "ci")


def made(project: Project, commit: str) -> StoredRelease:
    """The same release as made from `commit`."""
    return store_release(
        project,
        base_digest="b" * 64,
        base_name="tiny",
        adapter=None,
        prompt=PROMPT,
        generation=GenerationSettings(max_new_tokens=1),
        lineage=replace(LINEAGE, commit=commit),
    )


class Versions:
    """MLflow as registering sees it; `meanwhile` is what another process does during the call."""

    def __init__(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        self.meanwhile, self.calls = meanwhile, 0

    def tags_of(self, _model: str) -> dict[int, dict[str, str]]:
        return {}

    def register_version(self, *_given: Any, **_named: Any) -> int:
        self.calls += 1
        self.meanwhile()
        return 1


def registered(
    project: Project, release: StoredRelease, versions: Versions | None = None
) -> LedgerEntry:
    tracking = cast(Tracking, versions or Versions())
    return register(project, release, tracking=tracking, model="m", run_id="r", actor="ann").entry


def forge(project: Project, release: str, **changes: Any) -> None:
    """Edit a stored manifest as a person with an editor might."""
    path = project.store / "releases" / f"{release}.json"
    manifest = read_json(path)
    manifest["lineage"] |= {
        name: value for name, value in changes.items() if name in manifest["lineage"]
    }
    write_json(
        path, manifest | {name: value for name, value in changes.items() if name in manifest}
    )


def test_a_known_release_keeps_its_registration_in_an_empty_store(
    stores: tuple[Project, Project],
) -> None:
    """A store made elsewhere, from another commit, takes over the lineage on record: both verify,
    nothing is added.
    """
    desk, ci = stores
    first = registered(desk, made(desk, "a" * 40))
    versions = Versions()
    for _ in range(2):
        release = made(ci, "c" * 40)
        assert release.lineage.commit == commit_of(ci, release.digest) == "a" * 40
        assert registered(ci, release, versions) == first
        assert registered(desk, made(desk, "d" * 40), versions) == first
        assert verify(desk).entries == verify(ci).entries == 1
    assert versions.calls == 0


def test_two_stores_that_register_a_release_at_once_leave_one_entry(
    stores: tuple[Project, Project],
) -> None:
    """Whoever comes second takes over the entry and the manifest of the first."""
    desk, ci = stores
    ours, theirs = made(desk, "a" * 40), made(ci, "c" * 40)
    assert ours.manifest != theirs.manifest
    found = registered(ci, theirs, Versions(lambda: registered(desk, ours)))
    assert found.payload["manifest"] == digest_value(ours.manifest)
    assert len(Ledger(ci.ledger_url).entries("register")) == 1
    assert load_stored(ci, ours.digest) == ours
    verify(desk)
    verify(ci)


def test_a_ledger_with_two_registrations_of_a_release_is_sound(
    stores: tuple[Project, Project],
) -> None:
    """Earlier versions registered a release once for every store in turn: a store with either
    manifest is honest.
    """
    desk, ci = stores
    for project, commit in ((desk, "a" * 40), (ci, "c" * 40)):
        release = made(project, commit)
        payload = {"version": 1, "manifest": digest_value(release.manifest), **release.manifest}
        if project is ci:
            forge(ci, release.digest, commit=commit)
            payload |= load_stored(ci, release.digest).manifest
            payload["manifest"] = digest_value(load_stored(ci, release.digest).manifest)
        Ledger(project.ledger_url).append("register", release.digest, "ann", payload)
    assert load_stored(ci, release.digest).lineage.commit == "c" * 40
    assert verify(desk).entries == verify(ci).entries == 2


@pytest.mark.parametrize("changes", [{"commit": "f" * 40}, {"base_name": "evil"}, {"sources": {}}])
def test_an_edited_manifest_serves_nothing(
    stores: tuple[Project, Project], changes: dict[str, Any]
) -> None:
    """Its four digests being right, a manifest that was not registered is refused, and put right by
    the next release.
    """
    desk, _ = stores
    zero, one = entered(desk, 1), entered(desk, 2)
    forge(desk, zero, **changes)
    with pytest.raises(IntegrityError, match="not the one that was registered"):
        bootstrap(desk, zero, actor="ann")
    assert made(desk, "a" * 40).digest == zero
    bootstrap(desk, zero, actor="ann")
    decided(desk, one)
    forge(desk, one, **changes)
    for step in (lambda: promote(desk, one, actor="ann"), lambda: verify(desk)):
        with pytest.raises(IntegrityError, match="not the one that was registered"):
            step()
    entered(desk, 2)
    promote(desk, one, actor="ann")
    forge(desk, zero, **changes)
    with pytest.raises(IntegrityError, match="not the one that was registered"):
        rollback(desk, actor="ann")


def test_a_release_is_loaded_as_registered_or_not_at_all(stores: tuple[Project, Project]) -> None:
    """Stored alone is not registered; the registration of another release does not count."""
    desk, _ = stores
    entries = [registered(desk, made(desk, "a" * 40))]
    assert (
        load_registered(desk, entries[0].release, entries).manifest == made(desk, "b" * 40).manifest
    )
    with pytest.raises(ReleaseError, match="not registered"):
        load_registered(desk, entries[0].release, [replace(entries[0], release="0" * 64)])
    other = replace(entries[0], release="0" * 64)
    wrong = replace(entries[0], payload={**entries[0].payload, "manifest": "0" * 64})
    with pytest.raises(IntegrityError):
        load_registered(desk, entries[0].release, [other, wrong])


def test_the_command_tells_no_forged_lineage(
    stores: tuple[Project, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`sluice lineage` prints what was registered, or is an IntegrityError."""
    desk, _ = stores
    (desk.root / MARKER).touch()
    monkeypatch.chdir(desk.root)
    release = entered(desk, 1)
    told = CliRunner().invoke(sluice, ["lineage", "1"])
    assert (told.exit_code, "c0ffee" in told.output) == (0, True)
    forge(desk, release, commit="f" * 40)
    refused = CliRunner().invoke(sluice, ["lineage", "1"])
    assert isinstance(refused.exception, IntegrityError)
    assert "f" * 40 not in refused.output


@pytest.mark.parametrize("damage", ["{", "", '{"other": 1}', "[]"])
def test_storing_again_mends_what_is_damaged(stores: tuple[Project, Project], damage: str) -> None:
    """A prompt, settings or registered manifest that is not what was stored is written anew; a
    sound one stays.
    """
    desk, _ = stores
    release = made(desk, "a" * 40)
    registered(desk, release)
    parts = sorted(
        path
        for kind in ("prompts", "generation", "releases")
        for path in (desk.store / kind).iterdir()
    )
    kept = {
        path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in parts
    }
    assert made(desk, "b" * 40) == release
    assert {
        path: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in parts
    } == kept
    for path in parts:
        path.write_text(damage)
    assert made(desk, "b" * 40) == load_stored(desk, release.digest) == release
    assert {path: path.read_bytes() for path in parts} == {
        path: content for path, (content, *_) in kept.items()
    }


def test_a_manifest_in_the_place_of_another_names_itself(stores: tuple[Project, Project]) -> None:
    """A file under another release's name is refused with twelve digits of what it describes."""
    desk, _ = stores
    release = made(desk, "a" * 40)
    other = desk.store / "releases" / f"{'0' * 64}.json"
    write_json(other, release.manifest)
    with pytest.raises(
        IntegrityError, match=rf"describes another release \({release.digest[:12]}\)"
    ):
        load_stored(desk, "0" * 64)
