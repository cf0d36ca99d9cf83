"""Where releases are kept: content-addressed files, checked whenever they are read.

store/releases/<digest>.json     the manifest as first registered: digests, lineage, the model's name
store/models/<digest>.json       of a hosted model: whom the release asks, and for what
store/prompts/<digest>.json      what the model is told
store/generation/<digest>.json   how it samples
store/adapters/<digest>/         the adapter
store/applications/<digest>/     code that answers, with its prompts and data
store/evidence/<digest>.json.gz  an evaluation that a verdict rests on, for its owner only to read
store/policies/<digest>.json     the policy under which a promotion was made
store/ledger.json                the ledger's last head, see `ledger.witness`
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sluicegate.applications import Application
from sluicegate.applications.storing import publish_application, stored_application
from sluicegate.errors import EvidenceError, IntegrityError, UsageError
from sluicegate.gates import Policy
from sluicegate.hashing import atomic_file, digest_value, json_with_rows, read_json, write_json
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.prompts import Prompt, prompt_from_content
from sluicegate.records import Evidence, GenerationSettings, LedgerEntry, Lineage, Release
from sluicegate.releasing.guard import registered_version

_DIGEST = re.compile(r"[0-9a-f]{64}")
_RESTORE = "Restore .sluice/store from a backup, or release again from the recorded commit."


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release with everything needed to serve it; every part of `release` was checked when this
    was made.

    `asked`: of a hosted model, its address, name and the settings that change answers;
    `application`: code that answers; None where it is the prompt.
    """

    release: Release
    lineage: Lineage
    base_name: str
    adapter: Path | None
    prompt: Prompt
    generation: GenerationSettings
    asked: Mapping[str, Any] | None = None
    application: Application | None = None

    @property
    def digest(self) -> str:
        return self.release.digest

    @property
    def asks(self) -> Prompt | None:
        """The prompt by which every row is asked; None where code answers."""
        return None if self.application else self.prompt

    @property
    def manifest(self) -> dict[str, Any]:
        """What store/releases/<digest>.json holds."""
        return {
            "release": self.release.content(),
            "lineage": asdict(self.lineage),
            "base_name": self.base_name,
        }


def store_release(
    project: Project,
    *,
    base_digest: str,
    base_name: str,
    adapter: Path | None,
    prompt: Prompt,
    generation: GenerationSettings,
    lineage: Lineage,
    asked: Mapping[str, Any] | None = None,
    application: Application | None = None,
) -> StoredRelease:
    """Write the parts of a release, then its manifest; what is there already stays, what is
    damaged is written anew.

    A release keeps its first lineage: the one it was registered with, wherever that was, else the
        one stored before.

    Args:
        asked: of a hosted model: what `base_digest` is the digest of.
        application: code of the project that answers.

    Raises:
        AdapterError: the adapter is damaged or was made on another base; nothing is stored.
        EnvironmentFailure: the disk refuses; no half-written file stays.
        BusyError, EnvironmentFailure, IntegrityError: see `Ledger`.
    """
    from sluicegate.adapters import adapter_digest, publish_adapter, verify_adapter

    adapter_name = None
    if adapter is not None:
        verify_adapter(adapter, expected=adapter_digest(adapter), base_digest=base_digest)
        adapter_name, _ = publish_adapter(adapter, project.store)
    code = publish_application(application, project.store) if application else None
    release = Release(base_digest, adapter_name, prompt.digest, generation.digest, code)
    _keep(_path(project, "prompts", prompt.digest), prompt.content, prompt.digest)
    if asked is not None:
        _keep(_path(project, "models", base_digest), asked, base_digest)
    _keep(_path(project, "generation", generation.digest), asdict(generation), generation.digest)
    known = Ledger(project.ledger_url).entries("register", release.digest)
    path = _path(project, "releases", release.digest)
    if known:
        keep_registered(project, known[0])
    elif not path.exists():
        write_json(
            path,
            {"release": release.content(), "lineage": asdict(lineage), "base_name": base_name},
        )
    return load_stored(project, release.digest)


def keep_registered(project: Project, entry: LedgerEntry) -> None:
    """Make the manifest of a release the one with which `entry` registered it; a store made
    elsewhere has another.
    """
    manifest = {name: entry.payload[name] for name in ("release", "lineage", "base_name")}
    _keep(_path(project, "releases", entry.release), manifest, entry.payload["manifest"])


def load_registered(project: Project, digest: str, entries: Sequence[LedgerEntry]) -> StoredRelease:
    """Read a stored release like `load_stored`, and check its lineage and base name: all of it is
    as registered.

    Args:
        entries: the ledger's, at least all `register` entries of this release; any of these may
            fit.

    Raises:
        ReleaseError: it is not registered.
        UsageError, IntegrityError, AdapterError: see `load_stored`; IntegrityError also for
            another manifest.
    """
    stored = load_stored(project, digest)
    registered_version(entries, digest)
    made = [
        entry.payload["manifest"]
        for entry in entries
        if (entry.kind, entry.release) == ("register", digest)
    ]
    if digest_value(stored.manifest) not in made:
        raise IntegrityError(
            f"The manifest of {digest[:12]} is not the one that was registered.", hint=_RESTORE
        )
    return stored


