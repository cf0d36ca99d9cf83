"""The gate on the development set: its verdict is shown, recorded nowhere, and promotes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sluicegate.budget import Budget
from sluicegate.cards import verdict_text
from sluicegate.data.examples import read_examples
from sluicegate.errors import UsageError
from sluicegate.hashing import digest_file, read_json
from sluicegate.line.pipeline import STAGES, sealed
from sluicegate.line.pipeline.contender import candidate_release, champion_release
from sluicegate.line.pipeline.evaluate import compared
from sluicegate.line.pipeline.reproduce import reproduce
from sluicegate.line.release.decide import decided, facts, verdict_on
from sluicegate.line.run import Decided, Registered, Run, TrafficChecked
from sluicegate.line.watch.check import check_drift
from sluicegate.records import Decision, Evidence, Example, Verdict


@dataclass(frozen=True, slots=True)
class OnDevelopment:
    """What the development set says of the candidate.

    Attributes:
        decided: the verdict; none where the candidate is what it would be compared with.
        candidate, champion: evidence; the champion's is the candidate's own where nothing differs.
        rows: the development set.
        traffic: for the rules that ask for it.
    """

    decided: Decided
    candidate: Evidence
    champion: Evidence
    rows: Sequence[Example]
    traffic: TrafficChecked

    def by(self, run: Run) -> Verdict:
        """The verdict that the policy of `run` gives on the same evidence."""
        return _verdict(run, self.candidate, self.champion, self.traffic)


def judge_on_development(
    run: Run, budget: Budget, environment: Mapping[str, str], *, progress: bool = True
) -> OnDevelopment:
    """Make the release that the working tree describes, and judge it on the development set.

    Neither MLflow nor the ledger hears of it, and no golden row is read.

    Args:
        run: the project; the caller holds its line's lock.
        budget: what may be spent; kept in a file.
        environment: for the stages; see `reproduce`.
        progress: print what DVC and the stages say.

    Raises:
        UsageError: there are no development rows.
        BudgetError, IncompleteError: see `compared`.
    """
    project = run.project
    making = [name for name in sealed(project) if STAGES[name].makes]
    until = budget.until
    reproduce(run, progress=progress, environment=environment, until=until, upto=making[-1])
    rows = read_examples(project.development)
    if not rows:
        raise UsageError(
            "params.yaml has gate.set: development, and there are no development rows.",
            hint="Give registry/sources.yaml a source of role development, or set gate.set: golden.",
        )
    candidate = candidate_release(run)
    contenders = {"candidate": candidate, "champion": champion_release(run, candidate)}
    assert budget.path is not None, "the caller keeps it in a file"
    with Budget.open(budget.path).shared(budget.path):
        found = compared(run, contenders, rows, digest_file(project.development))
    new, old = found["candidate"], found["champion"]
    traffic = check_drift(run) if run.champion else TrafficChecked(status="NO_DATA", rows=0)
    registered = Registered(
        release=new.release, version=0, champion=old.release, champion_version=None, unchanged=False
    )
    if new.release == old.release and (run.champion or _has_base(run)):
        text = f"nothing changed: the candidate is what serves ({new.release[:12]}).\n"
        same = replace(registered, unchanged=True)
        return OnDevelopment(decided(same, Decision.PROMOTE, text), new, old, rows, traffic)
    verdict = _verdict(run, new, old, traffic)
    told = decided(registered, verdict.decision, verdict_text(verdict), verdict=verdict)
    return OnDevelopment(told, new, old, rows, traffic)


def _has_base(run: Run) -> bool:
    return bool(read_json(run.project.build / "inputs.json")["champion"] != "none")


def _verdict(run: Run, new: Evidence, old: Evidence, traffic: TrafficChecked) -> Verdict:
    """Without a count of evaluations, which only the golden set has."""
    prepared = read_json(run.project.build / "prepare.json")
    checked = prepared.get("contamination") == "ok" and prepared["development"] == new.golden
    known = facts(run, new, traffic) | {"contamination_checked": "ok" if checked else "stale"}
    champion = None if new.release == old.release else old
    return replace(verdict_on(run, run.project.development, new, champion, known), looks=0)
