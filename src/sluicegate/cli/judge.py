"""`sluice judge list|run|calibrate|labels`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sluicegate.cli.output import json_option, print_json, print_table
from sluicegate.errors import UsageError

if TYPE_CHECKING:
    from sluicegate.budget import Budget

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(dir_okay=False, path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])


def _budget(command: Command) -> Command:
    """Add the options of a budget."""
    for name, kind, text in (
        (
            "--max-cost",
            click.FloatRange(min=0, min_open=True),
            "The same in money; needs prices in models.yaml.",
        ),
        ("--max-tokens", click.IntRange(min=1), "Stop before more tokens are used."),
        (
            "--max-seconds",
            click.FloatRange(min=0, min_open=True),
            "Stop after this time; what was answered is kept.",
        ),
    ):
        command = click.option(name, type=kind, help=text)(command)
    return command


def _fields(command: Command) -> Command:
    """Add `--fields`."""
    text = "Our name of a column and its name in the file, e.g. source=input; may be repeated."
    return click.option("--fields", "fields", multiple=True, metavar="OURS=THEIRS", help=text)(
        command
    )


@click.group()
def judge() -> None:
    """Judges are criteria in prompts/judge_<name>.yaml; none counts in the gate before it has
    passed its own.

    \b
    Labels:     sluice judge labels export NAME --out rows.csv, let people fill in `label`, then
                sluice judge labels import NAME rows.csv
    Its gate:   sluice judge calibrate NAME
    """


@judge.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """All judges: digest, whether they count, and until when."""
    from sluicegate.line.judge.calibrate import listing
    from sluicegate.line.run import open_run

    found = listing(open_run())
    if as_json:
        print_json(found)
        return
    print_table(
        ("name", "form", "models", "digest", "used", "standing", "until"),
        [
            (
                row.name,
                row.form,
                ", ".join(row.judges),
                row.digest[:12],
                "yes" if row.used else "no",
                row.standing.partition(":")[0],
                row.until,
            )
            for row in found
        ],
    )
    # One model that is not there concerns all judges that ask it: its reason is told once.
    for why in dict.fromkeys(row.standing.partition(": ")[2] for row in found):
        if why:
            click.echo(f"not opened: {why}", err=True)


@judge.command(short_help="Let a judge pass its own gate.")
@click.argument("name")
@click.option(
    "--labels", type=FILE, help="A .jsonl, .json or .csv file; default data/labels/NAME.jsonl."
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="The project's folder.",
)
@_fields
@_budget
@json_option
def calibrate(
    name: str,
    labels: Path | None,
    folder: Path | None,
    fields: Sequence[str],
    max_seconds: float | None,
    max_tokens: int | None,
    max_cost: float | None,
    as_json: bool,
) -> int:
    """Compare judge NAME with people's labels; record for which rules of the gate it may count.

    \b
    Exit codes: 0 passed, 1 refused, 4 too few labels or the budget is spent, 2 and 3 errors
    """
    from sluicegate.line.judge import calibrate as stage
    from sluicegate.line.run import open_run

    allowed = _allowed(max_seconds, max_tokens, max_cost)
    done = stage.calibrate(open_run(folder), name, labels, fields=_pairs(fields), budget=allowed)
    if as_json:
        print_json(done.record)
    else:
        click.echo(done.text)
        click.echo(f"report:   {done.page}")
    failed = [check for check in done.record.checks if not check.passed and check.use == "any"]
    return 0 if done.record.passed else 4 if all(check.more for check in failed) else 1


@judge.command(short_help="Try a judge on the answers in a file.")
@click.argument("name")
@click.argument("file", type=FILE)
@_fields
@_budget
@json_option
def run(
    name: str,
    file: Path,
    fields: Sequence[str],
    max_seconds: float | None,
    max_tokens: int | None,
    max_cost: float | None,
    as_json: bool,
) -> int:
    """Score the answers in FILE with judge NAME, to try it out; nothing is recorded.

    \b
    Exit codes: 0 all rows scored, 3 some could not be, 4 the budget is spent, 2 and 3 errors
    """
    from sluicegate.line.judge import calibrate as stage
    from sluicegate.line.run import open_run

    allowed = _allowed(max_seconds, max_tokens, max_cost)
    found = stage.try_rows(open_run(), name, file, fields=_pairs(fields), budget=allowed)
    if as_json:
        print_json(found)
    else:
        print_table(
            ("id", "score", "reason"),
            [
                (
                    row.id,
                    "-" if row.score is None else f"{row.score:.3f}",
                    row.failure or row.reason,
                )
                for row in found.rows
            ],
        )
        click.echo(
            f"\n{found.calls} questions, {found.failed} rows without a score; judge "
            f"{found.standing}"
        )
    return 3 if found.failed else 0


@judge.group(short_help="Rows out to people, labels back in.")
def labels() -> None:
    """What people say about answers: rows out to them, labels back in."""


@labels.command("export")
@click.argument("name")
@click.option("--out", type=OUT, required=True, help="The .csv or .jsonl file to write.")
@click.option("--rows", type=FILE, help="A file of answers; default: those of the last evaluation.")
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=60,
    show_default=True,
    help="At most this many rows.",
)
@json_option
def export_command(name: str, out: Path, rows: Path | None, count: int, as_json: bool) -> None:
    """Write answers without a label, for people to fill in `label` and `rater`."""
    from sluicegate.line.judge.labels import export_rows
    from sluicegate.project import find_project

    found = export_rows(find_project(), name, out, rows=rows, count=count)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.rows} rows in {found.file}, {found.left} more are without a label")
    click.echo(
        f"next:     fill in `label` and `rater`, then sluice judge labels import {name} {out}"
    )


@labels.command("import")
@click.argument("name")
@click.argument("file", type=FILE)
@_fields
@json_option
def import_command(name: str, file: Path, fields: Sequence[str], as_json: bool) -> None:
    """Add the labels in FILE (.csv, .json or .jsonl) to data/labels/NAME.jsonl."""
    from sluicegate.line.judge.labels import import_labels
    from sluicegate.project import find_project

    found = import_labels(find_project(), name, file, fields=_pairs(fields))
    if as_json:
        print_json(found)
        return
    click.echo(
        f"{found.added} labels added, {found.changed} changed, {found.unlabelled} lines "
        "without one; "
        f"{found.rows} rows in {found.file}"
    )


def _pairs(fields: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in fields]
    for ours, equals, theirs in pairs:
        if not (ours and equals and theirs):
            raise UsageError(f"--fields {ours}{equals}{theirs}: expected OURS=THEIRS.")
    return {ours: theirs for ours, _, theirs in pairs}


def _allowed(seconds: float | None, tokens: int | None, cost: float | None) -> Budget:
    from sluicegate.budget import Budget

    return Budget(seconds, tokens, cost)
