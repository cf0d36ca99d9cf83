"""The one door to whylogs 1.6.4 and LangKit 0.0.35: profiles (`.bin`) read, merged, written.

Nothing else here needs either. Both are dormant and older than NumPy 2: `np.unicode_` is put back,
whylogs' usage ping is off before its import, sentiment comes from `vader_sentiment` (`sentiment`
downloads a lexicon), no whylogs session is made. whylogs reads some damaged files without a word,
so each profile has a `.json` beside it with the digest of its bytes.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluicegate.environment import set_default
from sluicegate.errors import DataError, IntegrityError, MissingExtraError
from sluicegate.hashing import digest_bytes, read_json, write_atomic, write_json

COLUMNS = ("prompt", "response")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_AGAIN = "Run `sluice stage profile` to make it again."


def write_whylogs(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Profile the `prompt` and `response` of `rows` with LangKit's light metrics into a file.

    Beside it, with the suffix `.json`: the digest of the file, the number of rows, and each
    column's summary to read.

    Columns are `prompt.<metric>` and `response.<metric>`: readability, counts of characters, words,
    sentences and syllables, patterns such as phone numbers, VADER sentiment. The texts themselves
    are not kept. About 540 rows a second on one core.

    Raises:
        DataError: no rows, or a row without two strings (one missing text would blank a metric for
            all rows).
        MissingExtraError: LangKit or whylogs is not installed.
        EnvironmentFailure: the disk refuses; no partial file stays.
    """
    if not rows:
        raise DataError("there are no rows to profile.")
    for number, row in enumerate(rows, 1):
        for column in COLUMNS:
            if not isinstance(row.get(column), str):
                raise DataError(f"row {number}: {column} is missing or is not text.")
    _store(path, _profiled(rows), len(rows))


def _store(path: Path, view: Any, rows: int) -> None:
    data = view.serialize()
    write_atomic(path, data)
    write_json(
        path.with_suffix(".json"),
        {"digest": digest_bytes(data), "rows": rows, "columns": _summary(view)},
    )


def read_whylogs(path: Path) -> dict[str, dict[str, float]]:
    """Per numeric column of a stored profile: n, mean, stddev, min, q_05, median, q_95, max.

    Raises:
        IntegrityError: the file is absent, damaged or not a whylogs profile.
        MissingExtraError: LangKit or whylogs is not installed.
    """
    return _summary(_loaded(path))


def _summary(view: Any) -> dict[str, dict[str, float]]:
    summary: dict[str, dict[str, float]] = {}
    for name, column in view.get_columns().items():
        found = {
            key.removeprefix("distribution/"): value
            for key, value in column.to_summary_dict().items()
        }
        if found.get("n"):
            wanted = ("n", "mean", "stddev", "min", "q_05", "median", "q_95", "max")
            summary[name] = {key: float(found[key]) for key in wanted}
    return summary


def merge_whylogs(paths: Sequence[Path], out: Path) -> None:
    """Merge stored whylogs profiles into one; `out` is written as `write_whylogs` does.

    Raises:
        DataError: no profiles are given.
        IntegrityError: a profile is absent, damaged or not a whylogs profile.
        MissingExtraError: LangKit or whylogs is not installed.
        EnvironmentFailure: the disk refuses; no partial file stays.
    """
    if not paths:
        raise DataError("there are no profiles to merge.")
    views = [_loaded(path) for path in paths]
    rows = sum(read_json(path.with_suffix(".json"))["rows"] for path in paths)
    view = views[0]
    for other in views[1:]:
        view = view.merge(other)
    _store(out, view, rows)


def installed() -> bool:
    """Are LangKit and whylogs there?"""
    return all(importlib.util.find_spec(name) is not None for name in ("whylogs", "langkit"))


def whylogs() -> Any:
    """The module, imported with what NumPy 2 took from it put back and its usage ping off.

    Raises:
        MissingExtraError: LangKit or whylogs is not installed.
    """
    if not installed():
        raise MissingExtraError("langkit", "langkit")
    set_default("WHYLOGS_NO_ANALYTICS", "True")
    import numpy

    if not hasattr(numpy, "unicode_"):
        setattr(numpy, "unicode_", numpy.str_)  # noqa: B010  no such name in its stubs
    logging.getLogger("whylogs").setLevel(logging.ERROR)
    return importlib.import_module("whylogs")


def _profiled(rows: Sequence[Mapping[str, str]]) -> Any:
    whylogs()
    import pandas

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("langkit.vader_sentiment")
        schema = importlib.import_module("langkit.light_metrics").init()
        profile_type = importlib.import_module("whylogs.core").DatasetProfile
        profile = profile_type(schema=schema, dataset_timestamp=_EPOCH, creation_timestamp=_EPOCH)
        profile.track(
            pandas.DataFrame([{name: _encodable(row[name]) for name in COLUMNS} for row in rows])
        )
        return profile.view()


def _encodable(text: str) -> str:
    """Unpaired surrogates, which whylogs cannot hash, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _loaded(path: Path) -> Any:
    whylogs()
    broken = importlib.import_module("whylogs.core.errors").DeserializationError
    view_type = importlib.import_module("whylogs.core.view.dataset_profile_view").DatasetProfileView
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing.", hint=_AGAIN) from error
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}") from error
    if read_json(path.with_suffix(".json")).get("digest") != digest_bytes(data):
        raise IntegrityError(
            f"{path}: its bytes do not have the digest that is recorded beside it.", hint=_AGAIN
        )
    try:
        return view_type.deserialize(data)
    except broken as error:
        raise IntegrityError(f"{path} is not a whylogs profile: {error}", hint=_AGAIN) from error
