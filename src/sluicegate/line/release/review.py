"""People compare the candidate's answers with the champion's, blind, and what they say is recorded.

Each answer is on the disk before the next pair is shown; the ledger gets them together.
"""

from __future__ import annotations

import difflib
import json
import os
import random
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from sluicegate.data.examples import read_examples
from sluicegate.errors import BusyError, EvidenceError, UsageError
from sluicegate.evaluation import read_evidence
from sluicegate.gates import RULES, Policy
from sluicegate.gates.pairing import unpaired
from sluicegate.gates.reviews import FAULTS, VOTES, Pair, pairs_of
from sluicegate.hashing import digest_file, digest_value
from sluicegate.judges.agreement import krippendorff_alpha
from sluicegate.line.run import Run, actor
from sluicegate.records import Evidence, LedgerEntry
from sluicegate.releasing import ledger_to_write
from sluicegate.releasing.reviewing import (
    Answer,
    answers_in,
    may_review,
    read_answer,
    record_review,
)

SHARED = 5
"""Pairs that two people have answered before their agreement is shown: fewer would tell one's
votes."""
_TURNED = {"left": "better", "right": "worse", "same": "same"}


@dataclass(frozen=True, slots=True)
class Task:
    """What there is to review: both evaluations, the pairs that differ, and the inputs by row.

    `equal`: rows whose answers are equal, and which nobody is asked about.
    """

    candidate: Evidence
    champion: Evidence
    pairs: tuple[Pair, ...]
    equal: int
    inputs: Mapping[str, Mapping[str, str]]


def task(run: Run) -> Task:
    """The pairs of the last evaluation that the policy wants reviewed; all, where it says nothing.

    Raises:
        IntegrityError: nothing was evaluated yet.
        EvidenceError: the two evaluations do not belong together, or to this golden set.
        UsageError: candidate and champion are one release.
    """
    folder = run.project.evidence
    candidate, champion = (read_evidence(folder / f"{side}.parquet") for side in _SIDES)
    if candidate.release == champion.release:
        raise UsageError(
            "candidate and champion are the same release: there is nothing to compare.",
            hint="Change something and run `sluice release --no-promote`.",
        )
    reason = unpaired(candidate, champion)
    if reason or digest_file(run.project.golden) != candidate.golden:
        raise EvidenceError(
            reason or f"{run.project.golden} is not what was evaluated.",
            hint="Run `sluice release --no-promote` again.",
        )
    every = pairs_of(candidate, champion, _wanted(run.policy))
    inputs = {example.id: example.inputs for example in read_examples(run.project.golden)}
    differing = tuple(pair for pair in every if pair.differs)
    return Task(candidate, champion, differing, len(every) - len(differing), inputs)


_SIDES = ("candidate", "champion")


def _wanted(policy: Policy) -> int | None:
    """How many pairs the policy's rules on reviews need, the most of them; None for all."""
    asked = [rule.pairs for rule in policy.rules if RULES[rule.kind].understands]
    return None if None in asked or not asked else max(filter(None, asked))


def turned(pair: Pair) -> bool:
    """Whether the candidate is shown on the right: the pair's digest says so, which tells nobody."""
    return int(digest_value(["side", pair.digest])[0], 16) % 2 == 1


def vote_of(pair: Pair, choice: str) -> str:
    """`left`, `right` or `same` as a vote on the candidate.

    Raises:
        UsageError: it is none of them.
    """
    if choice not in _TURNED:
        raise UsageError(f"{choice!r} is no choice.", hint=f"One of {', '.join(_TURNED)}.")
    vote = _TURNED[choice]
    return {"better": "worse", "worse": "better"}.get(vote, vote) if turned(pair) else vote


def made_answer(pair: Pair, choice: str, left: Sequence[str], right: Sequence[str]) -> Answer:
    """What somebody said of a pair, by what was on the left and on the right.

    Raises:
        UsageError: an unknown choice or fault.
    """
    if unknown := {*left, *right} - {*FAULTS}:
        raise UsageError(f"{sorted(unknown)[0]!r} is no fault.", hint=f"Of {', '.join(FAULTS)}.")
    faults = [tuple(name for name in FAULTS if name in side) for side in (left, right)]
    candidate, champion = faults[::-1] if turned(pair) else faults
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Answer(pair.id, pair.digest, vote_of(pair, choice), candidate, champion, now)


