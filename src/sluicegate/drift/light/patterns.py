"""LangKit's patterns: numbers of insurance, cards and telephones, postal and email addresses.

They are kept beside the notion of personal data that redaction uses, because profiles made with
LangKit must stay comparable to the last digit (docs/adr/0008).

The expressions are LangKit 0.0.35's (`pattern_groups.json`, Apache-2.0), in its order. Two begin
with one character where LangKit's take any number of them: the same texts match, and a run of n
digits or letters takes n steps, not n².
"""

from __future__ import annotations

import re
from collections.abc import Collection

EMAIL = re.compile(r"[A-Za-z0-9._+\-\']@[A-Za-z0-9.\-]+\.[A-Za-z]{2,}")
GROUPS: dict[str, re.Pattern[str]] = {
    "SSN": re.compile(
        r"(?!(\d){3}(-| |)\1{2}\2\1{4})(?!666|000|9\d{2})"
        r"(\b\d{3}(-| |)(?!00)\d{2}\4(?!0{4})\d{4}\b)"
    ),
    "credit card number": re.compile(r"\b\d{4}[- ]?(\d{4}[- ]?){2,3}\d{4}\b|\b\d{15}\b"),
    "phone number": re.compile(
        r"((\+\d{1,2}\s)?\(?\d{3}\)?[\s.-]\d{3}[\s.-]\d{4}|[0-9]{10}"
        r"|\+{1}[0-9 ]{11,15}|[0-9]{4} [0-9]{6})"
    ),
    "mailing address": re.compile(
        r"\d(\s+(N|S|E|W|NE|NW|SE|SW)\.?)?\s+[0-9]{0,5}[a-zA-Z]+\s+"
        r"(?:Street|St|Road|Rd|Avenue|Ave|Boulevard|Blvd|Drive|Dr|Court|Ct|Lane|Ln|Square|Sq)"
    ),
    "email address": EMAIL,
}
_RUN = re.compile(r"[+(\d][\d\s().+-]{8,}")  # all that the three kinds of number may consist of


def patterns(
    text: str, *, numbers: bool = True, roads: bool = True, email: bool = True
) -> tuple[str, ...]:
    """The groups of which `text` holds an instance, in LangKit's order; empty without any.

    `numbers`, `roads` and `email` say whether the text could hold a long number, a postal or an
    email address at all; with False the expressions that need one are not tried.

    Example:
        >>> patterns("Call 555-123-4567 or write to me@example.org")
        ('phone number', 'email address')
    """
    runs = _runs(text) if numbers else []
    whole = [(0, len(text))]
    tried = {"mailing address": whole if roads else [], "email address": whole if email else []}
    return tuple(
        name
        for name, expression in GROUPS.items()
        if any(expression.search(text, start, end) for start, end in tried.get(name, runs))
    )


def instances(text: str, groups: Collection[str]) -> int:
    """How many instances of the named groups `text` holds; what is in two groups counts twice.

    Example:
        >>> instances("555-123-4567 or a@example.org, b@example.org", ("phone number", "email address"))
        3
    """
    if not groups:
        return 0
    runs, whole = _runs(text), [(0, len(text))]
    return sum(
        sum(1 for _ in GROUPS[name].finditer(text, start, end))
        for name in groups
        for start, end in (whole if name in ("mailing address", "email address") else runs)
    )


def _runs(text: str) -> list[tuple[int, int]]:
    return [(run.start(), run.end() + 1) for run in _RUN.finditer(text)]
