"""Do the tests notice a changed line? Mutants of a package, in an order that chance fixed, each
against the same tests.

    python tests/mutants.py gates 0 100 tests/unit/test_gates*.py

The mutants are cosmic-ray's (`pip install cosmic-ray`; no dependency of the project), tried in a
copy of the checkout. Left out are those that do not compile and those that differ in annotations
only, which nothing evaluates outside of policy.py. Line by line: number, file and line, operator,
and `killed` or `SURVIVED`.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

SEED = 20
ROOT = Path(__file__).parents[1]


def shape(code: str, *, annotations: bool) -> str:
    """What Python makes of `code`, with or without its annotations."""
    tree = ast.parse(code)
    for node in () if annotations else ast.walk(tree):
        if isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.dump(tree)


def mutants(path: Path) -> Iterator[tuple[Path, int, str, str]]:
    """File, line, operator and code of every mutant of one module."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    code, annotations = path.read_text("utf-8"), path.name == "policy.py"
    before, tree = shape(code, annotations=annotations), get_ast(code)
    for name in sorted(operator_names()):
        if get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        places = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for number, (start, _) in enumerate(places):
            mutant = mutate_code(code, operator, number)
            try:
                changed = shape(mutant, annotations=annotations) != before
            except SyntaxError:
                continue
            if changed:
                yield path, start[0], name.removeprefix("core/"), mutant


def main(package: str, first: int, last: int, tests: list[str]) -> None:
    """Try the mutants `first` up to, not including, `last`."""
    drawn = [
        one
        for path in sorted((ROOT / "src/sluicegate" / package).glob("*.py"))
        for one in mutants(path)
    ]
    random.Random(SEED).shuffle(drawn)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(
        listed, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        *tests,
    ]
    killed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in filter(None, files):
            (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, Path(folder) / name)
        env = {
            **os.environ,
            "PYTHONPATH": f"{folder}/src",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_HUB_OFFLINE": "1",
        }
        if subprocess.run(command, cwd=folder, env=env, stdout=subprocess.DEVNULL).returncode:
            sys.exit("The tests fail as they are.")
        for number, (path, line, operator, mutant) in list(enumerate(drawn))[first:last]:
            copy = Path(folder) / path.relative_to(ROOT)
            copy.write_text(mutant, "utf-8")
            try:
                found = subprocess.run(
                    command, cwd=folder, env=env, stdout=subprocess.DEVNULL, timeout=600
                ).returncode
            except subprocess.TimeoutExpired:
                found = 1
            shutil.copyfile(path, copy)
            killed += bool(found)
            print(
                number,
                f"{path.name}:{line}",
                operator,
                "killed" if found else "SURVIVED",
                flush=True,
            )
    print(f"{killed} of {len(drawn[first:last])} killed, drawn from {len(drawn)} (seed {SEED})")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