class Session:
    """One person's reviews of one task, resumed where they were left.

    Use it as a context: leaving it enters in the ledger what was answered; `recorded` counts that.

    Raises:
        NotApprovedError: the person made the candidate.
        BusyError: the same person reviews elsewhere.
    """

    def __init__(self, run: Run, person: str = "") -> None:
        self.person = person or actor()
        self.recorded = 0
        self.task = task(run)
        self._run = run
        self._names = may_review(run.project, self.task.candidate.release, self.person)
        releases = (self.task.candidate.release, self.task.champion.release)
        name = digest_value([self.person, self.task.candidate.golden, *releases])[:16]
        self._file = run.project.state / "reviews" / f"{name}.jsonl"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{self._file}.lock", timeout=0)
        self._others: dict[str, dict[str, float]] = {}
        self._known: set[str] = set()
        self._answers: dict[str, Answer] = {}
        self._order: list[Pair] = []

    def __enter__(self) -> Session:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise BusyError(
                f"{self.person} reviews these answers already.", hint="Use that page, or end it."
            ) from error
        try:
            self._read_ledger()
            seed = self._read_file()
        except BaseException:
            self._lock.release()
            raise
        self._order = sorted(self.task.pairs, key=lambda pair: pair.digest)
        random.Random(seed).shuffle(self._order)
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self.record()
        finally:
            self._lock.release()

    @property
    def left(self) -> list[Pair]:
        """The pairs still to be reviewed, in their order."""
        done = self._known | self._answers.keys()
        return [pair for pair in self._order if pair.digest not in done]

    def view(self) -> dict[str, Any]:
        """What the page shows now; it does not say which answer is whose."""
        left = self.left
        shown: dict[str, Any] = {
            "done": len(self._order) - len(left),
            "total": len(self._order),
            "equal": self.task.equal,
            "person": self.person,
            "undo": bool(self._answers),
            "agreement": self.agreement(),
            "pair": "",
        }
        if left:
            pair = left[0]
            texts = (pair.champion, pair.candidate)
            first, second = texts if turned(pair) else texts[::-1]
            shown |= {
                "pair": pair.digest,
                "input": [[name, text] for name, text in self.task.inputs[pair.id].items()],
                **dict(zip(("left", "right"), word_differences(first, second), strict=True)),
            }
        return shown

    def answer(self, pair: str, choice: str, left: Sequence[str], right: Sequence[str]) -> None:
        """Keep an answer to the pair that is shown; one to another pair is left out, so that a key
        pressed twice answers once.

        Raises:
            UsageError: an unknown choice or fault.
        """
        shown = self.left[:1]
        if shown and shown[0].digest == pair:
            made = made_answer(shown[0], choice, left, right)
            self._append(made.content())
            self._answers[pair] = made

    def undo(self) -> None:
        """Take the last answer back, where there is one that is not in the ledger yet."""
        if self._answers:
            pair = next(reversed(self._answers))
            self._append({"undo": pair})
            del self._answers[pair]

    def record(self) -> LedgerEntry | None:
        """Enter the answers in the ledger; None where there is none to enter."""
        if not self._answers:
            return None
        run, done = self._run, self.task
        entry = record_review(
            ledger_to_write(run.project),
            done.candidate, done.champion, self.person, self._names, list(self._answers.values()),
        )  # fmt: skip
        self._append({"recorded": sorted(self._answers), "entry": entry.sequence})
        self._known |= self._answers.keys()
        self.recorded += len(self._answers)
        self._answers = {}
        return entry

    def agreement(self) -> str:
        """How far people agree on pairs that more than one has answered; empty for few of them."""
        mine = {pair: VOTES[one.vote] for pair, one in self._answers.items()}
        people = {**self._others}
        people[self.person] = {**people.get(self.person, {}), **mine}
        shared = [
            pair.digest
            for pair in self._order
            if sum(pair.digest in votes for votes in people.values()) > 1
        ]
        if len(shared) < SHARED:
            return ""
        table = [[votes.get(pair, np.nan) for pair in shared] for votes in people.values()]
        alpha = krippendorff_alpha(table, "ordinal")
        return f"{len(shared)} pairs answered by several people, Krippendorff's alpha {alpha:.2f}"

    def _read_ledger(self) -> None:
        for entry, answer in answers_in(self._run.ledger.entries()):
            votes = self._others.setdefault(entry.actor, {})
            votes.setdefault(answer.pair, VOTES[answer.vote])
        self._known = set(self._others.get(self.person, {}))

    def _read_file(self) -> int:
        """The seed of the order; the answers that are not in the ledger are taken up."""
        whole = self._file.read_bytes() if self._file.is_file() else b""
        kept = whole[: whole.rfind(b"\n") + 1]  # a line that a kill cut off was never answered
        if kept != whole:
            os.truncate(self._file, len(kept))
        lines = [json.loads(line) for line in kept.splitlines()]
        if not lines:
            lines = [{"seed": secrets.randbits(32)}]
            self._append(lines[0])
        asked = {pair.digest for pair in self.task.pairs}
        for line in lines[1:]:
            if "vote" in line and line["pair"] in asked - self._known:
                self._answers[line["pair"]] = read_answer(line)
            self._answers.pop(line.get("undo", ""), None)
        return int(lines[0]["seed"])

    def _append(self, line: Mapping[str, Any]) -> None:
        handle = os.open(self._file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "ab") as stream:
            stream.write(json.dumps(line).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())


Marked = list[tuple[str, bool]]
"""A text in pieces, and which of them the other text has not."""


def word_differences(first: str, second: str) -> tuple[Marked, Marked]:
    """Two texts in pieces, each with whether it differs from the other text.

    Example:
        >>> word_differences("at 5 pm", "at 6 pm")[0]
        [('at ', False), ('5', True), (' pm', False)]
    """
    words = tuple(re.findall(r"\s+|\w+|[^\w\s]", text) for text in (first, second))
    found: tuple[Marked, Marked] = ([], [])
    for what, *places in difflib.SequenceMatcher(
        None, words[0], words[1], autojunk=False
    ).get_opcodes():
        for side, (start, end) in enumerate((places[:2], places[2:])):
            if start < end:
                found[side].append(("".join(words[side][start:end]), what != "equal"))
    return found
