"""Register, judge, promote, roll back: every step one transaction of the ledger, idempotent, told
to MLflow after.

The ledger decides; MLflow's aliases and descriptions are a projection that `reconcile` repairs.
`promote` has one
door, `guard.may_promote`, which is asked inside the transaction that moves the champion.
"""

from __future__ import annotations

from sluicegate.releasing.anchoring import (
    Anchor,
    anchor_in_git,
    begin_anew,
    git_anchors,
    ledger_to_write,
    mlflow_anchors,
)
from sluicegate.releasing.approving import (
    Collection,
    Standing,
    approve,
    collect_approvals,
    standing,
    time_out,
)
from sluicegate.releasing.history import (
    Event,
    Soundness,
    find_release,
    history,
    served_at,
    served_between,
    verify,
)
from sluicegate.releasing.moving import Move, Reconciliation, promote, reconcile, rollback
from sluicegate.releasing.registering import (
    Judgement,
    Registration,
    bootstrap,
    commit_of,
    judge,
    register,
)
from sluicegate.releasing.reviewing import reviews_of
from sluicegate.releasing.storing import (
    StoredRelease,
    keep_evidence,
    load_registered,
    load_stored,
    store_release,
    stored_outputs,
)

__all__ = [
    "Anchor",
    "Collection",
    "Event",
    "Judgement",
    "Move",
    "Reconciliation",
    "Registration",
    "Soundness",
    "Standing",
    "StoredRelease",
    "anchor_in_git",
    "approve",
    "begin_anew",
    "bootstrap",
    "collect_approvals",
    "commit_of",
    "find_release",
    "git_anchors",
    "history",
    "judge",
    "keep_evidence",
    "ledger_to_write",
    "load_registered",
    "load_stored",
    "mlflow_anchors",
    "promote",
    "reconcile",
    "register",
    "reviews_of",
    "rollback",
    "served_at",
    "served_between",
    "standing",
    "store_release",
    "stored_outputs",
    "time_out",
    "verify",
]
