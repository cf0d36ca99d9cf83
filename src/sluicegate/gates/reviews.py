"""Pairs of answers that people compare, and what they said of them.

Answers that are equal are not asked about: they differ by exactly 0. Which pairs are asked where
the policy does not want all is settled before anybody has seen one: whole groups in an order that
the digests give, so that the rows are a random sample and nobody can stop where it looks good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sluicegate.hashing import digest_value
from sluicegate.records import Evidence, ScoredExample

VOTES = {"better": 1.0, "same": 0.0, "worse": -1.0}
"""What a reviewer may say of the candidate's answer, and how it counts."""
FAULTS = ("invents", "omits", "wrong role", "unsafe", "form")
"""What may be wrong with an answer."""
UNSAFE = "unsafe"


@dataclass(frozen=True, slots=True)
class Review:
    """What one person said of one pair: a vote of `VOTES`, and whether the candidate is unsafe."""

    person: str
    vote: float
    unsafe: bool = False


Reviews = Mapping[str, Sequence[Review]]
"""Digest of a pair to what was said of it, the first person first."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One row as both releases answered it.

    `digest` is of the golden set, the row and both answers: a review stays where the same answers
    are evaluated again.
    """

    id: str
    group: str
    candidate: str
    champion: str
    digest: str

    @property
    def differs(self) -> bool:
        return self.candidate != self.champion


def answer(row: ScoredExample) -> str:
    """What people read: the text (the first one, where there are repeats) and the tool calls.

    Example:
        >>> answer(ScoredExample("1", "1", "Done.", {}, 0.1, 1, 1, fields={"tool_calls": '["a"]'}))
        'Done.\\n\\ntool calls: ["a"]'
    """
    calls = row.fields.get("tool_calls", "[]")
    return row.output if calls == "[]" else f"{row.output}\n\ntool calls: {calls}".lstrip()


def pairs_of(candidate: Evidence, champion: Evidence, most: int | None = None) -> list[Pair]:
    """The pairs of the rows that count, equal ones as well, in one order.

    Args:
        candidate, champion: on the same golden set.
        most: differing pairs that are wanted; None takes every row. Whole groups are taken, in an
            order given by the digests, while no more than `most` pairs differ; the first group with
            such a pair is always in.
    """
    theirs = {row.id: answer(row) for row in champion.rows}
    groups: dict[str, list[Pair]] = {}
    for row in candidate.rows:
        texts = (answer(row), theirs[row.id])
        digest = digest_value([candidate.golden, row.id, *texts])
        groups.setdefault(row.group, []).append(Pair(row.id, row.group, *texts, digest))
    seed = [candidate.golden, candidate.release, champion.release]
    order = sorted(groups, key=lambda group: digest_value([*seed, group]))
    taken: list[Pair] = []
    differing = 0
    for group in order:
        more = sum(pair.differs for pair in groups[group])
        if most is not None and differing and differing + more > most:
            break
        taken += groups[group]
        differing += more
    return taken


def in_order(found: Iterable[tuple[str, Review]]) -> Reviews:
    """By pair; of each person the first word only, so that nobody changes a vote once it counts.

    A later word that the candidate is unsafe is heard.
    """
    reviews: dict[str, dict[str, Review]] = {}
    for digest, review in found:
        known = reviews.setdefault(digest, {})
        first = known.setdefault(review.person, review)
        if review.unsafe and not first.unsafe:
            known[review.person] = Review(first.person, first.vote, unsafe=True)
    return {digest: tuple(known.values()) for digest, known in reviews.items()}
