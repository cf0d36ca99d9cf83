"""`sluice serve`: one process, as many as wanted over one ledger."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from sluicegate.errors import UsageError
from sluicegate.line.run import Run
from sluicegate.line.serve.follow import Follower
from sluicegate.line.watch.imports import open_log
from sluicegate.project import Project
from sluicegate.serving import Journal, KeyFile, Releases
from sluicegate.serving.app import make_app
from sluicegate.serving.counters import Counters
from sluicegate.serving.router import Router, Standing, is_loopback


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; certificate and key are files, or None for plain HTTP."""

    host: str = "127.0.0.1"
    port: int = 8790
    certificate: Path | None = None
    private_key: Path | None = None


def key_file(project: Project) -> KeyFile:
    """The keys of a project's router."""
    return KeyFile(project.state / "serve_keys.json")


def open_router(project: Project, host: str) -> tuple[Router, Follower]:
    """The router of a project and what keeps it at the champion, neither started.

    Raises:
        UsageError: the address can be reached from other machines, and there is no key.
    """
    keys = key_file(project)
    if not keys.all() and not is_loopback(host):
        raise UsageError(
            f"{host} can be reached from other machines, so a key is needed.",
            hint="`sluice serve key add NAME --role client` makes one.",
        )
    releases, standing, counters = Releases(), Standing(), Counters()
    follower = Follower(project, releases, standing, counters)
    journal = Journal(project.state / "serve", open_log(project))
    router = Router(
        releases, keys, journal, follower.bring, host, standing=standing, counters=counters
    )
    return router, follower


def serve(run: Run, address: Address) -> None:
    """Serve a project's champion until a signal ends it.

    Raises:
        UsageError: see `open_router`; or one of the two files of TLS is given without the other.
        EnvironmentFailure: the address cannot be listened on, or the project cannot be written.
    """
    from sluicegate.traffic import serving

    if (address.certificate is None) != (address.private_key is None):
        raise UsageError("TLS needs a certificate and its key.", hint="--tls-cert and --tls-key")
    router, follower = open_router(run.project, address.host)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    router.journal.start()
    stop = Event()
    follower.look()
    follows = Thread(target=follower.run, args=(stop,), name="sluice-follow", daemon=True)
    follows.start()
    try:
        serving.serve(
            make_app(router),
            address.host,
            address.port,
            certificate=address.certificate,
            private_key=address.private_key,
        )
    finally:
        stop.set()
        router.journal.close()
