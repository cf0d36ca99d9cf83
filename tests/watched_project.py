"""A project with a champion and its evidence, made without model, pipeline and server, and traffic
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sluicegate.data.examples import read_examples
from sluicegate.evaluation import evaluate, lead2, write_evidence
from sluicegate.hashing import digest_file, digest_value
from sluicegate.ledger import Ledger
from sluicegate.line.pipeline import prepare
from sluicegate.line.run import open_run
from sluicegate.project import Project
from sluicegate.prompts import load_prompt, render
from sluicegate.records import Example, GenerationSettings, Lineage
from sluicegate.releasing import bootstrap, store_release
from sluicegate.scaffold import init
from sluicegate.traffic import Feedback, TrafficLog, TrafficRow


def watched(root: Path) -> Project:
    """The shipped sample project, prepared, version 1 serving; its answers are the first two turns.

    Form alone is watched, which takes no encoder: a hundred checks would load and run one.
    """
    init(root)
    project = Project(root)
    text = project.params.read_text("utf-8")
    assert "encoder: auto" in text
    project.params.write_text(text.replace("encoder: auto", "encoder: none"), "utf-8")
    prepare.stage(open_run(project))
    enthrone(project, 1)
    return project


def enthrone(project: Project, length: int) -> str:
    """Store a release and its evidence; the first one becomes champion. Its digest."""
    release = store_release(
        project,
        base_digest="b" * 64,
        base_name="tiny",
        adapter=None,
        prompt=load_prompt(project.prompts / "summarize.yaml"),
        generation=GenerationSettings(max_new_tokens=length),
        lineage=Lineage("1" * 64, "2" * 64, {}, "4" * 64, "c0ffee", False),
    )
    made = {"manifest": digest_value(release.manifest), **release.manifest, "authors": []}
    payload = {"version": length, **made}
    ledger = Ledger(project.ledger_url)
    ledger.append("register", release.digest, "maker", payload)
    if ledger.champion() is None:
        bootstrap(project, release.digest, actor="maker")
    golden = read_examples(project.golden)
    made = evaluate(
        release.digest, golden, digest_file(project.golden), lead2(golden), ("length_ratio",)
    )
    write_evidence(project.evidence / "candidate.parquet", made)
    return release.digest


def examples(project: Project, name: str = "golden") -> list[Example]:
    """The golden or another prepared set."""
    return read_examples(project.golden if name == "golden" else project.prepared / f"{name}.jsonl")


def rows(
    project: Project,
    found: Sequence[Example],
    *,
    minutes: float = 30.0,
    times: int = 1,
    release: str = "",
    feedback: tuple[Feedback, ...] = (),
    inputs: bool = True,
) -> list[TrafficRow]:
    """Traffic as if the examples had been asked `minutes` ago; `times` multiplies the length of
    what was asked.
    """
    prompt = load_prompt(project.prompts / "summarize.yaml")
    answers = lead2(found)
    then = datetime.now(UTC) - timedelta(minutes=minutes)
    return [
        TrafficRow(
            key=f"{minutes}-{times}-{example.id}",
            time=then + timedelta(milliseconds=place),
            prompt=render(
                prompt, {"conversation": "\n".join([example.inputs["conversation"]] * times)}
            )[-1]["content"],
            response=answer.text,
            release=release,
            group=example.group,
            inputs={"conversation": example.inputs["conversation"]} if inputs else {},
            feedback=feedback,
        )
        for place, (example, answer) in enumerate(zip(found, answers, strict=True))
    ]


def log(project: Project) -> TrafficLog:
    """The project's traffic log."""
    return TrafficLog(project.traffic_url)


def said(thumb: int | None = None, correction: str = "", ago: float = 1.0) -> Feedback:
    """Feedback given `ago` minutes ago."""
    return Feedback(datetime.now(UTC) - timedelta(minutes=ago), thumb=thumb, correction=correction)