def load_stored(project: Project, digest: str) -> StoredRelease:
    """Read a stored release, the parts that it consists of checked against their digests.

    Its lineage and base name are what the file says; `load_registered` compares them with the
    ledger.

    Raises:
        UsageError: `digest` is not 64 hexadecimal characters.
        IntegrityError: a part is missing or is not what was stored.
        AdapterError: the stored adapter fails verification.
    """
    path = _path(project, "releases", digest)
    manifest = read_json(path)
    try:
        release = Release(**manifest["release"])
        lineage = Lineage(**manifest["lineage"])
        base_name = str(manifest["base_name"])
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{path}: not a release manifest: {error}", hint=_RESTORE) from error
    if release.digest != digest:
        raise IntegrityError(
            f"{path} describes another release ({release.digest[:12]}).", hint=_RESTORE
        )
    prompt = prompt_from_content(_part(project, "prompts", release.prompt))
    settings = _part(project, "generation", release.generation)
    generation = GenerationSettings(**{**settings, "stop": tuple(settings["stop"])})
    hosted = _path(project, "models", release.base).exists()
    asked = _part(project, "models", release.base) if hosted else None
    adapter = _stored_adapter(project, release)
    code = stored_application(project.store, release.application) if release.application else None
    return StoredRelease(release, lineage, base_name, adapter, prompt, generation, asked, code)


def keep_evidence(project: Project, evidence: Evidence) -> str:
    """Store an evaluation, so that a verdict can rest on it; its digest. Safe to repeat.

    Raises:
        EnvironmentFailure: the disk refuses; no half-written file stays.
    """
    digest = evidence.digest
    path = _evidence(project, digest)
    if _unpacked_digest(path) != digest:
        with (
            atomic_file(path, mode=0o600) as stream,
            gzip.GzipFile("", "wb", 6, stream, 0) as packed,
        ):
            rows = (row.content() for row in evidence.rows)
            packed.writelines(json_with_rows(evidence.head(), "rows", rows))
    return digest


def check_evidence(project: Project, digest: str) -> None:
    """The evaluation under this digest is stored here, as it was.

    Raises:
        EvidenceError: it is not stored here.
        IntegrityError: its bytes are no longer those.
    """
    path = _evidence(project, digest)
    if not path.exists():
        raise EvidenceError(
            f"The evidence {digest[:12]} is not in the store.",
            hint="A verdict needs its evidence: run `sluice gate`, or bring "
            ".sluice/store/evidence.",
        )
    if _unpacked_digest(path) != digest:
        raise IntegrityError(f"{path} is not what was stored.", hint=_RESTORE)


def stored_outputs(project: Project, digest: str) -> dict[str, str]:
    """Row id to the (first) answer in a stored evaluation; empty where it is not stored here.

    Raises:
        IntegrityError: its bytes are no longer those.
    """
    path = _evidence(project, digest)
    if not path.exists():
        return {}
    check_evidence(project, digest)
    with gzip.open(path, "rb") as stream:
        return {row["id"]: row["output"] for row in json.load(stream)["rows"]}


def keep_policy(project: Project, policy: Policy) -> None:
    """Store the policy under which a release is promoted."""
    _keep(_path(project, "policies", policy.digest), policy.content, policy.digest)


def stored_policy(project: Project, digest: str) -> dict[str, Any]:
    """The content of a stored policy.

    Raises:
        IntegrityError: it is missing or is not what was stored.
    """
    return _part(project, "policies", digest)


def _evidence(project: Project, digest: str) -> Path:
    return _path(project, "evidence", digest).with_suffix(".json.gz")


def _unpacked_digest(path: Path) -> str:
    """SHA-256 of what the file holds unpacked, in pieces; '' where it is absent or damaged."""
    hasher = hashlib.sha256()
    try:
        with gzip.open(path, "rb") as stream:
            while piece := stream.read(1 << 20):
                hasher.update(piece)
    except (OSError, EOFError, zlib.error):
        return ""
    return hasher.hexdigest()


def _stored_adapter(project: Project, release: Release) -> Path | None:
    if release.adapter is None:
        return None
    from sluicegate.adapters import stored_adapter, verify_adapter

    folder = stored_adapter(project.store, release.adapter)
    verify_adapter(folder, expected=release.adapter, base_digest=release.base)
    return folder


def _part(project: Project, kind: str, digest: str) -> dict[str, Any]:
    path = _path(project, kind, digest)
    content = read_json(path)
    if digest_value(content) != digest:
        raise IntegrityError(f"{path} is not what was stored.", hint=_RESTORE)
    return content


def _keep(path: Path, content: Mapping[str, Any], digest: str) -> None:
    """Write `content` unless the file already holds exactly that."""
    try:
        if path.exists() and digest_value(read_json(path)) == digest:
            return
    except IntegrityError:
        pass  # damaged: written anew below
    write_json(path, dict(content))


def _path(project: Project, kind: str, digest: str) -> Path:
    if not _DIGEST.fullmatch(digest):
        raise UsageError(f"{digest!r} is not a digest.", hint="`sluice history` lists releases.")
    return project.store / kind / f"{digest}.json"
