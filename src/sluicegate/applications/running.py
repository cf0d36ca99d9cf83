"""All rows of an evaluation, answered by an application: nothing twice, no row dropped."""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sluicegate.applications import Application, copy_files
from sluicegate.applications.calls import Asked, Calls, Role, Stale
from sluicegate.applications.process import Lost, Session, started
from sluicegate.budget import Budget
from sluicegate.errors import ConfigError, IncompleteError
from sluicegate.generating import Call, Progress
from sluicegate.hashing import digest_value
from sluicegate.models.asking import asking, at_once
from sluicegate.models.cache import Cache, open_cache
from sluicegate.models.hosted import run_now
from sluicegate.records import Generation, GenerationSettings

FILE = "answers.db"
MOST_ROWS = 256
GIVE_UP_ROWS = 20
"""So many failed rows without a good one: the rest would only cost money."""
GIVE_UP_PROCESSES = 3
"""So many rows that each end the process, without a good one: the rest would only take time."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row to answer. `repeat` counts from 0; each is answered by calls of its own."""

    id: str
    inputs: Mapping[str, Any]
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a row, and what it asked on the way."""

    generation: Generation
    calls: tuple[Call, ...] = ()


def answer_rows(
    application: Application,
    rows: Sequence[Row],
    roles: Mapping[str, Role],
    settings: GenerationSettings,
    *,
    cache: Path,
    budget: Budget | None = None,
    hidden: Collection[str] = (),
    stale: Stale = frozenset(),
    progress: Progress | None = None,
) -> list[Answered]:
    """Answer every row, in the order given.

    A row that raises, ends its process or takes too long is a `Generation` with a `failure`. Rows
    and calls are looked up in `cache` first (a folder); failed rows are tried again the next time.

    Args:
        application: what answers.
        rows: what is answered; several at once.
        roles: the models that it may ask.
        settings: of a question that says nothing else.
        cache: folder of kept answers.
        budget: what may be spent; None limits nothing.
        hidden: environment variables that the application does not get: keys of models.
        stale: kept answers that are asked for again.
        progress: is told how many rows are done.

    Raises:
        BudgetError: the budget is spent; what was answered is kept.
        ConfigError: the application cannot be imported, or fails on all rows.
        EnvironmentFailure: a cache cannot be written.
        IncompleteError: a model gave no answer, even if the application made one of it.
    """
    budget = budget or Budget()
    identities = {name: role.model.identity for name, role in roles.items()}
    about = [application.digest, identities, asdict(settings)]
    keys = [digest_value([about, row.id, row.repeat, dict(row.inputs)]) for row in rows]
    with (
        budget.working(),
        open_cache(cache / FILE, "rows") as kept,
        open_cache(cache / FILE, "calls") as calls,
        tempfile.TemporaryDirectory(prefix="sluice-application-") as folder,
    ):
        job = _Job(rows, keys, kept, progress)
        job.look_up(budget, stale)
        if job.waiting:
            copied = copy_files(application, Path(folder))
            asked = _Asking(roles, settings, calls, budget, hidden, stale)
            run_now(lambda: _all(job, copied, asked))
    return [job.answered[place] for place in range(len(rows))]


@dataclass(slots=True)
class _Job:
    """What is left of the rows, and what came of the others.

    Attributes:
        suspects: were in work when a process was lost; they are answered alone, so that only the
            one that ends it fails.
        lost: rows that ended a process by themselves.
    """

    rows: Sequence[Row]
    keys: Sequence[str]
    kept: Cache
    progress: Progress | None
    answered: dict[int, Answered] = field(default_factory=dict)
    waiting: deque[int] = field(default_factory=deque)
    suspects: deque[int] = field(default_factory=deque)
    good: int = 0
    lost: int = 0

    def look_up(self, budget: Budget, stale: Stale) -> None:
        """Take what is kept and not stale; what is left waits."""
        known = self.kept.load(list(dict.fromkeys(self.keys)))
        for place, key in enumerate(self.keys):
            calls = tuple(
                Call(**{**call, "messages": tuple(call["messages"]), "cached": True})
                for call in known.get(key, {}).get("calls", ())
            )
            if key not in known or any((one.model, one.answered_by) in stale for one in calls):
                self.waiting.append(place)
                continue
            self.answered[place] = Answered(Generation(**known[key]["generation"]), calls)
            self.good += 1
            budget.found(len(calls))
        self._tell()

    def take(self, place: int, asked: Asked, ended: Mapping[str, Any]) -> None:
        """Keep how a row ended."""
        answered = Answered(_generation(asked, ended), tuple(asked.calls))
        self.answered[place] = answered
        if not answered.generation.failure:
            self.good += 1
            self.kept.store(self.keys[place], asdict(answered))
        self._tell()

    def lose(self, in_work: Mapping[int, Asked], reason: str, *, alone: bool) -> None:
        """A process was lost with these rows in work: one of them did it."""
        if not alone and len(in_work) > 1:
            self.suspects.extend(in_work)
            return
        for place, asked in in_work.items():
            self.lost += 1
            self.take(place, asked, {"reason": reason, "seconds": 0.0})

    def refuse_failure(self, failed: Sequence[str], *, over: bool) -> None:
        """Stop where nothing can be concluded.

        Raises:
            IncompleteError: a model gave no answer.
            ConfigError: no row brings an answer.
        """
        bad = [one.generation.failure for one in self.answered.values() if one.generation.failure]
        hopeless = len(bad) >= GIVE_UP_ROWS or self.lost >= GIVE_UP_PROCESSES
        if failed and (over or (hopeless and not self.good)):
            raise IncompleteError(
                f"{len(failed)} questions of the application got no answer, so nothing is "
                f"compared: {failed[0]}",
                hint="Run again when the model works; the answers received so far are kept.",
            )
        if bad and not self.good and (over or hopeless):
            raise ConfigError(
                f"the application failed on each of {len(bad)} rows; the first: {bad[0]}",
                hint="Correct it; nothing was concluded, and the models' answers are kept.",
            )

    def _tell(self) -> None:
        if self.progress:
            self.progress(len(self.answered), len(self.rows))


@dataclass(frozen=True, slots=True)
class _Asking:
    """What an application may ask, and how."""

    roles: Mapping[str, Role]
    settings: GenerationSettings
    cache: Cache
    budget: Budget
    hidden: Collection[str]
    stale: Stale

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Calls]:
        """Its models, ready to be asked."""
        models = {role.name: role.model for role in self.roles.values()}
        async with AsyncExitStack() as stack:
            asks = {
                name: await stack.enter_async_context(asking(model, self.budget))
                for name, model in models.items()
            }
            yield Calls(self.roles, asks, self.settings, self.cache, self.budget, self.stale)


async def _all(job: _Job, application: Application, asked: _Asking) -> None:
    """Answer what waits, in one process after the other if need be."""
    most = max([at_once(role.model) for role in asked.roles.values()], default=8)
    most = min(2 * most, MOST_ROWS)
    async with asked.opened() as calls:
        while job.waiting or job.suspects:
            alone, in_work = bool(job.suspects), dict[int, Asked]()
            places = job.suspects if alone else job.waiting
            rows = 1 if alone else min(most, len(places))
            try:
                async with (
                    asyncio.timeout(asked.budget.seconds_left),
                    started(application, calls, rows=rows, hidden=asked.hidden) as session,
                ):
                    await _answer(job, session, places, in_work, rows, calls)
            except TimeoutError:
                raise asked.budget.exceeded(len(job.rows) - len(job.answered)) from None
            except Lost as lost:
                if not in_work:
                    raise _no_start(application, lost) from None
                job.lose(in_work, str(lost), alone=alone)
            job.refuse_failure(calls.failed, over=False)
        job.refuse_failure(calls.failed, over=True)


async def _answer(
    job: _Job,
    session: Session,
    places: deque[int],
    in_work: dict[int, Asked],
    rows: int,
    calls: Calls,
) -> None:
    """Answer `places` in one process, so many `rows` at once; `in_work` are those that wait.

    Raises:
        Lost: the process has ended, or a row does not.
        BudgetError, ConfigError, IncompleteError: nothing can be concluded.
    """

    async def work() -> None:
        while places:
            place = places.popleft()
            row = job.rows[place]
            asked = in_work[place] = Asked(row.id, row.repeat)
            ended = await session.row(place, row.inputs, asked)
            del in_work[place]
            job.take(place, asked, ended)
            job.refuse_failure(calls.failed, over=False)

    try:
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(session.read(tasks)), tasks.create_task(session.watch())]
            await asyncio.wait([tasks.create_task(work()) for _ in range(rows)])
            for task in others:
                task.cancel()
    except BaseExceptionGroup as group:
        worst = [error for error in group.exceptions if not isinstance(error, Lost)]
        raise (worst or group.exceptions)[0] from None


def _generation(asked: Asked, ended: Mapping[str, Any]) -> Generation:
    return Generation(
        ended.get("text", ""),
        sum(call.prompt_tokens for call in asked.calls),
        sum(call.completion_tokens for call in asked.calls),
        ended["seconds"],
        all(call.finished for call in asked.calls),
        fields=ended.get("fields", {}),
        failure=ended.get("reason", ""),
        answered_by=" + ".join(sorted({call.answered_by for call in asked.calls} - {""})),
    )


def start_once(application: Application, hidden: Collection[str] = ()) -> None:
    """Import an application in a process of its own, as before its first row.

    Raises:
        ConfigError: it cannot be imported.
    """

    async def start() -> None:
        try:
            async with started(application, None, rows=1, hidden=hidden):
                pass
        except Lost as lost:
            raise _no_start(application, lost) from None

    run_now(start)


def _no_start(application: Application, lost: Lost) -> ConfigError:
    return ConfigError(
        f"the application {application.entry} cannot be started: {lost}",
        hint="Importing it must neither end the process nor wait for anything.",
    )
