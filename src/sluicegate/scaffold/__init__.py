"""`sluice init`: copy a template (the engine's own root folders) into a new folder under git.

`sluice upgrade` (in `upgrade`) brings a project's copy forward; `template` knows what was copied.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sluicegate.config import ModelsFile
from sluicegate.errors import ConfigError, EnvironmentFailure, UsageError
from sluicegate.models.addresses import check_url
from sluicegate.scaffold.template import (
    CODE,
    EXAMPLES,
    FILES,
    FOLDERS,
    HOSTED,
    TEMPLATES,
    TUNED,
    files,
    write_record,
)
from sluicegate.versioning import git
from sluicegate.yaml_file import load

__all__ = [
    "CODE",
    "EXAMPLES",
    "FILES",
    "FOLDERS",
    "HOSTED",
    "TEMPLATES",
    "TUNED",
    "Endpoint",
    "init",
]

_BUILDING = ".sluice-init"
_README = """# {name}

A Sluicegate project: data, prompts and policy here, the engine in the installed package.

{key}    sluice release --no-server     # sample data to champion
    sluice up && sluice release   # the same as a Prefect flow on local servers
    sluice gate --base main    # what a pull request gets: .github/workflows, .gitlab-ci.yml
    pytest tests               # this project's own tests
    sluice upgrade             # after `pip install -U sluicegate`: these files, brought forward

Edit `params.yaml`, `prompts/`, `registry/`; see `sluice --help`.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Whom a hosted project asks; what is empty stays as in the template.

    Attributes:
        url: up to and with `/v1`; one without TLS is taken for a server in a network of one's own.
        model: the server's name for it.
        key_env: the environment variable that holds the API key.
    """

    url: str = ""
    model: str = ""
    key_env: str = ""


def init(target: Path, template: str = TUNED, endpoint: Endpoint | None = None) -> list[str]:
    """Make a new project in `target`, which must be absent or empty; returns the files written.

    An absent target is built beside its place and renamed into it. An empty folder stays the same
    folder, which a shell may stand in: it is filled, and emptied again if that fails; what a killed
    call was building there does not stand in the way.

    Args:
        template: one of TEMPLATES: `tuned` (open weights, tuned here), `hosted` (a prompt on a
            model behind an address; no torch), or code that asks such a model: `code`
            (classification), `rag` (search and answer) or `tools` (a chain with tools).
        endpoint: whom a hosted one asks.

    Raises:
        UsageError: the target exists and is not empty, or an endpoint is given that cannot be.
        VersioningError: git is missing, or could not commit.
        EnvironmentFailure: the disk is full or the folder cannot be written; nothing stays.
    """
    target = target.resolve()
    if target.exists() and (
        not target.is_dir() or any(path.name != _BUILDING for path in target.iterdir())
    ):
        raise UsageError(f"{target} exists and is not empty.", hint="Choose a new folder.")
    wrote = files(template)
    filled = _filled(wrote, template, endpoint or Endpoint())
    there = target.exists()
    building = target / _BUILDING if there else target.with_name(f".{target.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    try:
        for name, text in filled.items():
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            (building / name).write_bytes(text)
        write_record(building, wrote, template)  # unfilled: an upgrade then merges, as with edits
        variable = _key_env(filled) if template != TUNED else ""
        key = f"    export {variable}=...\n" if variable else ""
        (building / "README.md").write_text(_README.format(name=target.name, key=key), "utf-8")
        _first_commit(building)
        if there:
            _fill(target, building)
        else:
            building.rename(target)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {target}: {error.strerror or error}",
            hint="Free disk space or fix permissions, then run again.",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return sorted(
        str(path.relative_to(target))
        for path in target.rglob("*")
        if path.is_file() and ".git" not in path.parts
    )


def _filled(wrote: Mapping[str, bytes], template: str, endpoint: Endpoint) -> Mapping[str, bytes]:
    """The template's files with the endpoint in them."""
    if template == TUNED:
        if endpoint != Endpoint():
            raise UsageError(
                "--endpoint, --model and --key-env are for a hosted model.",
                hint="Add --template hosted.",
            )
        return wrote
    url, models = endpoint.url, "registry/models.yaml"
    given = {"url": url, "model": endpoint.model, "key_env": endpoint.key_env}
    text = wrote[models].decode()
    for name, value in given.items():
        if value:
            plain = re.fullmatch(r"[A-Za-z][\w./:@-]*", value)
            line = f"      {name}: {value if plain else json.dumps(value)}"
            line = line.replace("\\", r"\\")
            text = re.sub(rf"^      {name}: \S+", line, text, count=1, flags=re.M)
    if url.startswith("http:"):
        text = text.replace("# allow_private: true ", "allow_private: true ", 1)
    if url and not endpoint.key_env:
        text = re.sub(r"^      key_env:", "      # key_env:", text, count=1, flags=re.M)
    filled = {**wrote, models: text.encode()}
    _check_entry(text)
    for path, old, new in _edits(_key_env(filled)):
        filled[path] = filled[path].replace(old.encode(), new.encode(), 1)
    return filled


def _check_entry(text: str) -> None:
    """Raises UsageError where what was given is no address, name or variable."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.yaml"
        path.write_text(text, "utf-8")
        try:
            entry = load(path, ModelsFile).models["main"].endpoint
        except ConfigError as error:
            raise UsageError(
                f"no endpoint can be made of what was given: {str(error).replace(str(path), '')}",
                hint="sluice init FOLDER --template hosted --endpoint https://host/v1 --model NAME "
                "--key-env VARIABLE",
            ) from error
    assert entry is not None, "the template's entry is an endpoint"
    check_url(entry, "main")


def _key_env(filled: Mapping[str, bytes]) -> str:
    found = re.search(rb"^      key_env: (\S+)", filled["registry/models.yaml"], re.M)
    return found[1].decode() if found else ""


def _edits(variable: str) -> list[tuple[str, str, str]]:
    """What else a hosted project has in place of what the shared files say."""
    key = "MY_KEY: ${{ secrets.MY_KEY }}"
    edits = [
        ("registry/selection.yaml", "candidates: [smollm2-135m-instruct]", "candidates: [main]")
    ]
    if variable:
        named = key.replace("MY_KEY", variable)
        edits.append((".github/workflows/sluice-gate.yml", f"# {key}", named))
    return edits


def _fill(target: Path, building: Path) -> None:
    """Move everything up into `target`."""
    names = sorted(path.name for path in building.iterdir())
    try:
        for name in names:
            (building / name).rename(target / name)
    except BaseException:
        moved = [target / name for name in names if not (building / name).exists()]
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _first_commit(folder: Path) -> None:
    """Lineage needs a commit; it names its author, since git may have none configured."""
    author = ("-c", "user.name=sluice init", "-c", "user.email=sluice@example.invalid")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all")
    git(folder, *author, "commit", "--quiet", "-m", "sluice init")
