"""What a row of traffic is, and rows in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

Row = Mapping[str, object]
"""`prompt` and `response` (a text, or None where unknown); `group` (conversation, customer),
`prompt_tokens`, `completion_tokens` and `latency` (seconds) where they are known.
"""
CHUNK = 5_000


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Lists of at most 5,000 rows, so that memory does not grow with a window."""
    source = iter(rows)
    while chunk := list(islice(source, CHUNK)):
        yield chunk
