"""Local weights that are asked: batched like generation, with the probabilities of likely tokens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from sluicegate.errors import DataError
from sluicegate.hashing import digest_folder, digest_value
from sluicegate.models.alternatives import likely_tokens
from sluicegate.models.ask_limits import NO_LIMITS, AskLimits, Purse
from sluicegate.models.base_models import LoadedBase
from sluicegate.models.cached_asker import Took
from sluicegate.models.sampling import Picker
from sluicegate.models.transformers_backend import Row, TransformersBackend, load_tuned
from sluicegate.models.weights import choose_dtype, encode_chat
from sluicegate.records import Failure, GenerationSettings, Question, Reply

BATCH_TOKENS = 8192
"""Most tokens (questions and room for answers) in work at once; one question always is."""
NO_STOP = GenerationSettings()


class _TimeIsUp(Exception):
    """Raised between two steps of the model."""


class TellingBackend(TransformersBackend):
    """Keeps the likeliest tokens of each place for rows that ask for `alternatives`, and stops when `late`."""

    late: Callable[[], bool] = staticmethod(lambda: False)

    def pick(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """See `TransformersBackend.pick`. Log probabilities are those at temperature 1."""
        if self.late():
            raise _TimeIsUp
        super().pick(rows, logits)
        for row, scores in zip(rows, logits, strict=True):
            if row.alternatives:
                told = scores.log_softmax(-1)
                top = told.topk(min(row.alternatives, told.shape[-1]))
                likely = dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
                likely.setdefault(row.answer[-1], float(told[row.answer[-1]]))
                row.likely.append(list(likely.items()))


class LocalSource:
    """See `cached_asker.Source`. The weights are loaded at the first question and stay in memory."""

    def __init__(
        self,
        base: LoadedBase,
        adapter: Path | None = None,
        *,
        dtype: str = "auto",
        limits: AskLimits = NO_LIMITS,
    ) -> None:
        """Name what answers; nothing is loaded yet.

        Args:
            base: the model.
            adapter: a verified LoRA folder, or None.
            dtype: `float32`, `bfloat16` or `auto` (float32 on a processor, so that batching changes nothing).
            limits: the most that may be spent; local tokens cost no money.
        """
        self._base, self._adapter, self._number = base, adapter, choose_dtype(dtype, exact=True)
        self._purse = Purse(limits)
        self._backend: TellingBackend | None = None

    @property
    def identity(self) -> str:
        """Digest of base, adapter and number format."""
        adapter = digest_folder(self._adapter) if self._adapter is not None else None
        return digest_value({"base": self._base.digest, "adapter": adapter, "dtype": self._number})

    def answer(self, questions: Sequence[Question], took: Took) -> None:
        """See `cached_asker.Source`. A question that leaves no room for an answer is a failure.

        Raises:
            BudgetError: a limit is reached.
            ModelError: base or adapter cannot be loaded.
        """
        self._purse.start()
        if self._backend is None:
            model, tokenizer = load_tuned(self._base, self._adapter, self._number)
            self._backend = TellingBackend(
                model, tokenizer, context=self._base.context, batch_tokens=BATCH_TOKENS
            )
            self._backend.late = lambda: self._purse.seconds_left == 0
        rows = []
        for index, question in enumerate(questions):
            row = self._row(self._backend, index, question)
            if isinstance(row, Failure):
                took(index, row)
            else:
                rows.append(row)
        while rows:
            part, rows = self._fitting(rows)
            left = len(part) + len(rows)
            try:
                for row in self._completed(self._backend, part):
                    took(row.index, self._reply(self._backend, row))
                    left -= 1
            except _TimeIsUp:
                raise self._purse.spent(left, None) from None

    def _row(self, backend: TellingBackend, index: int, question: Question) -> Row | Failure:
        try:
            ids = encode_chat(backend.tokenizer, [dict(message) for message in question.messages])
        except DataError as error:
            return Failure(str(error))
        room = min(question.max_tokens, backend.context - len(ids))
        if room < 1:
            return Failure(
                f"the question has {len(ids)} tokens; the model's context is {backend.context}"
            )
        settings = GenerationSettings(temperature=question.temperature, seed=question.seed)
        return Row(index, ids, room, Picker(ids, settings), alternatives=question.alternatives)

    def _fitting(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """The first rows that certainly stay within the budget, reserved; and the others."""
        count = 0
        for row in rows:
            if not self._purse.fits(_size(row)):
                break
            self._purse.reserve(_size(row))
            count += 1
        if not count:
            raise self._purse.spent(len(rows), _size(rows[0]))
        return rows[:count], rows[count:]

    def _completed(self, backend: TellingBackend, rows: list[Row]) -> Iterator[Row]:
        waiting = {row.index: row for row in rows}
        started = time.perf_counter()
        try:
            with torch.inference_mode():
                for row in backend.run(rows, NO_STOP):
                    del waiting[row.index]
                    self._purse.settle(_size(row), (len(row.prompt), len(row.answer)))
                    self._purse.answered += 1
                    row.seconds = row.seconds or time.perf_counter() - started
                    yield row
        finally:
            for row in waiting.values():
                self._purse.settle(_size(row), (0, 0))

    def _reply(self, backend: TellingBackend, row: Row) -> Reply:
        said = backend.generation(row, NO_STOP)
        places = row.likely[:-1] if row.likely and said.finished else row.likely
        return Reply(
            text=said.text,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            seconds=said.seconds,
            finished=said.finished,
            alternatives=tuple(
                likely_tokens(
                    (str(backend.tokenizer.decode([token])), chance) for token, chance in place
                )
                for place in places
            ),
        )


def _size(row: Row) -> tuple[int, int]:
    return len(row.prompt), row.room
