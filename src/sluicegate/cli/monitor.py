"""`sluice monitor` and `sluice retrain`: one look at production, one turn of the loop, without a server."""

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
    """Compare recent traffic with what the champion answered on the golden set; by default the window of params.yaml.

    \b
    Exit codes:  0 nothing moved, 1 DRIFT, 4 NO_DATA (empty, too few or constant rows: an alarm as well), 2 and 3 errors
    """
    from sluicegate.line.watch.check import monitor as look
    from sluicegate.project import find_project

    root = str(find_project().root)
    found = look(
        root, hours=hours, last=last, file=str(file or ""), tell=not quiet and file is None
    )
    if as_json:
        print_json(found)
        return EXIT_CODES[found["status"]]
    click.echo(found["text"])
    if found["html"]:
        click.echo(f"report:   {found['html']}")
    if found["feedback"]["waiting"]:
        click.echo(f"feedback: {found['feedback']['waiting']} new rows to learn from")
    for warning in found["warnings"]:
        click.echo(f"warning:  {warning}", err=True)
    return EXIT_CODES[found["status"]]


@click.command()
@click.option("--force", is_flag=True, help="Pass over the cool-down.")
@click.option("--no-promote", is_flag=True, help="Stop after the verdict.")
@click.option("--cause", default="by hand", help="Why, for the record.")
@json_option
def retrain(force: bool, no_promote: bool, cause: str, as_json: bool) -> int:
    """Write corrections and liked answers into the training data, then run the line as `sluice release --plain` does.

    \b
    Exit codes:  the verdict's (0, 1, 4); 4 also where another one is at work or the cool-down is not over
    """
    from sluicegate.cli.line import finish, run_plain
    from sluicegate.line.learn import cooldown as retraining
    from sluicegate.line.learn import feedback_rows as feedback_data
    from sluicegate.project import find_project

    root = str(find_project().root)
    with retraining.claim(root, cause, force=force) as claim:
        if not claim.granted:
            click.echo(f"no retraining now: {claim.refused}", err=True)
            return EXIT_CODES["NO_DATA"]
        learned = feedback_data.bring(root)
        if not as_json:
            click.echo(f"feedback: {learned['new']} new rows, {learned['rows']} in all")
        promote = not no_promote and retraining.may_promote(root)
        outcome = {"feedback": learned, **run_plain(root, promote=promote, quiet=as_json)}
        claim.outcome = outcome["decide"]["decision"]
    return finish(outcome, as_json)
