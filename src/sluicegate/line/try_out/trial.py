"""One trial: the working tree's application on development rows, beside what it is compared with.

It costs no evaluation of the golden set, writes nothing to ledger or registry, and promises
nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sluicegate.budget import Budget
from sluicegate.cards.trial import Trial, TrialRow, trial_html
from sluicegate.chat import as_read
from sluicegate.data.examples import read_examples
from sluicegate.errors import EnvironmentFailure, IncompleteError, UsageError
from sluicegate.evaluation.judging import Measure, judged_metrics, measures
from sluicegate.gates import RULES
from sluicegate.hashing import digest_file, digest_value, write_atomic
from sluicegate.line.pipeline import has_stage
from sluicegate.line.pipeline.base_model import model_spec, tuned
from sluicegate.line.pipeline.contender import candidate_release
from sluicegate.line.pipeline.evaluate import compared
from sluicegate.line.pipeline.reproduce import reproduce
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.line.try_out.other import other
from sluicegate.metrics import find_metric
from sluicegate.project import Project
from sluicegate.records import Evidence, Example

PAGE = "try.html"


def try_out(run: Run, *, rows: int = 20, against: str = "", judges: bool = False) -> Trial:
    """Answer development rows, score the answers, and write reports/try.html.

    Args:
        run: the project; its prompt may be another than params.yaml names.
        rows: how many, always the same ones.
        against: see `other`.
        judges: also use judges and metrics that ask a model.

    Raises:
        UsageError: there are no development rows, nothing is tuned yet, or `against` means nothing.
        EnvironmentFailure: a model gave no answer.
    """
    started = time.monotonic()
    _refuse_untuned(run)
    names = _metrics(run, judges=judges)
    every = development_rows(run)
    chosen = sorted(every, key=lambda row: digest_value(row.id))[:rows]
    candidate = candidate_release(run)
    with (
        other(run, candidate, against) as (words, contender),
        tempfile.TemporaryDirectory() as folder,
        Budget().shared(Path(folder) / "budget.json") as budget,
    ):
        contenders = {"candidate": candidate}
        if contender is not None:
            contenders["champion"] = contender
        try:
            digest = digest_file(run.project.development)
            found = compared(run, contenders, chosen, digest, names)
        except IncompleteError as error:
            raise EnvironmentFailure(str(error), hint=error.hint) from error
        spent = Budget.open(budget.path or Path()).spent
    known = measures(names, run.project.prompts)
    metric = _primary(run, names)
    trial = Trial(
        model=run.name,
        against=words,
        same=contender is not None and contender.release == candidate.release,
        metric=metric,
        rows=_rows(chosen, found, metric, known),
        means=_means(found),
        directions={name: measure.direction for name, measure in known.items()},
        of=len(every),
        made=spent.made + spent.judge_calls,
        seconds=time.monotonic() - started,
        notes=_notes(run, names),
        page=str(run.project.reports / PAGE),
    )
    write_atomic(Path(trial.page), trial_html(trial).encode("utf-8"))
    return trial


def development_rows(run: Run) -> list[Example]:
    """The development set; made where `prepare` has not run yet.

    Raises:
        UsageError: it is empty.
    """
    if not run.project.development.is_file():
        say("there is no development set yet: preparing the data ...")
        reproduce(run, progress=False, upto="prepare")
    rows = read_examples(run.project.development)
    if not rows:
        raise UsageError(
            "there are no development rows, and golden rows are never used to try things on.",
            hint="Give registry/sources.yaml a source of role development or pool, or raise "
            "prepare.development_fraction, then run `sluice stage prepare`.",
        )
    return rows


def watched(project: Project, prompt: Path | None = None) -> dict[Path, int]:
    """The files that people edit between two trials, with the times of their last change."""
    files = [project.params, *([prompt] if prompt else [])]
    for folder in (project.prompts, project.registry, project.root / "app"):
        files += [
            path for path in folder.rglob("*") if path.suffix in (".yaml", ".py", ".json", ".jsonl")
        ]
    found = {}
    for path in files:
        try:
            found[path] = path.stat().st_mtime_ns
        except OSError:
            found[path] = 0  # an editor is replacing it
    return found


def _refuse_untuned(run: Run) -> None:
    made = (run.project.build / "tune.json").is_file()
    if model_spec(run).weights and has_stage(run.project, "tune") and not made:
        raise UsageError(
            "nothing is tuned yet, so there is no adapter to try.",
            hint="`sluice release --no-promote` makes one; then try as often as you like.",
        )


def _metrics(run: Run, *, judges: bool) -> list[str]:
    """Those of evaluate.metrics that only compute, unless judges are wanted."""
    names, asking = run.params.evaluate.metrics, run.params.evaluate.asking
    if judges:
        return list(names)
    plain = [name for name in names if name not in judged_metrics(names)]
    return [name for name in plain if not asking.get(name, find_metric(name).asks_model)]


def _notes(run: Run, names: Sequence[str]) -> tuple[str, ...]:
    left = [name for name in run.params.evaluate.metrics if name not in names]
    found = [f"not asked (--judges): {', '.join(left)}"] if left else []
    if tuned(run)["method"] != "none":
        found.append("the adapter is that of the last `tune`; changed data or settings of it wait")
    return tuple(found)


def _primary(run: Run, names: Sequence[str]) -> str:
    """The first metric that a rule compares with the champion, else the first that is measured."""
    wanted = [
        metric
        for rule in run.policy.rules
        if RULES[rule.kind].compares
        for metric in (rule.metric, *rule.metrics)
    ]
    return next((name for name in [*wanted, *names] if name in names), "")


def _rows(
    examples: Sequence[Example],
    found: Mapping[str, Evidence],
    metric: str,
    known: Mapping[str, Measure],
) -> tuple[TrialRow, ...]:
    """Worst first: what lost most of `metric`, or without anything to compare with has least."""
    after = {row.id: row for row in found["candidate"].rows}
    before = {row.id: row for row in found["champion"].rows} if "champion" in found else {}
    sign = -1.0 if metric in known and known[metric].direction == "lower" else 1.0
    rows = []
    for example in examples:
        new, old = after[example.id], before.get(example.id)
        score = new.scores.get(metric, 0.0) - (old.scores.get(metric, 0.0) if old else 0.0)
        rows.append(
            TrialRow(
                id=example.id,
                inputs=as_read(example.inputs),
                references=example.reference,
                before=old.output if old else None,
                after=new.output,
                scores_before=old.scores if old else {},
                scores=new.scores,
                gain=sign * score,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.gain, row.before == row.after, row.id)))


def _means(found: Mapping[str, Evidence]) -> dict[str, tuple[float | None, float]]:
    before = found["champion"].summaries if "champion" in found else {}
    return {
        name: (before[name].mean if name in before else None, summary.mean)
        for name, summary in found["candidate"].summaries.items()
    }
