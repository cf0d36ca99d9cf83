"""One run of the gate: what changed, the release it is compared with, the verdict, and what people
get of it.

Nothing is promoted and no champion is recorded; the verdict is, because it is an evaluation on the
golden set.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from sluicegate.budget import BUDGET_FILE, Budget, Counts
from sluicegate.cards import GateReport
from sluicegate.cards.examples import ExamplePair, paired, primary_metric
from sluicegate.cards.wording import short
from sluicegate.data.examples import read_examples
from sluicegate.environment import read_variable
from sluicegate.errors import UnfinishedError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.judging import measures
from sluicegate.hashing import as_json
from sluicegate.line import sequence
from sluicegate.line.gate.base_ref import in_ci
from sluicegate.line.gate.base_release import base_release
from sluicegate.line.gate.change import Change, compare
from sluicegate.line.gate.development import OnDevelopment, judge_on_development
from sluicegate.line.gate.judging import Judging, held_back, judging
from sluicegate.line.gate.spending import counted, kept, opened, spent
from sluicegate.line.locks import line_lock
from sluicegate.line.pipeline.fingerprint import BASELINE
from sluicegate.line.progress import say
from sluicegate.line.release.decide import decided as decided_on
from sluicegate.line.release.decide import links, verdict_by
from sluicegate.line.release.report import report
from sluicegate.line.run import Decided, Registered, Reported, Run
from sluicegate.line.sequence import Judged
from sluicegate.project import Project
from sluicegate.records import Champion, Decision, Evidence, Example, Verdict
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
        decision: of the verdict; HOLD where a budget or missing answers stopped the run, PROMOTE
            where there is nothing to judge.
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
    developed: OnDevelopment | None = None


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
    project, budget = run.project, opened(run, budget or Budget())
    found = _Found(budget, Counts(), run.policy.digest)
    sha = merge_base(project.root, base) if base else ""
    with kept(budget) as place:
        try:
            # From the first look at the champion and the files to the last read of build/: a run
            # beside it replaces them.
            with line_lock(project, until=budget.until):
                _judge(run, found, base, sha, quiet=quiet)
                if found.judged or found.developed:
                    both = _evidence(project, found)
                    found.spent = counted(*both, Budget.open(place).spent)
                return _ended(run, found)
        except UnfinishedError as error:
            found.spent, found.stopped = Budget.open(place).spent, str(error)
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
    if run.params.gate.set == "development":
        found.developed = on = judge_on_development(
            run, found.budget, environment, progress=not quiet
        )
        found.decided = on.decided
        if change and found.judging and found.judging.open:
            found.held = held_back(own, change, found.judging, on.decided, on.by)
        return
    found.judged = judged = sequence.judge(
        run,
        baseline=baseline,
        environment=environment,
        until=found.budget.until,
        progress=not quiet,
        perform=_in_time(found.budget),
    )
    shown = run.params.gate.show_golden
    found.reported = report(run, judged.decide, judged.check_drift, judged.timings, show_rows=shown)
    if change and found.judging and found.judging.open:

        def by(other: Run) -> Verdict:
            return verdict_by(other, judged.register, judged.check_drift)

        found.held = held_back(own, change, found.judging, judged.decide, by)


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


def _evidence(project: Project, found: _Found) -> tuple[Evidence, Evidence]:
    """On the candidate and on what it is compared with."""
    if found.developed:
        return found.developed.candidate, found.developed.champion
    folder = project.evidence
    candidate = read_evidence(folder / "candidate.parquet")
    return candidate, read_evidence(folder / "champion.parquet")


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
    metric, worst = _worst(run, verdict, found) if verdict else ("", [])
    page = GateReport(
        model=run.name,
        decision=decided.decision,
        summary=decided.markdown if found.stopped else decided.text.strip(),
        verdict=verdict,
        against=found.against,
        judged_on=_judged_on(run, found),
        changed=[(part.name, part.before, part.after, part.detail) for part in change.parts]
        if change
        else [],
        other=change.other if change else (),
        metric=metric,
        worst=worst,
        made=found.spent.made,
        cached=found.spent.cached,
        links=links(run, found.judged.register) if found.judged else {},
        notes=[
            *(change.notes if change else ()),
            *decided.warnings,
            *_alone(None if found.developed else verdict),
        ],
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
        "set": "development" if found.developed else "golden",
        "policy": found.policy,
        "decision": decided.decision.value,
        "generations": {"made": found.spent.made, "cached": found.spent.cached},
        "spent": spent(found.spent, found.budget, seconds),
        "verdict": as_json(decided.verdict),
    }


def _judged_on(run: Run, found: _Found) -> str:
    """Which set was used, and what follows of it."""
    if found.developed:
        return (
            f"Judged on the development set ({len(found.developed.rows)} rows): this promotes "
            "nothing, and spends none of the golden set's error budget."
        )
    shown = "" if run.params.gate.show_golden else "; its rows are not shown"
    return f"Judged on the golden set{shown}." if found.judged else ""


def _worst(run: Run, verdict: Verdict, found: _Found) -> tuple[str, list[ExamplePair]]:
    """The metric that matters most, and the rows that lost most of it, where they may be shown."""
    project = run.project
    rows: Sequence[Example] = found.developed.rows if found.developed else ()
    if not found.developed and run.params.gate.show_golden:
        rows = read_examples(project.golden)
    candidate, champion = _evidence(project, found)
    metric = primary_metric(verdict, candidate)
    if not metric or not rows:
        return "", []
    higher = measures([metric], project.prompts)[metric].direction != "lower"
    pairs = paired(candidate, champion, rows, metric, higher=higher)
    return metric, [pair for pair in pairs[:WORST] if pair.gain < 0]


def _text(page: GateReport, decided: Decided) -> str:
    lines = [decided.text.rstrip(), ""]
    if page.changed:
        told = [f"{name} ({said})" if said else name for name, _, _, said in page.changed]
        lines.append(f"changed:  {', '.join(told)}")
    lines.append(f"against:  {page.against}")
    if page.judged_on:
        lines.append(f"set:      {page.judged_on}")
    lines.append(f"answers:  {page.made} generated, {page.cached} from the cache")
    lines += [f"note:     {note}" for note in page.notes]
    may_follow = decided.champion_version is not None or decided.first
    if page.verdict and page.decision is Decision.PROMOTE and may_follow:
        lines.append(f"next:     sluice promote {decided.version}")
    return "\n".join(lines) + "\n"
