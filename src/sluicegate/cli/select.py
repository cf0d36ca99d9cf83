"""`sluice select`."""

from __future__ import annotations

import click

from sluicegate.cli.output import json_option, print_json


@click.command()
@click.argument("models", nargs=-1)
@json_option
def select(models: tuple[str, ...], as_json: bool) -> int:
    """Compare base models on the golden set: quality, response times, memory, licence, cost; and say which to take.

    \b
    sluice select                       the candidates of registry/selection.yaml
    sluice select small my-endpoint     these two, names in registry/models.yaml

    What rules a candidate out, and what the costs assume, is in registry/selection.yaml. The report is
    reports/selection.html. Exit code 0: one is chosen, 1: all were ruled out.
    """
    from sluicegate.hashing import read_json
    from sluicegate.line.choose.select import run_selection

    found = run_selection(".", models)
    if as_json:
        print_json(read_json(found.page.with_suffix(".json")))
    else:
        click.echo(found.text)
        click.echo(f"report:   {found.page}")
    return 0 if found.choice.chosen else 1
