"""Which rows a golden set has from earlier ones: a set with one touched row is not a fresh one.

A row is known again by its id or by its text, whichever stayed. What is kept are digests.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sluicegate.data.examples import read_examples
from sluicegate.errors import IntegrityError
from sluicegate.gates import Policy, allowance
from sluicegate.gates.budget import inherited
from sluicegate.hashing import digest_file, digest_value, read_json, write_json
from sluicegate.line.run import Run
from sluicegate.project import Project
from sluicegate.records import Example

Rows = Sequence[tuple[str, str]]
"""For each row the digest of its id and the digest of its text."""
RESTORED = 0.5
"""`Budget.fresh_rows` give the next evaluation this share of the alpha of a first one."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a golden set's share of error is at.

    Attributes:
        golden: its digest.
        rows: how many it has.
        evaluations: verdicts that it gave itself.
        inherited: verdicts that its rows saw in earlier sets, in proportion.
        allowed: how many there may be.
        alpha: of the next one; 0.0 where all is spent.
        first: alpha of a first one on a fresh set.
        fresh_rows: so many new rows, in place of old ones, bring the next evaluation to half of
            `first`; 0 where it has that.
    """

    golden: str
    rows: int
    evaluations: int
    inherited: float
    allowed: int
    alpha: float
    first: float
    fresh_rows: int


def shares(project: Project, golden: str, earlier: Sequence[str]) -> dict[str, float]:
    """Digest of each earlier set to the share of this set's rows that it had.

    Keeps the rows of this set, for sets to come. A set of which nothing is kept (it is older than
    this is kept for) counts as if it shared nothing.
    """
    rows = _kept(project, golden)
    if rows is None:
        if not project.golden.is_file() or digest_file(project.golden) != golden:
            return {}
        rows = fingerprints(read_examples(project.golden))
        write_json(_file(project, golden), {"rows": [list(row) for row in rows]})
    found = {}
    for digest in earlier:
        before = _kept(project, digest)
        if digest == golden or before is None:
            continue
        ids, texts = {one for one, _ in before}, {text for _, text in before}
        shared = sum(one in ids or text in texts for one, text in rows)
        found[digest] = shared / max(len(rows), 1)
    return found


def fingerprints(rows: Sequence[Example]) -> Rows:
    """What rows are known again by; case, width of characters and spaces make no difference."""
    return [(digest_value(row.id), digest_value(_plain(row.inputs))) for row in rows]


def _plain(inputs: Mapping[str, str]) -> dict[str, str]:
    return {
        name: " ".join(unicodedata.normalize("NFKC", str(text)).casefold().split())
        for name, text in inputs.items()
    }


def inherited_evaluations(run: Run, golden: str) -> float:
    """How many evaluations the rows of the golden set `golden` saw in earlier sets."""
    entries = run.ledger.entries("verdict")
    earlier = list(dict.fromkeys(str(entry.payload["golden"]) for entry in entries))
    found = shares(run.project, golden, earlier)
    return inherited(entries, golden=golden, shares=found)


def budget(run: Run) -> Budget:
    """Where the golden set that is there stands. Raises OSError where there is none."""
    golden = digest_file(run.project.golden)
    rows = len(read_examples(run.project.golden))
    entries = run.ledger.entries("verdict")
    own = {
        (found["evidence"], found["champion_evidence"], found["policy"]): found["decision"]
        for found in (entry.payload for entry in entries)
        if found["golden"] == golden
    }
    given = [decision == "PROMOTE" for decision in own.values()]
    before = inherited_evaluations(run, golden)
    policy = run.policy
    return Budget(
        golden=golden,
        rows=rows,
        evaluations=len(given),
        inherited=before,
        allowed=policy.submissions,
        alpha=allowance(given, policy, before),
        first=allowance((), policy),
        fresh_rows=_fresh_rows(policy, rows, len(given) + before, given),
    )


def _fresh_rows(policy: Policy, rows: int, spent: float, given: Sequence[bool]) -> int:
    """Rows to replace, so that what is left of `spent` leaves enough alpha."""
    wanted = RESTORED * allowance((), policy)
    if allowance(given, policy, spent - len(given)) >= wanted:
        return 0
    return next(
        count
        for count in range(rows + 1)
        if allowance((), policy, spent * (1 - count / max(rows, 1))) >= wanted
    )


def _file(project: Project, golden: str) -> Path:
    return project.store / "golden" / f"{golden}.json"


def _kept(project: Project, golden: str) -> Rows | None:
    try:
        return [(one, text) for one, text in read_json(_file(project, golden))["rows"]]
    except (IntegrityError, KeyError, ValueError):
        return None
