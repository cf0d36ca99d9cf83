"""Which outputs of stages were made here, and of what: what DVC or git brings is not taken on trust.

DVC restores a stage's outputs for whoever commits a `dvc.lock` and a cache entry. So each stage that
counts leaves a seal when it has run: an HMAC over its inputs and outputs, in `.sluice/seals/`, which
neither git nor DVC carries; see `evidence_key`.
"""

from __future__ import annotations

import hmac
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sluicegate.errors import IntegrityError, VersioningError
from sluicegate.evidence_key import evidence_key, mac
from sluicegate.hashing import atomic_file, digest_file, digest_value
from sluicegate.project import MARKER, Project
from sluicegate.versioning.commits import git
from sluicegate.yaml_file import read_yaml

PIPELINE = "dvc.yaml"


def refuse_tracked_state(project: Project) -> None:
    """Stop where git brings `.sluice/`: it holds what this machine has made itself, and no more.

    Raises:
        IntegrityError: a file of it is tracked.
    """
    try:
        tracked = git(project.root, "ls-files", "-z", "--", ":(icase).sluice").split("\0")[0]
    except VersioningError:  # no repository: git brings nothing
        return
    if tracked:
        raise IntegrityError(
            f"{tracked} is tracked by git: the author of a change could supply results with it.",
            hint="`git rm -r --cached .sluice`, commit, and keep /.sluice/ in .gitignore.",
        )


def stage_inputs(project: Project, stage: str, read: dict[Path, Any] | None = None) -> str:
    """Digest of all that dvc.yaml lets a stage depend on, as it is on the disk now.

    `read`: files that were read before.
    """
    known: dict[Path, Any] = {} if read is None else read
    stages = (_read(project.root / PIPELINE, known) or {}).get("stages") or {}
    section = stages.get(stage) or {}
    paths = [
        str(next(iter(dep)) if isinstance(dep, dict) else dep) for dep in section.get("deps", ())
    ]
    values = [
        [file, key, _value(_read(project.root / file, known), key)]
        for file, key in _named(section.get("params", ()))
    ]
    return digest_value([repr(section), _digests(project.root, paths), values])


def seal(project: Project, stage: str, inputs: str, outs: Sequence[str]) -> None:
    """Say that this machine made `outs` (paths) by running `stage` on these `inputs`."""
    name = _name(project, stage, inputs, outs)
    with atomic_file(_folder(project) / name, mode=0o600) as stream:
        stream.write(mac(evidence_key(project.state), name).encode())


def first_unsealed(project: Project, stages: Mapping[str, Sequence[str]]) -> str:
    """The first of `stages` (name to outputs) whose outputs have no valid seal; empty for none."""
    read: dict[Path, Any] = {}
    key = evidence_key(project.state)
    for stage, outs in stages.items():
        name = _name(project, stage, stage_inputs(project, stage, read), outs)
        try:
            found = (_folder(project) / name).read_text("ascii")
        except (OSError, ValueError):
            return stage
        if not hmac.compare_digest(found, mac(key, name)):
            return stage
    return ""


def tell(project: Project, stage: str) -> None:
    """Say in a line why a stage is run again."""
    new = not any(path.name != "key" for path in _folder(project).glob("*"))
    why = (
        "this project has no seals yet, as after an upgrade or in a new clone"
        if new
        else "its outputs were not made here from these inputs"
    )
    print(f"{stage}: {why}; it is run again.", file=sys.stderr, flush=True)


def _folder(project: Project) -> Path:
    return project.state / "seals"


def _name(project: Project, stage: str, inputs: str, outs: Sequence[str]) -> str:
    return digest_value([stage, inputs, _digests(project.root, outs)])


def _read(path: Path, known: dict[Path, Any]) -> Any:
    """A YAML (or JSON) file; None where it is absent."""
    if path not in known:
        known[path] = read_yaml(path) if path.is_file() else None
    return known[path]


def _named(params: Iterable[Any]) -> list[tuple[str, str]]:
    """(file, key) of each entry of a stage's `params`; an empty key is the whole file."""
    found = []
    for entry in params:
        if isinstance(entry, dict):
            found += [
                (str(file), str(key)) for file, keys in entry.items() for key in keys or ("",)
            ]
        else:
            found.append((MARKER, str(entry)))
    return found


def _value(value: Any, key: str) -> Any:
    for part in filter(None, key.split(".")):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _digests(root: Path, paths: Iterable[str]) -> dict[str, str]:
    """Path to digest of every file at or below `paths`; links are followed, as DVC makes some."""
    found = {}
    for path in paths:
        here = root / path
        files = sorted(here.rglob("*")) if here.is_dir() else [here]
        found[path] = ""  # an absent file and an empty folder count, too
        found |= {
            str(file.relative_to(root)): digest_file(file) for file in files if file.is_file()
        }
    return found
