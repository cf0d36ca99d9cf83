"""`sluice monitor` and `sluice probe`: one look at production, without a server."""

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


@click.command()
@click.argument("model", default="")
@click.option("--record", is_flag=True, help="Keep its answers as those that it is held to; anew.")
@click.option("--add", is_flag=True, help="Add answers of this hour to the recorded ones.")
@click.option("--reason", default="", help="Why; with --record and --add.")
@click.option(
    "--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Give up after this time."
)
@click.option("--max-tokens", type=click.IntRange(min=1), help="Give up before more tokens.")
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    help="The same in money; needs the model's price.",
)
@click.option("--quiet", is_flag=True, help="Send nothing to the webhook of params.yaml.")
@json_option
def probe(
    model: str,
    record: bool,
    add: bool,
    reason: str,
    max_seconds: float | None,
    max_tokens: int | None,
    max_cost: float | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Say whether the model behind a name is still the one whose answers were recorded.

    MODEL is a name in registry/models.yaml; by default the release's. The same prompts are sent
    again, and a permutation test compares the answers: an unchanged model alarms on 2 % of days.

    \b
    sluice probe --record --reason "first"    ask and keep the answers
    sluice probe --add --reason "at night"    more of them, at another hour
    sluice probe                              every day
    Exit codes:  0 unchanged, 1 CHANGED (an alarm), 4 a budget is spent, 2 and 3 errors
    """
    from sluicegate import hashing
    from sluicegate.budget import Budget
    from sluicegate.errors import UsageError
    from sluicegate.line.run import Alerted, open_run
    from sluicegate.line.sequence import probe as look
    from sluicegate.line.watch.probe import record as keep

    if record and add:
        raise UsageError("--record and --add are two things.", hint="Give one of them.")
    run, budget, told = open_run(), Budget(max_seconds, max_tokens, max_cost), Alerted()
    if record or add:
        found = keep(run, model, reason=reason, add=add, budget=budget)
    else:
        found, told = look(run, model, budget=budget, tell=not quiet)
    warnings = (*found.warnings, *filter(None, (told.warning,)))
    if as_json:
        more = {"alarm": found.alarm, "told": told.sent, "warnings": list(warnings)}
        print_json(hashing.as_json(found) | more)
        return int(found.alarm)
    click.echo(found.text)
    money = f", costing {found.cost:.4g}" if found.cost else ""
    click.echo(f"{found.calls} calls, {found.tokens:,} tokens{money}")
    for warning in warnings:
        click.echo(f"warning:  {warning}", err=True)
    return int(found.alarm)
