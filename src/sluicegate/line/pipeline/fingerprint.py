"""Write what the other stages watch: code hashes per stage; digests of sources, prompt, base model,
metrics and champion.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any

from grimp import ImportGraph, build_graph

import sluicegate
from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError, DataError
from sluicegate.hashing import digest_file, digest_folder, digest_value, write_json
from sluicegate.line.judge.clients import failures
from sluicegate.line.parts import JUDGED, Bytes, base_value, judges_value, model_value, source_value
from sluicegate.line.pipeline import STAGES
from sluicegate.line.pipeline.application import application_of
from sluicegate.line.pipeline.base_model import price as price_of_release
from sluicegate.line.run import Run
from sluicegate.metrics import metrics_digest
from sluicegate.models.base_models import file_digest, folder_digest
from sluicegate.project import model_cache

PACKAGE = Path(sluicegate.__file__).parent
BASELINE = "SLUICE_BASELINE"
"""Environment variable: the stored release to compare with where nothing serves yet (`sluice gate
--base`).
"""
_ENTRY = re.compile(r"(sluicegate(?:\.[a-z_0-9]+)+):")


def stage(run: Run) -> None:
    """Write build/code.json and build/inputs.json."""
    code = {name: stage_hash(one.module) for name, one in STAGES.items() if one.watched}
    write_json(run.project.build / "code.json", code)
    write_json(run.project.build / "inputs.json", inputs(run))


def inputs(run: Run) -> dict[str, Any]:
    """Digests of everything outside the engine's code that a stage may depend on.

    Raises:
        ConfigError: a reader or a metric cannot be found.
        DataError: a source's file is missing.
        MissingExtraError: a metric's package is not installed.
    """
    champion, metrics = run.champion, run.params.evaluate.metrics
    price, bytes_of = price_of_release(run), _on_disk(run)
    return {
        "sources": {
            name: digest_value(
                [*source_value(run, spec, name, bytes_of), *_reader(name, spec.kind)]
            )
            for name, spec in run.sources.items()
        },
        "prompt": run.prompt.digest,
        "base": digest_value(base_value(run, bytes_of)),
        "application": _application(run, bytes_of),
        "champion": champion.release if champion else read_variable(BASELINE, "none"),
        "price": digest_value(price.model_dump() if price else None),
        "metrics": metrics_digest([name for name in metrics if not name.startswith(JUDGED)]),
        "judges": digest_value(_judges(run, bytes_of)),
    }


def _application(run: Run, bytes_of: Bytes) -> str:
    """Digest of the code that answers, with its models; those with weights are not opened for it."""
    if not run.params.release.is_code:
        return "none"
    roles = run.params.release.roles
    models = {role: model_value(run, name, bytes_of) for role, name in roles.items()}
    return application_of(run, models).digest


def _on_disk(run: Run) -> Bytes:
    """Digests of files and folders as they are; of a model only what changed is read again."""

    def bytes_of(what: str, path: str, *, absent: bool = False, hub: bool = False) -> Any:
        found = (run.project.root / path).expanduser().resolve()
        if absent:
            return "absent"
        if found.is_dir():
            model = (found / "config.json").is_file()
            return folder_digest(found, model_cache()) if model else digest_folder(found)
        if found.is_file():
            weights = found.suffix == ".gguf"
            return file_digest(found, model_cache()) if weights else digest_file(found)
        if hub:
            return path
        raise DataError(
            f"{what}: there is no {found}.", hint="Paths are relative to the project root."
        )

    return bytes_of


def _reader(name: str, kind: str) -> list[str]:
    """Digest of the file with a team's own reader (`module:function`), which is not run; nothing
    for the engine's.

    Raises:
        ConfigError: there is no such file.
    """
    if ":" not in kind:
        return []
    try:
        found = importlib.util.find_spec(kind.partition(":")[0])
    except (ImportError, ValueError):
        found = None
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise ConfigError(
            f"registry/sources.yaml: {name}.kind: {kind!r} has no source file to identify it by.",
            hint="Put it beside params.yaml, or install it.",
        )
    return [digest_file(Path(found.origin))]


def _judges(run: Run, bytes_of: Bytes) -> dict[str, Any]:
    """The judged metrics with the code that scores, and how often questions had no answer: those
    are asked again.
    """
    value = judges_value(run, bytes_of)
    if not value:
        return {}
    code = stage_hash("sluicegate.evaluation.judging")
    return {"code": code, "failures": failures(run.project), **value}


def stage_hash(module: str) -> str:
    """Digest of `module` and of every engine module that it imports, directly or not, by name and
    content: lazy imports and "module:function" entries of tables too, what only a type checker
    reads not.
    """
    graph, seen, waiting = _imports(), dict[str, str](), [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in graph.modules or (name in NEUTRAL and name != module):
            continue
        file = _file(name)
        seen[name] = digest_file(file)
        if file.name == "__init__.py":  # word lists are code, too
            seen |= {
                str(data.relative_to(PACKAGE)): digest_file(data)
                for data in sorted(file.parent.glob("*/*.txt"))
            }
        waiting.extend(graph.find_modules_directly_imported_by(name))
        waiting.extend(_ENTRY.findall(file.read_text("utf-8")))
    return digest_value(seen)


# What steers, reports or records does not change what a stage writes; nor do its imports. Judges
# count where one is used.
NEUTRAL = frozenset(
    f"sluicegate{part}"
    for part in (
        "",
        ".errors",
        ".environment",
        ".yaml_file",
        ".config",
        ".budget",
        ".project",
        ".tracking",
        ".ledger",
        ".releasing",
        ".evaluation.judging",
        ".line",
        ".line.judge.clients",
        ".line.pipeline",
        ".line.pipeline.evaluation_run",
        ".line.progress",
        ".line.run",
    )
)


def _file(name: str) -> Path:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _imports() -> ImportGraph:
    """Who imports whom in the engine; 0.1 s for 270 modules, so nothing is kept on disk."""
    return build_graph(PACKAGE.name, exclude_type_checking_imports=True, cache_dir=None)
