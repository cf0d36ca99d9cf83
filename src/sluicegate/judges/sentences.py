"""Text into sentences by rule, with nothing to download."""

from __future__ import annotations

import re

_ABBREVIATIONS = frozenset(
    re.findall(
        r"\S+",
        """mr mrs ms dr prof sr jr st no nos nr vs etc e.g i.e eg ie cf al approx dept est fig inc
        ltd co corp
        jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun
        a.m p.m u.s u.k u.n z.b d.h bzw ca usw""",
    )
)
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s)|[。！？｡]+[」』”’）]*")
_LINE = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]+")
_BULLET = re.compile(r"^(?:[-*•–—]|\(?\d{1,3}[.)])\s+")
_LAST_WORD = re.compile(r"([^\s(\[\"'“‘]+)$")
_NEAR = 24  # characters to either side of a full stop that tell whether it ends a sentence
_CLAUSE = re.compile(r";\s+")


def sentences(text: str) -> list[str]:
    """The sentences of `text`, without white space around or bullets before; none when blank.

    Line ends always end a sentence. A full stop does not after an abbreviation, an initial or
    before a small letter.

    Example:
        >>> sentences("Dr. Lee paid 3.50 at 5 p.m. today. Why? \\n- no refund, e.g. none")
        ['Dr. Lee paid 3.50 at 5 p.m. today.', 'Why?', 'no refund, e.g. none']
    """
    found: list[str] = []
    for line in _LINE.split(text):
        start = 0
        body = _BULLET.sub("", line.strip())
        for mark in _END.finditer(body):
            if _ends(body, mark):
                found.append(body[start : mark.end()].strip())
                start = mark.end()
        found.append(body[start:].strip())
    return [sentence for sentence in found if any(letter.isalnum() for letter in sentence)]


def claims(text: str) -> list[str]:
    """What an answer states: its sentences, those with semicolons in parts.

    Nothing of the answer is left out.

    Example:
        >>> claims("He paid; she left. Fine.")
        ['He paid', 'she left.', 'Fine.']
    """
    parts = [part.strip() for sentence in sentences(text) for part in _CLAUSE.split(sentence)]
    return [part for part in parts if any(letter.isalnum() for letter in part)]


def _ends(body: str, mark: re.Match[str]) -> bool:
    if mark[0][0] not in ".…" or mark[0].startswith(".."):
        return True
    after = body[mark.end() : mark.end() + _NEAR].lstrip()
    if after[:1].islower():
        return False
    word = _LAST_WORD.search(body[max(0, mark.start() - _NEAR) : mark.start()])
    last = word[1].lower() if word else ""
    return last not in _ABBREVIATIONS and not (len(last) == 1 and last.isalpha() and mark[0] == ".")
