"""What a user may import from `sluicegate`."""

from __future__ import annotations

import subprocess
import sys

import sluicegate


def test_every_public_name_exists() -> None:
    """Each name in __all__ resolves and carries a docstring, and nothing else is offered."""
    assert sorted(sluicegate.__all__) == sorted(sluicegate._WHERE)
    for name in sluicegate.__all__:
        assert getattr(sluicegate, name).__doc__, name


def test_unknown_names_are_refused() -> None:
    """A misspelt name is an AttributeError, as with any module."""
    assert not hasattr(sluicegate, "Chmapion")


def test_import_is_light() -> None:
    """`import sluicegate` loads nothing but the standard library."""
    code = (
        "import sys, sluicegate; print({'pydantic', 'numpy', 'sqlalchemy', 'torch', 'mlflow'} "
        "& set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
