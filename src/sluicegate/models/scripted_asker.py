"""The fake judge that ships: answers by a function, counts what it was asked. No torch, no model, no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sluicegate.hashing import digest_value
from sluicegate.records import Failure, Question, Reply


@dataclass(slots=True)
class ScriptedAsker:
    """An Asker whose replies come from `answer`, one call per question; tokens are words.

    `answer` returns the text, a whole `Reply` (with `alternatives`, say), or a `Failure`; what it raises is not caught.

    Attributes:
        answer: from question to answer.
        name: gives the identity: two fakes with equal names are one judge.
        asked: every question so far, in order.

    Example:
        >>> asker = ScriptedAsker(lambda question: question.messages[-1]["content"].upper())
        >>> asker.ask([Question(({"role": "user", "content": "good"},))])[0].text
        'GOOD'
    """

    answer: Callable[[Question], str | Reply | Failure]
    name: str = "scripted"
    asked: list[Question] = field(default_factory=list)

    @property
    def identity(self) -> str:
        """Digest of the name."""
        return digest_value({"scripted": self.name})

    def ask(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Reply | Failure]:
        """Answer in the order given."""
        replies = []
        for number, question in enumerate(questions, start=1):
            self.asked.append(question)
            said = self.answer(question)
            if isinstance(said, str):
                words = sum(len(message["content"].split()) for message in question.messages)
                said = Reply(said, words, len(said.split()), 0.001)
            replies.append(said)
            if progress is not None:
                progress(number, len(questions))
        return replies
