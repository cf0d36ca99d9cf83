"""An asker that never asks the same thing twice: replies are looked up, and kept the moment they arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sluicegate.hashing import digest_value
from sluicegate.models.reply_cache import open_cache
from sluicegate.records import Failure, Question, Reply

Took = Callable[[int, Reply | Failure], None]


class Source(Protocol):
    """What answers questions that are in no cache."""

    def answer(self, questions: Sequence[Question], took: Took) -> None:
        """Answer each of `questions`, calling `took(index, answer)` once for each as it arrives.

        Raises:
            BudgetError: the budget is spent; what `took` was given counts.
            ConfigError: the source is unsafe to use.
        """
        ...


class CachedAsker:
    """See `asking.Asker`. Equal questions are asked once; failures are not kept, so a later run asks again."""

    def __init__(self, identity: str, source: Source, folder: Path) -> None:
        self.identity = identity
        self._source, self._folder = source, folder

    def ask(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Reply | Failure]:
        """Answer every question in the order given, from the cache where it is there.

        Args:
            questions: any number; none gives an empty list.
            progress: called with how many distinct questions are done, and how many there are.

        Raises:
            BudgetError: the budget is spent; what was answered is in the cache.
            ConfigError: the endpoint is unsafe.
            EnvironmentFailure: the cache cannot be read or written.
        """
        keys = [question_key(self.identity, question) for question in questions]
        wanted = dict(zip(keys, questions, strict=True))
        with open_cache(self._folder) as cache:
            answers: dict[str, Reply | Failure] = dict(cache.load(list(wanted)))
            missing = [key for key in wanted if key not in answers]
            if progress is not None and questions:
                progress(len(answers), len(wanted))

            def took(index: int, answer: Reply | Failure) -> None:
                if isinstance(answer, Reply):
                    cache.store(missing[index], answer)
                answers[missing[index]] = answer
                if progress is not None:
                    progress(len(answers), len(wanted))

            if missing:
                self._source.answer([wanted[key] for key in missing], took)
        return _in_order(keys, answers)


def question_key(identity: str, question: Question) -> str:
    """SHA-256 of who is asked and what: messages and every setting."""
    fields = {
        name: getattr(question, name)
        for name in ("max_tokens", "temperature", "seed", "alternatives")
    }
    return digest_value(
        {"who": identity, "messages": [dict(message) for message in question.messages], **fields}
    )


def _in_order(keys: Sequence[str], answers: dict[str, Reply | Failure]) -> list[Reply | Failure]:
    """One answer for each key. What is said a second time cost nothing, so it counts as cached."""
    out: list[Reply | Failure] = []
    seen: set[str] = set()
    for key in keys:
        answer = answers[key]
        out.append(
            replace(answer, cached=True) if key in seen and isinstance(answer, Reply) else answer
        )
        seen.add(key)
    return out
