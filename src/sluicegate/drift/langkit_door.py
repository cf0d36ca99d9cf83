"""The one door to whylogs 1.6.4 and LangKit 0.0.35: text profiles and the distances between two of them.

Both are dormant and older than NumPy 2, so what they need is done here and nowhere else (tried without a network):
`np.unicode_` is put back; whylogs' usage ping is switched off before its import; sentiment comes from LangKit's
`vader_sentiment`, which carries its lexicon, not from `sentiment`, which downloads one through NLTK at import; the
drift algorithms are imported past `whylogs.viz.__init__`, which wants IPython; no whylogs session is made. whylogs
reads some damaged files without a word, so each profile has a `.json` beside it with the digest of its bytes.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import types
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sluicegate.errors import DataError, IntegrityError, MissingExtraError
from sluicegate.hashing import digest_bytes, read_json, write_atomic, write_json
from sluicegate.records import DriftScore

COLUMNS = ("prompt", "response")
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NUMERIC_FLOOR = 0.15
_ALPHA = 0.05
_AGAIN = "Run `sluice stage profile` to make it again."


def write_profile(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Profile the texts of `rows` (keys `prompt` and `response`) with LangKit's light metrics into a whylogs file.

    Beside it, with the suffix `.json`: the digest of the file, the number of rows, and each column's summary to read.

    Columns are `prompt.<metric>` and `response.<metric>`: readability, counts of characters, words, sentences and
    syllables, patterns such as phone numbers, VADER sentiment. The texts themselves are not kept. About 540 rows a
    second on one core.

    Raises:
        DataError: no rows, or a row without two strings (one missing text would blank a metric for all rows).
        MissingExtraError: LangKit or whylogs is not installed.
        EnvironmentFailure: the disk refuses; no partial file stays.
    """
    if not rows:
        raise DataError("there are no rows to profile.")
    for number, row in enumerate(rows, 1):
        for column in COLUMNS:
            if not isinstance(row.get(column), str):
                raise DataError(f"row {number}: {column} is missing or not a text.")
    view = _profiled(rows)
    data = view.serialize()
    write_atomic(path, data)
    write_json(path.with_suffix(".json"), {"digest": digest_bytes(data), "rows": len(rows), "columns": _summary(view)})


def read_profile(path: Path) -> dict[str, dict[str, float]]:
    """Per numeric column of a stored profile: n, mean, stddev, min, q_05, median, q_95, max.

    Raises:
        IntegrityError: the file is absent, damaged or not a whylogs profile.
        MissingExtraError: LangKit or whylogs is not installed.
    """
    return _summary(_loaded(path))


def _summary(view: Any) -> dict[str, dict[str, float]]:
    summary: dict[str, dict[str, float]] = {}
    for name, column in view.get_columns().items():
        found = {key.removeprefix("distribution/"): value for key, value in column.to_summary_dict().items()}
        if found.get("n"):
            wanted = ("n", "mean", "stddev", "min", "q_05", "median", "q_95", "max")
            summary[name] = {key: float(found[key]) for key in wanted}
    return summary


def ks_scores(reference: Path, window: Path) -> list[DriftScore]:
    """Kolmogorov-Smirnov distance (0 equal, 1 disjoint) of each numeric column, as whylogs computes it from sketches.

    A column alarms above the larger of 0.15 (an effect worth looking at) and the distance whose chance under no drift
    is 5 % over all columns together (Bonferroni); independent rows are assumed. Sorted by column.

    Raises:
        IntegrityError: a profile is absent or unreadable, or the window lacks a numeric column of the reference.
        MissingExtraError: LangKit or whylogs is not installed.
    """
    from scipy.stats import kstwo

    pairs = _shared(reference, window)
    algorithm = _algorithms().KS()
    scores = []
    for name, (left, right) in pairs.items():
        value = float(algorithm.calculate(right, left, False).statistic)
        sizes = [column.get_metric("distribution").kll.value.get_n() for column in (left, right)]
        effective = max(1, round(sizes[0] * sizes[1] / sum(sizes)))
        threshold = max(_NUMERIC_FLOOR, float(kstwo.isf(_ALPHA / len(pairs), effective)))
        scores.append(DriftScore(name, "ks", value, threshold, value > threshold))
    return scores


