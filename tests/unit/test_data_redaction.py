"""Redaction: what is personal goes, what matters in a summary stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.data.redaction import REDACTORS, redact

ALL = tuple(REDACTORS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to jörg.x+1@mail.example.org.", "write to [EMAIL]."),
        ("pay GB82 WEST 1234 5698 7654 32 please", "pay [IBAN] please"),
        ("DE89370400440532013000", "[IBAN]"),
        ("ab12 is my iban gb82west12345698765432", "ab12 is my iban [IBAN]"),
        ("4111 1111 1111 1111 5555-5555-5555-4444", "[CARD] [CARD]"),
        ("order 12 4111 1111 1111 1111", "order 12 [CARD]"),
        ("+1 202 555 0147 or 020 7946 0318", "[PHONE] or [PHONE]"),
        ("call (020) 7946 0318, 555-0147", "call [PHONE], [PHONE]"),
        ("0049 (0)30 1234567!", "[PHONE]!"),
        ("ask @northlane_help now", "ask [HANDLE] now"),
    ],
)
def test_personal_data_is_replaced(text: str, expected: str) -> None:
    """Each kind of personal data gives its placeholder, whatever stands beside it."""
    assert redact(text, ALL)[0] == expected


@pytest.mark.parametrize(
    "text",
    [
        "23,400 shillings on 2021-09-30 and 03/11/1951 at 14:20",
        "order 61-4482, QD-88127, SKY-0093-4471, ST-55-2093, ZK 4471 902",
        "card 4111 1111 1111 1112 fails the Luhn check",
        "GB83 WEST 1234 5698 7654 32 fails mod 97",
        "£312.40 twice, 1.234.567,89 in all, 10-12 working days @ 5pm",
        "version 5.2.1, error NK-31, room 508, 1000000 points, 110 kg",
        "[EMAIL] [PHONE] [CARD] [IBAN] [HANDLE]",
        "",
    ],
)
def test_numbers_that_matter_stay(text: str) -> None:
    """Amounts, dates, case numbers, failed checksums and placeholders are left as they are."""
    assert redact(text, ALL) == (text, {})


def test_counts_are_per_kind_and_only_for_the_kinds_asked() -> None:
    """Each replacement counts once, and a kind that was not asked for stays in the text."""
    text, counts = redact("a@example.com b@example.com 555-0147", ("email",))
    assert (text, counts) == ("[EMAIL] [EMAIL] 555-0147", {"email": 2})


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab1 2345@.+-()GBDE489\n/_", max_size=80))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """Redaction is idempotent, so a second `prepare` over its own output finds nothing new."""
    once, _ = redact(text, ALL)
    assert redact(once, ALL) == (once, {})


@pytest.mark.parametrize("piece", ["1 ", "a.", "aa11 ", "+1 (", "@a", "0-12-", "9"])
def test_hostile_text_costs_linear_time(piece: str) -> None:
    """A hundred kilobytes of almost-matches take seconds at most, not hours."""
    start = time.process_time()
    redact(piece * (100_000 // len(piece)), ALL)
    assert time.process_time() - start < 10
