"""The tools: each looks a number up in the shop's book. A real desk would ask its own systems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NOTHING = "person"
"""The tool without a number: somebody reads the message."""


def use(call: dict[str, Any], book: Path) -> str:
    """What the tool says."""
    known = json.loads(book.read_text("utf-8"))[call["name"]]
    number = call["arguments"]["number"]
    return str(known.get(number, f"Nothing is known of {number or 'a message without a number'}."))
