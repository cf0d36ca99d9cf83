"""Personal data and secrets out of texts: each becomes [EMAIL], [PHONE], [SECRET], ...

What counts as one is said in `sluicegate.personal_data`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sluicegate.chat import kept_turns
from sluicegate.hashing import canonical_json
from sluicegate.personal_data import KINDS


def redact(text: str, kinds: Iterable[str]) -> tuple[str, dict[str, int]]:
    """Replace what is of `kinds` in `text`; return the new text and the replacements per kind.

    Redacting twice changes nothing more. Empty text stays empty.

    Example:
        >>> redact("card 4111 1111 1111 1111, mail lin@example.org", ("card", "email"))
        ('card [CARD], mail [EMAIL]', {'email': 1, 'card': 1})
    """
    wanted = set(kinds)
    counts: dict[str, int] = {}
    for kind, find in KINDS.items():
        spans = list(find(text)) if kind in wanted else []
        if spans:
            counts[kind] = len(spans)
            starts, ends = zip(*spans, strict=True)
            kept = [text[end:start] for end, start in zip((0, *ends), (*starts, None), strict=True)]
            text = f"[{kind.upper()}]".join(kept)
    return text, counts


def redact_texts(part: str, kinds: Iterable[str]) -> tuple[str, dict[str, int]]:
    """Redact every text inside a JSON value, so that it stays JSON; see `redact`.

    Example:
        >>> redact_texts('[{"mail":"a@example.org"}]', ["email"])
        ('[{"mail":"[EMAIL]"}]', {'email': 1})
    """
    counts: dict[str, int] = {}
    kinds = tuple(kinds)

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            value, found = redact(value, kinds)
            counts.update({kind: counts.get(kind, 0) + count for kind, count in found.items()})
        elif isinstance(value, list):
            value = [clean(item) for item in value]
        elif isinstance(value, dict):
            value = {name: clean(item) for name, item in value.items()}
        return value

    return canonical_json(clean(json.loads(part))), counts


def redact_all(
    texts: Mapping[str, str], kinds: Iterable[str], counts: Counter[str]
) -> dict[str, str]:
    """Redact every value of `texts`, turns turn by turn, adding to `counts`."""
    wanted = tuple(kinds)
    result = {}
    for key, text in texts.items():
        clean = redact if kept_turns(text) is None else redact_texts
        result[key], found = clean(text, wanted)
        counts.update(found)
    return result
