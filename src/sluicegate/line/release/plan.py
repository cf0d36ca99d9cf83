"""`sluice plan`: what golden set the policy needs, before anybody labels a row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sluicegate.cards.plan import plan_html
from sluicegate.errors import UsageError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.judging import measures
from sluicegate.gates import allowance
from sluicegate.gates.checks import Case
from sluicegate.gates.health import Health, health
from sluicegate.gates.pairing import checked, unpaired
from sluicegate.gates.plans import Plan, plan
from sluicegate.gates.questions import Assumed
from sluicegate.hashing import write_atomic
from sluicegate.line.judge.calibrate import judge_facts
from sluicegate.line.release.decide import baselines
from sluicegate.line.release.golden_rows import budget
from sluicegate.line.run import Run
from sluicegate.records import Evidence

_ASSUME = (
    "Say how much a candidate will differ: --discordance 0.3 (share of rows whose scores do) and "
    "--sd 0.2 (standard deviation of the difference in those)."
)


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, what it was made from in words, how the rules did before, and the page."""

    plan: Plan
    source: str
    health: tuple[Health, ...]
    page: Path


def plan_golden_set(run: Run, *, gain: float = 0.0, assumed: Assumed | None = None) -> Planned:
    """Plan from the last evaluation of candidate and champion; writes reports/plan.html.

    Alpha is what the golden set's error budget leaves to the next evaluation, and that of a first
    one where nothing is left.

    Args:
        run: the project.
        gain: by how much the candidate is truly better, in each metric's unit.
        assumed: how it differs from the champion, where the last evaluation does not say.

    Raises:
        UsageError: nothing was evaluated, or it does not say how a candidate differs.
    """
    case, source = _case(run, assumed)
    for rule in run.policy.rules if assumed else ():
        low, high = case.bounds(rule)
        if rule.metric and assumed and assumed.sd > high - low:
            raise UsageError(
                f"--sd {assumed.sd:g} is more than {rule.metric} can differ by ({high - low:g})."
            )
    found = Planned(
        plan(case, gain=gain, assumed=assumed),
        source,
        health(run.ledger.entries("verdict"), run.policy),
        run.project.reports / "plan.html",
    )
    write_atomic(found.page, plan_html(found.plan, found.source, found.health).encode())
    return found


def _case(run: Run, assumed: Assumed | None) -> tuple[Case, str]:
    """What rules may look at, and what that is, in words."""
    champion = _read(run, "champion")
    candidate = champion if assumed else _read(run, "candidate")
    if not assumed:
        if candidate.release == champion.release:
            raise UsageError(
                "the last evaluation has no candidate beside the champion: it does not say how "
                "answers differ.",
                hint=_ASSUME,
            )
        if obstacle := unpaired(candidate, champion):
            raise UsageError(f"the last evaluation is no pilot: {obstacle}.", hint=_ASSUME)
    spent = budget(run) if run.project.golden.is_file() else None
    golden = spent is not None and spent.golden == champion.golden
    alpha = (spent.alpha or spent.first) if spent else allowance((), run.policy)
    known = measures(run.params.evaluate.metrics, run.project.prompts)
    case = Case(
        candidate,
        None if assumed else champion,
        "",
        run.policy,
        judge_facts(run, champion),
        {name: metric.direction for name, metric in known.items()},
        {name: metric.range for name, metric in known.items()},
        alpha,
        alpha,
        alpha,
        {
            name: checked(one, name)
            for name, one in baselines(run, champion, run.project.golden).items()
        }
        if golden
        else {},
    )
    if assumed:
        told = f"{assumed.discordance:.0%} of the rows differ by ±{assumed.sd:g} (assumed)"
        return case, f"the evaluation of {champion.release[:12]}; {told}"
    return case, f"the evaluation of {candidate.release[:12]} against {champion.release[:12]}"


def _read(run: Run, name: str) -> Evidence:
    path = run.project.evidence / f"{name}.parquet"
    if not path.is_file():
        raise UsageError(
            "nothing was evaluated yet that a plan could be made from.",
            hint="Run `sluice release` once; a few labelled rows are enough.",
        )
    return checked(read_evidence(path), name)
