"""`sluice monitor`: one look at production, without a server."""

from __future__ import annotations

from pathlib import Path

import click

from sluicegate.cli.output import json_option, print_json

EXIT_CODES = {"OK": 0, "DRIFT": 1, "NO_DATA": 4}


@click.command()
@click.option(
    "--hours", type=click.FloatRange(min=0, min_open=True), help="The window, back from now."
)
@click.option(
    "--last", type=click.IntRange(min=1), help="The window as a number of rows, the newest."
)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON lines with `prompt` and `response` instead of the traffic log.",
)
@click.option("--quiet", is_flag=True, help="Send nothing to the webhook of params.yaml.")
@json_option
def monitor(
    hours: float | None, last: int | None, file: Path | None, quiet: bool, as_json: bool
) -> int:
    """Compare recent traffic with what the champion answered on the golden set; by default the
    window of params.yaml.

    \b
    Exit codes:  0 nothing moved, 1 DRIFT, 4 NO_DATA (empty, too few or constant rows: an alarm as
    well), 2 and 3 errors
    """
    from sluicegate.line.run import open_run
    from sluicegate.line.sequence import watch

    look = watch(open_run(), hours=hours, last=last, file=file, tell=not quiet and file is None)
    if as_json:
        print_json(look.as_json())
        return EXIT_CODES[look.found.status]
    click.echo(look.found.text)
    if look.found.html:
        click.echo(f"report:   {look.found.html}")
    if look.feedback.waiting:
        click.echo(f"feedback: {look.feedback.waiting} new rows to learn from")
    for warning in look.warnings:
        click.echo(f"warning:  {warning}", err=True)
    return EXIT_CODES[look.found.status]
