"""`sluice traffic import|export|show|feedback|forget|serve`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sluicegate.cli.output import json_option, print_json
from sluicegate.errors import UsageError
from sluicegate.hashing import as_json

if TYPE_CHECKING:
    from sluicegate.traffic import TrafficLog, TrafficRow
    from sluicegate.traffic.importing import Imported

Command = TypeVar("Command", bound=Callable[..., Any])


def _time(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> datetime | None:
    """ISO 8601; without a zone it is UTC."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise click.BadParameter(
            f"{value!r} is not a time; write 2026-01-31 or 2026-01-31T12:00+01:00."
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def window_options(command: Command) -> Command:
    """Add `--since`, `--until`, `--last` and `--release`."""
    for option in (
        click.option("--release", default="", help="Only rows answered by this release (digest)."),
        click.option("--last", type=click.IntRange(min=0), help="Only the newest N rows."),
        click.option("--until", metavar="TIME", callback=_time, help="Before this time."),
        click.option("--since", metavar="TIME", callback=_time, help="From this time on."),
    ):
        command = option(command)
    return command


@click.group()
def traffic() -> None:
    """What was asked and answered in production, and what people said about it."""


@traffic.command("import", short_help="Add rows of a file or of MLflow.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--mlflow",
    "experiment",
    default="",
    help="Import the traces of this MLflow experiment instead.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "jsonl", "otel"]),
    default="auto",
    help="What the file holds.",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="OURS=THEIRS",
    help="A field's name in the JSONL file.",
)
@json_option
def import_command(
    file: Path | None, experiment: str, form: str, fields: tuple[str, ...], as_json: bool
) -> None:
    """Add the rows of FILE (JSON lines, or OpenTelemetry spans as OTLP JSON) or of MLflow's traces.

    May be run again: what is there already is not added twice. Rows that cannot be stored are
    named; the exit code is then 2.
    """
    from sluicegate.line.watch.imports import import_file, import_traces
    from sluicegate.project import find_project

    if (file is None) == (not experiment):
        raise UsageError("give either a file or --mlflow EXPERIMENT.")
    names = dict(field.partition("=")[::2] for field in fields)
    project = find_project()
    told = _tell if sys.stderr.isatty() else None
    if file:
        found = import_file(project, file, form=form, fields=names, progress=told)
    else:
        found = import_traces(project, experiment, progress=told)
    _report(found, as_json)


def _tell(rows: int) -> None:
    click.echo(f"\r{rows} rows read ", nl=False, err=True)


def _report(found: Imported, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        click.echo(
            f"{found.new} new rows, {found.present} were there already, {found.refused} refused"
        )
        for reason, count in found.left_out.items():
            click.echo(f"{count} left out: {reason}")
    for reason in found.reasons:
        click.echo(f"refused: {reason}", err=True)
    if found.refused:
        raise UsageError(
            f"{found.refused} rows were not imported.",
            hint="Correct them and import the file again.",
        )


@traffic.command()
@click.argument("file", type=click.Path(path_type=Path))
@window_options
def export(
    file: Path, since: datetime | None, until: datetime | None, last: int | None, release: str
) -> None:
    """Write rows and feedback to a Parquet FILE."""
    rows = _log().export(file, since=since, until=until, last=last, release=release)
    click.echo(f"{rows} rows in {file}")


@traffic.command(short_help="The newest rows.")
@click.option("--key", default="", help="One row, in full.")
@window_options
@json_option
def show(
    key: str,
    since: datetime | None,
    until: datetime | None,
    last: int | None,
    release: str,
    as_json: bool,
) -> None:
    """The newest rows (10 without an option), oldest first; with --json in full, a JSON line each."""
    log = _log()
    if key:
        row = log.get(key)
        if row is None:
            raise UsageError(f"there is no row {key[:80]!a}.")
        click.echo(_json(row, indent=2))
        return
    last = 10 if since is None and until is None and last is None else last
    total = log.count(since=since, until=until, release=release)
    for row in log.window(since=since, until=until, last=last, release=release):
        if as_json:
            click.echo(_json(row))
            continue
        thumbs = "".join(
            "+" if one.thumb == 1 else "-" if one.thumb == -1 else "*" for one in row.feedback
        )
        texts = " -> ".join(_short(text) for text in (row.prompt, row.response))
        click.echo(
            f"{row.time:%Y-%m-%d %H:%M:%S}  {row.key}  {row.release[:8]:8}  {thumbs:2}  {texts}"
        )
    if not as_json:
        click.echo(f"{total} rows in all")


@traffic.command()
@click.argument("key")
@click.option("--thumb", type=click.Choice(["up", "down"]), help="Was it good?")
@click.option("--score", type=float, help="A number, higher is better.")
@click.option("--correction", default="", help="What the answer should have been.")
@click.option("--label", default="", help="A word or two.")
@click.option("--by", default="", help="Who says so; stored as a hash.")
def feedback(
    key: str, thumb: str | None, score: float | None, correction: str, label: str, by: str
) -> None:
    """Attach feedback to the row KEY."""
    from sluicegate.traffic import Feedback

    value = {"up": 1, "down": -1}.get(thumb or "")
    said = Feedback(
        datetime.now(UTC), thumb=value, score=score, correction=correction, label=label, by=by
    )
    click.echo("attached" if _log().attach(key, said) else "it was there already")


@traffic.command()
@click.option(
    "--user", default="", help="All rows of this user, and what that user said about others'."
)
@click.option(
    "--before",
    metavar="TIME",
    callback=_time,
    help="All rows before this time; with --user, only that user's.",
)
def forget(user: str, before: datetime | None) -> None:
    """Erase rows for good.

    Exported files, backups and training data made from them are yours to erase.
    """
    click.echo(f"{_log().forget(user=user or None, before=before)} rows erased")


@traffic.command(short_help="Take rows and feedback over HTTP.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, help="Port to listen on.")
@click.option(
    "--anonymous", is_flag=True, help="Ask for no token; only for programs on this machine."
)
def serve(host: str, port: int, anonymous: bool) -> None:
    """Take rows and feedback over HTTP; the token is in SLUICE_TRAFFIC_TOKEN
    (docs/how-to/traffic.md).
    """
    from fastapi import FastAPI

    from sluicegate.traffic import serving
    from sluicegate.traffic.intake import traffic_router

    if anonymous and host not in ("127.0.0.1", "::1", "localhost"):
        raise UsageError(
            f"{host} can be reached from other machines, so a token is needed.",
            hint="Set SLUICE_TRAFFIC_TOKEN.",
        )
    app = FastAPI(title="Sluicegate traffic", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(traffic_router(_log(), allow_anonymous=anonymous))
    serving.serve(app, host, port)


def _log() -> TrafficLog:
    from sluicegate.line.watch.imports import open_log
    from sluicegate.project import find_project

    return open_log(find_project())


def _json(row: TrafficRow, indent: int | None = None) -> str:
    """JSON in which everything that acts on a terminal is escaped."""
    text = json.dumps(as_json(row), ensure_ascii=False, indent=indent)
    return "".join(
        sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text
    )


def _short(text: str) -> str:
    """The beginning of a text, without anything that acts on a terminal."""
    shown = "".join(
        sign if sign.isprintable() else " " if sign.isspace() else "?" for sign in text[:200]
    )
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
