"""`sluice review`."""

from __future__ import annotations

from pathlib import Path

import click

from sluicegate.cli.output import json_option, print_json

_PERSON = click.option("--person", default="", help="Who reviews; SLUICE_ACTOR or the login.")


@click.group(invoke_without_command=True)
@_PERSON
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.pass_context
def review(context: click.Context, person: str, port: int) -> None:
    """Compare the candidate's answers with the champion's, blind, on a local page, by keyboard.

    Only answers that differ are shown. What is said is recorded when the last pair is answered, or
    with Ctrl-C; a session that was cut off goes on where it was.
    """
    if context.invoked_subcommand:
        return
    import secrets

    from sluicegate.gates.reviews import FAULTS
    from sluicegate.line.release.review import Session
    from sluicegate.line.run import open_run
    from sluicegate.local_services import loopback
    from sluicegate.local_services.review_page import application

    token = secrets.token_urlsafe(24)
    with Session(open_run(), person) as session:
        left, equal = len(session.left), session.task.equal
        click.echo(f"{left} pairs to review as {session.person}; {equal} equal ones are saved")
        app = application(session, token, FAULTS)
        try:
            loopback.serve(
                app, port, lambda address: click.echo(f"open: {address}/{token}/  (end: Ctrl-C)")
            )
        except KeyboardInterrupt:  # the server has closed by then
            click.echo()
    answered = session.recorded
    click.echo(f"recorded: {answered} answers; next: sluice release" if answered else "nothing new")


@review.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def export_command(file: Path, as_json: bool) -> None:
    """Write the pairs as tasks for Label Studio, blind."""
    from sluicegate.line.release.review_exchange import export_tasks
    from sluicegate.line.run import open_run

    found = export_tasks(open_run(), file)
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.pairs} pairs in {file}; {found.equal} equal ones are left out")
    click.echo(f"interface: {found.interface} (Label Studio: Settings, Labeling Interface, Code)")


@review.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_PERSON
@json_option
def import_command(file: Path, person: str, as_json: bool) -> None:
    """Record what people said in Label Studio."""
    from sluicegate.line.release.review_exchange import import_tasks
    from sluicegate.line.run import open_run

    found = import_tasks(open_run(), file, person)
    if as_json:
        print_json(found)
        return
    for name, count in found.recorded.items():
        click.echo(f"{name}: {count} answers recorded")
    for reason in found.refused:
        click.echo(f"left out: {reason}", err=True)
