"""The steps after the pipeline, each idempotent: register, check drift, decide, promote, report.

Each takes the project's folder and returns JSON-able values, so that a Prefect task or a plain call runs it alike.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sluicegate import releasing
from sluicegate.cards import verdict_markdown, verdict_text
from sluicegate.config import Params, load
from sluicegate.drift import write_profile
from sluicegate.errors import TrackingError
from sluicegate.evaluation import read_evidence
from sluicegate.evaluation.judging import measures
from sluicegate.gates import decide as judge_evidence
from sluicegate.gates import former_looks, load_policy
from sluicegate.hashing import digest_value, read_json, write_json
from sluicegate.ledger import Ledger
from sluicegate.line.pipeline.current import check_current
from sluicegate.line.pipeline.evaluation_run import evaluation_run, project_prompt
from sluicegate.line.run import Context, open_context, open_tracking
from sluicegate.line.watch.report import reference_path, represents
from sluicegate.line.watch.window import look, window_of
from sluicegate.project import Project, find_project
from sluicegate.records import DriftReport, DriftScore, Evidence, Lineage
from sluicegate.releasing import StoredRelease
from sluicegate.versioning import current_commit
from sluicegate.versioning import reproduce as run_pipeline
from sluicegate.versioning.tags import commit_authors


def actor() -> str:
    """Who acts, for the ledger: `SLUICE_ACTOR`, or user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return os.environ.get("SLUICE_ACTOR") or f"{user}@{socket.gethostname()}"


def reproduce(
    root: str,
    progress: bool = True,
    *,
    environment: Mapping[str, str] | None = None,
    until: float | None = None,
) -> dict[str, Any]:
    """Check the files that people edit, then run what changed of the pipeline.

    `environment` is for the stages; at `until` (seconds since 1970) what still runs is interrupted.

    Raises:
        BudgetError: `until` has passed, or a stage has spent its budget.
        ConfigError, PromptError: before anything is run.
        VersioningError: git or DVC is missing, or a stage failed.
    """
    project = find_project(Path(root))
    context = open_context(project)
    load_policy(project.registry / "gates.yaml")
    current_commit(project.root)
    with timed(project, "pipeline", first=True):
        ran = run_pipeline(project, quiet=not progress, environment=environment, until=until)
    return {"ran": ran, "model": context.name}


def register(root: str, opponent: str = "") -> dict[str, Any]:
    """Store and register the candidate; the first time also release zero, as the first champion.

    Args:
        root: the project's folder.
        opponent: where nothing serves yet, the stored release to compare with; then nothing becomes champion.

    Returns:
        `release`, `version`, `champion` (digest) and `unchanged`: the candidate is what serves already.
    """
    project = find_project(Path(root))
    with timed(project, "register"):
        context = open_context(project)
        made = read_json(project.evidence / "release.json")
        tracking = open_tracking(project)
        run_id = evaluation_run(context)
        project_prompt(context, tracking)
        who: dict[str, Any] = {
            "tracking": tracking,
            "model": context.name,
            "run_id": run_id,
            "actor": actor(),
        }
        champion = Ledger(project.ledger_url).champion()
        if champion is None and not opponent:
            zero = _store(context, made, adapter=None, parent=None)
            releasing.register(project, zero, **who, description=ZERO)
            champion = releasing.bootstrap(project, zero.digest, actor=actor())
        adapter = project.adapter if made["candidate"]["adapter"] else None
        against = champion.release if champion else opponent
        candidate = _store(context, made, adapter=adapter, parent=against)
        authors = commit_authors(project.root, since=releasing.commit_of(project, against))
        registration = releasing.register(project, candidate, **who, authors=authors)
        releasing.reconcile(project, tracking=tracking, model=context.name)
    result = {
        "release": candidate.digest,
        "version": registration.version,
        "champion": against,
        "champion_version": champion.version if champion else None,
        "unchanged": candidate.digest == against,
    }
    write_json(project.build / "line" / "register.json", result)
    return result


