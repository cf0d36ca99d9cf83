"""A project with a champion and a candidate whose answers differ in some rows, to be reviewed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sluicegate.evaluation import read_evidence, write_evidence
from sluicegate.line.run import Run, open_run
from sluicegate.releasing import reviewing

sys.path.insert(0, str(Path(__file__).parent))
from watched_project import enthrone, watched

HOSTILE = (
    '<img src=x onerror="document.title=1"><script>document.title=1</script> & "quoted" \u202e'
)


def compared(root: Path, differing: int = 20) -> Run:
    """The sample project; the candidate answers so many rows otherwise, the first one hostile."""
    project = watched(root)
    folder = project.evidence
    champion = read_evidence(folder / "candidate.parquet")
    write_evidence(folder / "champion.parquet", champion)
    candidate = enthrone(project, 2)
    rows = [
        replace(
            row, output=HOSTILE if place == 0 else f"{row.output} It was solved on day {place}."
        )
        if place < differing
        else row
        for place, row in enumerate(champion.rows)
    ]
    write_evidence(
        folder / "candidate.parquet", replace(champion, release=candidate, rows=tuple(rows))
    )
    return open_run(project)


def ask(run: Run, **more: object) -> Run:
    """The project with a policy of one rule on reviews."""
    rule = {"name": "people", "kind": "human_review", "margin": 0.3, **more}
    text = json.dumps({"minimum_examples": 20, "rules": [rule]})
    (run.project.registry / "gates.yaml").write_text(text, "utf-8")
    return open_run(run.project)


@contextmanager
def at_the_keyboard(*names: str) -> Iterator[None]:
    """Somebody of this name sits there."""
    before = reviewing.logins
    reviewing.logins = lambda root: names
    try:
        yield
    finally:
        reviewing.logins = before


def task(pair: str, result: list[Mapping[str, object]], who: object = "ana@x") -> dict[str, object]:
    """One annotated task as Label Studio exports it."""
    annotation = {"completed_by": {"email": who}, "result": result}
    return {"data": {"pair": pair}, "annotations": [annotation]}
