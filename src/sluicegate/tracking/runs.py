"""One MLflow run, by explicit id: parameters, curves, tables, files, datasets, system metrics."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sluicegate.errors import TrackingError
from sluicegate.tracking.connection import translated

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

BUFFERED_METRICS = 200
BUFFERED_SECONDS = 3.0
PARAMS_PER_BATCH = 100
_TABLES_TAG = "mlflow.loggedArtifacts"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested parameters as MLflow wants them: dotted names, text values.

    Example:
        >>> flatten({"tune": {"rank": 8, "modules": ["q", "v"]}})
        {'tune.rank': '8', 'tune.modules': 'q, v'}
    """
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            flat[f"{prefix}{key}"] = ", ".join(str(item) for item in value)
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


class RunHandle:
    """A run that is open for writing.

    As a context manager it ends FINISHED, FAILED on an error, KILLED on Ctrl-C.

    Metrics are buffered (200 of them cost 0.05 s in one batch, 3.9 s one by one) and written when
    200 are waiting, after 3 s, and at the end: a kill loses at most the last three seconds of a
    curve.
    """

    def __init__(self, client: MlflowClient, run_id: str, experiment_id: str) -> None:
        self.id = run_id
        self.experiment_id = experiment_id
        self._client = client
        self._buffer: list[Metric] = []
        self._flushed = time.monotonic()
        self._samples = 0

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Add one point to each curve."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for key, value in metrics.items():
            self._buffer.append(Metric(key, float(value), now, step))
        if (
            len(self._buffer) >= BUFFERED_METRICS
            or time.monotonic() - self._flushed > BUFFERED_SECONDS
        ):
            self.flush()

    def flush(self) -> None:
        """Write the buffered metrics in one batch."""
        self._flushed = time.monotonic()
        if not self._buffer:
            return
        with translated("log metrics"):
            for start in range(0, len(self._buffer), 1000):
                self._client.log_batch(self.id, metrics=self._buffer[start : start + 1000])
        self._buffer = []

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Record parameters (nested ones get dotted names); none can change within a run."""
        from mlflow.entities import Param

        flat = [Param(key, value) for key, value in flatten(params).items()]
        with translated("log parameters"):
            for start in range(0, len(flat), PARAMS_PER_BATCH):
                self._client.log_batch(self.id, params=flat[start : start + PARAMS_PER_BATCH])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set or replace tags."""
        from mlflow.entities import RunTag

        with translated("tag a run"):
            self._client.log_batch(
                self.id, tags=[RunTag(key, str(value)) for key, value in tags.items()]
            )

    def log_table(self, name: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Store a table that MLflow's view sorts and searches; the same name replaces it.

        Raises:
            ValueError: the columns differ in length.
        """
        names = list(columns)
        rows = [list(row) for row in zip(*(columns[key] for key in names), strict=True)]
        path = f"{name}.json"
        with translated(f"log the table {name}"):
            text = json.dumps(
                {"columns": names, "data": rows}, ensure_ascii=False, allow_nan=False, default=str
            )
            self._client.log_text(self.id, text, path)
            known = json.loads(self._client.get_run(self.id).data.tags.get(_TABLES_TAG, "[]"))
            entry = {"path": path, "type": "table"}
            if entry not in known:
                self._client.set_tag(self.id, _TABLES_TAG, json.dumps([*known, entry]))

    def log_figure_png(self, name: str, data: bytes) -> None:
        """Store a picture as `figures/<name>.png`."""
        with tempfile.TemporaryDirectory() as folder, translated(f"log the figure {name}"):
            path = Path(folder) / f"{name}.png"
            path.write_bytes(data)
            self._client.log_artifact(self.id, str(path), "figures")

    def log_text(self, path: str, text: str) -> None:
        """Store `text` as the artefact `path`, for instance `verdict.md`."""
        with translated(f"log {path}"):
            self._client.log_text(self.id, text, path)

    def log_file(self, path: Path, folder: str = "") -> None:
        """Store a file, or a whole folder, under `folder` of the run's artefacts."""
        with translated(f"log {path.name}"):
            if path.is_dir():
                self._client.log_artifacts(self.id, str(path), folder or path.name)
            else:
                self._client.log_artifact(self.id, str(path), folder or None)

    def log_dataset(self, name: str, digest: str, source: str, rows: int) -> None:
        """Record a data set as input, under our digest (MLflow's covers 10,000 rows only).

        MLflow keeps 36 characters of a digest; the profile holds all 64 and the number of rows.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        profile = json.dumps({"num_rows": rows, "sha256": digest})
        dataset = Dataset(name, digest[:36], "local", json.dumps({"uri": source}), profile=profile)
        with translated(f"log the data set {name}"):
            self._client.log_inputs(
                self.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", name)])]
            )

    def system_metrics(self) -> dict[str, float]:
        """Sample processor, memory and disk, log it under System metrics, return it (%, MB)."""
        import psutil

        memory = psutil.virtual_memory()
        sample = {
            "system/cpu_utilization_percentage": psutil.cpu_percent(),
            "system/system_memory_usage_megabytes": memory.used / 1e6,
            "system/system_memory_usage_percentage": memory.percent,
            "system/process_memory_usage_megabytes": psutil.Process().memory_info().rss / 1e6,
            "system/disk_usage_percentage": psutil.disk_usage("/").percent,
        }
        self.log_metrics(sample, self._samples)
        self._samples += 1
        return sample

    def end(self, status: str = "FINISHED") -> None:
        """Write what is buffered and close the run as FINISHED, FAILED or KILLED."""
        self.flush()
        with translated("end a run"):
            self._client.set_terminated(self.id, status=status)

    def __enter__(self) -> RunHandle:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.end("FINISHED")
            return
        try:
            self.end("KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED")
        except TrackingError as second:
            if error is not None:
                error.add_note(f"(and the MLflow run could not be closed: {second})")
