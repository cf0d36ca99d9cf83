"""The two sides of a drift check: recent traffic of what serves, and what it answered on the golden
set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sluicegate import releasing
from sluicegate.data.examples import read_examples
from sluicegate.drift import Profile, TextEncoder, read_profile
from sluicegate.errors import IntegrityError, UsageError
from sluicegate.evaluation import read_evidence
from sluicegate.hashing import digest_file
from sluicegate.line.run import Run
from sluicegate.monitoring import (
    AUTO,
    Row,
    check_rows,
    profile_reference,
    profile_traffic,
    read_window,
    text_encoder,
)
from sluicegate.project import Project
from sluicegate.prompts import shown_input
from sluicegate.records import Champion, DriftReport, Evidence
from sluicegate.traffic import TrafficLog

DEFAULT_HOURS = 24.0
FORM_ONLY = (
    "form was compared and meaning was not: embeddings need the extra `metrics` "
    "(pip install 'sluicegate[metrics]')."
)
_SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows: from `since` on, or the newest `last`, of `release` or of none named; or those of
    a JSONL `file`.

    `until` is fixed when the window is made, so that it can be read again and gives the same rows.
    """

    url: str
    until: datetime
    since: datetime | None = None
    last: int | None = None
    release: str = ""
    file: Path | None = None

    def rows(self) -> Iterator[Row]:
        """Prompt, response and, where known, group, tokens and latency of each row, oldest first,
        never all in memory.

        Raises:
            DataError: a line of the file is wrong.
            EnvironmentFailure: the log cannot be read.
        """
        if self.file is not None:
            yield from read_window(self.file)
            return
        log = open_log(self.url)
        if log is None:
            return
        for row in log.window(since=self.since, until=self.until, last=self.last):
            if self.takes(row.release):
                yield {
                    "prompt": row.prompt,
                    "response": row.response,
                    "group": row.group or None,
                    "prompt_tokens": row.prompt_tokens,
                    "completion_tokens": row.completion_tokens,
                    "latency": row.latency,
                }

    def takes(self, release: str) -> bool:
        """Is a row of the log that names this release one of the window's? A digest may be
        shortened to 12 characters.
        """
        named = len(release) >= 12 and self.release.startswith(release)
        return not release or not self.release or named

    def others(self) -> int:
        """How many rows of the same time name another release; 0 for a file."""
        log = None if self.file is not None else open_log(self.url)
        if log is None or not self.release:
            return 0
        rows = log.window(since=self.since, until=self.until, last=self.last)
        return sum(not self.takes(row.release) for row in rows)

    def before(self, number: int, since: datetime | None = None) -> Iterator[Window]:
        """Up to `number` windows of the same length just before this one, newest first, none
        reaching back past `since`.
        """
        window, length = self, self.until - self.since if self.since else None
        for _ in range(number if self.file is None else 0):
            start = window._start()
            if start is None or (since is not None and start <= since):
                return
            begin = max(filter(None, (start - length, since))) if length else since
            window = replace(window, until=start, since=begin)
            yield window

    def _start(self) -> datetime | None:
        """Where the window begins; None for a window of so many rows that has none."""
        if self.last is None:
            return self.since
        log = open_log(self.url)
        first = (
            next(log.window(since=self.since, until=self.until, last=self.last), None)
            if log
            else None
        )
        return first.time if first else None

    def late(self, hours: float) -> str:
        """Says so where a window of so many rows ends longer than `hours` ago; "" otherwise."""
        log = open_log(self.url) if self.last is not None and self.file is None else None
        newest = next(log.window(until=self.until, last=1), None) if log else None
        age = (self.until - newest.time) / timedelta(hours=1) if newest else 0.0
        return (
            f"the newest row is {age:.1f} hours old; at most {hours:g} are allowed "
            "(monitor.late_hours)."
            if age > hours
            else ""
        )

    @property
    def text(self) -> str:
        """For people."""
        if self.file is not None:
            return f"the rows of {self.file.name}"
        if self.last is not None:
            return f"the last {self.last} rows"
        hours = (self.until - self.since) / timedelta(hours=1) if self.since else 0.0
        return f"the last {hours:g} hours"


def open_log(url: str) -> TrafficLog | None:
    """The log at `url`; None where it would be a SQLite file that nobody has written to yet."""
    if url.startswith(_SQLITE) and not Path(url.removeprefix(_SQLITE).partition("?")[0]).exists():
        return None
    return TrafficLog(url)


