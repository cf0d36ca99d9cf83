"""The candidate's prompts and answers in, a text profile out: the reference that monitoring
compares with.
"""

from __future__ import annotations

from sluicegate.data.examples import read_examples
from sluicegate.drift import langkit_door
from sluicegate.evaluation import read_evidence
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.monitoring import profile_reference, text_encoder
from sluicegate.prompts import shown_input


def stage(run: Run) -> None:
    """Write build/profile/reference.parquet and, where LangKit and whylogs are installed,
    whylogs.bin beside it.
    """
    project = run.project
    answers = {row.id: row for row in read_evidence(project.evidence / "candidate.parquet").rows}
    golden = read_examples(project.golden)
    prompt = None if run.params.release.is_code else run.prompt
    texts = [
        {
            "prompt": shown_input(prompt, example.inputs),
            "response": answers[example.id].output,
            "group": example.group,
        }
        for example in golden
    ]
    lengths = [answers[example.id].completion_tokens for example in golden]
    rows = [
        {**text, "completion_tokens": tokens} for text, tokens in zip(texts, lengths, strict=True)
    ]
    encoder = text_encoder(run.params.profile.encoder)
    profile_reference(rows, project.profile / "reference.parquet", encoder=encoder)
    kept = langkit_door.installed()
    if kept:
        langkit_door.write_whylogs(project.profile / "whylogs.bin", texts)
    say(
        f"profile: {len(rows)} prompt and answer pairs, "
        f"{'with' if encoder else 'without'} embeddings"
        f"{', also as a whylogs profile' if kept else ''}"
    )
