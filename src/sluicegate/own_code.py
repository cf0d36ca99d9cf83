"""A project's own code, named `module:attribute`: found beside params.yaml, or installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from sluicegate.errors import ConfigError

HINT = "It has the form module:attribute; the module lies beside params.yaml or is installed."


def use_code_of(root: Path) -> None:
    """Let modules beside params.yaml be imported, behind all that is installed: a file of a
    project replaces no library.
    """
    if str(root) not in sys.path:
        sys.path.append(str(root))


def own_code(name: str, what: str) -> Any:
    """What `module:attribute` names.

    Args:
        name: as a file of the project has it.
        what: stands before it in messages: where it is named, and as what.

    Raises:
        ConfigError: there is no such module or attribute, or the module itself fails.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, SyntaxError, AttributeError, LookupError) as error:
        raise ConfigError(f"{what} {name!r} cannot be imported: {error}", hint=HINT) from error
    except (NameError, TypeError, ValueError, OSError, RuntimeError) as error:
        kind = type(error).__name__
        raise ConfigError(
            f"{what} {name!r} cannot be imported: {kind}: {error}", hint=HINT
        ) from error
