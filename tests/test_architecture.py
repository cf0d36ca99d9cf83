"""The rules of the layout that import-linter does not express."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "sluicegate").rglob("*.py"))
DOORS = {
    "mlflow": ("tracking",),
    "dvc": ("versioning",),
    "git": ("versioning",),
    "prefect": (),
    "torch": ("tuning", "adapters", "engines", "metrics"),
    "transformers": ("tuning", "adapters", "engines", "metrics"),
    "peft": ("tuning", "adapters", "engines"),
    "openai": ("models/openai_door", "models/litellm_door"),
    "httpx2": ("models/openai_door",),
    "litellm": ("models/litellm_door",),
    "langkit": ("drift/langkit_door",),
    "whylogs": ("drift/langkit_door",),
    "trulens": ("judges/trulens_door",),
    "lm_eval": ("evaluation/public_benchmarks",),
}


def imported(tree: ast.AST) -> set[str]:
    """Top-level package names in every import statement below `tree`."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_vendor_doors(path: Path) -> None:
    """A vendor is imported only behind its door."""
    place = path.relative_to(ROOT / "src" / "sluicegate").with_suffix("").as_posix()
    for vendor in imported(ast.parse(path.read_text("utf-8"))) & DOORS.keys():
        assert any(place == door or place.startswith(f"{door}/") for door in DOORS[vendor]), (
            f"{place} imports {vendor}"
        )


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_size(path: Path) -> None:
    """No module is longer than 350 lines and no function longer than 60."""
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{path.name}: {node.name}"


def test_one_broad_except() -> None:
    """Exactly one `except Exception` exists, in the command line."""
    broad = [
        path
        for path in SOURCES
        for _ in re.finditer(r"^\s*except( Exception\b|:)", path.read_text("utf-8"), re.M)
    ]
    assert [path.relative_to(ROOT).as_posix() for path in broad] == [
        "src/sluicegate/cli/__init__.py"
    ]


def test_help_is_light() -> None:
    """`sluice --help` imports no heavy package."""
    code = (
        "import sys; from click.testing import CliRunner; from sluicegate.cli import sluice\n"
        "result = CliRunner().invoke(sluice, ['--help']); assert result.exit_code == 0, result\n"
        "heavy = "
        "{'mlflow','prefect','torch','dvc','pandas','numpy','transformers','sqlalchemy','pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_flows_are_thin() -> None:
    """Flows import only sluicegate and prefect (and the standard library), and never each other."""
    for path in (ROOT / "flows").glob("*.py"):
        vendors = imported(ast.parse(path.read_text("utf-8"))) - set(sys.stdlib_module_names)
        assert vendors <= {"sluicegate", "prefect"}, path.name


def test_no_packages_at_the_root() -> None:
    """flows, prompts and registry are never importable packages."""
    assert not [
        name for name in ("flows", "prompts", "registry") if (ROOT / name / "__init__.py").exists()
    ]
