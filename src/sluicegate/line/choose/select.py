"""Base models compared on the golden set: each measured in a process of its own, then one table and
one decision.
"""

from __future__ import annotations

import resource
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sluicegate.cards.selection import selection_html, selection_text
from sluicegate.config import ModelSpec
from sluicegate.data.examples import read_examples
from sluicegate.errors import ConfigError, EnvironmentFailure, EvidenceError, SluiceError
from sluicegate.evaluation import answer, evaluate
from sluicegate.hashing import digest_file, digest_value, write_atomic, write_json
from sluicegate.line.choose.page import page_of
from sluicegate.line.progress import counter, say
from sluicegate.line.run import Run, open_run
from sluicegate.metrics import find_metric
from sluicegate.models import WeightsModel, open_model, price_of
from sluicegate.project import Project
from sluicegate.prompts import render
from sluicegate.records import Evidence, Example, Generation, Release
from sluicegate.selecting import (
    Choice,
    Option,
    SelectionFile,
    Speed,
    Timing,
    choose,
    endpoint_cost,
    local_cost,
    quantiles,
    throughput,
    timed,
)
from sluicegate.yaml_file import load

PLAN = "selection.yaml"
OWN = "on-premises"
"""Where data goes that never leaves: the residency of a local model."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The result: every candidate as measured, the decision, and where the report is."""

    options: tuple[Option, ...]
    choice: Choice
    text: str
    page: Path


def run_selection(run: Run, names: Sequence[str] = ()) -> Selection:
    """Compare `names`, or the candidates of registry/selection.yaml, and write
    reports/selection.html and .json.

    Every candidate answers the same golden examples with the project's prompt and generation
    settings. Answers come from the cache where they were given before; response times are always
    taken anew.

    Raises:
        ConfigError: selection.yaml, models.yaml or params.yaml is wrong, or a candidate is not in
            models.yaml.
        EvidenceError: the golden set is absent or empty.
    """
    project = run.project
    plan = load(project.registry / PLAN, SelectionFile)
    if names:
        plan = plan.model_copy(update={"candidates": tuple(dict.fromkeys(names))})
    models = run.models.models
    unknown = [name for name in plan.candidates if name not in models]
    if unknown:
        raise ConfigError(
            f"registry/models.yaml has no {', '.join(unknown)}.",
            hint=f"Known: {', '.join(models)}; add an entry there.",
        )
    metric = find_metric(plan.quality)
    if metric.describes:
        raise ConfigError(
            f"registry/{PLAN}: quality: {plan.quality} describes a text; it does not say how good "
            "it is.",
            hint="Name another metric.",
        )
    _golden(project, plan)
    options = tuple(_in_a_process(project, name, models[name], plan) for name in plan.candidates)
    choice = choose(options, plan, direction=metric.direction, bounds=metric.range)
    page = project.reports / "selection.html"
    shown = page_of(options, choice, plan)
    write_atomic(page, selection_html(shown))
    write_json(
        project.reports / "selection.json",
        {
            "plan": plan.model_dump(mode="json"),
            "options": [_plain(o) for o in options],
            "choice": asdict(choice),
        },
    )
    return Selection(options, choice, selection_text(shown), page)


def _plain(option: Option) -> dict[str, Any]:
    """Without every answer: means, intervals and what was counted."""
    kept = asdict(option)
    kept["evidence"] = None
    if option.evidence:
        kept["quality"] = {
            name: asdict(summary) for name, summary in option.evidence.summaries.items()
        }
        kept["operations"] = dict(option.evidence.operations)
    return kept


def _golden(project: Project, plan: SelectionFile) -> list[Example]:
    if not project.golden.is_file():
        raise EvidenceError(
            f"{project.golden} is missing: there is nothing to compare on.",
            hint="`sluice stage prepare` makes it from registry/sources.yaml.",
        )
    rows = sorted(read_examples(project.golden), key=lambda row: row.id)
    return rows[: plan.examples] if plan.examples else rows