ZERO = "## Release zero\n\nThe bare base model with the same prompt: the first incumbent, recorded without a verdict."


def _store(
    context: Context, made: dict[str, Any], *, adapter: Path | None, parent: str | None
) -> StoredRelease:
    project = context.project
    prepared, commit = read_json(project.build / "prepare.json"), current_commit(project.root)
    lineage = Lineage(
        data=prepared["data"],
        golden=prepared["golden"],
        sources=prepared["sources"],
        code=digest_value(read_json(project.build / "code.json")),
        commit=commit.sha,
        dirty=commit.dirty,
        parent=parent,
    )
    return releasing.store_release(
        project,
        base_digest=made["candidate"]["base"],
        base_name=made["base_name"],
        adapter=adapter,
        prompt=context.prompt,
        generation=context.params.release.generation.settings(),
        lineage=lineage,
    )


def check_drift(root: str) -> dict[str, Any]:
    """Compare recent traffic (`monitor` in params.yaml says how much) with what the champion answers on the golden set.

    Where nothing serves yet, with what the candidate answers.
    """
    project = find_project(Path(root))
    with timed(project, "drift check"):
        params = load(project.params, Params).monitor
        champion = Ledger(project.ledger_url).champion()
        window = window_of(project, params, release=champion.release if champion else "")
        report, profile = look(project, window, params, reference_path(project))
        kept = project.build / "line" / "window.parquet"
        kept.unlink(missing_ok=True)
        if profile is not None:
            write_profile(kept, profile)
        status, missing = represents(project)
    write_json(project.build / "line" / "represents.json", {"status": status, "missing": missing})
    write_json(project.build / "line" / "drift.json", report)
    return {**asdict(report), "golden_represents_traffic": status, "missing": list(missing)}


def read_drift(project: Project) -> DriftReport:
    """The drift report that `check_drift` left."""
    found = read_json(project.build / "line" / "drift.json")
    scores = tuple(DriftScore(**score) for score in found["scores"])
    return DriftReport(found["status"], found["rows"], scores, tuple(found["notes"]))


def decide(root: str) -> dict[str, Any]:
    """Judge the candidate by registry/gates.yaml and record the verdict; nothing to judge where it serves already.

    Returns:
        `decision`, `release`, `version`, `unchanged`, `text` (for a terminal) and `markdown`.

    Raises:
        EvidenceError: an evaluation is unusable, or it is not of the registered release by today's metrics.
        StaleEpochError: the champion changed since the evaluation; run again.
    """
    project = find_project(Path(root))
    with timed(project, "decide"):
        registered = read_json(project.build / "line" / "register.json")
        if registered["unchanged"]:
            same = (
                "already serves"
                if registered["champion_version"] is not None
                else "is the merge base's release"
            )
            text = f"nothing changed: version {registered['version']} {same} ({registered['release'][:12]})."
            return {**registered, "decision": "PROMOTE", "text": text + "\n", "markdown": text}
        context = open_context(project)
        metrics = measures(context.params.evaluate.metrics, project.prompts)
        evidence = read_evidence(project.evidence / "candidate.parquet")
        champion = read_evidence(project.evidence / "champion.parquet")
        check_current(context, registered["release"], evidence, champion)
        policy = load_policy(project.registry / "gates.yaml")
        looks = former_looks(
            Ledger(project.ledger_url).entries("verdict"),
            golden=evidence.golden,
            evidence=evidence.digest,
            champion_evidence=champion.digest,
            policy=policy.digest,
        )
        verdict = judge_evidence(
            evidence,
            champion,
            policy,
            facts=facts(project, evidence),
            directions={name: metric.direction for name, metric in metrics.items()},
            ranges={name: metric.range for name, metric in metrics.items()},
            looks=looks,
        )
        stored = releasing.load_stored(project, verdict.candidate)
        markdown = verdict_markdown(
            verdict, stored.release, stored.lineage, links(context, registered)
        )
        for each in (evidence, champion):
            releasing.keep_evidence(project, each)
        judged = releasing.judge(
            project,
            verdict,
            actor=actor(),
            tracking=open_tracking(project),
            model=context.name,
            markdown=markdown,
            nothing_serves=registered["champion_version"] is None,
        )
    write_json(project.build / "line" / "verdict.json", verdict)
    return {
        **registered,
        "decision": verdict.decision.value,
        "text": verdict_text(verdict),
        "markdown": markdown,
        "warnings": list(judged.warnings),
    }


