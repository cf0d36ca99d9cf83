"""What `sluice init` writes: the template's files, and the record of them that a project keeps.

The record, `.sluicegate.json`, is committed with the project. Texts of earlier templates are in
`history/`, one archive per version, found by digest: a merge needs what was written then.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import sluicegate
from sluicegate.hashing import digest_bytes, write_atomic
from sluicegate.yaml_file import Strict, load

FOLDERS = ("flows", "prompts", "registry", "data/sample", "tests/project")
FILES = (
    "dvc.yaml",
    "params.yaml",
    "prefect.yaml",
    "requirements.txt",
    ".github/workflows/sluice-gate.yml",
    ".gitlab-ci.yml",
)
RECORD, _README = ".sluicegate.json", "README.md"
DIGESTS = "digests.json"
UNRECORDED = "0.1.0"
"""The version that made the projects which have no record."""
TUNED, HOSTED, CODE = "tuned", "hosted", "code"
EXAMPLES = {CODE: "triage", "rag": "rag", "tools": "tools"}
"""Templates that are applications in code, each with its folder of `examples/`."""
TEMPLATES = (TUNED, HOSTED, *EXAMPLES)
"""What `sluice init` can make."""
_HERE = Path(__file__).parent
_HISTORY = _HERE / "history"
_OWN = ("params.yaml", "app/", "documents/", "prompts/", "registry/")
_SAMPLE, _CHANGES = "data/sample/", "changes/"
_SUMMARIES = (_SAMPLE, "prompts/summarize", "tests/project/test_sample")
_IGNORED = """/.venv/
/.sluice/
/build/
/reports/
/data/prepared/
/data/development/
/data/golden/golden.jsonl
/data/raw/feedback.jsonl
__pycache__/
.pytest_cache/
"""


class Record(Strict):
    """Which version wrote a project's files, from which template, and the SHA-256 of each as it was
    written.
    """

    version: str
    files: dict[str, str]
    template: str = TUNED


def template() -> Path:
    """Folder holding the template: inside the wheel, or the checkout's root (editable install)."""
    packaged = Path(sluicegate.__file__).parent / "template"
    return packaged if packaged.is_dir() else Path(sluicegate.__file__).parents[2]


def files(kind: str = TUNED) -> dict[str, bytes]:
    """Every file of the installed version's template, by its path in a project.

    Args:
        kind: one of TEMPLATES.
    """
    source, found = template(), {".gitignore": _IGNORED.encode()}
    for path in (*map(source.joinpath, FILES), *_inside(source)):
        found[path.relative_to(source).as_posix()] = path.read_bytes()
    layers = [] if kind == TUNED else [_HERE / HOSTED]
    if kind in EXAMPLES:
        found = {path: text for path, text in found.items() if not path.startswith(_SUMMARIES)}
        layers.append(source / "examples" / EXAMPLES[kind])
    for layer in layers:
        places = {path.relative_to(layer).as_posix(): path for path in _visible(layer)}
        found |= {place: path.read_bytes() for place, path in places.items() if place != _README}
    return dict(sorted(found.items()))


def is_sample(path: str) -> bool:
    """Data and changes to try things on: never brought into a project that exists."""
    return path.startswith((_SAMPLE, _CHANGES))


def is_own(path: str) -> bool:
    """A project's own content from the first day: parameters, prompts, policy. Never replaced."""
    return path.startswith(_OWN)


def write_record(root: Path, wrote: Mapping[str, bytes], kind: str = TUNED) -> None:
    """Record that the installed version wrote these files."""
    digests = {path: digest_bytes(text) for path, text in wrote.items()}
    record = {"version": sluicegate.__version__, "template": kind, "files": digests}
    write_atomic(root / RECORD, json.dumps(record, indent=2) + "\n")


def recorded(root: Path) -> Record:
    """What was written into the project at `root`; without a record, what version 0.1.0 wrote.

    Raises:
        ConfigError: the record is damaged.
    """
    if (root / RECORD).is_file():
        return load(root / RECORD, Record)
    with zipfile.ZipFile(_HISTORY / f"{UNRECORDED}.zip") as archive:
        return Record(version=UNRECORDED, files=json.loads(archive.read(DIGESTS)))


def former_text(path: str, digest: str) -> bytes | None:
    """The text with this digest that an earlier template had at `path`, if it is known."""
    return _former().get((path, digest))


def archive(wrote: Mapping[str, bytes]) -> bytes:
    """What `history/` keeps of a version: digests of all files, texts of those that are merged."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        digests = {path: digest_bytes(text) for path, text in wrote.items()}
        entries = {DIGESTS: json.dumps(digests, indent=1).encode()}
        entries |= {p: text for p, text in wrote.items() if not is_own(p) and not is_sample(p)}
        for name, text in entries.items():
            target.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return made.getvalue()


@cache
def _former() -> dict[tuple[str, str], bytes]:
    found = {}
    for version in _HISTORY.glob("*.zip"):
        with zipfile.ZipFile(version) as stored:
            for path in stored.namelist():
                text = stored.read(path)
                found[path, digest_bytes(text)] = text
    return found


def _inside(source: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        yield from _visible(source / folder)


def _visible(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield path
