"""`sluice plan`."""

from __future__ import annotations

import click

from sluicegate.cli.output import json_option, print_json


@click.command()
@click.option(
    "--gain",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Plan for a candidate that is truly better by so much, in the metrics' unit.",
)
@click.option(
    "--discordance",
    type=click.FloatRange(min=0, max=1, min_open=True),
    help="Without a pilot: share of the rows in which candidate and champion score differently.",
)
@click.option(
    "--sd",
    type=click.FloatRange(min=0, min_open=True),
    help="Standard deviation of the difference in those rows; 1 (the default) for right or wrong.",
)
@json_option
def plan(gain: float, discordance: float | None, sd: float | None, as_json: bool) -> None:
    """Say how many rows, conversations and repeats each rule of the policy needs.

    From the last evaluation of candidate and champion, or of the champion alone and what you
    assume of a candidate. Nothing is judged, and nothing of the error budget is spent.
    """
    from sluicegate.cards.plan import plan_text
    from sluicegate.errors import UsageError
    from sluicegate.gates.questions import Assumed
    from sluicegate.hashing import as_json as jsonable
    from sluicegate.line.release.plan import plan_golden_set
    from sluicegate.line.run import open_run

    if sd is not None and discordance is None:
        raise UsageError("--sd is of rows that differ.", hint="Add --discordance, their share.")
    assumed = None if discordance is None else Assumed(discordance, 1.0 if sd is None else sd)
    found = plan_golden_set(open_run(), gain=gain, assumed=assumed)
    if as_json:
        ways = {way: found.plan.enough(way) for way in found.plan.ways}
        print_json({**jsonable(found), "enough": ways})
        return
    click.echo(plan_text(found.plan, found.source, found.health), nl=False)
    click.echo(f"page:  {found.page}")
