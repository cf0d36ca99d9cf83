"""Personal data and secrets out of texts: each becomes [EMAIL], [PHONE], [SECRET], ...

What counts as one is said in `sluicegate.personal_data`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

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


def redact_all(
    texts: Mapping[str, str], kinds: Iterable[str], counts: Counter[str]
) -> dict[str, str]:
    """Redact every value of `texts`, adding to `counts`."""
    wanted = tuple(kinds)
    result = {}
    for key, text in texts.items():
        result[key], found = redact(text, wanted)
        counts.update(found)
    return result
