"""Redaction: what is personal goes, what matters in a summary stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluicegate.config import PrepareParams
from sluicegate.data.redaction import redact
from sluicegate.personal_data import KINDS

ALL = tuple(KINDS)


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
        ("+49\u201130\u20111234567 or 202\u2013555\u20130147 x12", "[PHONE] or [PHONE]"),
        ("+４４ ２０ ７９４６ ０３１８", "[PHONE]"),
        ("06 12 34 56 78", "[PHONE]"),
        ("lin(at)example.org, lin [at] example [dot] org", "[EMAIL], [EMAIL]"),
        ("lin\uff20example\uff0eorg", "[EMAIL]"),
        ("FR76 3000 6000 0112 3456 7890 189", "[IBAN]"),
        ("MT84 MALT 0110 0001 2345 MTLC AST0 01S!", "[IBAN]!"),
        ("LY83002048000020100120361", "[IBAN]"),
        ("378282246310005, 6011 1111 1111 1117", "[CARD], [CARD]"),
        ("from 203.0.113.7 and 2001:db8::1.", "from [IP] and [IP]."),
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
        "[EMAIL] [PHONE] [CARD] [IBAN] [HANDLE] [IP] [SECRET]",
        "EAN 4006381333931, UPC 0012345678905, ISBN 978-3-16-148410-0",
        "IMEI 490154203237518 or 356938035643809, parcel 00340434161094021501",
        "order 0093-4471-2231, 1 234 567 890 EUR, 612 345 678 pesos",
        "2024-05-01T14:20:30+02:00, at 14:20:30 on 03.11.1951",
        "firmware version 5.2.1.4 on 127.0.0.1, std::vector and a::b",
        "The password: please reset it, your password is wrong, secret santa, two passwords",
        "access key is required, 123456 tokens, pass 3 of 10, secret: none",
        "",
    ],
)
def test_numbers_that_matter_stay(text: str) -> None:
    """Amounts, dates, case numbers, failed checksums and placeholders are left as they are."""
    assert redact(text, ALL) == (text, {})


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\ndef\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key AKIA" + "IOSFODNN7EXAMPLE ok", "key [SECRET] ok"),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "aws_secret_access_key = [SECRET]",
        ),
        ("ghp_" + "a1B2" * 9, "[SECRET]"),
        ("github_pat_" + "11ABCDEFG0abcdefghijkl", "[SECRET]"),
        ("glpat-" + "abcdefghij0123456789", "[SECRET]"),
        ("xoxb-" + "123456789012-abcdefABCDEF", "[SECRET]"),
        ("sk_live_" + "abcd1234EFGH5678ijkl9012", "[SECRET]"),
        ("sk-proj-" + "abcdefghij1234567890", "[SECRET]"),
        ("npm_" + "a" * 36, "[SECRET]"),
        (f"use {JWT}.", "use [SECRET]."),
        (f"here: {KEY} thanks", "here: [SECRET] thanks"),
        ("Authorization: Bearer abcdef1234567890", "Authorization: Bearer [SECRET]"),
        ("postgres://app:pass1word@db.example.org/x", "postgres://app:[SECRET]@db.example.org/x"),
        ("my password is hunter22!", "my password is [SECRET]"),
        ("password: s3cr3tPass, pwd=Tr0ub4dor&3", "password: [SECRET], pwd=[SECRET]"),
        ("passwort: Geheim123", "passwort: [SECRET]"),
        ("api_key='abcd1234efgh'", "api_key='[SECRET]'"),
    ],
)
def test_secrets_are_replaced(text: str, expected: str) -> None:
    """Keys, tokens and passwords of each kind go, what is said about them stays."""
    assert redact(text, ALL)[0] == expected


def test_what_is_redacted_by_default_is_every_kind() -> None:
    """A kind that is added to the table is redacted without being asked for."""
    assert set(PrepareParams().redact) == set(ALL)


def test_counts_are_per_kind_and_only_for_the_kinds_asked() -> None:
    """Each replacement counts once, and a kind that was not asked for stays in the text."""
    text, counts = redact("a@example.com b@example.com 555-0147", ("email",))
    assert (text, counts) == ("[EMAIL] [EMAIL] 555-0147", {"email": 2})


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab1 2345@.+-()GBDE489\n/_:=[]key", max_size=80))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    """Redaction is idempotent, so a second `prepare` over its own output finds nothing new."""
    once, _ = redact(text, ALL)
    assert redact(once, ALL) == (once, {})


@pytest.mark.parametrize(
    "piece",
    [
        *("1 ", "a.", "aa11 ", "+1 (", "@a", "0-12-", "9", "1.1.", "1:", "eyJ", "password="),
        *("://a:", "aws key ", "-----BEGIN PRIVATE KEY-----", "bearer ", "a(at)"),
    ],
)
def test_hostile_text_costs_linear_time(piece: str) -> None:
    """A hundred kilobytes of almost-matches take seconds at most, not hours."""
    start = time.process_time()
    redact(piece * (100_000 // len(piece)), ALL)
    assert time.process_time() - start < 10
