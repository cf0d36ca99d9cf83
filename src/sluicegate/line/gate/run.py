"""One run of the gate: what changed, the release it is compared with, the verdict, and what people
get of it.

Nothing is promoted and no champion is recorded; the verdict is, because it is an evaluation on the
golden set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sluicegate.budget import BUDGET_FILE, Budget, Counts
from sluicegate.cards import GateReport
from sluicegate.cards.examples import ExamplePair, paired, primary_metric
from sluicegate.cards.wording import short
from sluicegate.data.examples import read_examples
from sluicegate.environment import read_variable
from sluicegate.errors import UnfinishedError, UsageError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.judging import measures
from sluicegate.hashing import as_json
from sluicegate.line import sequence
from sluicegate.line.gate.base_ref import in_ci
from sluicegate.line.gate.base_release import base_release
from sluicegate.line.gate.change import Change, compare
from sluicegate.line.gate.judging import Judging, held_back, judging
from sluicegate.line.locks import line_lock
from sluicegate.line.pipeline.base_model import price as price_of_release
from sluicegate.line.pipeline.fingerprint import BASELINE
from sluicegate.line.progress import say
from sluicegate.line.release.decide import decided as decided_on
from sluicegate.line.release.decide import links
from sluicegate.line.release.report import report
from sluicegate.line.run import Decided, Registered, Reported, Run
from sluicegate.line.sequence import Judged
from sluicegate.project import Project
from sluicegate.records import Champion, Decision, Verdict
from sluicegate.versioning.history import merge_base

WORST = 3
NOTHING = Registered(release="", version=0, champion="", champion_version=None, unchanged=True)
"""What is registered in a run that ended before anything was."""
_COUNTED_ALONE = (
    "CI without SLUICE_LEDGER_URL: evaluations in the ledgers of other runs were not counted; each "
    "run spends the golden set's error budget anew"
)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GateRun:
    """How a run of the gate ended.

    Attributes:
        decision: of the verdict; HOLD where a budget or missing answers stopped the run, PROMOTE where there is
            nothing to judge.
        text: for a terminal.
        report: for the comment and the JUnit file.
        page: the HTML report, where one was written for this verdict.
        seconds: wall time.
        outcome: for JSON: what the steps returned, `change`, `generations`, `verdict`, `spent`.
    """

    decision: Decision
    text: str
    report: GateReport
    page: Path | None
    seconds: float
    outcome: Mapping[str, Any]


@dataclass(slots=True)
class _Found:
    """What a run has found so far; a budget may end it at any point.

    `decided` is what there is instead of a verdict, where nothing is to be judged or the run was
    stopped; `held` what becomes of a verdict because the change wants to be judged in another way.
    """

    budget: Budget
    spent: Counts
    policy: str
    against: str = "nothing yet"
    change: Change | None = None
    judged: Judged | None = None
    reported: Reported | None = None
    decided: Decided | None = None
    stopped: str = ""
    judging: Judging | None = None
    held: Decided | None = None


def run_gate(
    run: Run, *, base: str = "", budget: Budget | None = None, quiet: bool = False
) -> GateRun:
    """Judge what is checked out against the champion, or, where nothing serves yet, the release of
    the merge base.

    A release, a retraining or another gate at work in the same project is waited for, no longer
    than `budget` allows.

    Args:
        run: the project.
        base: ref whose merge base with HEAD says what changed; empty compares with the champion
            only.
        budget: what the run may spend.
        quiet: print nothing of DVC's own.

    Raises:
        BusyError: another run did not end within hours, and `budget` limits no seconds.
        UsageError: a file that people edit is wrong, `base` means nothing, a budget is no number,
            or cost has no price.
        VersioningError: the history is too short, or the pipeline failed.
    """
    project, budget = run.project, _opened(run, budget or Budget())
    found = _Found(budget, Counts(), run.policy.digest)
    sha = merge_base(project.root, base) if base else ""
    with _kept(budget) as kept:
        try:
            # From the first look at the champion and the files to the last read of build/: a run
            # beside it replaces them.
            with line_lock(project, until=budget.until):
                _judge(run, found, base, sha, quiet=quiet)
                if found.judged is not None:
                    found.spent = _counted(project, Budget.open(kept).spent)
                return _ended(run, found)
        except UnfinishedError as error:
            found.spent, found.stopped = Budget.open(kept).spent, str(error)
            text = f"HOLD  Not judged: {error}\n  what to do: {error.hint}\n"
            nothing = replace(NOTHING, unchanged=False)
            summary = f"Not judged: {error} {error.hint}"
            found.decided = decided_on(nothing, Decision.HOLD, text, summary)
            return _ended(run, found)


def _judge(run: Run, found: _Found, base: str, sha: str, *, quiet: bool) -> None:
    """Say what changed, and take the line's steps up to the report, each only while there is time."""
    champion = run.champion
    change = found.change = compare(run, base, sha) if sha else None
    found.against = _against(champion, change)
    if change:
        say(f"gate: {_told(change)}; compared with {found.against}")
    if change and champion is None and change.certain and not change.parts:
        text = (
            f"Nothing of the release changed against the merge base {short(change.base)}: "
            "there is nothing to judge."
        )
        found.decided = decided_on(NOTHING, Decision.PROMOTE, text)
        return
    baseline = ""
    if change and champion is None:
        baseline = base_release(run, change.base, quiet=quiet, until=found.budget.until)
    environment = {BUDGET_FILE: str(found.budget.path)}
    if baseline:
        environment[BASELINE] = baseline
    own = run
    if change:
        found.judging = judging(run, change)
        if found.judging.policy is not None:
            run = run.judged_by(found.judging.policy)
            found.policy = run.policy.digest
    found.judged = judged = sequence.judge(
        run,
        baseline=baseline,
        environment=environment,
        until=found.budget.until,
        progress=not quiet,
        perform=_in_time(found.budget),
    )
    found.reported = report(run, judged.decide, judged.check_drift, judged.timings)
    if change and found.judging and found.judging.open:
        found.held = held_back(own, change, found.judging, judged)


