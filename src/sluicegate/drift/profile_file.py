"""Profiles on disk: a Parquet file (sample, summaries in its metadata) and a JSON to read."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sluicegate.drift.embedded import Embedded
from sluicegate.drift.profile import Moments, Profile
from sluicegate.errors import IntegrityError
from sluicegate.hashing import digest_bytes, read_json, write_atomic, write_json

_KEY = b"sluicegate"
_FORMAT = 2
VECTORS = ".vectors.npz"
_AGAIN = "Run `sluice stage profile` to make it again."


def write_profile(path: Path, profile: Profile) -> None:
    """Write `profile` to `path`; beside it, as `.json`, its digest and each column's summary.

    Vectors, where it has any, go into a file of their own with the suffix `.vectors.npz`.

    Raises:
        EnvironmentFailure: the disk refuses; no partial file stays.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"block": pa.array(profile.blocks, pa.uint64())}
    columns |= {
        name: pa.array(values, pa.float64(), from_pandas=True)
        for name, values in profile.numbers.items()
    }
    columns |= {
        name: pa.array(values.tolist(), pa.string()) for name, values in profile.labels.items()
    }
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
    beside = {"digest": digest_bytes(data), "rows": profile.rows, "columns": profile.summary()}
    if profile.embedded is not None:
        vectors = _packed(profile.embedded)
        write_atomic(path.with_suffix(VECTORS), vectors)
        beside |= {"vectors": digest_bytes(vectors), "encoder": profile.embedded.encoder}
    write_json(path.with_suffix(".json"), beside)


def _packed(embedded: Embedded) -> bytes:
    arrays: dict[str, Any] = {"blocks": embedded.blocks, "cut": np.array([embedded.cut], np.uint64)}
    arrays |= {f"vectors.{side}": vectors for side, vectors in embedded.vectors.items()}
    arrays |= {f"numbers.{name}": values for name, values in embedded.numbers.items()}
    sink = io.BytesIO()
    np.savez(sink, allow_pickle=False, **arrays)
    return sink.getvalue()


def _embedded(path: Path, beside: Mapping[str, Any]) -> Embedded | None:
    if "vectors" not in beside:
        return None
    try:
        data = path.with_suffix(VECTORS).read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"{path.with_suffix(VECTORS)} cannot be read: {error.strerror}", hint=_AGAIN
        ) from error
    if digest_bytes(data) != beside["vectors"]:
        raise IntegrityError(
            f"{path.with_suffix(VECTORS)}: its bytes do not have the digest that is recorded "
            "beside it.",
            hint=_AGAIN,
        )
    found = np.load(io.BytesIO(data), allow_pickle=False)
    parts = {
        kind: {
            name.removeprefix(f"{kind}."): found[name]
            for name in found.files
            if name.startswith(f"{kind}.")
        }
        for kind in ("vectors", "numbers")
    }
    return Embedded(
        beside["encoder"], found["blocks"], parts["vectors"], parts["numbers"], int(found["cut"][0])
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
    beside = read_json(path.with_suffix(".json"))
    if beside.get("digest") != digest_bytes(data):
        raise IntegrityError(
            f"{path}: its bytes do not have the digest that is recorded beside it.", hint=_AGAIN
        )
    try:
        table = pq.read_table(io.BytesIO(data))
        made = json.loads(table.schema.metadata[_KEY])["format"]
        if made != _FORMAT:
            raise IntegrityError(
                f"{path} was made by another version: it lacks columns that are compared now.",
                hint=_AGAIN,
            )
        return replace(_profile(table), embedded=_embedded(path, beside))
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{path} is not a profile: {error}", hint=_AGAIN) from error


def _profile(table: Any) -> Profile:
    about = json.loads(table.schema.metadata[_KEY])
    return Profile(
        about["rows"],
        {name: Moments(**moments) for name, moments in about["moments"].items()},
        about["categories"],
        {name: np.array(table[name].to_numpy(), np.float64) for name in about["moments"]},
        {name: np.array(table[name].to_pylist(), np.object_) for name in about["categories"]},
        np.array(table["block"].to_numpy(), np.uint64),
        about["cut"],
    )