def _in_a_process(project: Project, name: str, spec: ModelSpec, plan: SelectionFile) -> Option:
    """Measure in a fresh process, so that memory is this model's only and a crash is only this
    candidate's.
    """
    say(f"select: {name}")
    residency = spec.residency or (OWN if spec.weights else "")
    known = (name, spec.weights, spec.licence, spec.commercial, residency)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            evidence, speed, failed = pool.submit(measure, str(project.root), name, plan).result()
        except BrokenProcessPool:
            evidence, speed, failed = None, None, "its process died; was there enough memory?"
    if evidence is None or speed is None:
        return Option(*known, failed=failed)
    prompt_tokens, answer_tokens = (
        evidence.operations["prompt_tokens_mean"],
        evidence.operations["output_tokens_mean"],
    )
    cost = None
    if spec.weights and speed.throughput > 0:
        cost = local_cost(answer_tokens, speed.throughput, plan.assumptions)
    elif (price := price_of(spec)) is not None:
        cost = endpoint_cost(prompt_tokens, answer_tokens, price, plan.assumptions)
    return Option(*known, evidence=evidence, speed=speed, cost=cost)


def measure(root: str, name: str, plan: SelectionFile) -> tuple[Evidence | None, Speed | None, str]:
    """Quality and speed of one candidate; where it fails, why, in place of both."""
    run = open_run(root)  # this is another process
    golden, spec = _golden(run.project, plan), run.models.models[name]
    try:
        return _measured(run, name, spec, plan, golden)
    except (EnvironmentFailure, EvidenceError, ConfigError) as error:
        return None, None, _said(error)


def _said(error: SluiceError) -> str:
    return f"{error} {error.hint}".strip()


def _measured(
    run: Run,
    name: str,
    spec: ModelSpec,
    plan: SelectionFile,
    golden: Sequence[Example],
) -> tuple[Evidence, Speed, str]:
    settings = run.params.release.generation.settings()
    prompts = [render(run.prompt, row.inputs) for row in golden]
    params = run.params
    model = open_model(
        spec,
        name,
        root=run.project.root,
        dtype=params.release.dtype,
        batch_tokens=params.evaluate.batch_tokens,
        say=say,
    )
    # weights by their own digest: then answers that evaluation had of them are found again
    base = model.base.digest if isinstance(model, WeightsModel) else model.identity
    release = Release(base, None, run.prompt.digest, settings.digest)
    outputs = answer(
        model,
        [(row.id, messages) for row, messages in zip(golden, prompts, strict=True)],
        settings,
        run.project.generations,
        digest_value([release.digest, params.release.dtype]),
        counter(name),
    )
    golden_digest, asking = digest_file(run.project.golden), run.params.evaluate.asking
    evidence = evaluate(release.digest, golden, golden_digest, outputs, plan.metrics, asking=asking)
    for metric, part in evidence.unscored.items():
        raise EvidenceError(
            f"{metric} has no score on {part.rows} rows: {part.reason}.",
            hint="Name metrics in registry/selection.yaml that can read these texts.",
        )
    timings, decode = timed(
        model,
        prompts,
        settings,
        new_tokens=plan.latency.new_tokens,
        repeats=plan.latency.repeats,
        progress=counter(f"{name}, timed"),
    )
    many = replace(
        settings, max_new_tokens=plan.latency.new_tokens, seed=settings.seed + 1_000_000
    )  # not the requests of before
    together = throughput(model, prompts[: plan.latency.at_once], many)
    p50, p95 = _whole(timings, decode, outputs)
    memory = peak_memory() if spec.weights else None
    return evidence, Speed(tuple(timings), decode, p50, p95, together, memory), ""


def peak_memory(platform: str = sys.platform) -> float:
    """Most memory that this process has held, in GiB: macOS tells bytes, Linux kilobytes."""
    unit = 2**30 if platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _whole(
    timings: Sequence[Timing], decode: float | None, outputs: Sequence[Generation]
) -> tuple[float, float]:
    """Seconds for golden answers, one at a time: the first token as timed at the middle length, the
    rest at that pace.
    """
    first = statistics.median(timing.p50 for timing in timings[::2])
    return quantiles(
        [first + (decode or 0.0) * max(0, output.completion_tokens - 1) for output in outputs]
    )
