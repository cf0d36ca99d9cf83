"""One run of the gate: what changed, the release it is compared with, the verdict, and what people get of it.

Nothing is promoted and no champion is recorded; the verdict is, because it is a look at the golden set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sluicegate.cards import GateReport
from sluicegate.cards.examples import ExamplePair, paired, primary_metric
from sluicegate.cards.wording import short
from sluicegate.data.examples import read_examples
from sluicegate.errors import BudgetError, UsageError
from sluicegate.evaluation import METER, Limits, Meter, Spent, read_evidence
from sluicegate.evaluation.judging import measures
from sluicegate.gates import load_policy
from sluicegate.hashing import read_json
from sluicegate.ledger import Ledger
from sluicegate.line.gate.base_release import base_release
from sluicegate.line.gate.change import Change, compare
from sluicegate.line.locks import line_lock
from sluicegate.line.pipeline.fingerprint import OPPONENT
from sluicegate.line.progress import say
from sluicegate.line.release import report as reporting
from sluicegate.line.release import steps as line
from sluicegate.line.run import Context, open_context
from sluicegate.project import Project, find_project
from sluicegate.records import Champion, Decision, Verdict
from sluicegate.versioning.history import merge_base

WORST = 3


@dataclass(frozen=True, slots=True)
class Budget:
    """Most that one run may spend; None is no limit. `cost` is in the currency of `release.price` in params.yaml."""

    seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class GateRun:
    """How a run of the gate ended.

    Attributes:
        decision: of the verdict; HOLD where a budget stopped the run, PROMOTE where there is nothing to judge.
        text: for a terminal.
        report: for the comment and the JUnit file.
        page: the HTML report, where one was written for this verdict.
        seconds: wall time.
        outcome: for JSON: what the steps returned, `change`, `generations`, `verdict`, `budget`.
    """

    decision: Decision
    text: str
    report: GateReport
    page: Path | None
    seconds: float
    outcome: dict[str, Any] = field(default_factory=dict)


def run_gate(
    root: str, *, base: str = "", budget: Budget | None = None, quiet: bool = False
) -> GateRun:
    """Judge what is checked out against the champion, or, where nothing serves yet, the release of the merge base.

    A release, a retraining or another gate at work in the same project is waited for, no longer than `budget` allows.

    Args:
        root: the project's folder.
        base: ref whose merge base with HEAD says what changed; empty compares with the champion only.
        budget: what the run may spend.
        quiet: print nothing of DVC's own.

    Raises:
        BusyError: another run did not end within hours, and `budget` limits no seconds.
        UsageError: a file that people edit is wrong, `base` means nothing, a budget is no number, or cost has no price.
        VersioningError: the history is too short, or the pipeline failed.
    """
    started, project = time.time(), find_project(Path(root))
    context = open_context(project)
    policy = load_policy(project.registry / "gates.yaml").digest
    limits = _limits(context, budget or Budget(), started)
    sha = merge_base(project.root, base) if base else ""
    change: Change | None = None
    outcome: dict[str, Any] = {"change": None, "against": "nothing yet", "policy": policy}
    with _meter(project, limits) as meter:
        try:
            # From the first look at the champion and the files to the last read of build/: a run beside it replaces them.
            with line_lock(root, until=limits.until):
                champion = Ledger(project.ledger_url).champion()
                change = compare(project, base, sha) if sha else None
                outcome |= {
                    "change": change.plain() if change else None,
                    "against": _against(champion, change),
                }
                if change:
                    say(f"gate: {_told(change)}; compared with {outcome['against']}")
                if change and champion is None and change.certain and not change.parts:
                    outcome["decide"] = _unchanged(change)
                    return _ended(context, outcome, change, Spent(), started, None)
                opponent = ""
                if change and champion is None:
                    opponent = base_release(project, change.base, quiet=quiet, until=limits.until)
                _judge(root, project, outcome, opponent, limits, quiet=quiet)
                spent = _counted(project, Meter.open(meter).spent)
                return _ended(context, outcome, change, spent, started, limits)
        except BudgetError as error:
            return _stopped(
                context, outcome, change, Meter.open(meter).spent, started, error, limits
            )


def _against(champion: Champion | None, change: Change | None) -> str:
    """What the candidate is compared with, in words."""
    if champion is not None:
        return f"champion version {champion.version} ({short(champion.release)})"
    if change is None:
        return "the bare base model, as nothing serves"
    return f"the merge base {short(change.base)} of {change.ref}"


def _unchanged(change: Change) -> dict[str, Any]:
    """What `decide` returns where there is nothing to judge."""
    text = f"Nothing of the release changed against the merge base {short(change.base)}: there is nothing to judge."
    return {"decision": "PROMOTE", "unchanged": True, "text": text, "champion_version": None}


def _judge(
    root: str,
    project: Project,
    outcome: dict[str, Any],
    opponent: str,
    limits: Limits,
    *,
    quiet: bool,
) -> None:
    """The steps of the line up to the report, each only while there is time."""
    environment = (
        {METER: str(_meter_path(project)), OPPONENT: opponent}
        if opponent
        else {METER: str(_meter_path(project))}
    )
    outcome["reproduce"] = line.reproduce(
        root, progress=not quiet, environment=environment, until=limits.until
    )
    if limits.until is not None and time.time() > limits.until:
        raise Meter.open(_meter_path(project)).exceeded(f"time budget of {limits.seconds:g} s", 0)
    outcome["register"] = line.register(root, opponent)
    outcome["check_drift"] = line.check_drift(root)
    outcome["decide"] = line.decide(root)
    outcome["report"] = reporting.report(root)


def _limits(context: Context, budget: Budget, started: float) -> Limits:
    price = context.params.release.price
    if budget.cost is not None and price is None:
        raise UsageError(
            "--max-cost needs prices, and params.yaml has none.",
            hint="Set release.price: {input: ..., output: ...}, money per million tokens.",
        )
    return Limits(
        until=None if budget.seconds is None else started + budget.seconds,
        seconds=budget.seconds,
        tokens=budget.tokens,
        cost=budget.cost,
        price_input=price.input if price else 0.0,
        price_output=price.output if price else 0.0,
    )


def _meter_path(project: Project) -> Path:
    return project.state / "gate" / f"meter-{os.getpid()}.json"


@contextmanager
def _meter(project: Project, limits: Limits) -> Iterator[Path]:
    """Where this run's stages count; gone afterwards."""
    path = _meter_path(project)
    Meter(path, limits).save()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _counted(project: Project, spent: Spent) -> Spent:
    """All answers that the evidence holds and that this run did not generate came from the cache."""
    candidate, champion = (
        read_evidence(project.evidence / f"{name}.parquet") for name in ("candidate", "champion")
    )
    used = len(candidate.rows) + (
        len(champion.rows) if champion.release != candidate.release else 0
    )
    return replace(spent, cached=max(0, used - spent.made))


