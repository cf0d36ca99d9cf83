"""Every explicit table of the package has a contract test that runs over all of its rows."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sluicegate"
TABLES: dict[str, str] = {}
"""Name of a table to the file of tests that runs over its rows."""
_TARGET = re.compile(r"sluicegate\.[\w.]+(:\w+)?")


def is_row(value: ast.expr) -> bool:
    """A row names code (`module:function`), or is a function, or an object made for the table."""
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str) and bool(_TARGET.fullmatch(value.value))
    if isinstance(value, ast.Call):
        return True
    if not isinstance(value, ast.Name | ast.Attribute):
        return False
    name = ast.unparse(value)
    return name.islower() and not hasattr(builtins, name)


def tables(path: Path) -> Iterator[str]:
    """The public tables that a module defines: constants that map names to rows."""
    for node in ast.parse(path.read_text("utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if not (isinstance(target, ast.Name) and isinstance(value, ast.Dict)):
            continue
        rows = [row for key, row in zip(value.keys, value.values, strict=True) if key is not None]
        if re.fullmatch(r"[A-Z][A-Z_]*", target.id) and rows and all(map(is_row, rows)):
            yield target.id


FOUND = sorted(name for path in PACKAGE.rglob("*.py") for name in tables(path))


def test_every_table_is_listed() -> None:
    """A new table comes with a contract test over its rows, named here; a name means one table."""
    assert sorted(TABLES) == FOUND


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_contract(name: str) -> None:
    """The contract takes the table itself, not a list of names, and runs over its rows."""
    text = (ROOT / "tests" / TABLES[name]).read_text("utf-8")
    assert re.search(rf"\b{name}\b", text)
    assert "parametrize" in text
