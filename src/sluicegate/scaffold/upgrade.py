"""`sluice upgrade`: bring what `sluice init` wrote to the installed version's template.

Flows, pipeline, workflows and the shipped tests are the engine's: untouched ones are replaced,
edited ones merged three ways; on a collision the new one lies beside. Parameters, prompts and
policy are the project's: new files are added, fields of params.yaml that are gone are taken out,
the rest is only told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sluicegate.config import CalibrationParams
from sluicegate.errors import EnvironmentFailure, UsageError
from sluicegate.hashing import atomic_file, digest_bytes
from sluicegate.project import MARKER
from sluicegate.scaffold.template import (
    files,
    former_text,
    is_own,
    is_sample,
    recorded,
    template,
    write_record,
)
from sluicegate.versioning.merge import merge, uncommitted
from sluicegate.yaml_file import Strict

MEANINGS = {
    "add": "new in this version",
    "replace": "never edited here",
    "merge": "edited here: both changes are in it",
    "rename": "release.base is release.model in this version, and fields that are gone are out",
    "remove": "never edited here, and not used by this version",
    "beside": "edited here where this version changed it: merge {path}.new by hand, delete it",
    "open": "{path}.new of an upgrade is still there: merge it by hand, delete it",
    "keep": "yours stays; this version's differs from the one it came from: {template}",
}
"""What may happen to a file, and why."""
_WRITTEN = ("add", "replace", "merge", "beside", "rename")
_CHANGING = ("replace", "merge", "remove", "rename")
_SECTIONS: Mapping[str, type[Strict]] = {"calibration": CalibrationParams}
"""Sections of params.yaml from which fields have gone."""
_BY_HAND = ("beside", "open")


@dataclass(frozen=True, slots=True)
class Step:
    """What an upgrade does with one file. `text` is what it writes: to `path`, or beside it."""

    path: str
    action: str
    text: bytes = b""

    @property
    def why(self) -> str:
        """The reason, for a person."""
        return MEANINGS[self.action].format(path=self.path, template=template() / self.path)

    @property
    def by_hand(self) -> bool:
        """Whether a person has to finish it."""
        return self.action in _BY_HAND


def plan(root: Path) -> list[Step]:
    """What an upgrade of the project at `root` would do, by path; writes nothing.

    Raises:
        ConfigError: the project's record is damaged.
        EnvironmentFailure: a file cannot be read, or git cannot merge.
    """
    if template() == root.resolve():
        return []
    record = recorded(root)
    wrote, new = record.files, files(record.template)
    paths = sorted(path for path in wrote.keys() | new.keys() if not is_sample(path))
    steps = [_step(root, path, wrote.get(path), new.get(path)) for path in paths]
    return [*_fields(root), *(step for step in steps if step is not None)]


def due(root: Path) -> list[Step]:
    """The steps that wait: for `sluice upgrade`, or for a person after it."""
    return [step for step in plan(root) if step.action != "keep"]


def upgrade(root: Path) -> list[Step]:
    """Carry out the plan and record it. After a kill, call it again: what is done stays done.

    Raises:
        UsageError: a file that would change is not committed, so that git could not bring it back;
            or a `.new` of an earlier upgrade is in the way. Nothing was written.
        ConfigError: the project's record is damaged.
        VersioningError: git is missing, or the project is not in a repository.
        EnvironmentFailure: a file cannot be read or written.
    """
    steps = plan(root)
    changed = [step.path for step in steps if step.action in _CHANGING]
    unsaved = uncommitted(root, changed)
    if unsaved:
        raise UsageError(
            f"not committed, and an upgrade would change them: {', '.join(unsaved)}",
            hint="Commit them, so that git can bring them back; then run it again.",
        )
    _refuse_other_news(root, steps)
    for step in steps:
        _carry_out(root, step)
    if template() != root.resolve():
        kind = recorded(root).template
        write_record(root, files(kind), kind)
    return steps


def _step(root: Path, path: str, wrote: str | None, new: bytes | None) -> Step | None:
    """The step for one file: `wrote` is the digest of what was written, `new` this version's text."""
    place = root / path
    there = place.exists() or place.is_symlink()
    if new is None:
        untouched = there and not is_own(path) and digest_bytes(_read(place)) == wrote
        return Step(path, "remove") if untouched else None
    if not there:  # deleted by its owner, unless it was never written
        return Step(path, "add", new) if wrote is None else None
    mine, plain = _read(place), place.is_file() and not place.is_symlink()
    if digest_bytes(new) == wrote or mine == new:
        return Step(path, "open") if mine != new and _beside(place).exists() else None
    if is_own(path):
        return Step(path, "keep") if wrote is not None else None
    if plain and digest_bytes(mine) == wrote:
        return Step(path, "replace", new)
    base = former_text(path, wrote) if wrote is not None else None
    merged = merge(mine, base, new) if plain and base is not None else None
    if merged is None:
        return Step(path, "beside", new)
    return Step(path, "merge", merged) if merged != mine else None


def _fields(root: Path) -> list[Step]:
    """What has another name now in params.yaml, and what is gone; every other byte stays."""
    text = _read(root / MARKER)
    new = _without_gone(_renamed(text))
    return [Step(MARKER, "rename", new)] if new != text else []


def _renamed(text: bytes) -> bytes:
    section = re.search(rb"^release:.*\n(?:[ \t].*\n|[ \t]*#.*\n|\s*\n)*", text, re.M)
    if section is None:
        return text
    new = re.sub(rb"^([ \t]+|.*[{,] *)base:", rb"\1model:", section[0], count=1, flags=re.M)
    return text.replace(section[0], new, 1)


def _without_gone(text: bytes) -> bytes:
    """A params.yaml without the fields that are gone, where each is a line of its own."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    lines = text.decode("utf-8", "surrogateescape").splitlines(keepends=True)
    try:
        sections = YAML().load("".join(lines))
    except (YAMLError, ValueError):
        return text  # whoever reads it next says what is wrong
    if not isinstance(sections, dict):
        return text
    places = [
        values.lc.key(name)
        for section, schema in _SECTIONS.items()
        if isinstance(values := sections.get(section), CommentedMap) and not values.fa.flow_style()
        for name in schema.gone
        if name in values and not isinstance(values[name], dict | list)
    ]
    for line, _ in sorted(places, reverse=True):
        del lines[line]
    return "".join(lines).encode("utf-8", "surrogateescape")


def _carry_out(root: Path, step: Step) -> None:
    place = root / step.path
    if step.action == "remove":
        place.unlink()
    elif step.action in _WRITTEN:
        target = _beside(place) if step.action == "beside" else place
        mode = place.stat().st_mode & 0o777 if place.is_file() else 0o644
        with atomic_file(target, mode=mode) as stream:
            stream.write(step.text)


def _refuse_other_news(root: Path, steps: Iterable[Step]) -> None:
    """A `.new` with another text is somebody's unfinished work."""
    for step in steps:
        beside = _beside(root / step.path)
        if step.action == "beside" and beside.exists() and _read(beside) != step.text:
            raise UsageError(
                f"{step.path}.new of an earlier upgrade is still there.",
                hint=f"Merge it into {step.path} by hand and delete it; then run it again.",
            )


def _beside(place: Path) -> Path:
    return place.with_name(f"{place.name}.new")


def _read(place: Path) -> bytes:
    """The bytes of a file; nothing for what is no file, which is then never replaced."""
    if not place.is_file():
        return b""
    try:
        return place.read_bytes()
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot read {place}: {error.strerror}", hint="Fix permissions."
        ) from error
