"""Candidate, champion and baselines on the golden set: same prompt machinery, same rows,
per-example scores kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.adapters import adapter_digest, verify_adapter
from sluicegate.budget import Budget
from sluicegate.data.examples import read_examples
from sluicegate.errors import ConfigError
from sluicegate.evaluation import evaluate, find_baseline, write_evidence
from sluicegate.evaluation.answers import Questions, answer_all
from sluicegate.evaluation.judgement import Judgement
from sluicegate.evaluation.judging import criteria, judge_answers, plain_metrics
from sluicegate.evaluation.scoring import asks_model
from sluicegate.hashing import digest_file, digest_value, read_json, write_json
from sluicegate.line.judge.clients import count_failure, open_judges
from sluicegate.line.pipeline.base_model import (
    ReleaseModel,
    price,
    release_model,
    stored_model,
    tuned,
)
from sluicegate.line.pipeline.evaluation_run import track
from sluicegate.line.progress import counter, say
from sluicegate.line.run import Run
from sluicegate.metrics import find_metric
from sluicegate.models import Model, WeightsModel, open_model
from sluicegate.prompts import Prompt, render
from sluicegate.records import Evidence, Example, Generation, GenerationSettings, Release

if TYPE_CHECKING:
    from sluicegate.judges import Criterion


@dataclass(frozen=True, slots=True)
class Contender:
    """A release with everything needed to run it."""

    release: Release
    model: ReleaseModel
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
    evidence = compared(run, {"candidate": candidate, "champion": champion}, golden, digest)
    metrics, asking = plain_metrics(run.params.evaluate.metrics), run.params.evaluate.asking
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
            "candidate": candidate.release.content(),
            "champion": champion.release.content(),
            "base_name": candidate.model.name,
            "asked": candidate.model.asked,
        },
    )
    write_json(project.evidence / "run.json", {"run_id": track(run, evidence, golden)})


def compared(
    run: Run,
    contenders: Mapping[str, Contender],
    rows: Sequence[Example],
    digest: str,
    metrics: Sequence[str] = (),
) -> dict[str, Evidence]:
    """Evidence on each contender, on the same rows; equal releases share it.

    Args:
        contenders: the `candidate` and, where there is one, the `champion`.
        rows, digest: a set, and the SHA-256 of its file.
        metrics: by default those of evaluate.metrics.
    """
    names, asking = metrics or run.params.evaluate.metrics, run.params.evaluate.asking
    plain, costs = plain_metrics(names), price(run)
    asks_model({name: find_metric(name) for name in plain}, asking)  # before anything is asked
    chosen = criteria(names, run.project.prompts)
    answers = _answered(run, contenders, rows)
    judgements = _judgements(run, chosen, rows, answers)
    found: dict[Release, Evidence] = {}
    for name, contender in contenders.items():
        if contender.release not in found:
            found[contender.release] = evaluate(
                contender.release.digest,
                rows,
                digest,
                answers[name],
                plain,
                price=(costs.input, costs.output) if costs else None,
                judgements=judgements[name],
                asking=asking,
            )
    return {name: found[contender.release] for name, contender in contenders.items()}


def candidate_release(run: Run) -> Contender:
    """The release that the working tree describes; its adapter is verified before it is used.

    Raises:
        AdapterError: build/adapter/ is damaged.
    """
    model, digest = release_model(run), None
    adapter = None
    if model.base is not None and tuned(run)["method"] != "none":
        adapter = run.project.adapter
        digest = adapter_digest(adapter)
        verify_adapter(
            adapter, expected=digest, base_digest=model.digest, base_path=model.base.path
        )
    settings = run.params.release.generation.settings()
    release = Release(model.digest, digest, run.prompt.digest, settings.digest)
    return Contender(release, model, adapter, run.prompt, settings)


def champion_release(run: Run, candidate: Contender) -> Contender:
    """The serving release from the store; before the first one, release zero: the model as it is
    with the same prompt.

    Raises:
        IntegrityError: a stored part does not have its recorded digest.
    """
    digest = read_json(run.project.build / "inputs.json")["champion"]
    if digest == "none":
        zero = Release(
            candidate.release.base, None, candidate.release.prompt, candidate.release.generation
        )
        return Contender(zero, candidate.model, None, candidate.prompt, candidate.generation)
    return stored_release(run, candidate, digest)


def stored_release(run: Run, candidate: Contender, digest: str) -> Contender:
    """A release of the store, on the candidate's model where it is the same.

    Raises:
        IntegrityError: a stored part does not have its recorded digest.
    """
    from sluicegate.releasing import load_stored

    stored = load_stored(run.project, digest)
    same = stored.release.base == candidate.model.digest
    model = candidate.model if same else stored_model(run, stored)
    return Contender(stored.release, model, stored.adapter, stored.prompt, stored.generation)


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
            asked = list(golden) * run.params.evaluate.repeats
            judgement = judge_answers(
                criterion,
                models,
                asked,
                outputs,
                answers.get("champion", outputs),
                role="champion" if name == "champion" else "candidate",
                progress=counter(label),
            )
            if judgement.use.failed:
                become = "each counts against the candidate" if judgement.scores else "no scores"
                say(
                    f"  {label}: failed on {judgement.use.failed} of {len(asked)} answers: {become}"
                )
            found[name].append(judgement)
        unanswered += sum(model.unanswered for model in models)
    if unanswered:
        count_failure(run.project)
    return found


def _answered(
    run: Run, contenders: Mapping[str, Contender], golden: Sequence[Example]
) -> dict[str, list[Generation]]:
    """The answers of each contender; those of equal releases are asked for once."""
    first = {contender.release: name for name, contender in reversed(list(contenders.items()))}
    asked = {name: _questions(run, contenders[name], golden) for name in first.values()}
    order = {name: asked[name] for name in contenders if name in asked}
    found = answer_all(order, run.project.generations, counter, budget=Budget.of_this_run())
    return {name: found[first[contender.release]] for name, contender in contenders.items()}


def _questions(run: Run, contender: Contender, golden: Sequence[Example]) -> Questions:
    """What the release is asked. Releases on one hosted model share the answers to equal requests;
    those of weights are the release's own.
    """
    release, dtype = contender.release, run.params.release.dtype
    check_format(contender)
    return Questions(
        lambda: open_contender(run, contender),
        [(row.id, render(contender.prompt, row.inputs)) for row in golden],
        contender.generation,
        digest_value([release.digest, dtype] if contender.model.base else [release.base]),
        contender.prompt.response_format,
        run.params.evaluate.repeats,
    )


def check_format(contender: Contender) -> None:
    """Refuse a prompt whose answers are to be held to a format, on weights here.

    Raises:
        ConfigError: it is such a release.
    """
    if contender.model.base is not None and contender.prompt.response_format is not None:
        raise ConfigError(
            f"prompts/{contender.prompt.name}.yaml: response_format: weights here cannot be held to "
            "it.",
            hint="Ask for the format in words, or name a hosted model as release.model.",
        )


def open_contender(run: Run, contender: Contender) -> Model:
    """The model of a release, at its own price."""
    model, params = contender.model, run.params
    if model.base is None:
        return open_model(model.spec, model.name, root=run.project.root, say=say)
    return WeightsModel(
        model.base,
        contender.adapter,
        dtype=params.release.dtype,
        batch_tokens=params.evaluate.batch_tokens,
    )
