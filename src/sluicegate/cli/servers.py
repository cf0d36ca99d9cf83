"""`sluice up`, `sluice down` and `sluice demo-model`."""

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


class Duration(click.ParamType[float]):
    """`50ms` or `0.05s`, in seconds."""

    name = "duration"

    def convert(self, value: object, param: object, ctx: object) -> float:
        import re

        found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)", str(value))
        if found is None:
            self.fail(f"{value!r} is no duration; write 50ms or 0.5s.")
        return float(found[1]) / (1000 if found[2] == "ms" else 1)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8089, show_default=True)
@click.option(
    "--latency", type=Duration(), default="0ms", show_default=True, help="Wait before each answer."
)
@click.option(
    "--flips",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of answers that are spoilt, by the seed of server and request.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the server.")
def demo_model(port: int, latency: float, flips: float, seed: int) -> None:
    """Serve a demo without a model behind OpenAI's interface, on loopback: for examples only.

    Rules answer: labels, JSON, questions on contexts, tool calls, as far as the prompt asks for
    them. It ends with Ctrl-C, or with the process that started it.
    """
    from sluicegate.local_services.demo_model import application, serve

    serve(application(latency=latency, flips=flips, seed=seed), port)
