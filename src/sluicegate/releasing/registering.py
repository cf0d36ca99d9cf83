"""Before the champion moves: register a release, record the first champion, record a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial

from sluicegate.errors import ReleaseError, StaleEpochError, TrackingError
from sluicegate.gates import load_policy
from sluicegate.hashing import digest_value
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.records import Champion, Decision, LedgerEntry, Verdict
from sluicegate.releasing.anchoring import ledger_to_write
from sluicegate.releasing.approving import VERDICT_TAG, invitation, outdated
from sluicegate.releasing.guard import may_bootstrap, registered_version, rolled_back
from sluicegate.releasing.people import logins
from sluicegate.releasing.restoring import restore_versions
from sluicegate.releasing.storing import (
    StoredRelease,
    check_evidence,
    keep_registered,
    load_registered,
    load_stored,
)
from sluicegate.tracking import Tracking


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered release: its version in MLflow's Model Registry and the ledger entry that says
    so.
    """

    release: str
    version: int
    entry: LedgerEntry


@dataclass(frozen=True, slots=True)
class Judgement:
    """A recorded verdict. `warnings` says what MLflow could not be told; the record stands all the
    same.
    """

    verdict: Verdict
    version: int
    entry: LedgerEntry
    warnings: tuple[str, ...] = ()


def register(
    project: Project,
    stored: StoredRelease,
    *,
    tracking: Tracking,
    model: str,
    run_id: str,
    actor: str,
    tags: Mapping[str, str] | None = None,
    description: str = "",
    authors: Sequence[str] = (),
) -> Registration:
    """Make `stored` a version of `model` and enter it in the ledger; once, however often this runs
    or is killed.

    A release that is registered already, also from another store, keeps its lineage: the stored
        manifest becomes that.

    Args:
        authors: who wrote what changed, by name and address; like `actor`, and the account that
            this
            runs under, they cannot approve the release.

    Raises:
        TrackingError: MLflow failed; nothing is entered.
        IntegrityError: another ledger is known than the one that is there; see `ledger_to_write`.
        BusyError, EnvironmentFailure, IntegrityError: see `Ledger`.
    """
    ledger = ledger_to_write(project, tracking, model)
    known = ledger.entries("register", stored.digest)
    if known:
        return _registration(project, known[0])
    restore_versions(project, ledger.entries("register"), (), tracking=tracking, model=model)
    version = tracking.register_version(
        model,
        stored.release,
        stored.manifest,
        stored.adapter,
        run_id,
        tags={**_labels(stored), **(tags or {})},
        description=description,
    )
    payload = {
        **{"version": version, "model": model, "run_id": run_id},
        **stored.manifest,
        "manifest": digest_value(stored.manifest),
        "prompt_name": stored.prompt.name,
        "authors": list(authors),
        "by": list(logins(project.root)),
    }
    # Another store may have registered it just now: of one release there is one entry.
    return _registration(
        project, ledger.append("register", stored.digest, actor, payload, unless_same=("release",))
    )


def _labels(stored: StoredRelease) -> dict[str, str]:
    lineage = stored.lineage
    return {
        "sluice.commit": lineage.commit + ("+changes" if lineage.dirty else ""),
        "sluice.data": lineage.data,
        "sluice.golden": lineage.golden,
        "sluice.code": lineage.code,
        "sluice.parent": lineage.parent or "none",
        "sluice.prompt_name": stored.prompt.name,
        "sluice.base_name": stored.base_name,
    }


def _registration(project: Project, entry: LedgerEntry) -> Registration:
    keep_registered(project, entry)
    return Registration(entry.release, int(entry.payload["version"]), entry)


def commit_of(project: Project, release: str) -> str:
    """Full hash of the commit that `release` was made from: as registered, else as stored.

    Raises:
        IntegrityError: it is neither registered nor stored.
    """
    known = Ledger(project.ledger_url).entries("register", release)
    return (
        str(known[0].payload["lineage"]["commit"])
        if known
        else load_stored(project, release).lineage.commit
    )


