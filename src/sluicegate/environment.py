"""Environment variables: the only place where one is read.

A CI system hands on a secret that it does not have as an empty text: that is a variable not set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping


def read_variable(name: str, default: str = "", *, known: Mapping[str, str] | None = None) -> str:
    """The text of an environment variable; `default` where it is unset, empty or blank.

    Args:
        name: of the variable.
        default: what an unset, empty or blank one counts as.
        known: variables to look in instead of this process's.

    Example:
        >>> read_variable("A", "x", known={"A": " "}), read_variable("A", known={"A": "1"})
        ('x', '1')
    """
    text = (os.environ if known is None else known).get(name, "")
    return text if text.strip() else default


def set_default(name: str, text: str) -> None:
    """Set an environment variable for this process and its children, unless it says something."""
    os.environ[name] = read_variable(name, text)