def _in_time(budget: Budget) -> sequence.Perform:
    """Runs a step; after the one that takes long the time must not be up."""

    def perform(name: str, step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        result = step(*args, **kwargs)
        if name == "reproduce" and budget.seconds_left == 0 and budget.path is not None:
            raise Budget.open(budget.path).exceeded(0)
        return result

    return perform


def _against(champion: Champion | None, change: Change | None) -> str:
    """What the candidate is compared with, in words."""
    if champion is not None:
        return f"champion version {champion.version} ({short(champion.release)})"
    if change is None:
        return "the bare base model, as nothing serves"
    return f"the merge base {short(change.base)} of {change.ref}"


def _opened(run: Run, budget: Budget) -> Budget:
    """The budget as this run's stages find it."""
    price = price_of_release(run)
    if budget.cost is not None and price is None:
        raise UsageError(
            "--max-cost needs prices, and params.yaml has none.",
            hint="Set release.price: {input: ..., output: ...}, money per million tokens.",
        )
    path = run.project.state / "gate" / f"budget-{os.getpid()}.json"
    prices = (price.input, price.output) if price else (0.0, 0.0)
    return replace(budget, started=time.time(), price=prices, path=path)


@contextmanager
def _kept(budget: Budget) -> Iterator[Path]:
    """Where this run's stages count; gone afterwards."""
    assert budget.path is not None, "`_opened` sets it"
    budget.save()
    try:
        yield budget.path
    finally:
        budget.path.unlink(missing_ok=True)


def _counted(project: Project, spent: Counts) -> Counts:
    """All answers that the evidence holds and that this run did not generate came from the cache."""
    candidate, champion = (
        read_evidence(project.evidence / f"{name}.parquet") for name in ("candidate", "champion")
    )
    used = len(candidate.rows)
    if champion.release != candidate.release:
        used += len(champion.rows)
    return replace(spent, cached=max(0, used - spent.made))


def _told(change: Change) -> str:
    """What changed, in one line."""
    if not change.parts:
        return "no part of the release changed"
    return "changed: " + ", ".join(
        f"{part.name} ({part.detail})" if part.detail else part.name for part in change.parts
    )


def _ended(run: Run, found: _Found) -> GateRun:
    decided = found.held or (found.judged.decide if found.judged else found.decided)
    assert decided is not None, "a run that judged nothing says why"
    verdict, change = decided.verdict, found.change
    metric, worst = _worst(run, verdict) if verdict else ("", [])
    page = GateReport(
        model=run.name,
        decision=decided.decision,
        summary=decided.markdown if found.stopped else decided.text.strip(),
        verdict=verdict,
        against=found.against,
        changed=[(part.name, part.before, part.after, part.detail) for part in change.parts]
        if change
        else [],
        other=change.other if change else (),
        metric=metric,
        worst=worst,
        made=found.spent.made,
        cached=found.spent.cached,
        links=links(run, found.judged.register) if found.judged else {},
        notes=[*(change.notes if change else ()), *decided.warnings, *_alone(verdict)],
    )
    seconds = time.time() - found.budget.started
    written = found.reported.report if verdict and found.reported else ""
    outcome = _outcome(found, decided, seconds) | {"worst": [pair.id for pair in worst]}
    return GateRun(
        decided.decision,
        _text(page, decided),
        page,
        Path(written) if written else None,
        seconds,
        outcome,
    )


def _alone(verdict: Verdict | None) -> list[str]:
    """What a verdict in CI does not know without a ledger that all runs share."""
    shared = read_variable("SLUICE_LEDGER_URL")
    return [_COUNTED_ALONE] if verdict and in_ci() and not shared else []


def _outcome(found: _Found, decided: Decided, seconds: float) -> dict[str, Any]:
    steps = as_json(found.judged) if found.judged else {"decide": as_json(decided)}
    stopped = {"stopped": found.stopped} if found.stopped else {}
    return {
        **steps,
        **stopped,
        "report": as_json(found.reported),
        "change": asdict(found.change) if found.change else None,
        "judging": as_json(found.judging),
        "against": found.against,
        "policy": found.policy,
        "decision": decided.decision.value,
        "generations": {"made": found.spent.made, "cached": found.spent.cached},
        "spent": _spent(found.spent, found.budget, seconds),
        "verdict": as_json(decided.verdict),
    }


def _spent(spent: Counts, budget: Budget, seconds: float) -> dict[str, float | int | None]:
    """What the run cost; money only where there are prices."""
    return {
        "seconds": round(seconds, 3),
        "tokens": spent.tokens,
        "cost": spent.cost if any(budget.price) else None,
        "judge_calls": spent.judge_calls,
    }


def _worst(run: Run, verdict: Verdict) -> tuple[str, list[ExamplePair]]:
    """The metric that matters most, and the examples that lost most of it."""
    project = run.project
    candidate, champion = (
        read_evidence(project.evidence / f"{name}.parquet") for name in ("candidate", "champion")
    )
    metric = primary_metric(verdict, candidate)
    if not metric:
        return "", []
    higher = measures([metric], project.prompts)[metric].direction != "lower"
    pairs = paired(candidate, champion, read_examples(project.golden), metric, higher=higher)
    return metric, [pair for pair in pairs[:WORST] if pair.gain < 0]


def _text(page: GateReport, decided: Decided) -> str:
    lines = [decided.text.rstrip(), ""]
    if page.changed:
        told = [f"{name} ({said})" if said else name for name, _, _, said in page.changed]
        lines.append(f"changed:  {', '.join(told)}")
    lines.append(f"against:  {page.against}")
    lines.append(f"answers:  {page.made} generated, {page.cached} from the cache")
    lines += [f"note:     {note}" for note in page.notes]
    may_follow = decided.champion_version is not None or decided.first
    if page.verdict and page.decision is Decision.PROMOTE and may_follow:
        lines.append(f"next:     sluice promote {decided.version}")
    return "\n".join(lines) + "\n"
