"""What MLflow gets of an evaluation: means, a table that one can sort and read, traces of the
answers, plots, the files.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sluicegate.chat import as_read
from sluicegate.data.examples import read_examples
from sluicegate.errors import TrackingError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.judging import criteria
from sluicegate.hashing import digest_value, read_json, write_json
from sluicegate.judges import Criterion
from sluicegate.judges.labels import spoken_label
from sluicegate.line.pipeline.code_answers import read_calls
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.prompts import render
from sluicegate.records import Evidence, Example, ScoredExample
from sluicegate.tracking import About, Opinion, RunHandle, TracedAnswer, Tracking

MOST_TRACES = 200
"""Traces of one evaluation: nobody reads more of them, and each costs MLflow about 12 ms."""
MOST_TABLE_ROWS = 2_000
"""Rows of the table in MLflow's evaluation view; the Parquet files beside it hold all."""
MOST_BARS = 1_000


def track(run: Run, evidence: Mapping[str, Evidence], golden: Sequence[Example]) -> str:
    """Log one run and return its id.

    `evidence` holds candidate, champion and the baselines, by name.
    """
    candidate, champion = evidence["candidate"], evidence["champion"]
    tags = {
        "sluice.stage": "evaluate",
        "sluice.release": candidate.release,
        "sluice.champion": champion.release,
    }
    settings = run.params.evaluate.model_dump() | run.params.release.generation.model_dump()
    tracking = run.tracking
    with tracking.start_run(run.name, "evaluate", settings, tags) as handle:
        values: dict[str, float] = {}
        for name, record in evidence.items():
            values |= {
                _metric_name(name, metric): summary.mean
                for metric, summary in (*record.summaries.items(), *record.set_scores.items())
            }
            values |= {
                _metric_name(name, metric): number for metric, number in record.operations.items()
            }
        handle.log_metrics(values, 0)
        handle.log_dataset("golden", candidate.golden, "data/golden/golden.jsonl", len(golden))
        shown = _sample(golden, MOST_TABLE_ROWS)
        if len(shown) < len(golden):
            say(
                f"  MLflow's table shows {len(shown)} of {len(golden)} rows; the Parquet files "
                "hold all"
            )
        handle.log_table("evaluation", _table(evidence, shown))
        handle.log_figure_png("metrics", means_plot(evidence))
        handle.log_figure_png("differences", differences_plot(candidate, champion))
        for name in evidence:
            handle.log_file(run.project.evidence / f"{name}.parquet", "evidence")
        _trace(run, tracking, handle, candidate, champion, golden)
    return str(handle.id)


def _metric_name(contender: str, metric: str) -> str:
    """MLflow takes no colon in the name of a metric on every system."""
    return f"{contender}/{metric.replace(':', '.')}"


def project_prompt(run: Run, tracking: Tracking) -> tuple[str, int]:
    """Show the active prompt in MLflow's Prompt Registry, once; its name and version there."""
    name = f"{run.name}.{run.prompt.name}"
    version = tracking.project_prompt(
        name,
        [
            {"role": "system", "content": run.prompt.system},
            {"role": "user", "content": run.prompt.template},
        ],
        {"digest": run.prompt.digest, "owner": run.prompt.owner or "nobody"},
        experiment=run.name,
    )
    return name, version


def _trace(
    run: Run,
    tracking: Tracking,
    handle: RunHandle,
    candidate: Evidence,
    champion: Evidence,
    golden: Sequence[Example],
) -> None:
    """Traces of the candidate's answers, with the judges' scores and reasons, for people to read
    and correct.
    """
    made = read_json(run.project.evidence / "release.json")
    prompt, version = project_prompt(run, tracking)
    about = About(
        release=candidate.release,
        golden=candidate.golden,
        base=made["base_name"],
        adapter=made["candidate"]["adapter"] or "none",
        prompt=prompt,
        prompt_digest=run.prompt.digest,
        prompt_version=version,
        settings=run.params.release.generation.model_dump(),
    )
    judges = {one.metric: one for one in criteria(run.params.evaluate.metrics, run.project.prompts)}
    rows, others = ({row.id: row for row in side.rows} for side in (candidate, champion))
    calls = read_calls(run.project)
    answers = [
        replace(
            _traced(run, example, rows[example.id], others[example.id].output, judges, candidate),
            calls=calls.get(example.id, ()),
        )
        for example in _sample(golden, MOST_TRACES)
    ]
    stored = tracking.log_answers(handle, about, answers)
    say(f"  MLflow has traces of {stored} of {len(golden)} answers")


def _traced(
    run: Run,
    example: Example,
    row: ScoredExample,
    other: str,
    judges: Mapping[str, Criterion],
    evidence: Evidence,
) -> TracedAnswer:
    judged = {name: judges[name] for name in row.scores if name in judges}
    return TracedAnswer(
        example=example.id,
        group=example.group,
        inputs=example.inputs,
        messages=[] if run.params.release.is_code else render(run.prompt, example.inputs),
        output=row.output,
        references=example.reference,
        seconds=row.seconds,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=row.completion_tokens,
        finished=row.finished,
        scores=row.scores,
        opinions=[
            Opinion(
                name,
                _said(row.scores[name], one),
                row.reasons.get(name, ""),
                _author(one, evidence),
            )
            for name, one in judged.items()
        ],
        other=other if any(one.compares for one in judged.values()) else "",
    )


