"""A Hugging Face dataset by name or local folder; needs the extra `hf`.

Options: `split` (train), `config`, `revision`. Remote code is never run. The digest covers the
values of the columns used: the bytes live in a cache of many layouts.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from sluicegate.config import SourceSpec
from sluicegate.data import rows
from sluicegate.errors import DataError, MissingExtraError
from sluicegate.hashing import digest_value
from sluicegate.records import Example


def read(name: str, spec: SourceSpec, root: Path) -> rows.SourceRows:
    """Read a Hugging Face dataset (`HF_HUB_OFFLINE` is honoured).

    Raises:
        MissingExtraError: `datasets` is not installed.
        DataError: the dataset, split or a column is absent, or a row is not text (row from 1 is
            named).
        ConfigError: the `fields` or `options` of the source are wrong.
    """
    options = rows.check_options(name, spec, ("split", "config", "revision"))
    fields = rows.fields_of(name, spec)
    table = _load(spec.path, root, {key: str(value) for key, value in options.items()})
    missing = [column for column in fields.columns if column not in table.column_names]
    if missing:
        known = ", ".join(table.column_names[:12])
        raise DataError(
            f"{spec.path}: column {missing[0]!r} is missing.", hint=f"The dataset has: {known}."
        )
    records: list[dict[str, Any]] = table.select_columns(fields.columns).to_list()
    raw = (
        (f"{spec.path}, row {number}", f"{name}-{number}", record)
        for number, record in enumerate(records, start=1)
    )
    examples = rows.make_examples(name, fields, raw)
    return rows.SourceRows(examples, digest_value([_plain(row) for row in examples]), ())


def _plain(row: Example) -> list[Any]:
    later = [dict(row.expected), row.critical] if row.expected or row.critical else []
    return [row.id, row.group, dict(row.inputs), list(row.reference), *later]


def _load(path: str, root: Path, options: dict[str, str]) -> Any:
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise MissingExtraError("datasets", "hf") from error
    local, split = root / path, options.get("split", "train")
    try:
        if (local / "dataset_dict.json").is_file():
            return datasets.load_from_disk(str(local))[split]
        if (local / "state.json").is_file():
            return datasets.load_from_disk(str(local))
        target = str(local) if local.is_dir() else path
        return datasets.load_dataset(
            target, options.get("config"), split=split, revision=options.get("revision")
        )
    except IndexError as error:  # `datasets` writes a set of no rows, and cannot read it
        raise DataError(
            f"dataset {path} (split {split}) holds no rows.", hint="Name another split."
        ) from error
    except (
        OSError,
        ValueError,
        KeyError,
        RuntimeError,
        datasets.exceptions.DatasetGenerationError,
    ) as error:
        raise DataError(
            f"dataset {path} (split {split}) cannot be loaded: {error}",
            hint="Check name, split and revision; offline, only the local cache is searched.",
        ) from error