def bootstrap(
    project: Project, release: str, *, actor: str, reason: str = "release zero"
) -> Champion:
    """Make the registered `release` the first champion, recorded as without a verdict; later calls
    change nothing.

    Raises:
        ReleaseError: it is not registered.
        IntegrityError, AdapterError: its stored bytes are not those registered.
    """
    ledger = ledger_to_write(project)
    champion = ledger.champion()
    if champion is not None:
        return champion
    known = ledger.entries("register", release)
    load_registered(project, release, known)
    version = registered_version(known, release)
    guard = partial(may_bootstrap, release=release)
    with suppress(StaleEpochError):  # another process was first: its champion is returned below
        ledger.move_champion(
            release, version, 0, "bootstrap", actor, {"reason": reason}, guard=guard
        )
    champion = ledger.champion()
    if champion is None:
        raise ReleaseError("The first champion could not be recorded.")
    return champion


def judge(
    project: Project,
    verdict: Verdict,
    *,
    actor: str,
    tracking: Tracking | None = None,
    model: str = "",
    markdown: str = "",
    nothing_serves: bool = False,
    first: bool = False,
) -> Judgement:
    """Record `verdict` against the champion of now; once in a reign.

    Args:
        tracking: when given, with `model`, the version gets `markdown` and tags of the verdict.
        nothing_serves: the verdict compares with a release that never served, or with none, as
            long as the ledger has no champion. It counts as an evaluation on the golden set.
        first: of those, one that compares with release zero (the bare base model) or is about it:
            it may let in the first champion. On one about the merge base nothing can be promoted.

    Raises:
        ReleaseError: the candidate is not registered.
        StaleEpochError: the verdict is about a champion that no longer serves.
        EvidenceError: the evidence that it names is not in the store; see `keep_evidence`.
        IntegrityError: another ledger is known than the one there, or the evidence is damaged.
    """
    ledger = ledger_to_write(project, tracking, model)
    for digest in filter(None, (verdict.evidence, verdict.champion_evidence)):
        check_evidence(project, digest)
    version = registered_version(ledger.entries("register", verdict.candidate), verdict.candidate)
    champion = ledger.champion()
    compared_with_base = nothing_serves and champion is None
    if not compared_with_base and (champion.release if champion else None) != verdict.champion:
        raise StaleEpochError(
            "The champion changed while this verdict was made.", hint="Judge the candidate again."
        )
    policy = load_policy(project.registry / "gates.yaml")
    approvals = policy.approvals if policy.digest == verdict.policy else None
    payload = {
        **asdict(verdict),
        "verdict": verdict.digest,
        "judged_epoch": champion.epoch if champion else 0,
        "version": version,
        "required": approvals.required if approvals else 0,
        "kept": True,
        **({"first": True} if first and compared_with_base else {}),
    }
    entry = ledger.append(
        "verdict", verdict.candidate, actor, payload, unless_same=("verdict", "judged_epoch")
    )
    warnings: tuple[str, ...] = ()
    if approvals is not None and verdict.decision == Decision.PROMOTE:
        out = rolled_back(ledger.entries(), verdict.candidate)
        markdown = f"{invitation(approvals, out)}\n\n{markdown}"
    if tracking is not None:
        try:
            _tell(tracking, model, version, entry, verdict, markdown)
        except TrackingError as error:
            warnings = (f"MLflow does not know the verdict yet: {error}",)
    return Judgement(verdict, version, entry, warnings)


def _tell(
    tracking: Tracking,
    model: str,
    version: int,
    entry: LedgerEntry,
    verdict: Verdict,
    markdown: str,
) -> None:
    shown = tracking.version_of(model, verdict.candidate) or version
    tracking.set_tags(model, shown, outdated(tracking.tags_of(model).get(shown, {}), entry))
    labels = {
        "sluice.verdict": verdict.decision.value,
        "sluice.verdict_digest": verdict.digest,
        "sluice.policy": verdict.policy,
        VERDICT_TAG: str(entry.sequence),
    }
    tracking.describe(model, shown, markdown, labels)