def hellinger_scores(reference: Path, window: Path) -> list[DriftScore]:
    """Hellinger distance (0 equal, 1 disjoint) of each numeric column with whylogs' own threshold for DRIFT, 0.4.

    The threshold knows nothing of sample size: 6 of 40 drift-free windows (60 rows against 200, TWEETSUMM) alarmed,
    where `ks_scores` had none. For large windows only.

    Raises:
        IntegrityError: a profile is absent or unreadable, or the window lacks a numeric column of the reference.
        MissingExtraError: LangKit or whylogs is not installed.
    """
    algorithm = _algorithms().Hellinger()
    scores = []
    for name, (left, right) in _shared(reference, window).items():
        value = float(algorithm.calculate(right, left, False).statistic)
        scores.append(DriftScore(name, "hellinger", value, 0.4, value > 0.4))
    return scores


def drift_scores(reference_path: Path, window_path: Path) -> list[DriftScore]:
    """The default detector: `ks_scores`."""
    return ks_scores(reference_path, window_path)


def _whylogs() -> Any:
    if not (importlib.util.find_spec("whylogs") and importlib.util.find_spec("langkit")):
        raise MissingExtraError("langkit", "langkit")
    os.environ.setdefault("WHYLOGS_NO_ANALYTICS", "True")
    import numpy

    if not hasattr(numpy, "unicode_"):
        setattr(numpy, "unicode_", numpy.str_)  # noqa: B010  numpy's stubs rightly know no such name
    logging.getLogger("whylogs").setLevel(logging.ERROR)
    return importlib.import_module("whylogs")


def _algorithms() -> Any:
    root = Path(_whylogs().__file__).parent
    if "whylogs.viz" not in sys.modules:
        package = types.ModuleType("whylogs.viz")
        package.__path__ = [str(root / "viz")]
        sys.modules["whylogs.viz"] = package
    return importlib.import_module("whylogs.viz.drift.column_drift_algorithms")


def _profiled(rows: Sequence[Mapping[str, str]]) -> Any:
    _whylogs()
    import pandas

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module("langkit.vader_sentiment")
        schema = importlib.import_module("langkit.light_metrics").init()
        profile_type = importlib.import_module("whylogs.core").DatasetProfile
        profile = profile_type(schema=schema, dataset_timestamp=_EPOCH, creation_timestamp=_EPOCH)
        profile.track(pandas.DataFrame([{name: _encodable(row[name]) for name in COLUMNS} for row in rows]))
        return profile.view()


def _encodable(text: str) -> str:
    """Unpaired surrogates, which whylogs cannot hash, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _loaded(path: Path) -> Any:
    _whylogs()
    broken = importlib.import_module("whylogs.core.errors").DeserializationError
    view_type = importlib.import_module("whylogs.core.view.dataset_profile_view").DatasetProfileView
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing.", hint=_AGAIN) from error
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}") from error
    if read_json(path.with_suffix(".json")).get("digest") != digest_bytes(data):
        raise IntegrityError(f"{path}: its bytes are not those recorded beside it.", hint=_AGAIN)
    try:
        return view_type.deserialize(data)
    except broken as error:
        raise IntegrityError(f"{path} is not a whylogs profile: {error}", hint=_AGAIN) from error


def _numeric(path: Path) -> dict[str, Any]:
    columns = {}
    for name, column in _loaded(path).get_columns().items():
        metric = column.get_metric("distribution")
        if metric is not None and not metric.kll.value.is_empty():
            columns[name] = column
    return columns


def _shared(reference: Path, window: Path) -> dict[str, tuple[Any, Any]]:
    """Numeric columns that both profiles have, by name in order: (reference, window).

    A numeric column of the reference that the window lacks would go unwatched, so it is an error.
    """
    left, right = _numeric(reference), _numeric(window)
    if not left or left.keys() - right.keys():
        lacking = ", ".join(sorted(left.keys() - right.keys())) or "numeric columns"
        raise IntegrityError(f"{window} and {reference} cannot be compared: {lacking} missing.", hint=_AGAIN)
    return {name: (left[name], right[name]) for name in sorted(left)}
