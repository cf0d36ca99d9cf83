"""Every explicit table of the package has a contract test that runs over all of its rows."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluicegate.drift import DETECTORS, VECTOR_DETECTORS
from sluicegate.gates import RULES
from sluicegate.judges import FORMS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "sluicegate"
TABLES = {
    "BASELINES": "contracts/test_evaluation_contract.py",
    "COMMANDS": "contracts/test_command_contract.py",
    "DAMAGES": "contracts/test_damage_contract.py",
    "DETECTORS": "contracts/test_detector_contract.py",
    "DIALECTS": "contracts/test_dialect_contract.py",
    "ENGINES": "contracts/test_engine_contract.py",
    "FORMS": "contracts/test_judge_contract.py",
    "KINDS": "contracts/test_personal_data_contract.py",
    "METRICS": "contracts/test_metric_contract.py",
    "MODELS": "contracts/test_model_contract.py",
    "RULES": "contracts/test_rule_contract.py",
    "SOURCES": "contracts/test_source_contract.py",
    "STAGES": "contracts/test_stage_contract.py",
    "VECTOR_DETECTORS": "contracts/test_detector_contract.py",
    "WITH_MODEL": "contracts/test_model_metric_contract.py",
}
"""Name of a table to the file of tests that runs over its rows."""
SOURCES = {path: path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
ROWS = {
    "DETECTORS": set(DETECTORS),
    "FORMS": set(FORMS),
    "RULES": set(RULES),
    "VECTOR_DETECTORS": set(VECTOR_DETECTORS),
}
_TARGET = re.compile(r"sluicegate\.[\w.]+(:\w+)?")


def is_text(node: ast.AST) -> bool:
    """Whether a node is a text as it stands."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_row(value: ast.expr) -> bool:
    """A row names code (`module:function`), or is a function, or an object made for the table."""
    if isinstance(value, ast.Constant):
        return is_text(value) and bool(_TARGET.fullmatch(str(value.value)))
    if isinstance(value, ast.Call):
        return True
    if not isinstance(value, ast.Name | ast.Attribute):
        return False
    name = ast.unparse(value)
    return name.islower() and not hasattr(builtins, name)


def tables(text: str) -> Iterator[str]:
    """The public tables that a module defines: constants that map names to rows."""
    for node in ast.parse(text).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if not isinstance(target, ast.Name):
            continue
        if isinstance(value, ast.DictComp) and ast.unparse(value.key).endswith(".name"):
            yield target.id  # rows under their own names
        if not isinstance(value, ast.Dict):
            continue
        rows = [row for key, row in zip(value.keys, value.values, strict=True) if key is not None]
        if re.fullmatch(r"[A-Z][A-Z_]*", target.id) and rows and all(map(is_row, rows)):
            yield target.id


def test_every_table_is_listed() -> None:
    """A new table comes with a contract test over its rows, named here; a name means one table.

    Rows that another table takes in as they are (`**ENCODED`) are that table's.
    """
    found = sorted(name for text in SOURCES.values() for name in tables(text))
    merged = set(
        re.findall(r"^ +\*+([A-Z_]+)(?:\.values\(\))?,$", "\n".join(SOURCES.values()), re.M)
    )
    assert sorted(TABLES) == [name for name in found if name not in merged]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_a_contract(name: str) -> None:
    """The contract takes the table itself, not a list of names, and runs over its rows."""
    text = (ROOT / "tests" / TABLES[name]).read_text("utf-8")
    assert re.search(rf"\b{name}\b", text)
    assert "parametrize" in text or "params=" in text


def compared(text: str) -> Iterator[str]:
    """The texts that a module compares something with."""
    for node in ast.walk(ast.parse(text)):
        parts: list[ast.AST] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        for part in parts:
            yield from (one.value for one in ast.walk(part) if isinstance(one, ast.Constant))


@pytest.mark.parametrize("table", ROWS)
def test_no_file_compares_with_a_row(table: str) -> None:
    """What depends on a row is in the row: no code asks whether a name is that of a certain row."""
    assert ROWS[table]
    for path, text in SOURCES.items():
        asked = ROWS[table] & set(compared(text))
        assert not asked, f"{path.relative_to(ROOT)} compares with {sorted(asked)}"
