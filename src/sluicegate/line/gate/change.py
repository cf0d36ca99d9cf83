"""What the checked-out project changes against another commit, part by part and by digest."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from sluicegate.errors import UsageError
from sluicegate.hashing import digest_value
from sluicegate.line.parts import PARTS
from sluicegate.line.run import Run, open_run
from sluicegate.project import MARKER, Project
from sluicegate.versioning import current_commit
from sluicegate.versioning.history import file_at, files_at, files_here
from sluicegate.yaml_file import read_yaml

UNKNOWN = "unreadable"
PRODUCTS = {"recorded results": ("dvc.lock",), "DVC settings": (".dvc/", ".dvcignore")}
"""Tracked files that a run writes: compared as they are committed, for on the disk a run has
written them.
"""
SETTINGS = frozenset(
    {"pyproject.toml", "dvc.yaml", "setup.py", "setup.cfg", "uv.lock", "poetry.lock"}
)
PIPELINE = "pipeline"
"""What runs, and in which environment: dvc.yaml, requirements and the like."""
METRIC_FILES = "metric files"
"""What metrics are named with: the schema of `json_schema:FILE`, the model of `perplexity:FOLDER`."""
SHOWN = 60
"""Characters of a value that are shown whole."""
NOT_RUN = ("tests", "docs", "benchmarks")
TOOLS = (".ci", ".circleci", ".devcontainer", ".github", ".gitlab", ".idea", ".vscode")
"""Folders that the line reads nothing of, like NOT_RUN."""
UNREAD = frozenset(
    {
        ".editorconfig",
        ".gitignore",
        ".gitlab-ci.yml",
        ".pre-commit-config.yaml",
        "LICENSE",
        "Makefile",
        "NOTICE",
        "pytest.ini",
        "tox.ini",
    }
)
"""Files that the line does not read, beside those for people to read."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a release that differs: its digests, and in words what is different where that is
    short.
    """

    name: str
    before: str
    after: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """The checked-out project against a commit.

    Attributes:
        ref: what was asked for, e.g. `origin/main`.
        base: the merge base's full hash.
        head: the checked-out commit; `dirty` where files differ from it.
        parts: what differs, of all that can change a release or its verdict.
        other: changed files that are no part of a release, e.g. README.md.
        notes: what could not be told, in sentences.
        certain: git itself holds all that counts, and each other file that changed is known to be
            read by nothing: no difference can have been missed.
    """

    ref: str
    base: str
    head: str
    dirty: bool
    parts: tuple[Part, ...]
    other: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    certain: bool = True


@dataclass(slots=True)
class _Side:
    """One of the two commits: digests of the parts, settings that can be shown in words, what lies
    where.
    """

    digests: dict[str, str] = field(default_factory=dict)
    shown: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    data: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    certain: bool = True


def compare(run: Run, ref: str, sha: str) -> Change:
    """Compare the project as it is on the disk with commit `sha`.

    Raises:
        UsageError: there was no project at `sha`, or the files that people edit are wrong here.
        VersioningError: git is missing or refused.
    """
    project = run.project
    if file_at(project.root, sha, MARKER) is None:
        raise UsageError(
            f"the merge base {sha[:12]} has no {MARKER} here: there is no release to compare with.",
            hint="Without --base (and SLUICE_BASE) the gate compares with the champion, or with "
            "the bare base model.",
        )
    before_files, after_files = files_at(project.root, sha), files_here(project.root, sha)
    after = _side(run, after_files)
    before = _at(run, sha, before_files, after.digests)
    commit = current_commit(project.root)
    parts = [
        Part(
            name,
            before.digests[name],
            digest,
            _words(before.shown.get(name), after.shown.get(name)),
        )
        for name, digest in after.digests.items()
        if before.digests[name] != digest
    ]
    parts += _products(before_files, files_at(project.root, commit.sha))
    known = {name for name in {**before_files, **after_files} if _is_code(name) or _edited(name)}
    changed = {
        name
        for name in {**before_files, **after_files}
        if before_files.get(name) != after_files.get(name)
    }
    other = {
        name
        for name in changed - known
        if not _below(name, before.data | after.data)
        and not name.startswith(tuple(chain(*PRODUCTS.values())))
    }
    notes = dict.fromkeys([*before.notes, *after.notes])
    unread = all(_unread(name, before.used | after.used) for name in other)
    certain = before.certain and after.certain and not notes and unread
    # A file name is any bytes; what is shown is text.
    shown = tuple(
        name.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for name in sorted(other)
    )
    return Change(ref, sha, commit.sha, commit.dirty, tuple(parts), shown, tuple(notes), certain)


def _products(before: Mapping[str, str], after: Mapping[str, str]) -> list[Part]:
    """What the author of a change has committed of files that only a run writes."""
    found = []
    for part, names in PRODUCTS.items():
        digests = [
            digest_value({name: blob for name, blob in files.items() if name.startswith(names)})
            for files in (before, after)
        ]
        if digests[0] != digests[1]:
            found.append(Part(part, digests[0], digests[1], "not used for the verdict"))
    return found


def _at(run: Run, sha: str, files: Mapping[str, str], names: Iterable[str]) -> _Side:
    """The side of commit `sha`, which has these `files`; each of `names` is unknown where it
    cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        there = Project(Path(folder))
        for name in files:
            if name == MARKER or name.startswith(("registry/", "prompts/")):
                path = there.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file_at(run.project.root, sha, name) or b"")
        try:
            return _side(open_run(there), files)
        except UsageError as error:
            said = str(error).replace(f"{there.root}/", "")
            note = f"The merge base cannot be read: {said}"
            return _Side(dict.fromkeys(names, UNKNOWN), notes=[note])


