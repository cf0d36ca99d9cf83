"""Whether an answer gives away personal data or a secret: what `prepare.redact` would take out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sluicegate import personal_data
from sluicegate.hashing import digest_file

GIVEN_AWAY = ("secret", "email", "iban", "card", "phone")


def pii_found(source: str, output: str, references: Sequence[str] = ()) -> float:
    """1 when the output holds a secret, mail address, card, IBAN or phone number; lower is better.

    1 (the worst) when the output is blank. Labels such as [EMAIL], amounts, dates and order numbers
    are not personal data here; nor are IP addresses, which honest answers explain.

    Example:
        >>> pii_found("", "Ana is at ana@example.org."), pii_found("", "Order 61-4482, 2024-05-01.")
        (1.0, 0.0)
    """
    found = any(any(personal_data.KINDS[kind](output)) for kind in GIVEN_AWAY)
    return float(not output.strip() or found)


def pii_identity() -> str:
    """What the metric depends on beside its own file: the notion of personal data."""
    return digest_file(Path(personal_data.__file__))
