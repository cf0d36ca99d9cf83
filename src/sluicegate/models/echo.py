"""The fake that ships: answers from a script, or repeats the last user line. Deterministic, no torch, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.errors import DataError
from sluicegate.records import Generation, GenerationSettings

if TYPE_CHECKING:
    from sluicegate.models import Messages, Progress
    from sluicegate.models.base_models import LoadedBase


@dataclass(frozen=True, slots=True)
class EchoBackend:
    """Answers `script[last user text]` where there is one, else the last line of the last user message.

    Tokens are words; an answer is cut at `max_new_tokens` words and then counts as unfinished.

    Example:
        >>> from sluicegate.records import GenerationSettings
        >>> EchoBackend().generate([[{"role": "user", "content": "Say:\\nhello"}]], GenerationSettings())[0].text
        'hello'
    """

    script: Mapping[str, str] = field(default_factory=dict)
    context: int = 2048

    def generate(
        self,
        prompts: Sequence[Messages],
        settings: GenerationSettings,
        progress: Progress | None = None,
    ) -> list[Generation]:
        """See `Backend.generate`."""
        answers = []
        for number, messages in enumerate(prompts, start=1):
            length = self.count_tokens(messages)
            if length >= self.context:
                raise DataError(
                    f"prompt {number} has {length} tokens; the context is {self.context}."
                )
            asked = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
            said = self.script.get(asked, (asked.strip().splitlines() or [""])[-1])
            for stop in settings.stop:
                said = said.split(stop)[0] if stop else said
            words = said.split()
            finished = len(words) <= settings.max_new_tokens
            text = said.strip() if finished else " ".join(words[: settings.max_new_tokens])
            answers.append(
                Generation(text, length, min(len(words), settings.max_new_tokens), 0.001, finished)
            )
            if progress is not None:
                progress(number, len(prompts))
        return answers

    def count_tokens(self, messages: Messages) -> int:
        """Words of all messages."""
        return sum(len(message["content"].split()) for message in messages)


def open_echo(
    model: LoadedBase, adapter: Path | None, *, dtype: str, batch_tokens: int
) -> EchoBackend:
    """Row of `BACKENDS`: only the context of `model` is used."""
    del adapter, dtype, batch_tokens
    return EchoBackend(context=model.context)