def _told(change: Change) -> str:
    """What changed, in one line."""
    if not change.parts:
        return "no part of the release changed"
    return "changed: " + ", ".join(
        f"{part.name} ({part.detail})" if part.detail else part.name for part in change.parts
    )


def _stopped(
    context: Context,
    outcome: dict[str, Any],
    change: Change | None,
    spent: Spent,
    started: float,
    error: BudgetError,
    limits: Limits,
) -> GateRun:
    """A run that a budget ended: HOLD, no verdict, nothing recorded."""
    sentence = f"Not judged: {error}"
    text = f"HOLD  {sentence}\n  what to do: {error.hint}\n"
    outcome["decide"] = {
        "decision": "HOLD",
        "unchanged": False,
        "text": text,
        "champion_version": None,
    }
    outcome["stopped"] = str(error)
    return _ended(
        context, outcome, change, spent, started, limits, summary=f"{sentence} {error.hint}"
    )


def _ended(
    context: Context,
    outcome: dict[str, Any],
    change: Change | None,
    spent: Spent,
    started: float,
    limits: Limits | None,
    *,
    summary: str = "",
) -> GateRun:
    decided = outcome["decide"]
    decision = Decision(decided["decision"])
    judged = not summary and not decided["unchanged"]
    verdict = (
        reporting.read_verdict(read_json(context.project.build / "line" / "verdict.json"))
        if judged
        else None
    )
    metric, worst = _worst(context, verdict) if verdict else ("", [])
    report = GateReport(
        model=context.name,
        decision=decision,
        summary=summary or decided["text"].strip(),
        verdict=verdict,
        against=outcome["against"],
        changed=[(part.name, part.before, part.after, part.detail) for part in change.parts]
        if change
        else [],
        other=change.other if change else (),
        metric=metric,
        worst=worst,
        made=spent.made,
        cached=spent.cached,
        links=_links(context, outcome),
        notes=[*(change.notes if change else ()), *decided.get("warnings", ())],
    )
    page = outcome.get("report", {}).get("report") if judged else ""
    seconds = time.time() - started
    outcome |= {
        "decision": decision.value,
        "generations": {"made": spent.made, "cached": spent.cached},
        "spent": _spent(spent, limits, seconds),
        "verdict": asdict(verdict) if verdict else None,
        "worst": [pair.id for pair in worst],
    }
    return GateRun(
        decision, _text(report, decided), report, Path(page) if page else None, seconds, outcome
    )


def _spent(spent: Spent, limits: Limits | None, seconds: float) -> dict[str, float | int | None]:
    """What the run cost; money only where there are prices."""
    priced = limits is not None and (limits.price_input or limits.price_output)
    cost = Meter(None, limits, spent).cost() if priced else None
    return {
        "seconds": round(seconds, 3),
        "tokens": spent.tokens,
        "cost": cost,
        "judge_calls": spent.judge_calls,
    }


def _links(context: Context, outcome: dict[str, Any]) -> dict[str, str]:
    return line.links(context, outcome["register"]) if "register" in outcome else {}


def _worst(context: Context, verdict: Verdict) -> tuple[str, list[ExamplePair]]:
    """The metric that matters most, and the examples that lost most of it."""
    project = context.project
    candidate, champion = (
        read_evidence(project.evidence / f"{name}.parquet") for name in ("candidate", "champion")
    )
    metric = primary_metric(verdict, candidate)
    if not metric:
        return "", []
    higher = measures([metric], project.prompts)[metric].direction != "lower"
    pairs = paired(candidate, champion, read_examples(project.golden), metric, higher=higher)
    return metric, [pair for pair in pairs[:WORST] if pair.gain < 0]


def _text(report: GateReport, decided: Mapping[str, Any]) -> str:
    lines = [str(decided["text"]).rstrip(), ""]
    if report.changed:
        told = [f"{name} ({said})" if said else name for name, _, _, said in report.changed]
        lines.append(f"changed:  {', '.join(told)}")
    lines.append(f"against:  {report.against}")
    lines.append(f"answers:  {report.made} generated, {report.cached} from the cache")
    lines += [f"note:     {note}" for note in report.notes]
    if (
        report.verdict
        and report.decision is Decision.PROMOTE
        and decided["champion_version"] is not None
    ):
        lines.append(f"next:     sluice promote {decided['version']}")
    return "\n".join(lines) + "\n"
