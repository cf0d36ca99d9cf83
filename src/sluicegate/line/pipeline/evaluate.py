"""Candidate, champion and baselines on the golden set: same prompt machinery, same rows,
per-example scores kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sluicegate.budget import Budget
from sluicegate.data.examples import read_examples
from sluicegate.evaluation import evaluate, find_baseline, write_evidence
from sluicegate.evaluation.answers import Questions, answer_all
from sluicegate.evaluation.judgement import Judgement
from sluicegate.evaluation.judging import criteria, judge_answers, plain_metrics
from sluicegate.evaluation.scoring import asks_model
from sluicegate.hashing import digest_file, digest_value, write_json
from sluicegate.line.judge.clients import count_failure, open_judges
from sluicegate.line.pipeline.base_model import (
    price,
)
from sluicegate.line.pipeline.code_answers import CodeAnswers, answer_code, write_calls
from sluicegate.line.pipeline.contender import (
    Contender,
    candidate_release,
    champion_release,
    check_format,
    open_contender,
)
from sluicegate.line.pipeline.evaluation_run import track
from sluicegate.line.progress import counter, say
from sluicegate.line.run import Run
from sluicegate.metrics import find_metric
from sluicegate.prompts import render
from sluicegate.records import Evidence, Example, Generation, Release

if TYPE_CHECKING:
    from sluicegate.judges import Criterion


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
    contenders = {"candidate": candidate, "champion": champion}
    evidence, code = measured(run, contenders, golden, digest)
    metrics, asking = plain_metrics(run.params.evaluate.metrics), run.params.evaluate.asking
    for baseline in run.params.evaluate.baselines:
        said = find_baseline(baseline)(golden)
        evidence[baseline] = evaluate(
            digest_value(baseline), golden, digest, said, metrics, asking=asking
        )
    if "candidate" in code:
        write_calls(project, golden, code["candidate"])
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
    return measured(run, contenders, rows, digest, metrics)[0]


def measured(
    run: Run,
    contenders: Mapping[str, Contender],
    rows: Sequence[Example],
    digest: str,
    metrics: Sequence[str] = (),
) -> tuple[dict[str, Evidence], dict[str, CodeAnswers]]:
    """As `compared`, and what code of the project asked for its answers."""
    names, asking = metrics or run.params.evaluate.metrics, run.params.evaluate.asking
    plain, costs = plain_metrics(names), price(run)
    asks_model({name: find_metric(name) for name in plain}, asking)  # before anything is asked
    chosen = criteria(names, run.project.prompts)
    answers, code = _answered(run, contenders, rows)
    judgements = _judgements(run, chosen, rows, answers)
    found: dict[Release, Evidence] = {}
    for name, contender in contenders.items():
        if contender.release in found:
            continue
        scored = evaluate(
            contender.release.digest,
            rows,
            digest,
            answers[name],
            plain,
            price=(costs.input, costs.output) if costs else None,
            judgements=judgements[name],
            asking=asking,
        )
        spent = code[name].cost_per_1000 if name in code else {}
        found[contender.release] = replace(scored, operations={**scored.operations, **spent})
    return {name: found[contender.release] for name, contender in contenders.items()}, code


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
                candidate=answers["candidate"] if name == "champion" else None,
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
) -> tuple[dict[str, list[Generation]], dict[str, CodeAnswers]]:
    """The answers of each contender, and more of those by code; those of equal releases are asked
    for once.
    """
    first = {contender.release: name for name, contender in reversed(list(contenders.items()))}
    asked = {name: one for name, one in contenders.items() if name in first.values()}
    code = answer_code(run, asked, golden)
    questions = {
        name: _questions(run, one, golden) for name, one in asked.items() if name not in code
    }
    found = {name: one.answers for name, one in code.items()}
    if questions:
        found |= answer_all(
            questions, run.project.generations, counter, budget=Budget.of_this_run()
        )
    whose = {name: first[contender.release] for name, contender in contenders.items()}
    return (
        {name: found[one] for name, one in whose.items()},
        {name: code[one] for name, one in whose.items() if one in code},
    )


def _questions(run: Run, contender: Contender, golden: Sequence[Example]) -> Questions:
    """What the release is asked. Releases on one hosted model share the answers to equal requests;
    those of weights are the release's own.
    """
    release, dtype = contender.release, run.params.release.dtype
    check_format(contender)
    return Questions(
        lambda: open_contender(run, contender.model, contender.adapter),
        [(row.id, render(contender.prompt, row.inputs)) for row in golden],
        contender.generation,
        digest_value([release.digest, dtype] if contender.model.base else [release.base]),
        contender.prompt.response_format,
        run.params.evaluate.repeats,
    )