def _side(run: Run, files: Mapping[str, str]) -> _Side:
    """Digest every part; the project needs to hold no more than what people edit, `files` says
    which bytes it has.
    """
    side, params = _Side(), run.params
    named = [*params.evaluate.metrics, params.profile.encoder, params.monitor.detector]
    for spec in run.sources.values():
        named += [spec.kind, *(value for value in spec.options.values() if isinstance(value, str))]
    side.used = {
        part.replace(".", "/").partition("/")[0] for name in named for part in name.split(":")
    }

    def bytes_of(what: str, path: str, *, absent: bool = False, hub: bool = False) -> Any:
        return _bytes(run.project, side, what, path, files, absent=absent, hub=hub)

    side.digests = {one.name: digest_value(one.value(run, bytes_of)) for one in PARTS}
    side.shown = {one.name: one.shown(run) for one in PARTS}
    measured = [name.partition(":")[2] for name in params.evaluate.metrics if ":" in name]
    beside = {path for name in measured for path in (name, f"{name}.dvc")}
    side.data |= beside
    parts: dict[str, dict[str, str]] = {"code": {}, PIPELINE: {}, METRIC_FILES: {}}
    for name, blob in files.items():
        if _below(name, beside):
            parts[METRIC_FILES][name] = blob
        elif _is_code(name) and not _below(name, side.data):  # the application, say
            parts["code" if name.endswith(".py") else PIPELINE][name] = blob
    side.digests |= {part: digest_value(found) for part, found in parts.items()}
    return side


def _bytes(
    project: Project,
    side: _Side,
    what: str,
    named: str,
    files: Mapping[str, str],
    *,
    absent: bool = False,
    hub: bool = False,
) -> Any:
    """What git, or DVC through git, says that the bytes at a path are; `hub`: the name may be no
    path at all.
    """
    path = os.path.normpath(named)
    side.data |= {path, f"{path}.dvc"}
    tracked = {file: blob for file, blob in files.items() if _below(file, {path})}
    if tracked:
        return tracked
    folders = [path, *(str(parent) for parent in Path(path).parents)]
    pointers = [f"{folder}.dvc" for folder in folders if f"{folder}.dvc" in files]
    elsewhere = hub and not (project.root / path).exists()
    if not pointers and (absent or (elsewhere and "@" in named)):
        return "unversioned"
    side.certain = False
    if pointers:
        side.data.add(pointers[0])
        return [files[pointers[0]], _edited_since(project.root, pointers[0], path)]
    side.notes.append(
        f"{what} ({named}) is in neither git nor DVC: it is taken to be what it is today."
    )
    return "unversioned"


def _edited_since(root: Path, pointer: str, path: str) -> str:
    """MD5 of a file that is not what its .dvc file says (`dvc add` was forgotten), or nothing."""
    if pointer != f"{path}.dvc" or not (root / path).is_file() or not (root / pointer).is_file():
        return ""
    recorded = {out.get("md5") for out in read_yaml(root / pointer).get("outs", ())}
    with (root / path).open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    return "" if found in recorded else found


def _below(name: str, paths: Iterable[str]) -> bool:
    return any(name == path or name.startswith(f"{path.rstrip('/')}/") for path in paths)


def _edited(name: str) -> bool:
    """Files whose meaning is compared part by part, so that a comment in them changes nothing."""
    folder, _, file = name.rpartition("/")
    return (
        name == MARKER
        or (folder == "prompts" and file.endswith((".yaml", ".jsonl")))
        or name in {f"registry/{n}.yaml" for n in EDITED}
    )


EDITED = ("gates", "models", "sources")


def _is_code(name: str) -> bool:
    """Whether a file can change what the line does."""
    top = name.partition("/")[0]
    if top in NOT_RUN or top.startswith("."):
        return False
    return name.endswith(".py") or name in SETTINGS or top.startswith("requirements")


def _unread(name: str, used: set[str]) -> bool:
    """Whether it is known that the line does not read this file.

    `used`: first folders of what params and sources name.

    A file that nobody has thought of here may be the word list of a metric, or anything else.

    Example:
        >>> [_unread(name, set()) for name in ("docs/x.txt", "README.md", "words.txt", "models/base.dvc")]
        [True, True, False, False]
        >>> _unread("docs/x.txt", {"docs"})
        False
    """
    top, _, below = name.partition("/")
    file = name.rpartition("/")[2]
    if below:
        return (top in NOT_RUN or top in TOOLS or file == "README.md") and top not in used
    return name in UNREAD or name.endswith(".md")


def _words(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """Which settings differ, e.g. `rank 16 → 8`; nothing where they cannot be shown shortly."""
    if not before or not after:
        return ""
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return ", ".join(f"{name} {_differing(before.get(name), after.get(name))}" for name in names)


def _differing(before: object, after: object) -> str:
    """Both values; of long texts the words that differ.

    Example:
        >>> _differing(16, 8)
        '16 → 8'
        >>> old = "Read this long text and then sum it up in two sentences, please"
        >>> _differing(old, "Read this long text briefly, please")
        '… and then sum it up in two sentences, … → … briefly, …'
    """
    old, new = str(before).split(), str(after).split()
    if max(len(" ".join(old)), len(" ".join(new))) <= SHOWN:
        return f"{' '.join(old)} → {' '.join(new)}"
    same = _alike(old, new)
    end = _alike(old[same:][::-1], new[same:][::-1])
    return " → ".join(_shown(words, same, len(words) - end) for words in (old, new))


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with."""
    return next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def _shown(words: Sequence[str], start: int, end: int) -> str:
    middle = " ".join(words[start:end])
    cut = middle if len(middle) <= SHOWN else f"{middle[:SHOWN].rstrip()} …"
    return " ".join(filter(None, ("…" if start else "", cut, "…" if end < len(words) else "")))
