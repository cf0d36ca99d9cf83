"""One answer given in production, the feedback on it, and what is refused before it is stored."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sluicegate.errors import DataError
from sluicegate.hashing import digest_value

MAX_ROW_BYTES = 16 << 20
"""Largest row that is stored: UTF-8 bytes of all its texts together."""
MAX_NAME = 200
"""Characters of a key, release, group, label or the name of an input."""
MAX_USER = 1_000
MAX_INPUTS = 100
MAX_FEEDBACK = 100
"""Feedback that a row may bring along; more can be attached later."""
BATCH_ROWS = 1_000
BATCH_BYTES = 8 << 20
"""A transaction is no larger than one of these."""
_MAX_COUNT = 2**31 - 1
_MAX_NUMBER = 1e12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Feedback:
    """Somebody's word on an answer: at least `thumb` (-1, 1), `score`, `correction` or `label`.

    `by` names who said it; the log stores a keyed hash of that.
    """

    time: datetime
    thumb: int | None = None
    score: float | None = None
    correction: str = ""
    label: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """One prompt as it was sent and the answer as it came, at `time` (with a time zone).

    `key` makes a second write of the row harmless; an empty one is replaced by a random one.
    `latency` is in seconds, `group` is the conversation, customer or document, `user` a name of
    which the log stores a keyed hash only, `inputs` are the values of the prompt's variables.

    Example:
        >>> row = TrafficRow("", datetime(2026, 1, 1, tzinfo=UTC), "Hi", "Hello!")
        >>> len(row.key)
        32
    """

    key: str
    time: datetime
    prompt: str
    response: str
    release: str = ""
    group: str = ""
    latency: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    user: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    feedback: tuple[Feedback, ...] = ()

    def __post_init__(self) -> None:
        if self.key == "":
            object.__setattr__(self, "key", uuid4().hex)


def checked_row(row: TrafficRow) -> TrafficRow:
    """The row as it will be stored: times in UTC; NUL and lone surrogates become U+FFFD.

    Raises:
        DataError: a field has the wrong type, is out of range or too long; the message names it.
    """
    if not isinstance(row, TrafficRow):
        raise DataError(f"a TrafficRow was expected, not {type(row).__name__}.")
    if not isinstance(row.feedback, tuple) or len(row.feedback) > MAX_FEEDBACK:
        raise DataError(
            f"feedback: a tuple of at most {MAX_FEEDBACK} was expected.", hint="Attach more later."
        )
    fresh = replace(
        row,
        key=checked_name("key", row.key, needed=True),
        time=_time(row.time),
        prompt=_text("prompt", row.prompt),
        response=_text("response", row.response),
        release=checked_name("release", row.release),
        group=checked_name("group", row.group),
        latency=_number("latency", row.latency, 0.0),
        prompt_tokens=_count("prompt_tokens", row.prompt_tokens),
        completion_tokens=_count("completion_tokens", row.completion_tokens),
        user=checked_name("user", row.user, limit=MAX_USER),
        inputs=_inputs(row.inputs),
        feedback=tuple(checked_feedback(one) for one in row.feedback),
    )
    size = row_bytes(fresh)
    if size > MAX_ROW_BYTES:
        raise DataError(
            f"the row has {size} bytes of text; at most {MAX_ROW_BYTES} are stored.",
            hint="Shorten it.",
        )
    return fresh


def checked_feedback(feedback: Feedback) -> Feedback:
    """The feedback as it will be stored; see `checked_row`.

    Raises:
        DataError: it says nothing, or a field is wrong.
    """
    if not isinstance(feedback, Feedback):
        raise DataError(f"a Feedback was expected, not {type(feedback).__name__}.")
    if feedback.thumb is not None and (
        type(feedback.thumb) is not int or feedback.thumb not in (-1, 1)
    ):
        raise DataError(f"thumb: -1 or 1 was expected, not {_shown(feedback.thumb)}.")
    fresh = replace(
        feedback,
        time=_time(feedback.time),
        score=_number("score", feedback.score, -_MAX_NUMBER),
        correction=_text("correction", feedback.correction),
        label=checked_name("label", feedback.label),
        by=checked_name("by", feedback.by, limit=MAX_USER),
    )
    if fresh.thumb is None and fresh.score is None and not fresh.correction and not fresh.label:
        raise DataError(
            "the feedback says nothing.", hint="Give a thumb, a score, a correction or a label."
        )
    if len(fresh.correction) > MAX_ROW_BYTES // 4:
        raise DataError(
            f"correction: at most {MAX_ROW_BYTES // 4} characters are stored.", hint="Shorten it."
        )
    return fresh


def checked_name(name: str, value: object, *, needed: bool = False, limit: int = MAX_NAME) -> str:
    """`value`, if it is a name: printable characters. Nothing is replaced: two never become one.

    Raises:
        DataError: it is none, too long, or absent where it is needed.
    """
    if not isinstance(value, str):
        raise DataError(f"{name}: a text was expected, not {_shown(value)}.")
    if len(value) > limit:
        raise DataError(f"{name}: {len(value)} characters; at most {limit} are stored.")
    if value and not value.isprintable():
        raise DataError(f"{name}: {_shown(value)} has control characters.")
    if needed and not value.strip():
        raise DataError(f"{name} is empty.")
    return value


def row_bytes(row: TrafficRow) -> int:
    """UTF-8 bytes of all texts of a checked row."""
    texts = [row.key, row.prompt, row.response, row.release, row.group, row.user]
    texts += [part for item in row.inputs.items() for part in item]
    texts += [text for one in row.feedback for text in (one.correction, one.label, one.by)]
    return sum(len(text) if text.isascii() else len(text.encode("utf-8")) for text in texts)


def batches(rows: Iterable[TrafficRow]) -> Iterator[tuple[list[TrafficRow], int]]:
    """Checked rows, as many at a time as make a good transaction, with their bytes."""
    batch, size = list[TrafficRow](), 0
    for row in rows:
        try:
            batch.append(checked_row(row))
        except DataError as error:
            key = getattr(row, "key", None)
            raise DataError(
                f"row {key[:80]!a}: {error}" if isinstance(key, str) else str(error)
            ) from error
        size += row_bytes(batch[-1])
        if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch, size
            batch, size = [], 0
    if batch:
        yield batch, size


def microseconds(time: datetime) -> int:
    """Microseconds since 1970 of a time with a zone.

    Raises:
        DataError: no zone, or not between the years 1970 and 9000.
    """
    return (_time(time) - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """The time, in UTC, that is so many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=value)


