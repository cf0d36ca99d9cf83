"""Judge the candidate by registry/gates.yaml, and record the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sluicegate import releasing
from sluicegate.cards import verdict_markdown, verdict_text
from sluicegate.data.examples import read_examples
from sluicegate.errors import TrackingError
from sluicegate.evaluation import evaluate, find_baseline, read_evidence
from sluicegate.evaluation.judging import measures, plain_metrics
from sluicegate.gates import RULES, absolute, covers, earlier_evaluations
from sluicegate.gates import decide as judge_evidence
from sluicegate.gates.health import findings
from sluicegate.hashing import digest_file, digest_value, read_json
from sluicegate.line.pipeline.base_model import tuned
from sluicegate.line.pipeline.current import check_current
from sluicegate.line.pipeline.evaluation_run import evaluation_run
from sluicegate.line.release.golden_rows import inherited_evaluations
from sluicegate.line.run import Decided, Registered, Run, TrafficChecked, actor
from sluicegate.records import Decision, Evidence, Verdict

_NOBODY = (
    "nobody's work: a negation or swapped roles pass every rule on text; let a calibrated judge "
    "or `human_review` block, or people approve"
)

_UNTESTED = "stale (`sluice gate --self-test` shows what this policy lets through)"


def decide(run: Run, registered: Registered, traffic: TrafficChecked) -> Decided:
    """Judge the registered candidate; there is nothing to judge where it serves already.

    Where nothing serves a tuned candidate is compared with release zero. Release zero itself is
    judged by the rules that need no champion; without any that blocks the verdict is HOLD.

    Raises:
        EvidenceError: an evaluation is unusable, or it is not of the registered release by today's
            metrics.
        StaleEpochError: the champion changed since the evaluation; run again.
    """
    if registered.unchanged:
        return _unchanged(registered)
    project = run.project
    # Release zero itself has nobody to be compared with.
    alone = registered.first and registered.release == registered.champion
    evidence = read_evidence(project.evidence / "candidate.parquet")
    champion = None if alone else read_evidence(project.evidence / "champion.parquet")
    check_current(run, registered.release, evidence, champion or evidence)
    for kept in filter(None, (evidence, champion)):
        releasing.keep_evidence(project, kept)
    verdict = _judged(run, evidence, champion, traffic)
    stored = releasing.load_stored(project, verdict.candidate)
    markdown = verdict_markdown(verdict, stored.release, stored.lineage, links(run, registered))
    judged = releasing.judge(
        project,
        verdict,
        actor=actor(),
        tracking=run.tracking,
        model=run.name,
        markdown=markdown,
        nothing_serves=registered.champion_version is None,
        first=registered.first,
    )
    text, warnings = verdict_text(verdict), list(judged.warnings)
    if champion is not None:
        warnings += _unjudged(run, champion, traffic)
    else:
        means = {**evidence.summaries, **evidence.set_scores}
        scores = ", ".join(f"{name} {found.mean:.3f}" for name, found in means.items())
        text += f"  the first release, judged without a champion: {scores}\n"
        warnings += _nothing_to_go_by(run)
    warnings += findings(run.ledger.entries("verdict"), run.policy)
    return decided(registered, verdict.decision, text, markdown, verdict, warnings)


def verdict_by(run: Run, registered: Registered, traffic: TrafficChecked) -> Verdict:
    """What this run's policy makes of the evidence that is there; nothing is recorded or spent."""
    candidate = read_evidence(run.project.evidence / "candidate.parquet")
    champion = read_evidence(run.project.evidence / "champion.parquet")
    return _judged(run, candidate, None if registered.first else champion, traffic, spends=False)


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
        first=registered.first,
        decision=decision,
        text=text,
        markdown=markdown or text,
        verdict=verdict,
        warnings=tuple(warnings),
    )


def _nothing_to_go_by(run: Run) -> list[str]:
    if any(rule.severity == "block" for rule in absolute(run.policy)):
        return []
    return [
        "registry/gates.yaml has no blocking rule that needs no champion, so that nothing can let "
        "in the first one: add one (at_least, at_most ...)"
    ]


def _unjudged(run: Run, champion: Evidence, traffic: TrafficChecked) -> list[str]:
    """What a champion that no verdict let in does not meet of the rules that need none."""
    serves = run.champion
    if serves is None or serves.release != champion.release:
        return []
    if run.ledger.entries("verdict", champion.release):
        return []
    rules = _judged(run, champion, None, traffic, spends=False).rules
    return [
        f"release zero serves without a verdict, and does not meet {rule.name}: {rule.reason}"
        for rule in rules
        if rule.severity == "block" and rule.decision is not Decision.PROMOTE
    ]


def _unchanged(registered: Registered) -> Decided:
    serves = registered.champion_version is not None
    same = "already serves" if serves else "is the merge base's release"
    text = f"nothing changed: version {registered.version} {same} ({registered.release[:12]}).\n"
    return decided(registered, Decision.PROMOTE, text, text.rstrip())


def _judged(
    run: Run,
    evidence: Evidence,
    champion: Evidence | None,
    traffic: TrafficChecked,
    *,
    spends: bool = True,
) -> Verdict:
    earlier = earlier_evaluations(
        run.ledger.entries("verdict"),
        golden=evidence.golden,
        evidence=evidence.digest,
        champion_evidence=champion.digest if champion else None,
        policy=run.policy.digest,
    )
    return verdict_on(
        run,
        run.project.golden,
        evidence,
        champion,
        facts(run, evidence, traffic),
        earlier if spends else (),
        inherited_evaluations(run, evidence.golden) if spends else 0.0,
    )


