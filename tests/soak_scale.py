"""How long a test of many repetitions is: short in `make test`, long in `make soak`."""

from __future__ import annotations

import os

SOAK = os.environ.get("SLUICE_SOAK") == "1"


def scaled(short: int, long: int) -> int:
    """`short`, or `long` where SLUICE_SOAK=1."""
    return long if SOAK else short
