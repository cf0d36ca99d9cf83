"""`sluice up` and `sluice down`."""

from __future__ import annotations

import click

from sluicegate.cli.output import json_option, print_json


@click.command()
@json_option
def up(as_json: bool) -> None:
    """Start the local Prefect server, a worker and the MLflow UI, once, on loopback only."""
    from sluicegate import local_services as servers
    from sluicegate.cli.project import template_check
    from sluicegate.project import find_project

    project = find_project()
    files = template_check(project.root)
    if not files.ok:  # Prefect takes in flows that it cannot import, and fails at night
        click.echo(f"note: {files.detail}\n      {files.fix}", err=True)
    statuses = servers.up(project, progress=lambda line: click.echo(line, err=True))
    if as_json:
        print_json(statuses)
        return
    for status in statuses:
        click.echo(f"{status.name:16} {status.detail}")
    click.echo("next: sluice release")


@click.command()
@json_option
def down(as_json: bool) -> None:
    """Stop what `sluice up` started."""
    from sluicegate import local_services as servers
    from sluicegate.project import find_project

    stopped = servers.down(find_project())
    if as_json:
        print_json(stopped)
        return
    for status in stopped:
        click.echo(f"{status.name:16} {status.detail}")
