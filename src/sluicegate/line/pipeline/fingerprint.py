"""Write what the other stages watch: code hashes per stage; digests of sources, prompt, base model, metrics and champion."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import sluicegate
from sluicegate.config import SourcesFile, SourceSpec, load
from sluicegate.data import is_absent
from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError, DataError
from sluicegate.hashing import digest_file, digest_folder, digest_value, write_json
from sluicegate.ledger import Ledger
from sluicegate.line.pipeline.base_model import model_spec
from sluicegate.line.run import Context, open_context
from sluicegate.metrics import metrics_digest
from sluicegate.project import Project, model_cache

PACKAGE = Path(sluicegate.__file__).parent
OPPONENT = "SLUICE_OPPONENT"
"""Environment variable: the stored release to compare with where nothing serves yet (`sluice gate --base`)."""
JUDGED = "judge:"
"""As `evaluation.judging.PREFIX`, which would bring more than this stage needs."""
WATCHED = ("prepare", "tune", "evaluate", "profile")
_NAMED = re.compile(r"sluicegate(?:\.[a-z_0-9]+)+")


def run(project: Project) -> None:
    """Write build/code.json and build/inputs.json."""
    write_json(
        project.build / "code.json",
        {name: stage_hash(f"sluicegate.line.pipeline.{name}") for name in WATCHED},
    )
    write_json(project.build / "inputs.json", inputs(project))


def inputs(project: Project) -> dict[str, Any]:
    """Digests of everything outside the engine's code that a stage may depend on.

    Raises:
        ConfigError: a reader or a metric cannot be found.
        DataError: a source's file is missing.
        MissingExtraError: a metric's package is not installed.
    """
    context = open_context(project)
    sources = load(project.registry / "sources.yaml", SourcesFile).sources
    champion = Ledger(project.ledger_url).champion()
    return {
        "sources": {
            name: digest_value(
                [
                    spec.model_dump(include={"kind", "path", "role", "fields", "options"}),
                    _bytes(name, spec, project.root),
                    *_reader(name, spec.kind),
                ]
            )
            for name, spec in sources.items()
        },
        "prompt": context.prompt.digest,
        "base": digest_value(_base(context)),
        "champion": champion.release if champion else read_variable(OPPONENT, "none"),
        "price": digest_value(
            context.params.release.price.model_dump() if context.params.release.price else None
        ),
        "metrics": metrics_digest(
            [name for name in context.params.evaluate.metrics if not name.startswith(JUDGED)]
        ),
        "judges": digest_value(_judges(context)),
    }


def _base(context: Context) -> list[Any]:
    """What is known of the base model without opening it: name, entry and, where its files lie here, their digest.

    The digest is kept beside size and time of each file, so that only what changed is read.
    """
    spec = model_spec(context)
    known = [
        context.params.release.base,
        spec.model_dump(exclude={"notes", "licence", "commercial", "residency", "endpoint"}),
    ]
    if not spec.path:
        return known
    from sluicegate.models.base_models import file_digest, folder_digest

    path = (context.project.root / spec.path).expanduser().resolve()
    if path.is_dir():
        return [*known, folder_digest(path, model_cache())]
    return [*known, file_digest(path, model_cache()) if path.is_file() else "absent"]


def _reader(name: str, kind: str) -> list[str]:
    """Digest of the file with a team's own reader (`module:function`), which is not run; nothing for the engine's.

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
            hint="Is the module installed, or its folder in PYTHONPATH?",
        )
    return [digest_file(Path(found.origin))]


def _judges(context: Context) -> dict[str, Any]:
    """What the judged metrics depend on: code, criteria, models. Empty where params.yaml names no judge.

    Raises:
        ConfigError: a criterion or a model that it names is missing.
    """
    if not any(name.startswith(JUDGED) for name in context.params.evaluate.metrics):
        return {}
    from sluicegate.evaluation.judging import criteria
    from sluicegate.line.judge.clients import failures, judge_specs, model_identity

    chosen = criteria(context.params.evaluate.metrics, context.project.prompts)
    return {
        "code": stage_hash("sluicegate.evaluation.judging"),
        "failures": failures(context.project),
        **{
            one.metric: [
                one.digest,
                {
                    name: model_identity(spec)
                    for name, spec in judge_specs(context.project, one.judges).items()
                },
            ]
            for one in chosen
        },
    }


def _bytes(name: str, spec: SourceSpec, root: Path) -> str:
    path = root / spec.path
    if is_absent(spec, root):
        return "absent"
    if path.is_dir():
        return digest_folder(path)
    if path.is_file():
        return digest_file(path)
    if spec.kind == "huggingface":
        return spec.path
    raise DataError(
        f"registry/sources.yaml: {name}: path: there is no {path}.",
        hint="Paths are relative to the project root.",
    )


def stage_hash(module: str) -> str:
    """Digest of `module` and of every engine module that it imports, directly or not, by name and content."""
    seen: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = _file(name)
        if name in seen or file is None or (name in NEUTRAL and name != module):
            continue
        seen[name] = digest_file(file)
        if file.name == "__init__.py":  # word lists are code, too
            seen |= {
                str(data.relative_to(PACKAGE)): digest_file(data)
                for data in sorted(file.parent.glob("*/*.txt"))
            }
        waiting.extend(_imports(file))
    return digest_value(seen)


# What steers, reports or records does not change what a stage writes; nor do its imports. Judges count where one is used.
NEUTRAL = frozenset(
    f"sluicegate{part}"
    for part in (
        "",
        ".errors",
        ".config",
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
    )
)


def _file(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


@cache
def _imports(file: Path) -> tuple[str, ...]:
    """Engine modules named in import statements (at any depth) and in "module:function" table entries."""
    names: set[str] = set()
    for node in _executed(ast.parse(file.read_text("utf-8"))):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.startswith("sluicegate")
        ):
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names if alias.name.startswith("sluicegate."))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            names.update(_NAMED.findall(node.value))
    return tuple(sorted(names))


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `tree`, but for what only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
        ):
            continue
        yield node
        yield from _executed(node)
