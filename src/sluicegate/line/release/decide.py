"""Judge the candidate by registry/gates.yaml, and record the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sluicegate import releasing
from sluicegate.cards import verdict_markdown, verdict_text
from sluicegate.errors import TrackingError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.judging import measures
from sluicegate.gates import decide as judge_evidence
from sluicegate.gates import earlier_evaluations
from sluicegate.hashing import read_json
from sluicegate.line.pipeline.current import check_current
from sluicegate.line.pipeline.evaluation_run import evaluation_run
from sluicegate.line.run import Decided, Registered, Run, TrafficChecked, actor
from sluicegate.records import Decision, Evidence, Verdict


def decide(run: Run, registered: Registered, traffic: TrafficChecked) -> Decided:
    """Judge the registered candidate; there is nothing to judge where it serves already.

    Raises:
        EvidenceError: an evaluation is unusable, or it is not of the registered release by today's
            metrics.
        StaleEpochError: the champion changed since the evaluation; run again.
    """
    if registered.unchanged:
        return _unchanged(registered)
    project = run.project
    evidence = read_evidence(project.evidence / "candidate.parquet")
    champion = read_evidence(project.evidence / "champion.parquet")
    check_current(run, registered.release, evidence, champion)
    for kept in (evidence, champion):
        releasing.keep_evidence(project, kept)
    verdict = _judged(run, evidence, champion, traffic)
    stored = releasing.load_stored(project, verdict.candidate)
    markdown = verdict_markdown(verdict, stored.release, stored.lineage, links(run, registered))
    for each in (evidence, champion):
        releasing.keep_evidence(project, each)
    judged = releasing.judge(
        project,
        verdict,
        actor=actor(),
        tracking=run.tracking,
        model=run.name,
        markdown=markdown,
        nothing_serves=registered.champion_version is None,
    )
    return decided(
        registered, verdict.decision, verdict_text(verdict), markdown, verdict, judged.warnings
    )


def decided(
    registered: Registered,
    decision: Decision,
    text: str,
    markdown: str = "",
    verdict: Verdict | None = None,
    warnings: Sequence[str] = (),
) -> Decided:
    """What is registered, with what was decided about it."""
    return Decided(
        release=registered.release,
        version=registered.version,
        champion=registered.champion,
        champion_version=registered.champion_version,
        unchanged=registered.unchanged,
        decision=decision,
        text=text,
        markdown=markdown or text,
        verdict=verdict,
        warnings=tuple(warnings),
    )


def _unchanged(registered: Registered) -> Decided:
    serves = registered.champion_version is not None
    same = "already serves" if serves else "is the merge base's release"
    text = f"nothing changed: version {registered.version} {same} ({registered.release[:12]}).\n"
    return decided(registered, Decision.PROMOTE, text, text.rstrip())


def _judged(run: Run, evidence: Evidence, champion: Evidence, traffic: TrafficChecked) -> Verdict:
    metrics = measures(run.params.evaluate.metrics, run.project.prompts)
    earlier = earlier_evaluations(
        run.ledger.entries("verdict"),
        golden=evidence.golden,
        evidence=evidence.digest,
        champion_evidence=champion.digest,
        policy=run.policy.digest,
    )
    return judge_evidence(
        evidence,
        champion,
        run.policy,
        facts=facts(run, evidence, traffic),
        directions={name: metric.direction for name, metric in metrics.items()},
        ranges={name: metric.range for name, metric in metrics.items()},
        earlier=earlier,
    )


def facts(run: Run, evidence: Evidence, traffic: TrafficChecked) -> dict[str, str]:
    """What else was checked, for rules of kind `requires` and for those on a judge's scores.

    `contamination_checked` is ok only where `prepare` compared this very golden set with the
    training rows, `judge:<name>` only where that judge, as it scored this evidence, has passed its
    calibration and not outlived it; `golden_represents_traffic` says what the golden set lacks
    where it is not ok.
    """
    from sluicegate.line.judge.calibrate import judge_facts  # brings scipy.stats

    prepared = read_json(run.project.build / "prepare.json")
    checked = prepared.get("contamination") == "ok" and prepared["golden"] == evidence.golden
    lacks = "; ".join(traffic.missing)
    represents = traffic.golden_represents_traffic
    return {
        "contamination_checked": "ok" if checked else "stale",
        "drift_checked": traffic.status.lower(),
        "golden_represents_traffic": f"{represents} (the golden set lacks: {lacks})"
        if represents == "drift"
        else represents,
        **judge_facts(run, evidence),
    }


def links(run: Run, registered: Registered) -> dict[str, str]:
    """Addresses in the MLflow UI for the candidate: version, parent, runs."""
    tracking = run.tracking
    evaluation = tracking.ui_link(run=tracking.open_run(evaluation_run(run)))
    found = {"this version": tracking.ui_link(model=run.name, version=registered.version)}
    if registered.champion_version is not None:
        found["parent"] = tracking.ui_link(model=run.name, version=registered.champion_version)
    found |= {"evaluation run": evaluation, "report": f"{evaluation}/artifacts/release.html"}
    training = read_json(run.project.build / "tune.json").get("run_id")
    if training:
        with suppress(TrackingError):  # DVC's cache may bring an adapter that was trained elsewhere
            found["training run"] = tracking.ui_link(run=tracking.open_run(training))
    return found
