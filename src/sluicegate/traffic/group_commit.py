"""Many writers, one commit: whoever comes during a transaction shares the next one.

No thread of its own: the first writer that finds nobody committing does it for all who wait by
then. Nobody returns before the transaction that holds his rows is durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Lock
from typing import Generic, TypeVar

from sluicegate.errors import EnvironmentFailure, SluiceError

Item = TypeVar("Item")


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Item]):
    items: Sequence[Item]
    size: int
    done: bool = False
    result: int = 0
    error: SluiceError | None = field(default=None)


class GroupCommit(Generic[Item]):
    """Gathers what several threads write into one call of `commit`.

    Args:
        commit: writes the items of all batches in one transaction and returns a number for each
            batch.
        gather: seconds to wait for company, where the commit before had company too.
        most: stop adding batches to a group at this size (the unit is the caller's, for instance
            bytes).
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Sequence[Item]]], Sequence[int]],
        *,
        gather: float,
        most: int,
    ) -> None:
        self._commit = commit
        self._gather = gather
        self._most = most
        self._changed = Condition(Lock())
        self._waiting: list[_Waiting[Item]] = []
        self._committing = False
        self._company = False

    def write(self, items: Sequence[Item], size: int) -> int:
        """Return the number for `items` once they are durable.

        Raises:
            SluiceError: what the commit raised; nothing of the group was written.
        """
        mine = _Waiting(items, size)
        with self._changed:
            self._waiting.append(mine)
            while self._committing and not mine.done:
                self._changed.wait()
            if not mine.done:
                self._committing = True
        if not mine.done:
            try:
                self._lead(mine)
            finally:
                with self._changed:
                    self._committing = False
                    self._changed.notify_all()
        if mine.error is not None:
            raise mine.error
        return mine.result

    def _lead(self, mine: _Waiting[Item]) -> None:
        """Commit groups until the one with `mine` is done; then somebody else who waits goes on."""
        while not mine.done:
            if self._company:
                time.sleep(self._gather)
            with self._changed:
                group = self._take()
            self._company = len(group) > 1
            failed: SluiceError = EnvironmentFailure(
                "Writing was interrupted.",
                hint="Write again with the same keys: nothing is stored twice.",
            )
            results: Sequence[int] | None = None
            try:
                results = self._commit([one.items for one in group])
            except SluiceError as error:
                failed = error
            finally:  # also where the process is asked to stop: nobody waits for ever
                self._finish(group, results, failed)

    def _take(self) -> list[_Waiting[Item]]:
        size, group = 0, list[_Waiting[Item]]()
        while self._waiting and (not group or size + self._waiting[0].size <= self._most):
            group.append(self._waiting.pop(0))
            size += group[-1].size
        return group

    def _finish(
        self, group: Sequence[_Waiting[Item]], results: Sequence[int] | None, failed: SluiceError
    ) -> None:
        with self._changed:
            for number, one in enumerate(group):
                if results is None:
                    # an error for each thread, as a traceback belongs to one;
                    # some kinds are made of other arguments than these
                    one.error = type(failed).__new__(type(failed))
                    SluiceError.__init__(one.error, str(failed), hint=failed.hint)
                    one.error.__cause__ = failed.__cause__
                else:
                    one.result = results[number]
                one.done = True
            self._changed.notify_all()
