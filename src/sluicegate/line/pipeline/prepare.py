"""Sources in; train, validation, development and frozen golden set out, with counts of everything
dropped or redacted.
"""

from __future__ import annotations

from dataclasses import asdict

from sluicegate.data import read_source
from sluicegate.data.examples import write_examples
from sluicegate.data.preparing import prepare
from sluicegate.hashing import digest_file, write_atomic, write_json
from sluicegate.line.pipeline.base_model import trains
from sluicegate.line.progress import say
from sluicegate.line.run import Run


def stage(run: Run) -> None:
    """Write data/prepared/, data/development/, data/golden/golden.jsonl and build/prepare.json."""
    project, params, specs = run.project, run.params, run.sources
    read = {name: read_source(name, spec, project.root) for name, spec in specs.items()}
    prepared = prepare(
        {name: (specs[name].role, list(rows.rows)) for name, rows in read.items()},
        params.prepare,
        trains=trains(run),
    )
    for name, rows in (("train", prepared.train), ("validation", prepared.validation)):
        write_examples(project.prepared / f"{name}.jsonl", rows)
    write_examples(project.golden, prepared.golden)
    write_examples(project.development, prepared.development)
    # A project made before there was this folder does not name it in its own .gitignore.
    write_atomic(project.development.with_name(".gitignore"), "*\n")
    summary = {
        "counts": dict(prepared.counts),
        "redactions": dict(prepared.redactions),
        "dropped": [asdict(row) for row in prepared.dropped],
        "skipped": {name: rows.skipped for name, rows in read.items()},
        "sources": {name: rows.digest for name, rows in read.items()},
        "data": digest_file(project.prepared / "train.jsonl"),
        "contamination": "ok",  # `prepare` raises where train and golden rows overlap
        "golden": digest_file(project.golden),
        "development": digest_file(project.development),
    }
    write_json(project.build / "prepare.json", summary)
    say(
        f"prepare: {len(prepared.train)} train, {len(prepared.validation)} validation, "
        f"{len(prepared.development)} development, {len(prepared.golden)} golden; "
        f"{sum(prepared.redactions.values())} redactions, {len(prepared.dropped)} rows dropped"
    )
