"""Which files of a project an application consists of: the code that it imports, and its data."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from sluicegate.errors import ConfigError, did_you_mean

FORM = "It has the form app.module:function; the module lies below the project's root."


def code_files(entry: str, root: Path) -> dict[str, Path]:
    """The files of `root` that `entry` (`module:function`) imports, directly or not, by their paths
    from there.

    Imports are read, never run: whatever stands in an import statement counts, also inside a
    function. What is imported by a computed name is not seen; it has to be declared as data.

    Raises:
        ConfigError: there is no such module or function, a file is not Python, or leads out of the
            project.
    """
    module, _, function = entry.partition(":")
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        for path in _files(name, root):
            place = _inside(path, root)
            if place not in found:
                found[place] = path
                waiting.extend(_imported(_parsed(path, place), place))
    if not function or not _files(module, root):
        known = sorted(_modules(root))
        raise ConfigError(
            f"params.yaml: release.application: there is no {module}.py in this project"
            f"{did_you_mean(module, known)}.",
            hint=FORM,
        )
    _check_signature(found[_inside(_files(module, root)[-1], root)], function, entry)
    return dict(sorted(found.items()))


def data_files(declared: Sequence[str], root: Path) -> dict[str, Path]:
    """The files that params.yaml declares under `release.data`, by their paths from `root`; of a
    folder all that is in it.

    Raises:
        ConfigError: one is missing, no plain file, or leads out of the project.
    """
    found: dict[str, Path] = {}
    for name in declared:
        path = root / name
        if not path.exists():
            near = did_you_mean(name, (_inside(one, root) for one in path.parent.glob("*")))
            raise ConfigError(
                f"params.yaml: release.data: there is no {name}{near}.",
                hint="Paths start at the project's root.",
            )
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                found[_inside(file, root)] = file
    return found


def _files(module: str, root: Path) -> list[Path]:
    """The file of a module behind those of the packages around it; nothing if it is not ours."""
    parts = module.split(".")
    path = root.joinpath(*parts)
    own = [one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()][:1]
    around = [root.joinpath(*parts[:end], "__init__.py") for end in range(1, len(parts))]
    return [*filter(Path.is_file, around), *own] if own else []


def _inside(path: Path, root: Path) -> str:
    try:
        path.resolve().relative_to(root.resolve())
        return path.relative_to(root).as_posix()
    except ValueError:
        raise ConfigError(
            f"{path} leads out of the project.",
            hint="What a release consists of lies below the project's root: copy it there.",
        ) from None


def _parsed(path: Path, place: str) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise ConfigError(f"{place}:{line}: {error}", hint="Correct it; nothing was run.") from None


def _imported(tree: ast.Module, place: str) -> Iterator[str]:
    """Names that the import statements of the file at `place` may bring in, modules or not."""
    package = place.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _modules(root: Path) -> Iterator[str]:
    for path in root.glob("app/**/*.py"):
        yield ".".join(path.relative_to(root).with_suffix("").parts)


def _check_signature(path: Path, function: str, entry: str) -> None:
    """Whether there is such a function, and whether it takes the inputs and the app.

    What is made otherwise (an instance, a decorated name) is looked at when it runs.
    """
    tree = ast.parse(path.read_bytes())
    where = f"params.yaml: release.application: {entry!r}"
    named: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            named.add(node.name)
            if node.name == function and not node.decorator_list:
                most = len(node.args.posonlyargs) + len(node.args.args)
                least = most - len(node.args.defaults)
                if not (least <= 2 <= most or (node.args.vararg and least <= 2)):
                    raise ConfigError(
                        f"{where}: {function} takes {most} arguments, not two.",
                        hint=f"Write `def {function}(inputs, app):`.",
                    )
        elif isinstance(node, ast.ClassDef):
            named.add(node.name)
        else:
            named |= {
                one.id
                for one in ast.walk(node)
                if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)
            }
            named |= {
                alias.asname or alias.name
                for one in ast.walk(node)
                if isinstance(one, ast.ImportFrom)
                for alias in one.names
            }
    if function not in named:
        near = did_you_mean(function, named)
        raise ConfigError(f"{where}: {path.name} has no {function!r}{near}.", hint=FORM)