def window_of(
    run: Run,
    *,
    hours: float | None = None,
    last: int | None = None,
    file: Path | None = None,
    release: str = "",
) -> Window:
    """The window that was asked for, or that of params.yaml.

    Raises:
        UsageError: more than one of `hours`, `last`, `file`, one that is not positive, or no such
            file.
    """
    if sum(value is not None for value in (hours, last, file)) > 1:
        raise UsageError("hours, last and file exclude each other.", hint="Give one of them.")
    if (hours is not None and not 0 < hours <= 24 * 3660) or (last is not None and last < 1):
        raise UsageError("a window needs a number above 0.")
    if file is not None and not file.is_file():
        raise UsageError(
            f"{file} is missing.",
            hint="A file of JSON lines with `prompt` and `response` is needed.",
        )
    now = datetime.now(UTC)
    window = Window(run.project.traffic_url, now, release=release, file=file)
    if file is not None:
        return window
    if last is None and hours is None:
        last, hours = run.params.monitor.last, run.params.monitor.hours
    if last is not None:
        return replace(window, last=last)
    return replace(window, since=now - timedelta(hours=hours or DEFAULT_HOURS))


def look(run: Run, window: Window, reference: Path) -> tuple[DriftReport, Profile | None]:
    """Compare a window, and the windows just before, with a reference, as params.yaml says.

    A late window is NO_DATA, without a profile: what it was like says nothing about today.

    Raises:
        DataError, EnvironmentFailure: as `Window.rows`.
        IntegrityError: the reference is missing or unreadable.
    """
    params = run.params.monitor
    late = window.late(params.late_hours)
    if late:
        return DriftReport("NO_DATA", sum(1 for _ in window.rows()), notes=(late,)), None
    encoder = encoder_of(run)
    report, profile = check_rows(
        window.rows(),
        reference,
        detector=params.detector,
        minimum=params.minimum,
        recent=recent_profiles(run, window, encoder),
        encoder=encoder,
    )
    if encoder is None and run.params.profile.encoder == AUTO:
        report = replace(report, notes=(*report.notes, FORM_ONLY))
    return report, profile


def recent_profiles(run: Run, window: Window, encoder: TextEncoder | None = None) -> list[Profile]:
    """Profiles of the windows just before `window`, since the champion serves; without those too
    small to say anything.

    They are read from the log each time: rows that came late are in them, rows that were erased are
    not.

    Raises:
        DataError, EnvironmentFailure: as `Window.rows`.
    """
    params = run.params.monitor
    move = releasing.served_at(run.project, window.until)
    since = datetime.fromisoformat(move.time) if move else None
    earlier = window.before(params.recent, since)
    profiles = [profile_traffic(taken.rows(), encoder=encoder) for taken in earlier]
    return [
        profile for profile in profiles if profile is not None and profile.rows >= params.minimum
    ]


def champion_reference(run: Run, champion: Champion) -> Path:
    """The profile of what the champion answered on the golden set; made from its evidence once, and
    kept.

    `build/profile/` describes the candidate of the last run, which may have been rejected.

    Raises:
        IntegrityError: no evidence of the champion is here any more.
    """
    project = run.project
    folder = project.state / "references"
    if project.golden.is_file():
        golden = digest_file(project.golden)
        encoder = encoder_of(run)
        kind = f"-{encoder.identity[:16]}" if encoder else ""
        path = folder / f"{champion.release[:32]}-{golden[:32]}{kind}.parquet"
        if _sound(path):
            return path
        evidence = _evidence(project, champion.release, golden)
        if evidence is not None:
            _profile(project, evidence, path, encoder)
            return path
    older = sorted(
        folder.glob(f"{champion.release[:32]}-*.parquet"), key=lambda file: file.stat().st_mtime
    )
    for path in reversed(older):
        if _sound(path):
            return path
    raise IntegrityError(
        f"there is no record of what version {champion.version} answered on the golden set.",
        hint="Run `sluice release`: it evaluates the champion again.",
    )


def encoder_of(run: Run) -> TextEncoder | None:
    """The encoder for embeddings that params.yaml names (`profile.encoder`); None without one."""
    return text_encoder(run.params.profile.encoder)


def _sound(path: Path) -> bool:
    """Was it written to the end, and in today's format?"""
    try:
        read_profile(path)
    except IntegrityError:
        return False
    return True


def _evidence(project: Project, release: str, golden: str) -> Evidence | None:
    for name in ("candidate", "champion"):
        path = project.evidence / f"{name}.parquet"
        if path.is_file():
            found = read_evidence(path)
            if (found.release, found.golden) == (release, golden):
                return found
    return None


def _profile(project: Project, evidence: Evidence, out: Path, encoder: TextEncoder | None) -> None:
    prompt = releasing.load_stored(project, evidence.release).asks
    answers = {row.id: row for row in evidence.rows}
    rows: list[Row] = [
        {
            "prompt": shown_input(prompt, example.inputs),
            "response": answers[example.id].output,
            "group": example.group,
            "completion_tokens": answers[example.id].completion_tokens,
        }
        for example in read_examples(project.golden)
    ]
    profile_reference(rows, out, encoder=encoder)
