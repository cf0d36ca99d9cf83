"""The author of a change does not judge it.

A pull request is judged by the policy of its merge base. What it does to the policy, the judges,
the golden set, the metrics or their settings is named, and holds it until a person accepts that
whom the base's policy names and who wrote none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sluicegate.environment import read_variable
from sluicegate.errors import NotApprovedError, UsageError
from sluicegate.gates import Policy
from sluicegate.hashing import digest_value
from sluicegate.line.gate.change import METRIC_FILES, PIPELINE, Change, compare
from sluicegate.line.parts import PARTS
from sluicegate.line.run import Decided, Run, actor
from sluicegate.metrics.with_model import WITH_MODEL
from sluicegate.records import Decision, LedgerEntry, Verdict
from sluicegate.releasing.anchoring import ledger_to_write
from sluicegate.releasing.people import logins, same_person
from sluicegate.releasing.policy_in_git import policy_at
from sluicegate.versioning.history import merge_base
from sluicegate.versioning.tags import commit_authors

ACCEPTED = "accept"
"""Kind of a ledger entry: a person accepts how a change wants to be judged from now on."""
_JUDGES = frozenset({PIPELINE, METRIC_FILES, *(part.name for part in PARTS if part.judges)})


@dataclass(frozen=True, slots=True)
class Judging:
    """What a change does to how it is judged.

    Attributes:
        parts: names of what differs; empty where nothing does.
        digest: of the differences; what a person accepts.
        policy: the base's; None where it cannot be read.
        people: whom the base's policy names.
        accepted_by: who of them accepted these differences.
    """

    parts: tuple[str, ...]
    digest: str
    policy: Policy | None
    people: tuple[str, ...]
    accepted_by: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        """Whether somebody still has to accept it."""
        return bool(self.parts) and not self.accepted_by

    def what_to_do(self, ref: str) -> str:
        """In a sentence."""
        if not self.people:
            return (
                "the policy of the merge base names nobody who could accept it: merge a policy "
                "with approvals.people first"
            )
        who = " or ".join(self.people)
        return f'{who} accepts it: sluice accept --base {ref} --reason "..."'


def judging(run: Run, change: Change) -> Judging:
    """Compare how the change and its base are judged; see `Judging`."""
    own = [name for name in run.params.evaluate.metrics if name.partition(":")[0] not in WITH_MODEL]
    own_code = any(
        ":" in name
        for name in (
            *own,
            run.params.monitor.detector,
            *(spec.kind for spec in run.sources.values()),
        )
    )
    judges = _JUDGES | ({"code"} if own_code else set())
    parts = [part for part in change.parts if part.name in judges]
    digest = digest_value([[part.name, part.before, part.after] for part in parts])
    policy = policy_at(run.project, change.base)
    approvals = policy.approvals if policy else None
    people = tuple(approvals.people) if approvals else ()
    accepted = [
        entry.payload["person"]
        for entry in run.ledger.entries(ACCEPTED, digest)
        if entry.payload["person"] in people
    ]
    names = tuple(part.name for part in parts)
    return Judging(names, digest, policy, people, tuple(dict.fromkeys(accepted)))


def held_back(
    own: Run, change: Change, found: Judging, decided: Decided, by: Callable[[Run], Verdict]
) -> Decided:
    """The verdict by the base's policy, held back where it is PROMOTE, with what the change's own
    policy would have said; `by` judges once more, by another project's policy.
    """
    lines = [f"the change also changes how it is judged: {', '.join(found.parts)}"]
    if found.policy is None:
        lines.append("the base's policy cannot be read; this verdict is by the change's own")
    elif decided.verdict is not None and own.policy.digest != decided.verdict.policy:
        other = by(own).decision.value
        lines.append(f"by the base's policy: {decided.decision.value}; by its own: {other}")
    lines.append(f"what to do: {found.what_to_do(change.ref)}")
    decision = Decision.HOLD if decided.decision is Decision.PROMOTE else decided.decision
    text = f"{decision.value}  {lines[0]}\n" + "".join(f"  {line}\n" for line in lines[1:])
    return replace(
        decided,
        decision=decision,
        text=f"{text}\n{decided.text}",
        warnings=(*lines, *decided.warnings),
    )


def accept(run: Run, base: str, *, person: str, reason: str) -> tuple[Judging, LedgerEntry]:
    """Record that a person accepts what the checked-out change does to how it is judged.

    Args:
        run: the project.
        base: ref that the change is to be merged into.
        person: a name in `approvals.people` of the base's policy; whoever runs this by default.
        reason: why, for the ledger.

    Raises:
        UsageError: the change leaves the judging as it is, or there is no reason.
        NotApprovedError: the base's policy does not name this person, or they, or the account that
            enters it, wrote the change.
    """
    root = run.project.root
    change = compare(run, base, merge_base(root, base))
    found = judging(run, change)
    if not found.parts:
        raise UsageError("the change leaves policy, judges, metrics and golden set as they are.")
    if not reason.strip():
        raise UsageError("a reason is needed.", hint='Add --reason "...".')
    login = actor()
    who = person or read_variable("SLUICE_ACTOR") or login.rpartition("@")[0]
    if who not in found.people:
        known = ", ".join(found.people) or "nobody"
        raise NotApprovedError(
            f"{who} may not accept it: the policy of the merge base names {known}.",
            hint="Its approvals.people say who may.",
        )
    if same_person([who, *logins(root)], commit_authors(root, change.base)):
        raise NotApprovedError(
            f"{who} wrote the change, or its author's account enters this.",
            hint="Let somebody else of them accept it.",
        )
    payload = {"person": who, "entered_by": login, "parts": sorted(found.parts), "reason": reason}
    ledger = ledger_to_write(run.project, run.tracking, run.name)
    entry = ledger.append(ACCEPTED, found.digest, who, payload, unless_same=("person", "parts"))
    return found, entry