def facts(project: Project, evidence: Evidence) -> dict[str, str]:
    """What else was checked, for rules of kind `requires` and for those on a judge's scores.

    `contamination_checked` is ok only where `prepare` compared this very golden set with the training rows,
    `judge:<name>` only where that judge, as it scored this evidence, has passed its calibration and not outlived it.
    """
    from sluicegate.line.judge.calibrate import (
        judge_facts,  # brings scipy.stats, which an unchanged project has no use for
    )

    prepared = read_json(project.build / "prepare.json")
    checked = prepared.get("contamination") == "ok" and prepared["golden"] == evidence.golden
    return {
        "contamination_checked": "ok" if checked else "stale",
        "drift_checked": read_drift(project).status.lower(),
        **_represents(project),
        **judge_facts(project, load(project.params, Params), evidence),
    }


def _represents(project: Project) -> dict[str, str]:
    """Does the golden set look like the traffic? Where it does not, the fact says what it lacks."""
    path = project.build / "line" / "represents.json"
    if not path.is_file():
        return {}
    found = read_json(path)
    lacks = (
        f" (the golden set lacks: {'; '.join(found['missing'])})"
        if found["status"] == "drift"
        else ""
    )
    return {"golden_represents_traffic": found["status"] + lacks}


def links(context: Context, registered: dict[str, Any]) -> dict[str, str]:
    """Addresses in the MLflow UI for the candidate: version, parent, runs."""
    tracking, project = open_tracking(context.project), context.project
    evaluation = tracking.ui_link(run=tracking.open_run(evaluation_run(context)))
    found = {"this version": tracking.ui_link(model=context.name, version=registered["version"])}
    if registered["champion_version"] is not None:
        found["parent"] = tracking.ui_link(
            model=context.name, version=registered["champion_version"]
        )
    found |= {"evaluation run": evaluation, "report": f"{evaluation}/artifacts/release.html"}
    training = read_json(project.build / "tune.json").get("run_id")
    if training:
        with suppress(TrackingError):  # DVC's cache may bring an adapter that was trained elsewhere
            found["training run"] = tracking.ui_link(run=tracking.open_run(training))
    return found


def promote(root: str, release: str = "") -> dict[str, Any]:
    """Move the champion to the candidate, on its recorded verdict; a repeat changes nothing.

    Args:
        root: the project's folder.
        release: digest of a release that waited for approval; the candidate of this run by default.

    Raises:
        NotApprovedError: the ledger has no PROMOTE verdict for exactly these digests, or an approval is missing.
    """
    project = find_project(Path(root))
    with timed(project, "promote"):
        context = open_context(project)
        move = releasing.promote(
            project,
            release or read_json(project.build / "line" / "register.json")["release"],
            actor=actor(),
            reason="the release line",
            tracking=open_tracking(project),
            model=context.name,
        )
    return {
        "champion": asdict(move.champion),
        "moved": move.entry is not None,
        "warnings": list(move.warnings),
    }


@contextmanager
def timed(project: Project, step: str, *, first: bool = False) -> Iterator[None]:
    """Keep a step's wall time in build/line/timings.json; `first` starts a new file."""
    path, start = project.build / "line" / "timings.json", time.monotonic()
    yield
    known = {} if first or not path.is_file() else read_json(path)
    write_json(path, {**known, step: round(time.monotonic() - start, 3)})