def row_from(value: object, *, now: datetime, key: str = "") -> TrafficRow:
    """The row that a JSON object describes: fields of `TrafficRow`, `prompt` and `response` needed.

    Times are ISO 8601 texts with a zone, or seconds since 1970.

    Args:
        now: its time, where it has none.
        key: its key, where it has none; by default a random one.

    Raises:
        DataError: not such an object; the message names the field.
    """
    fields = _fields(value, TrafficRow, "a row")
    for name in ("prompt", "response"):
        if name not in fields:
            raise DataError(f"{name} is missing.")
    fields["time"] = _read_time(fields.get("time"), now)
    listed = fields.pop("feedback", None) or ()
    if not isinstance(listed, list | tuple):
        raise DataError("feedback: a list was expected.")
    feedback = tuple(feedback_from(one, now=fields["time"]) for one in listed[: MAX_FEEDBACK + 1])
    return checked_row(
        TrafficRow(**{**fields, "key": fields.get("key") or key, "feedback": feedback})
    )


def feedback_from(value: object, *, now: datetime) -> Feedback:
    """The feedback that a JSON object describes; see `row_from`.

    Raises:
        DataError: not such an object; the message names the field.
    """
    fields = _fields(value, Feedback, "feedback")
    fields["time"] = _read_time(fields.get("time"), now)
    return checked_feedback(Feedback(**fields))


def feedback_identity(key: str, feedback: Feedback) -> str:
    """Equal for equal feedback on a row: attaching it a second time changes nothing."""
    values = (feedback.thumb, feedback.score, feedback.correction, feedback.label, feedback.by)
    return digest_value([key, microseconds(feedback.time), *values])


def _fields(value: object, kind: type, what: str) -> dict[str, Any]:
    """The object's fields; those that are null count as absent."""
    if not isinstance(value, Mapping):
        raise DataError(f"{what}: a JSON object was expected.")
    known = tuple(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    unknown = sorted(str(name) for name in value if name not in known)
    if unknown:
        raise DataError(f"unknown field {_shown(unknown[0])}.", hint=f"Known: {', '.join(known)}.")
    return {name: item for name, item in value.items() if item is not None}


def _read_time(value: object, now: datetime) -> datetime:
    if value is None:
        return now
    try:
        if isinstance(value, str):
            return _time(datetime.fromisoformat(value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _time(datetime.fromtimestamp(value, UTC))
    except (ValueError, OverflowError, OSError):
        pass
    raise DataError(
        f"time: {_shown(value)} is not a time.",
        hint="Give ISO 8601 with a zone, or seconds since 1970.",
    )


def _time(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise DataError(f"time: a datetime was expected, not {_shown(value)}.")
    if value.utcoffset() is None:
        raise DataError(
            "time: it has no time zone.", hint="Use datetime.now(UTC), or write +00:00 after it."
        )
    try:
        found = value.astimezone(UTC)
    except OverflowError:
        found = _LATEST
    if not _EPOCH <= found < _LATEST:
        raise DataError(f"time: {_shown(value)} is not between the years 1970 and 9000.")
    return found


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise DataError(f"{name}: a text was expected, not {_shown(value)}.")
    return _NO_TEXT.sub("\ufffd", value)


def _number(name: str, value: object, least: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{name}: a number was expected, not {_shown(value)}.")
    # compared before it is made a float: no overflow
    if not least <= value <= _MAX_NUMBER or not math.isfinite(value):
        raise DataError(f"{name}: {_shown(value)} is out of range.")
    return float(value)


def _count(name: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{name}: a whole number was expected, not {_shown(value)}.")
    if not 0 <= value <= _MAX_COUNT:
        raise DataError(f"{name}: {_shown(value)} is out of range.")
    return value


def _inputs(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > MAX_INPUTS:
        raise DataError(f"inputs: an object of at most {MAX_INPUTS} texts was expected.")
    return {
        checked_name("inputs", name, needed=True): _text("inputs", text)
        for name, text in sorted(value.items(), key=str)
    }


def _shown(value: object) -> str:
    """The value, short and without anything that acts on a terminal."""
    if isinstance(value, int) and abs(value) > 10**30:
        return "a huge number"
    if not isinstance(value, str | int | float | None | datetime):
        return type(value).__name__
    text = ascii(str(value)[:60])
    return text if isinstance(value, str) else text.strip("'")
