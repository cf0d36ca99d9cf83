"""Keeps the router at the ledger's champion: sees a move, loads, probes, and moves the pointer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock

from sluicegate.errors import SluiceError
from sluicegate.ledger import Ledger, open_ledger
from sluicegate.line.run import actor
from sluicegate.line.serve.loading import open_release
from sluicegate.line.serve.probing import probe
from sluicegate.project import Project
from sluicegate.records import Champion
from sluicegate.serving import Loaded, Releases, open_serving
from sluicegate.serving.counters import Counters
from sluicegate.serving.router import Standing

SECONDS = 0.5
"""Between two looks at the ledger."""
AGAIN = 30.0
"""Seconds after which a refused champion is tried again."""
REFUSED = "serve_refused"
"""Kind of the ledger's entry."""
_LOG = logging.getLogger(__name__)


def load_release(project: Project, digest: str) -> Loaded:
    """A release that may answer: verified, and probed.

    Raises:
        SluiceError: it may not.
    """
    opened = open_release(project, digest)
    found = probe(opened)
    _LOG.info("%s is loaded: %s", digest[:12], found)
    release = opened.contender
    return Loaded(digest, release.prompt, release.generation, open_serving(opened.model))


@dataclass(slots=True)
class Follower:
    """See the module.

    Args:
        load: makes a release ready; see `load_release`.
    """

    project: Project
    releases: Releases
    standing: Standing
    counters: Counters
    load: Callable[[Project, str], Loaded] = load_release
    _ledger: Ledger | None = None
    _refused: tuple[Champion, float] | None = None
    _loading: Lock = field(default_factory=Lock)

    def run(self, stop: Event) -> None:
        """Look at the ledger until `stop` is set."""
        while not stop.wait(SECONDS):
            self.look()

    def look(self) -> None:
        """Look once. Where the ledger cannot be read or its champion is refused, what was served
        goes on, and `standing` says so.
        """
        self._ledger = self._ledger or Ledger(self.project.ledger_url, wait=5.0)
        try:
            champion = self._ledger.champion()
        except SluiceError as error:
            if not self.standing.ledger:
                _LOG.error("the ledger cannot be read: %s", error)
            self.standing.ledger = str(error)
            return
        self.standing.ledger = ""
        if champion is None:
            return
        self.standing.wanted = champion.release
        if champion == self.releases.champion:
            self.standing.refused = ""
        elif not self._lately_refused(champion):
            self._follow(champion)

    def bring(self, digest: str) -> Loaded:
        """The release in memory; loaded first where it is not.

        Raises:
            SluiceError: it may not answer.
        """
        with self._loading:
            found = self.releases.find(digest)
            if found is None:
                found = self.load(self.project, digest)
                self.releases.add(found)
            return found

    def _follow(self, champion: Champion) -> None:
        try:
            self.bring(champion.release)
        except SluiceError as error:
            self._refuse(champion, error)
            return
        self.releases.move(champion)
        self.counters.moves.inc()
        self.standing.refused, self._refused = "", None
        _LOG.info("epoch %d: %s answers", champion.epoch, champion.release[:12])

    def _lately_refused(self, champion: Champion) -> bool:
        if self._refused is None or self._refused[0] != champion:
            return False
        return time.monotonic() - self._refused[1] < AGAIN

    def _refuse(self, champion: Champion, error: SluiceError) -> None:
        """Say it once: in the log, and in the ledger for good."""
        new = self._refused is None or self._refused[0] != champion
        self._refused = (champion, time.monotonic())
        self.standing.refused = str(error)
        if not new:
            return
        _LOG.error("%s is not served: %s %s", champion.release[:12], error, error.hint)
        payload = {"version": champion.version, "refused_epoch": champion.epoch}
        try:
            open_ledger(self.project).append(
                REFUSED,
                champion.release,
                actor(),
                {**payload, "reason": str(error)},
                unless_same=("refused_epoch",),
            )
        except SluiceError as trouble:
            _LOG.error("the ledger does not know it: %s", trouble)
