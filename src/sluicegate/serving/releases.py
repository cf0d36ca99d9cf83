"""The releases in memory, and which of them answers: the pointer moves between two requests.

A request takes its release once and keeps it to its last token, whatever is promoted meanwhile.
What is no longer wanted is closed when its last request has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from sluicegate.prompts import Prompt
from sluicegate.records import Champion, GenerationSettings
from sluicegate.serving.engines import ServingEngine

KEPT = 2
"""Releases that stay in memory beside the champion: the one before it, so that a roll-back is
immediate, and one that an operator asked for."""


@dataclass(slots=True, eq=False)
class Loaded:
    """A release in memory, verified and probed; `users`: requests that it answers now."""

    digest: str
    prompt: Prompt
    generation: GenerationSettings
    engine: ServingEngine
    users: int = 0
    unwanted: bool = False


@dataclass(frozen=True, slots=True)
class Serving:
    """What a request is answered by: the release, and the ledger's epoch when it was chosen."""

    release: Loaded
    epoch: int


@dataclass(slots=True)
class Releases:
    """See the module. Any thread may call it.

    Attributes:
        champion: what the pointer is at; None before the first release was loaded.
    """

    champion: Champion | None = None
    _loaded: dict[str, Loaded] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, digest: str) -> Loaded | None:
        """The release in memory, or None."""
        return self._loaded.get(digest)

    def names(self) -> list[str]:
        """Digests of the releases in memory."""
        with self._lock:
            return sorted(self._loaded)

    def add(self, release: Loaded) -> None:
        """Take a release in; the least recently added one that is too many is let go."""
        with self._lock:
            self._loaded.pop(release.digest, None)
            self._loaded[release.digest] = release
            over = self._let_go()
        _close(over)

    def move(self, to: Champion) -> None:
        """Point at a release that is in memory: the next request is answered by it."""
        with self._lock:
            before = self.champion
            for digest in (before.release if before else to.release, to.release):
                self._loaded[digest] = self._loaded.pop(digest)  # the last in order stay longest
            self.champion = to
            over = self._let_go()
        _close(over)

    @contextmanager
    def taken(self, digest: str = "") -> Iterator[Serving | None]:
        """Within it, the champion, or the release of that digest, answers this request; None where
        it is not in memory.
        """
        with self._lock:
            champion = self.champion
            release = self._loaded.get(digest or (champion.release if champion else ""))
            if release is not None:
                release.users += 1
            epoch = champion.epoch if champion else 0
        try:
            yield Serving(release, epoch) if release is not None else None
        finally:
            if release is not None:
                with self._lock:
                    release.users -= 1
                    over = [release] if release.unwanted and not release.users else []
                _close(over)

    def _let_go(self) -> list[Loaded]:
        serving = self.champion.release if self.champion else ""
        others = [digest for digest in self._loaded if digest != serving]
        gone = [self._loaded.pop(digest) for digest in others[: max(0, len(others) - KEPT)]]
        for release in gone:
            release.unwanted = True
        return [release for release in gone if not release.users]


def _close(releases: list[Loaded]) -> None:
    for release in releases:
        release.engine.close()
