"""`sluice approve`: a person's consent, recorded."""

from __future__ import annotations

import os

import click

from sluicegate.cli.output import json_option, print_json


@click.command()
@click.argument("release")
@click.option(
    "--as",
    "person",
    metavar="PERSON",
    help="Name in gates.yaml (default: SLUICE_ACTOR, else the login).",
)
@click.option("--reason", default="", help="Why, for the ledger.")
@json_option
def approve(release: str, person: str | None, reason: str, as_json: bool) -> None:
    """Approve RELEASE (a version or digest): its PROMOTE verdict of now, once a person.

    A run of the line that waits for it goes on by itself when nothing is missing any more.
    """
    from sluicegate import local_services as servers
    from sluicegate import releasing
    from sluicegate.line.release.approve import waiting_tag
    from sluicegate.line.release.steps import actor
    from sluicegate.line.run import open_context, open_tracking
    from sluicegate.project import find_project

    project = find_project()
    digest = releasing.find_release(project, release)
    login = actor()
    name = person or os.environ.get("SLUICE_ACTOR") or login.rpartition("@")[0]
    entry = releasing.approve(
        project,
        digest,
        person=name,
        reason=reason,
        entered_by=login,
        tracking=open_tracking(project),
        model=open_context(project).name,
    )
    found = releasing.standing(project, digest)
    resumed, note = (
        ([], "") if found.missing else servers.resume_waiting(project, waiting_tag(digest))
    )
    if as_json:
        print_json(
            {
                "approval": entry,
                "missing": found.missing,
                "text": found.text,
                "resumed": resumed,
                "note": note,
            }
        )
        return
    click.echo(f"{entry.actor} approved version {found.version} ({digest[:12]}) as {found.role}")
    if entry.payload.get("rolled_back"):
        click.echo("note: it was rolled back after it had served", err=True)
    if found.missing:
        click.echo(found.text)
    elif resumed:
        click.echo(f"the waiting run goes on: {', '.join(resumed)}")
    else:
        click.echo(f"next:     {found.next}")
    if note:
        click.echo(f"note: {note}", err=True)
