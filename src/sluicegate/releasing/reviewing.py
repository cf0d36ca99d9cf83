"""What people said of pairs of answers, in the ledger: who, when, which pairs, entered by whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sluicegate.errors import IntegrityError, NotApprovedError
from sluicegate.gates.reviews import FAULTS, UNSAFE, VOTES, Review, Reviews, in_order
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.records import Evidence, LedgerEntry
from sluicegate.releasing.people import is_maker, logins

REVIEW = "review"
"""Kind of the entry."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said of one pair.

    Attributes:
        id, pair: the row, and the pair's digest.
        vote: of `VOTES`, about the candidate.
        candidate, champion: which of `FAULTS` each answer has.
        time: when, in ISO 8601 and UTC.
    """

    id: str
    pair: str
    vote: str
    candidate: tuple[str, ...]
    champion: tuple[str, ...]
    time: str

    def __post_init__(self) -> None:
        if self.vote not in VOTES or not {*self.candidate, *self.champion} <= {*FAULTS}:
            raise ValueError(f"{self.vote} {self.candidate} {self.champion}")

    def content(self) -> dict[str, Any]:
        """As it is written."""
        return {
            "id": self.id,
            "pair": self.pair,
            "vote": self.vote,
            "candidate": list(self.candidate),
            "champion": list(self.champion),
            "time": self.time,
        }


def read_answer(found: Mapping[str, Any]) -> Answer:
    """The inverse of `Answer.content`.

    Raises:
        ValueError: it is none.
    """
    try:
        return Answer(
            id=str(found["id"]),
            pair=str(found["pair"]),
            vote=str(found["vote"]),
            candidate=tuple(map(str, found["candidate"])),
            champion=tuple(map(str, found["champion"])),
            time=str(found["time"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no answer of a review: {error}") from error


def may_review(project: Project, release: str, person: str) -> tuple[str, ...]:
    """Refuse a person who made `release`; the names under which this process acts.

    Raises:
        NotApprovedError: the person, or the account that enters it, is one of its makers.
    """
    names = logins(project.root)
    made = Ledger(project.ledger_url).entries("register", release)
    for name in (person, *names):
        if is_maker(made, release, name):
            raise NotApprovedError(
                f"{name} made {release[:12]}, and nobody reviews their own release.",
                hint="Let somebody else run `sluice review` under their own account.",
            )
    return names


def record_review(
    ledger: Ledger,
    candidate: Evidence,
    champion: Evidence,
    person: str,
    names: Sequence[str],
    answers: Sequence[Answer],
    *,
    via: str = "page",
) -> LedgerEntry:
    """Enter what `person` said; the same answers a second time change nothing.

    Args:
        ledger: see `ledger_to_write`.
        candidate, champion: what was shown.
        person: who said it.
        names: of the account that enters it, see `may_review`.
        answers: at least one.
        via: `page` or `label_studio`.
    """
    payload = {
        "person": person,
        "logins": list(names),
        "via": via,
        "golden": candidate.golden,
        "champion": champion.release,
        "evidence": candidate.digest,
        "champion_evidence": champion.digest,
        "answers": [one.content() for one in answers],
    }
    return ledger.append(
        REVIEW, candidate.release, person, payload, unless_same=("person", "answers")
    )


def reviews_of(entries: Sequence[LedgerEntry], release: str) -> Reviews:
    """What counts for `release`, by pair: nothing that one of its makers said or entered.

    Raises:
        IntegrityError: an entry is not one that `record_review` writes.
    """
    return in_order(
        (answer.pair, Review(entry.actor, VOTES[answer.vote], UNSAFE in answer.candidate))
        for entry, answer in answers_in(entries)
        if not any(
            is_maker(entries, release, name) for name in (entry.actor, *entry.payload["logins"])
        )
    )


def answers_in(entries: Sequence[LedgerEntry]) -> Iterator[tuple[LedgerEntry, Answer]]:
    """Every answer of a review with its entry, oldest first."""
    for entry in entries:
        if entry.kind == REVIEW:
            try:
                for found in entry.payload["answers"]:
                    yield entry, read_answer(found)
            except (KeyError, ValueError) as error:
                raise IntegrityError(
                    f"Ledger entry {entry.sequence} is no review: {error}",
                    hint="Run `sluice verify`.",
                ) from error
