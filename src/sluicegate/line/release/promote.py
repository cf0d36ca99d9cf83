"""Move the champion to a release, on its recorded verdict."""

from __future__ import annotations

from sluicegate import releasing
from sluicegate.line.run import Promoted, Run, actor


def promote(run: Run, release: str) -> Promoted:
    """Move the champion to `release` (a digest); a repeat changes nothing.

    Raises:
        NotApprovedError: the ledger has no PROMOTE verdict for exactly these digests, or an
            approval is missing.
    """
    move = releasing.promote(
        run.project,
        release,
        actor=actor(),
        reason="the release line",
        tracking=run.tracking,
        model=run.name,
    )
    return Promoted(move.champion, move.entry is not None, move.warnings)
