"""The order of the line's steps, once.

Command, flows, gate and retraining call it; none of them knows the order.

Each takes `perform`, which runs one step: `plainly`, or as a Prefect task in flows/.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

from sluicegate.budget import Budget
from sluicegate.errors import AdapterError, EnvironmentFailure, IntegrityError, VersioningError
from sluicegate.hashing import as_json
from sluicegate.line.learn.cooldown import killed
from sluicegate.line.learn.feedback_rows import bring, feedback_waiting
from sluicegate.line.pipeline.reproduce import reproduce
from sluicegate.line.release.approve import approvals
from sluicegate.line.release.decide import decide
from sluicegate.line.release.promote import promote
from sluicegate.line.release.register import register
from sluicegate.line.release.report import report
from sluicegate.line.run import (
    Alerted,
    Approvals,
    Decided,
    FeedbackWaiting,
    Learned,
    Probed,
    Promoted,
    Registered,
    Reported,
    Reproduced,
    Run,
    TrafficChecked,
    Watched,
)
from sluicegate.line.watch.check import alert, check, check_drift
from sluicegate.line.watch.probe import probe as probe_model
from sluicegate.line.watch.recorded import recorded_path
from sluicegate.records import Decision

P = ParamSpec("P")
T = TypeVar("T")

ONCE = ("reproduce", "decide", "alert", "probe")
"""Steps that are not worth a second try when the environment fails: each has told its reason, or
taken its time.
"""
NAMES = {Decision.PROMOTE: "Promoted", Decision.REJECT: "Rejected", Decision.HOLD: "Held"}


def worth_a_retry(step: str, error: object) -> bool:
    """Whether to take a step again that ended with `error`.

    Only a failure of the environment passes by itself: a wrong file, row or digest stays wrong. Nor
    is a failed pipeline worth it: it has printed its reason, and may have taken an hour.
    """
    stays = isinstance(error, (AdapterError, IntegrityError, VersioningError))
    return step not in ONCE and isinstance(error, EnvironmentFailure) and not stays


class Perform(Protocol):
    """Runs the step `name`: calls `step` with the other arguments."""

    def __call__(
        self, name: str, step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T: ...


def plainly(name: str, step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a step as the function that it is."""
    del name
    return step(*args, **kwargs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The line up to the verdict: what each step returned, and the seconds that each took."""

    reproduce: Reproduced
    register: Registered
    check_drift: TrafficChecked
    decide: Decided
    timings: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Released(Judged):
    """The whole line. A step that had nothing to do is None.

    Attributes:
        may_promote: False where the line was to stop after the verdict.
        approvals, promote: only of a release that passed.
        feedback: only of a retraining.
    """

    may_promote: bool
    report: Reported = field(default_factory=Reported)
    approvals: Approvals | None = None
    promote: Promoted | None = None
    feedback: Learned | None = None

    @property
    def waits(self) -> bool:
        """Whether approvals are missing."""
        return self.approvals is not None and self.approvals.missing > 0

    @property
    def name(self) -> str:
        """The outcome in a word: Unchanged, Promoted, Passed, Waiting, Rejected or Held."""
        if self.decide.unchanged:
            return "Unchanged"
        if self.waits:
            return "Waiting"
        if self.decide.decision is Decision.PROMOTE and not self.may_promote:
            return "Passed"
        return NAMES[self.decide.decision]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What could not be done beside the steps themselves, in their order."""
        steps = (self.decide, self.approvals, self.promote)
        return tuple(told for step in steps if step is not None for told in step.warnings)

    def as_json(self) -> dict[str, Any]:
        """What each step returned, by its name; without those that had nothing to do."""
        found = {name: as_json(getattr(self, name)) for name in _STEPS}
        return {
            "outcome": self.name,
            **{name: one for name, one in found.items() if one is not None},
        }


_STEPS = (
    "feedback", "reproduce", "register", "check_drift", "decide", "approvals", "promote", "report",
    "timings",
)  # fmt: skip


def judge(
    run: Run,
    *,
    baseline: str = "",
    environment: Mapping[str, str] | None = None,
    until: float | None = None,
    progress: bool = True,
    perform: Perform = plainly,
) -> Judged:
    """Make the candidate and judge it: reproduce, register, check drift, decide.

    Args:
        run: the project; the caller holds its line's lock.
        baseline: see `register`.
        environment, until, progress: see `reproduce`.
        perform: runs a step.
    """
    timings: dict[str, float] = {}
    timed = _timed(perform, timings)
    made = timed(
        "reproduce", reproduce, run, progress=progress, environment=environment, until=until
    )
    registered = timed("register", register, run, baseline)
    traffic = timed("check drift", check_drift, run)
    decided = timed("decide", decide, run, registered, traffic)
    return Judged(
        reproduce=made, register=registered, check_drift=traffic, decide=decided, timings=timings
    )


def release(
    run: Run, *, may_promote: bool = True, progress: bool = True, perform: Perform = plainly
) -> Released:
    """The whole line: judge, and where the candidate passed collect approvals and promote; then
    report.

    Args:
        run: the project; the caller holds its line's lock.
        may_promote: False stops after the verdict.
        progress: print what DVC and the stages say.
        perform: runs a step.
    """
    judged = judge(run, progress=progress, perform=perform)
    timings = dict(judged.timings)
    timed = _timed(perform, timings)
    standing, promoted = None, None
    if judged.decide.decision is Decision.PROMOTE and may_promote:
        standing = timed("approvals", approvals, run, judged.register.release)
        if not standing.missing:
            promoted = timed("promote", promote, run, judged.register.release)
    page = timed("report", report, run, judged.decide, judged.check_drift, timings)
    return Released(
        reproduce=judged.reproduce,
        register=judged.register,
        check_drift=judged.check_drift,
        decide=judged.decide,
        timings=timings,
        may_promote=may_promote,
        report=page,
        approvals=standing,
        promote=promoted,
    )


def learn(run: Run, *, perform: Perform = plainly) -> Learned:
    """What a retraining does before the line: bring feedback into the data."""
    return perform("bring feedback", bring, run)


def go_on(
    run: Run, release: str, *, perform: Perform = plainly
) -> tuple[Approvals, Promoted | None]:
    """Promote the very release that waited for people, whatever is checked out by now, if nothing
    is missing any more.
    """
    standing = perform("approvals", approvals, run, release, waited=True)
    if standing.missing or not standing.in_force:
        return standing, None
    return standing, perform("promote", promote, run, standing.release)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at production: what was found, whether people were told, what feedback waits, and
    what asked for a retraining that was killed.
    """

    found: Watched
    alert: Alerted
    feedback: FeedbackWaiting
    killed: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        again = self.killed and f"the retraining for {self.killed} was killed before it ended"
        told = (self.alert.warning, self.feedback.warning, again)
        return (*self.found.warnings, *filter(None, told))

    def as_json(self) -> dict[str, Any]:
        """What was found, with `alarm`, `told`, `feedback` and all warnings."""
        found: dict[str, Any] = as_json(self.found)
        return found | {
            "alarm": self.found.alarm,
            "told": self.alert.sent,
            "feedback": as_json(self.feedback),
            "killed": self.killed,
            "warnings": list(self.warnings),
        }


def watch(
    run: Run,
    *,
    hours: float | None = None,
    last: int | None = None,
    file: Path | None = None,
    tell: bool = True,
    perform: Perform = plainly,
) -> Look:
    """Look at production once: check, tell people of an alarm, count the feedback that waits.

    Args:
        run: the project.
        hours, last, file: see `check`.
        tell: False sends nothing.
        perform: runs a step.
    """
    found = perform("check", check, run, hours=hours, last=last, file=file)
    told = perform("alert", alert, run, found) if tell else Alerted()
    return Look(found, told, perform("feedback", feedback_waiting, run), killed(run))


def probe(
    run: Run,
    name: str = "",
    *,
    budget: Budget | None = None,
    tell: bool = True,
    perform: Perform = plainly,
) -> tuple[Probed, Alerted]:
    """Ask a model what it was asked before, and tell people if another one answers.

    Args:
        run, name, budget: see `watch.probe.probe`.
        tell: False sends nothing.
        perform: runs a step.
    """
    found = perform("probe", probe_model, run, name, budget=budget)
    file = f"alarm-{recorded_path(run, found.model).name}"
    return found, perform("alert", alert, run, found, file) if tell else Alerted()


def _timed(perform: Perform, timings: dict[str, float]) -> Perform:
    """`perform`, with the seconds of each step kept in `timings`."""

    def timed(name: str, step: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        start = time.monotonic()
        try:
            return perform(name, step, *args, **kwargs)
        finally:
            timings[name] = round(time.monotonic() - start, 3)

    return timed
