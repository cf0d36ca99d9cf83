"""What MLflow gets of an evaluation: means, a table that one can sort and read, and plots."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from sluicegate.data.examples import read_examples
from sluicegate.errors import TrackingError
from sluicegate.evaluation import read_evidence
from sluicegate.hashing import read_json, write_json
from sluicegate.records import Evidence, Example
from sluicegate.stages.context import Context, open_tracking


def track(context: Context, evidence: Mapping[str, Evidence], golden: Sequence[Example]) -> str:
    """Log one run and return its id. `evidence` holds candidate, champion and the baselines, by name."""
    candidate, champion = evidence["candidate"], evidence["champion"]
    tags = {"sluice.stage": "evaluate", "sluice.release": candidate.release, "sluice.champion": champion.release}
    settings = context.params.evaluate.model_dump() | context.params.release.generation.model_dump()
    with open_tracking(context.project).start_run(context.name, "evaluate", settings, tags) as handle:
        values: dict[str, float] = {}
        for name, record in evidence.items():
            values |= {f"{name}/{metric}": summary.mean for metric, summary in record.summaries.items()}
            values |= {f"{name}/{metric}": number for metric, number in record.operations.items()}
        handle.log_metrics(values, 0)
        handle.log_dataset("golden", candidate.golden, "data/golden/golden.jsonl", len(golden))
        handle.log_table("evaluation", _table(evidence, golden))
        handle.log_figure_png("metrics", means_plot(evidence))
        handle.log_figure_png("differences", differences_plot(candidate, champion))
    return str(handle.id)


def evaluation_run(context: Context) -> str:
    """Id of the run that holds this project's evaluation.

    Evidence that DVC's cache brought from elsewhere names a run that this store does not have: it is logged anew, once.

    Raises:
        TrackingError: MLflow cannot be written.
    """
    project = context.project
    named = str(read_json(project.evidence / "run.json")["run_id"])
    anew = project.build / "line" / "run.json"
    kept = read_json(anew) if anew.is_file() else {}
    run_id = str(kept["run_id"]) if kept.get("of") == named else named
    try:
        return str(open_tracking(project).open_run(run_id).id)
    except TrackingError:
        names = ["candidate", "champion", *context.params.evaluate.baselines]
        evidence = {name: read_evidence(project.evidence / f"{name}.json") for name in names}
        run_id = track(context, evidence, read_examples(project.golden))
        write_json(anew, {"of": named, "run_id": run_id})
        return run_id


def _table(evidence: Mapping[str, Evidence], golden: Sequence[Example]) -> dict[str, list[object]]:
    rows = {name: {row.id: row for row in record.rows} for name, record in evidence.items()}
    table: dict[str, list[object]] = {
        "id": [row.id for row in golden],
        "input": ["\n".join(row.inputs.values())[:2000] for row in golden],
        "reference": [row.reference[0] for row in golden],
    }
    for name in ("candidate", "champion"):
        table[name] = [rows[name][row.id].output for row in golden]
        for metric in evidence[name].summaries:
            table[f"{name} {metric}"] = [rows[name][row.id].scores[metric] for row in golden]
    return table


def means_plot(evidence: Mapping[str, Evidence]) -> bytes:
    """PNG: each metric's mean with its 95 % interval, one row a contender."""
    from matplotlib.figure import Figure

    metrics = list(evidence["candidate"].summaries)
    figure = Figure(figsize=(9, 1.1 * len(metrics) + 0.8), layout="constrained")
    axes = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for axis, metric in zip(axes, metrics, strict=True):
        for row, record in enumerate(evidence.values()):
            summary = record.summaries[metric]
            spread = [[summary.mean - summary.low], [summary.high - summary.mean]]
            axis.errorbar([summary.mean], [row], xerr=spread, fmt="o", capsize=3, color=f"C{row}")
        axis.set_yticks(range(len(evidence)), list(evidence))
        axis.set_ylim(len(evidence) - 0.5, -0.5)
        axis.set_title(metric, loc="left", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    return _png(figure)


def differences_plot(candidate: Evidence, champion: Evidence) -> bytes:
    """PNG: per metric, candidate minus champion of every example, worst to best."""
    from matplotlib.figure import Figure

    metrics = list(candidate.summaries)
    before = {row.id: row.scores for row in champion.rows}
    figure = Figure(figsize=(9, 1.5 * len(metrics) + 0.8), layout="constrained")
    axes = figure.subplots(len(metrics), 1, squeeze=False)[:, 0]
    for axis, metric in zip(axes, metrics, strict=True):
        values = sorted(row.scores[metric] - before[row.id][metric] for row in candidate.rows)
        axis.bar(range(len(values)), values, color=["C3" if value < 0 else "C2" for value in values], width=1.0)
        better = sum(value > 0 for value in values)
        worse = sum(value < 0 for value in values)
        axis.set_title(f"{metric}: better on {better}, worse on {worse} of {len(values)}", loc="left", fontsize=10)
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set_xticks([])
    return _png(figure)


def _png(figure: object) -> bytes:
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
