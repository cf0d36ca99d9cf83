"""Personal data out of texts: e-mail, phone, card (Luhn), IBAN (mod 97), @handle -> [EMAIL], [PHONE], ...

Patterns are bounded, so that hostile text costs linear time. What a checksum can confirm (card, IBAN) is replaced only
where it does; amounts, dates, order and case numbers stay. Names and postal addresses are not recognised.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

Redactor = Callable[[str], tuple[str, int]]
Extent = Callable[[str], tuple[int, int] | None]

_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[^\W_](?:[\w-]{0,62})(?:\.[^\W_][\w-]{0,62}){1,8}")
_HANDLE = re.compile(r"(?<![\w@./])@[A-Za-z0-9_]{2,30}(?![\w@])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ \-\u00a0]?[A-Za-z0-9]){11,40}")
_DIGIT_RUN = re.compile(r"(?<![\w.,+-])\d(?:[ \-\u00a0]?\d){12,40}(?![\w])(?![.,]\d)")
_PHONE = re.compile(
    r"(?<![\w.,+@#/-])(?:"
    r"(?:\+|00)[1-9](?:[ .()/\-\u00a0]{0,2}\d){6,14}"  # +44 20 7946 0318, 0049 (0)30 ...
    r"|\(\d{2,5}\)[ \-\u00a0]?\d(?:[ .\-\u00a0]?\d){4,9}"  # (020) 7946 0318
    r"|0\d{1,4}(?:[ .\-/\u00a0]\d{2,8}){1,4}"  # 020 7946 0318, 030-123456, not 03/11/1951
    r"|0\d{9,11}"  # 02079460318
    r"|(?:1[ .-])?\d{3}[ .-]\d{3}[ .-]\d{4}"  # 202 555 0147
    r"|555[ .-]01\d{2}"  # 555-0147
    r")(?![\w])(?![.,:/-]\d)"
)
_DATE = re.compile(r"^\d{1,2}([./-])\d{1,2}\1\d{4}(?!\d)|^\d{4}-\d{2}-\d{2}(?!\d)")
_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST", "26": "IS TR", "27": "FR GR IT MC MR SM", "28": "AL AZ BY CY DO GT HU LB PL SV",
        "29": "BR EG PS QA UA", "30": "JO KW MU", "31": "MT SC", "32": "LC",
    }.items()
    for country in countries.split()
}  # fmt: skip


def redact(text: str, kinds: Iterable[str]) -> tuple[str, dict[str, int]]:
    """Replace personal data of `kinds` in `text`; return the new text and the number of replacements per kind.

    Redacting twice changes nothing more. Empty text stays empty.

    Example:
        >>> redact("card 4111 1111 1111 1111, mail lin@example.org, order 61-4482", ("card", "email"))
        ('card [CARD], mail [EMAIL], order 61-4482', {'email': 1, 'card': 1})
    """
    wanted = set(kinds)
    counts: Counter[str] = Counter()
    for kind, replace in REDACTORS.items():
        if kind in wanted:
            text, found = replace(text)
            if found:
                counts[kind] += found
    return text, dict(counts)


def redact_all(texts: Mapping[str, str], kinds: Iterable[str], counts: Counter[str]) -> dict[str, str]:
    """Redact every value of `texts`, adding to `counts`."""
    wanted = tuple(kinds)
    result = {}
    for key, text in texts.items():
        result[key], found = redact(text, wanted)
        counts.update(found)
    return result


def luhn(digits: str) -> bool:
    """Whether a string of digits passes the Luhn check (ISO/IEC 7812-1, annex B).

    Example:
        >>> luhn("4111111111111111"), luhn("4111111111111112")
        (True, False)
    """
    doubled = [int(digit) * (1 + index % 2) for index, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def iban_valid(compact: str) -> bool:
    """Whether an IBAN without spaces has its country's length and passes ISO 7064 mod 97-10.

    Example:
        >>> iban_valid("GB82WEST12345698765432"), iban_valid("GB83WEST12345698765432")
        (True, False)
    """
    compact = compact.upper()
    if _IBAN_LENGTHS.get(compact[:2]) != len(compact) or not compact.isascii():
        return False
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


def _plain(pattern: re.Pattern[str], label: str) -> Redactor:
    return lambda text: pattern.subn(label, text)


def _counted(pattern: re.Pattern[str], label: str, extent: Extent, *, retry: bool = False) -> Redactor:
    """Replace the part of each match that `extent` confirms (start, end within the match).

    The search goes on after what was confirmed; after a refused match it goes on behind it, or with `retry` inside it.
    """

    def replace(text: str) -> tuple[str, int]:
        pieces, last, place, found = [], 0, 0, 0
        while match := pattern.search(text, place):
            span = extent(match.group())
            if span is None:
                place = match.start() + 2 if retry else match.end()
                continue
            pieces += [text[last : match.start() + span[0]], label]
            last = place = match.start() + span[1]
            found += 1
        return "".join([*pieces, text[last:]]), found

    return replace


def _iban_extent(match: str) -> tuple[int, int] | None:
    places = [index for index, char in enumerate(match) if char.isalnum()]
    length = _IBAN_LENGTHS.get(match[:2].upper(), 0)
    if not length or len(places) < length:
        return None
    end = places[length - 1] + 1
    whole_word = end == len(match) or not match[end].isalnum()
    return (0, end) if whole_word and iban_valid("".join(match[place] for place in places[:length])) else None


def _phone_extent(match: str) -> tuple[int, int] | None:
    """A phone number has 7 to 15 digits (ITU-T E.164) and is not a date; fewer than 9 only abroad or as 555-01xx."""
    digits = sum(char.isdigit() for char in match)
    short = match.startswith(("+", "00", "555")) and digits >= 7
    return (0, len(match)) if digits <= 15 and (short or digits >= 9) and not _DATE.search(match) else None


def _card_extent(match: str) -> tuple[int, int] | None:
    """A card number may stand beside other numbers: try spans that begin and end at a gap, the longest first."""
    groups = [(item.start(), item.end()) for item in re.finditer(r"\d+", match)]
    spans = [(start, end) for start, _ in groups for _, end in groups if end > start]
    for start, end in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        digits = "".join(char for char in match[start:end] if char.isdigit())
        if 13 <= len(digits) <= 19 and digits[0] in "23456" and len(set(digits)) > 1 and luhn(digits):
            return start, end
    return None


# Order matters: an IBAN holds runs of digits, a card number could be taken for a phone number.
REDACTORS: dict[str, Redactor] = {
    "email": _plain(_EMAIL, "[EMAIL]"),
    "iban": _counted(_IBAN, "[IBAN]", _iban_extent, retry=True),
    "card": _counted(_DIGIT_RUN, "[CARD]", _card_extent),
    "phone": _counted(_PHONE, "[PHONE]", _phone_extent),
    "handle": _plain(_HANDLE, "[HANDLE]"),
}
