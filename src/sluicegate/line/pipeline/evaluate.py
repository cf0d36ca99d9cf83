"""Candidate, champion and baselines on the golden set: same prompt machinery, same rows,
per-example scores kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.adapters import adapter_digest, verify_adapter
from sluicegate.budget import Budget
from sluicegate.data.examples import read_examples
from sluicegate.evaluation import answer, evaluate, find_baseline, write_evidence
from sluicegate.evaluation.judgement import Judgement
from sluicegate.evaluation.judging import criteria, judge_answers, plain_metrics
from sluicegate.evaluation.scoring import asks_model
from sluicegate.hashing import digest_file, digest_value, read_json, write_json
from sluicegate.line.judge.clients import count_failure, open_judges
from sluicegate.line.pipeline.base_model import resolve
from sluicegate.line.pipeline.evaluation_run import track
from sluicegate.line.progress import counter, say
from sluicegate.line.run import Run
from sluicegate.metrics import find_metric
from sluicegate.models import WeightsModel
from sluicegate.prompts import Prompt, render
from sluicegate.records import Evidence, Example, Generation, GenerationSettings, Release

if TYPE_CHECKING:
    from sluicegate.judges import Criterion
    from sluicegate.models.base_models import LoadedBase


@dataclass(frozen=True, slots=True)
class Contender:
    """A release with everything needed to run it."""

    release: Release
    base: LoadedBase
    adapter: Path | None
    prompt: Prompt
    generation: GenerationSettings


def stage(run: Run) -> None:
    """Write build/evidence/: candidate and champion, one file per baseline (Parquet), release.json
    and run.json.
    """
    project = run.project
    golden = read_examples(project.golden)
    digest = digest_file(project.golden)
    candidate = candidate_release(run)
    champion = champion_release(run, candidate)
    say(
        f"evaluate: {len(golden)} golden rows, candidate {candidate.release.digest[:12]}, "
        f"champion {champion.release.digest[:12]}"
    )
    metrics = plain_metrics(run.params.evaluate.metrics)
    asking = run.params.evaluate.asking
    asks_model({name: find_metric(name) for name in metrics}, asking)
    chosen = criteria(run.params.evaluate.metrics, project.prompts)
    answers = {"candidate": _answers(run, candidate, golden, "candidate")}
    same = champion.release == candidate.release
    answers["champion"] = (
        answers["candidate"] if same else _answers(run, champion, golden, "champion")
    )
    judgements = _judgements(run, chosen, golden, answers)
    price = run.params.release.price
    evidence: dict[str, Evidence] = {}
    for name, contender in (("candidate", candidate), ("champion", champion)):
        evidence[name] = (
            evidence["candidate"]
            if name == "champion" and same
            else evaluate(
                contender.release.digest,
                golden,
                digest,
                answers[name],
                metrics,
                price=(price.input, price.output) if price else None,
                judgements=judgements[name],
                asking=asking,
            )
        )
    for baseline in run.params.evaluate.baselines:
        said = find_baseline(baseline)(golden)
        evidence[baseline] = evaluate(
            digest_value(baseline), golden, digest, said, metrics, asking=asking
        )
    for name, record in evidence.items():
        write_evidence(project.evidence / f"{name}.parquet", record)
    write_json(
        project.evidence / "release.json",
        {
            "candidate": asdict(candidate.release),
            "champion": asdict(champion.release),
            "base_name": candidate.base.name,
        },
    )
    write_json(project.evidence / "run.json", {"run_id": track(run, evidence, golden)})


def candidate_release(run: Run) -> Contender:
    """The release that the working tree describes; its adapter is verified before it is used.

    Raises:
        AdapterError: build/adapter/ is damaged.
    """
    base = resolve(run)
    adapter = (
        None
        if read_json(run.project.build / "tune.json")["method"] == "none"
        else run.project.adapter
    )
    digest = None
    if adapter is not None:
        digest = adapter_digest(adapter)
        verify_adapter(adapter, expected=digest, base_digest=base.digest, base_path=base.path)
    settings = run.params.release.generation.settings()
    return Contender(
        Release(base.digest, digest, run.prompt.digest, settings.digest),
        base,
        adapter,
        run.prompt,
        settings,
    )


def champion_release(run: Run, candidate: Contender) -> Contender:
    """The serving release from the store; before the first one, release zero: the bare base model
    with the same prompt.

    Raises:
        IntegrityError: a stored part does not have its recorded digest.
    """
    from sluicegate.releasing import load_stored

    digest = read_json(run.project.build / "inputs.json")["champion"]
    if digest == "none":
        zero = Release(
            candidate.release.base, None, candidate.release.prompt, candidate.release.generation
        )
        return Contender(zero, candidate.base, None, candidate.prompt, candidate.generation)
    stored = load_stored(run.project, digest)
    base = (
        candidate.base
        if stored.release.base == candidate.base.digest
        else resolve_stored(run, stored.base_name, stored.release.base)
    )
    return Contender(stored.release, base, stored.adapter, stored.prompt, stored.generation)


def resolve_stored(run: Run, name: str, digest: str) -> LoadedBase:
    """The base model of an older release, by the name it had then.

    Raises:
        IntegrityError: that name now holds other bytes.
    """
    from sluicegate.errors import IntegrityError

    release = run.params.release.model_copy(update={"base": name})
    base = resolve(Run(run.project, run.params.model_copy(update={"release": release}), run.prompt))
    if base.digest != digest:
        raise IntegrityError(
            f"base model {name} is {base.digest[:12]}, but the champion was made on {digest[:12]}.",
            hint="Restore the former model under that name.",
        )
    return base


def _judgements(
    run: Run,
    chosen: Sequence[Criterion],
    golden: Sequence[Example],
    answers: Mapping[str, Sequence[Generation]],
) -> dict[str, list[Judgement]]:
    """What each judge makes of the candidate's and the champion's answers; equal answers are asked
    about once.
    """
    found: dict[str, list[Judgement]] = {name: [] for name in answers}
    unanswered = 0
    for criterion in chosen:
        models = open_judges(
            run.project,
            criterion,
            dtype=run.params.release.dtype,
            budget=Budget.of_this_run(),
        )
        for name, outputs in answers.items():
            label = f"{criterion.metric} of the {name}"
            judgement = judge_answers(
                criterion,
                models,
                golden,
                outputs,
                answers["champion"],
                role="champion" if name == "champion" else "candidate",
                progress=counter(label),
            )
            if judgement.use.failed:
                become = "each counts against the candidate" if judgement.scores else "no scores"
                say(f"  {label}: failed on {judgement.use.failed} of {len(golden)} rows: {become}")
            found[name].append(judgement)
        unanswered += sum(model.unanswered for model in models)
    if unanswered:
        count_failure(run.project)
    return found


def _answers(
    run: Run, contender: Contender, golden: Sequence[Example], label: str
) -> list[Generation]:
    params = run.params
    model = WeightsModel(
        contender.base,
        contender.adapter,
        dtype=params.release.dtype,
        batch_tokens=params.evaluate.batch_tokens,
    )
    return answer(
        model,
        [(row.id, render(contender.prompt, row.inputs)) for row in golden],
        contender.generation,
        run.project.generations,
        digest_value([contender.release.digest, params.release.dtype]),
        counter(label),
        budget=Budget.of_this_run(),
    )
