"""Reading MLflow's traces as plain values: what an application logged there about its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sluicegate.errors import ConfigError
from sluicegate.tracking.connection import translated
from sluicegate.tracking.human_words import EXAMPLE_TAG, RELEASE_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 50


@dataclass(frozen=True, slots=True)
class Assessed:
    """One assessment: `value` is a truth value, number or text; an `expectation` says what the
    answer should be.
    """

    name: str
    value: Any
    expectation: bool
    by: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class TraceValues:
    """One trace: inputs and outputs of its root span; times in milliseconds since 1970."""

    id: str
    milliseconds: int
    duration: int | None
    inputs: Any
    outputs: Any
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    user: str = ""
    session: str = ""
    release: str = ""
    failed: bool = False
    assessed: tuple[Assessed, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def read_traces(client: MlflowClient, experiment: str) -> Iterator[TraceValues]:
    """Yield an experiment's finished traces, oldest first, by page; not those of evaluations.

    Raises:
        ConfigError: there is no such experiment.
        TrackingError: MLflow fails.
    """
    with translated(f"find the experiment {experiment}"):
        found = client.get_experiment_by_name(experiment)
    if found is None:
        raise ConfigError(
            f"MLflow has no experiment {experiment!r}.", hint="Its name is in MLflow's UI."
        )
    token: str | None = None
    while True:
        with translated("read traces"):
            page = client.search_traces(
                locations=[found.experiment_id],
                max_results=_PAGE,
                page_token=token,
                order_by=["timestamp_ms ASC"],
            )
        for trace in page:
            if trace.info.state.value != "IN_PROGRESS" and EXAMPLE_TAG not in (
                trace.info.tags or {}
            ):
                yield _values(trace)
        token = page.token
        if not token:
            return


def _values(trace: Any) -> TraceValues:
    info = trace.info
    root = next((span for span in trace.data.spans if span.parent_id is None), None)
    usage, metadata = info.token_usage or {}, dict(info.request_metadata or {})
    return TraceValues(
        id=str(info.trace_id),
        milliseconds=int(info.timestamp_ms),
        duration=None if info.execution_duration is None else int(info.execution_duration),
        inputs=root.inputs if root else None,
        outputs=root.outputs if root else None,
        prompt_tokens=usage.get("input_tokens"),
        completion_tokens=usage.get("output_tokens"),
        user=metadata.get("mlflow.trace.user", ""),
        session=metadata.get("mlflow.trace.session", ""),
        release=str((info.tags or {}).get(RELEASE_TAG) or metadata.get(RELEASE_TAG, "")),
        failed=info.state.value == "ERROR",
        assessed=tuple(_assessed(one) for one in info.assessments or () if one.valid is not False),
        metadata=metadata,
    )


def _assessed(one: Any) -> Assessed:
    expectation = one.expectation is not None
    value = one.expectation.value if expectation else getattr(one.feedback, "value", None)
    source = one.source.source_id if one.source else ""
    return Assessed(
        str(one.name), value, expectation, str(source or ""), int(one.create_time_ms or 0)
    )
