"""Evidence on disk: JSON with its own digest, read back only when whole, consistent and finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sluicegate.errors import EvidenceError, IntegrityError
from sluicegate.hashing import read_json, write_json
from sluicegate.records import Evidence

_AGAIN = "Run `sluice stage evaluate` again."


def write_evidence(path: Path, evidence: Evidence) -> None:
    """Write `evidence` with its digest, atomically.

    Raises:
        EvidenceError: it is empty, inconsistent, or a number is not finite; nothing is written.
        EnvironmentFailure: the disk refuses.
    """
    _check(path, evidence)
    write_json(path, {**evidence.plain(), "digest": evidence.digest})


def read_evidence(path: Path) -> Evidence:
    """Read what `write_evidence` wrote.

    Raises:
        IntegrityError: absent, not JSON, or not the bytes whose digest was recorded.
        EvidenceError: a field is missing, unknown or of the wrong type, a score is missing or not finite.
    """
    value = read_json(path)
    recorded = value.pop("digest", None)
    try:
        evidence = TypeAdapter(Evidence).validate_python(value, strict=False, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise EvidenceError(f"{path}: {where}: {first['msg']}", hint=_AGAIN) from error
    _check(path, evidence)
    if evidence.digest != recorded:
        raise IntegrityError(f"{path}: its content is not what was recorded.", hint=_AGAIN)
    return evidence


def _check(path: Path, evidence: Evidence) -> None:
    names = set(evidence.summaries)
    ids = [row.id for row in evidence.rows]
    if not ids or not names:
        raise EvidenceError(f"{path}: evidence without rows or metrics.")
    if len(set(ids)) != len(ids):
        raise EvidenceError(f"{path}: an example id occurs twice.")
    for row in evidence.rows:
        if set(row.scores) != names:
            raise EvidenceError(f"{path}: example {row.id} lacks a score, or has one too many.")
        _finite(path, f"example {row.id}", {**row.scores, "seconds": row.seconds})
    for name, summary in evidence.summaries.items():
        if summary.n != len(ids):
            raise EvidenceError(f"{path}: the mean of {name} is over {summary.n} of {len(ids)} rows.")
        _finite(path, name, {"mean": summary.mean, "low": summary.low, "high": summary.high})
    _finite(path, "operations", evidence.operations)


def _finite(path: Path, where: str, numbers: Mapping[str, Any]) -> None:
    for name, number in numbers.items():
        if not math.isfinite(number):
            raise EvidenceError(f"{path}: {where}: {name} is {number}.")
