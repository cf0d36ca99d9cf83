"""`sluice golden status`."""

from __future__ import annotations

import click

from sluicegate.cli.output import json_option, print_json


@click.group()
def golden() -> None:
    """The golden set: frozen rows that decide, and the error budget that each verdict spends."""


@golden.command()
@json_option
def status(as_json: bool) -> None:
    """What is left of its error budget."""
    from sluicegate.errors import UsageError
    from sluicegate.line.release.golden_rows import budget
    from sluicegate.line.run import open_run

    run = open_run()
    if not run.project.golden.is_file():
        raise UsageError("there is no golden set yet.", hint="Run `sluice stage prepare`.")
    found = budget(run)
    if as_json:
        print_json(found)
        return
    click.echo(f"golden set:   {found.rows} rows ({found.golden[:12]})")
    click.echo(f"evaluations:  {found.evaluations} of {found.allowed}")
    if found.inherited:
        click.echo(f"inherited:    {found.inherited:.1f}, as rows of earlier golden sets")
    click.echo(f"alpha next:   {found.alpha:.4f}, of {found.first:.4f} for a first evaluation")
    if found.fresh_rows:
        click.echo(
            f"to restore:   {found.fresh_rows} fresh rows in place of old ones bring the next one to "
            f"{found.first / 2:.4f}"
        )
