"""Environment variables: the only place where one is read.

A CI system hands on a secret that it does not have as an empty text: that is a variable not set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


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


@contextmanager
def variable(name: str, text: str) -> Iterator[None]:
    """Within it an environment variable holds `text`, for this process and its children."""
    before = os.environ.get(name)
    os.environ[name] = text
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def set_default(name: str, text: str) -> None:
    """Set an environment variable for this process and its children, unless it says something."""
    os.environ[name] = read_variable(name, text)