def _said(score: float, criterion: Criterion) -> str | float:
    """A score in the judge's own scale, which is also the one that people label in."""
    if criterion.compares and score not in (0.0, 0.5, 1.0):
        return score  # a jury of an even number
    return spoken_label(score, criterion)


def _author(criterion: Criterion, evidence: Evidence) -> str:
    return (
        f"{criterion.name} ({', '.join(criterion.judges)}) "
        f"{evidence.judges[criterion.name].digest[:12]}"
    )


def _sample(golden: Sequence[Example], most: int) -> list[Example]:
    """All examples, or `most` of them chosen by the digest of their ids: the same ones in every
    evaluation.
    """
    if len(golden) <= most:
        return list(golden)
    chosen = sorted(golden, key=lambda example: digest_value(example.id))[:most]
    return sorted(chosen, key=lambda example: example.id)


def evaluation_run(run: Run) -> str:
    """Id of the run that holds this project's evaluation.

    Evidence that DVC's cache brought from elsewhere names a run that this store does not have: it
    is logged anew, once.

    Raises:
        TrackingError: MLflow cannot be written.
    """
    project = run.project
    named = str(read_json(project.evidence / "run.json")["run_id"])
    anew = project.build / "line" / "run.json"
    kept = read_json(anew) if anew.is_file() else {}
    run_id = str(kept["run_id"]) if kept.get("of") == named else named
    try:
        return str(run.tracking.open_run(run_id).id)
    except TrackingError:
        names = ["candidate", "champion", *run.params.evaluate.baselines]
        evidence = {name: read_evidence(project.evidence / f"{name}.parquet") for name in names}
        run_id = track(run, evidence, read_examples(project.golden))
        write_json(anew, {"of": named, "run_id": run_id})
        return run_id


def _table(evidence: Mapping[str, Evidence], golden: Sequence[Example]) -> dict[str, list[object]]:
    rows = {name: {row.id: row for row in record.rows} for name, record in evidence.items()}
    table: dict[str, list[object]] = {
        "id": [row.id for row in golden],
        "input": ["\n".join(as_read(row.inputs).values())[:2000] for row in golden],
        "reference": [row.reference[0] if row.reference else "" for row in golden],
    }
    for name in ("candidate", "champion"):
        table[name] = [rows[name][row.id].output for row in golden]
        for metric in evidence[name].summaries:
            table[f"{name} {metric}"] = [rows[name][row.id].scores[metric] for row in golden]
            reasons: list[object] = [rows[name][row.id].reasons.get(metric, "") for row in golden]
            if any(reasons):
                table[f"{name} {metric} reason"] = reasons
    return table


def means_plot(evidence: Mapping[str, Evidence]) -> bytes:
    """PNG: each metric's mean with its 95 % interval, one row a contender."""
    from matplotlib.figure import Figure

    metrics = list(evidence["candidate"].summaries)
    figure = Figure(figsize=(9, 1.1 * len(metrics) + 0.8), layout="constrained")
    axes = figure.subplots(max(1, len(metrics)), 1, squeeze=False)[: len(metrics), 0]
    for axis, metric in zip(axes, metrics, strict=True):
        for row, record in enumerate(evidence.values()):
            summary = record.summaries.get(metric)  # baselines are not judged
            if summary is None:
                continue
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

    metrics = [metric for metric in candidate.summaries if metric in champion.summaries]
    before = {row.id: row.scores for row in champion.rows}
    figure = Figure(figsize=(9, 1.5 * len(metrics) + 0.8), layout="constrained")
    axes = figure.subplots(max(1, len(metrics)), 1, squeeze=False)[: len(metrics), 0]
    for axis, metric in zip(axes, metrics, strict=True):
        values = sorted(row.scores[metric] - before[row.id][metric] for row in candidate.rows)
        shown = values[:: max(1, len(values) // MOST_BARS)]
        colours = ["C3" if value < 0 else "C2" for value in shown]
        # One collection of lines: as bars each would be an object of its own, and a thousand of
        # them take seconds.
        axis.vlines(
            range(len(shown)), 0, shown, colors=colours, linewidth=max(0.5, 500 / len(shown))
        )
        axis.margins(x=0.01)
        better = sum(value > 0 for value in values)
        worse = sum(value < 0 for value in values)
        axis.set_title(
            f"{metric}: better on {better}, worse on {worse} of {len(values)}",
            loc="left",
            fontsize=10,
        )
        axis.axhline(0, color="black", linewidth=0.6)
        axis.set_xticks([])
    return _png(figure)


def _png(figure: object) -> bytes:
    from matplotlib.figure import Figure

    assert isinstance(figure, Figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