def verdict_on(
    run: Run,
    file: Path,
    evidence: Evidence,
    champion: Evidence | None,
    known: Mapping[str, str],
    earlier: Sequence[bool] = (),
    inherited: float = 0.0,
) -> Verdict:
    """What the policy says of evidence on the rows of a file; recorded nowhere.

    Args:
        run: the project.
        file: the golden set, or the development set.
        evidence, champion: of the candidate, and of what it is compared with.
        known: see `facts`.
        earlier, inherited: see `gates.decide`.
    """
    metrics = measures(run.params.evaluate.metrics, run.project.prompts)
    return judge_evidence(
        evidence,
        champion,
        run.policy,
        facts=known,
        directions={name: metric.direction for name, metric in metrics.items()},
        ranges={name: metric.range for name, metric in metrics.items()},
        earlier=earlier,
        inherited=inherited,
        baselines=baselines(run, evidence, file),
        reviews=releasing.reviews_of(run.ledger.entries(), evidence.release),
        alone=champion is None,
        intent=run.params.release.intent,
    )


def baselines(run: Run, evidence: Evidence, file: Path) -> dict[str, Evidence]:
    """The policy's baselines, scored here from the rows of `file`: no evidence could be forged."""
    wanted: dict[str, set[str]] = {}
    for rule in run.policy.rules:
        if rule.baseline and rule.metric in plain_metrics(run.params.evaluate.metrics):
            wanted.setdefault(rule.baseline, set()).add(rule.metric)
    golden = read_examples(file) if wanted else []
    asking = run.params.evaluate.asking
    found = {
        name: evaluate(
            digest_value(name),
            golden,
            digest_file(file),
            find_baseline(name)(golden),
            sorted(metric for metric in metrics if not asking.get(metric)),
            asking=asking,
        )
        for name, metrics in wanted.items()
        if not all(map(asking.get, metrics))
    }
    # They were scored by a part of the metrics that `check_current` found the evidence made with.
    return {name: replace(each, metrics=evidence.metrics) for name, each in found.items()}


def facts(run: Run, evidence: Evidence, traffic: TrafficChecked) -> dict[str, str]:
    """What else was checked, for rules of kind `requires` and for those on a judge's scores.

    `contamination_checked` is ok only where `prepare` compared this very golden set with the
    training rows, `judge:<name>` only where that judge, as it scored this evidence, has passed its
    calibration and not outlived it; `golden_represents_traffic` says what the golden set lacks
    where it is not ok. `meaning_checked` is ok where a calibrated judge or people who review have a
    rule that blocks, or people have to approve. For `policy_tested` see the function of that name.
    """
    from sluicegate.line.judge.calibrate import judge_facts  # brings scipy.stats

    prepared = read_json(run.project.build / "prepare.json")
    checked = prepared.get("contamination") == "ok" and prepared["golden"] == evidence.golden
    lacks = "; ".join(traffic.missing)
    represents = traffic.golden_represents_traffic
    judges = judge_facts(run, evidence)
    blocking = [rule for rule in run.policy.rules if rule.severity == "block"]
    judged = any(
        covers(judges.get(rule.metric, ""), rule) or RULES[rule.kind].understands
        for rule in blocking
    )
    understood = run.policy.approvals or judged
    return {
        "contamination_checked": "ok" if checked else "stale",
        "drift_checked": traffic.status.lower(),
        "golden_represents_traffic": f"{represents} (the golden set lacks: {lacks})"
        if represents == "drift"
        else represents,
        "meaning_checked": "ok" if understood else _NOBODY,
        "policy_tested": policy_tested(run, evidence.golden, understood=bool(understood)),
        **judges,
    }


def policy_tested(run: Run, golden: str, *, understood: bool) -> str:
    """What the last self-test found: ok where every kind of broken answers is caught.

    What only somebody who understands an answer can see is caught where somebody does
    (`understood`). Stale, with what to run: this policy was not tested on this golden set.
    """
    found = read_json(run.project.self_test) if run.project.self_test.is_file() else {}
    if (found.get("policy"), found.get("golden")) != (run.policy.digest, golden):
        return _UNTESTED
    passed = [*found["unseen"], *([] if understood else found["meaning"])]
    return f"lets through: {', '.join(passed)}" if passed else "ok"


def links(run: Run, registered: Registered) -> dict[str, str]:
    """Addresses in the MLflow UI for the candidate: version, parent, runs."""
    tracking = run.tracking
    evaluation = tracking.ui_link(run=tracking.open_run(evaluation_run(run)))
    found = {"this version": tracking.ui_link(model=run.name, version=registered.version)}
    if registered.champion_version is not None:
        found["parent"] = tracking.ui_link(model=run.name, version=registered.champion_version)
    found |= {"evaluation run": evaluation, "report": f"{evaluation}/artifacts/release.html"}
    training = tuned(run).get("run_id")
    if training:
        with suppress(TrackingError):  # DVC's cache may bring an adapter that was trained elsewhere
            found["training run"] = tracking.ui_link(run=tracking.open_run(training))
    return found
