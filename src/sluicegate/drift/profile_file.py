"""Profiles on disk: one Parquet file (the sample; the exact summaries in its metadata) and a JSON to read beside it."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sluicegate.drift.profile import Moments, Profile
from sluicegate.errors import IntegrityError
from sluicegate.hashing import digest_bytes, read_json, write_atomic, write_json

_KEY = b"sluicegate"
_FORMAT = 1
_AGAIN = "Run `sluice stage profile` to make it again."


def write_profile(path: Path, profile: Profile) -> None:
    """Write `profile` to `path`; beside it, with the suffix `.json`, the digest of its bytes and each column's summary.

    Raises:
        EnvironmentFailure: the disk refuses; no partial file stays.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"block": pa.array(profile.blocks, pa.uint64())}
    columns |= {name: pa.array(values, pa.float64(), from_pandas=True) for name, values in profile.numbers.items()}
    columns |= {name: pa.array(values.tolist(), pa.string()) for name, values in profile.labels.items()}
    about = {
        "format": _FORMAT,
        "rows": profile.rows,
        "cut": profile.cut,
        "moments": {name: asdict(moments) for name, moments in profile.moments.items()},
        "categories": {name: dict(found) for name, found in profile.categories.items()},
    }
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(about, sort_keys=True)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue()
    write_atomic(path, data)
    write_json(
        path.with_suffix(".json"),
        {"digest": digest_bytes(data), "rows": profile.rows, "columns": profile.summary()},
    )


def read_profile(path: Path) -> Profile:
    """Read a profile after checking its bytes against the digest beside it.

    Raises:
        IntegrityError: the file is absent, damaged or not a profile.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"{path} is missing.", hint=_AGAIN) from error
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}") from error
    if read_json(path.with_suffix(".json")).get("digest") != digest_bytes(data):
        raise IntegrityError(f"{path}: its bytes are not those recorded beside it.", hint=_AGAIN)
    try:
        return _profile(pq.read_table(io.BytesIO(data)))
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path} is not a profile: {error}", hint=_AGAIN) from error


def _profile(table: Any) -> Profile:
    about = json.loads(table.schema.metadata[_KEY])
    if about["format"] != _FORMAT:
        raise ValueError(f"format {about['format']}")
    return Profile(
        about["rows"],
        {name: Moments(**moments) for name, moments in about["moments"].items()},
        about["categories"],
        {name: np.array(table[name].to_numpy(), np.float64) for name in about["moments"]},
        {name: np.array(table[name].to_pylist(), np.object_) for name in about["categories"]},
        np.array(table["block"].to_numpy(), np.uint64),
        about["cut"],
    )
