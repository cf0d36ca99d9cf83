"""The candidate's prompts and answers in, a text profile out: the reference that monitoring compares with."""

from __future__ import annotations

from sluicegate.data.examples import read_examples
from sluicegate.drift import langkit_door
from sluicegate.evaluation import read_evidence
from sluicegate.monitoring import profile_reference
from sluicegate.project import Project
from sluicegate.prompts import render
from sluicegate.stages.context import open_context
from sluicegate.stages.progress import say


def run(project: Project) -> None:
    """Write build/profile/reference.parquet and, where LangKit and whylogs are installed, whylogs.bin beside it."""
    context = open_context(project)
    outputs = {row.id: row.output for row in read_evidence(project.evidence / "candidate.json").rows}
    rows = [
        {
            "prompt": render(context.prompt, example.inputs)[-1]["content"],
            "response": outputs[example.id],
            "group": example.group,
        }
        for example in read_examples(project.golden)
    ]
    profile_reference(rows, project.profile / "reference.parquet")
    kept = langkit_door.installed()
    if kept:
        langkit_door.write_whylogs(project.profile / "whylogs.bin", rows)
    say(f"profile: {len(rows)} prompt and answer pairs{', also as a whylogs profile' if kept else ''}")
