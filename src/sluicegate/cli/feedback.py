"""`sluice feedback pull`."""

from __future__ import annotations

from pathlib import Path

import click

from sluicegate.cli.output import json_option, print_json


@click.group()
def feedback() -> None:
    """What people say about answers: reviews in MLflow come back as labels for judges.

    \b
    Where:   the Traces tab of the experiment (`sluice up`); every evaluated answer is a trace there
    How:     add or correct an assessment named like the judge, judge:NAME, in the judge's own scale
    """


@feedback.command()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; default data/labels/reviews.jsonl.",
)
@json_option
def pull(out: Path | None, as_json: bool) -> None:
    """Bring the reviews of evaluated answers from MLflow; what is about a judge joins its labels. Safe to repeat."""
    from sluicegate.line.learn.reviews import pull as pull_reviews
    from sluicegate.project import find_project

    found = pull_reviews(find_project(), out)
    if as_json:
        print_json(found)
        return
    click.echo(
        f"{found['lines']} reviews in {found['file']}: {found['new']} new or changed, {found['gone']} taken back"
    )
    for name, labels in found["judges"].items():
        click.echo(
            f"judge {name}: {labels['added']} labels added, {labels['changed']} changed in data/labels/{name}.jsonl"
        )
    for reason in found["refused"]:
        click.echo(f"no label:  {reason}", err=True)
    if found["judges"]:
        click.echo(f"next:      sluice judge calibrate {next(iter(found['judges']))}")
