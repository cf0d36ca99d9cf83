"""`sluice retrain`, one turn of the loop without a server; `sluice feedback` and `sluice label`."""

from __future__ import annotations

from pathlib import Path

import click

from sluicegate.cli.output import EXIT_CODES, json_option, print_json, print_table
from sluicegate.cli.release import finish


@click.command()
@click.option("--force", is_flag=True, help="Ignore the cool-down.")
@click.option("--no-promote", is_flag=True, help="Stop after the verdict.")
@click.option("--cause", default="by hand", help="Why, for the record.")
@json_option
def retrain(force: bool, no_promote: bool, cause: str, as_json: bool) -> int:
    """Write corrections and liked answers into the training data, then run the line as `sluice
    release --no-server` does.

    \b
    Exit codes:  the verdict's (0, 1, 4); 4 also where another one is running or the cool-down is
    not over
    """
    from dataclasses import replace

    from sluicegate.line import sequence
    from sluicegate.line.check import refuse_problems
    from sluicegate.line.learn.cooldown import claim
    from sluicegate.line.locks import line_lock
    from sluicegate.line.run import open_run
    from sluicegate.project import find_project

    refuse_problems(find_project())
    run = open_run()
    with claim(run, cause, force=force) as claimed:
        if not claimed.granted:
            click.echo(f"no retraining now: {claimed.refused}", err=True)
            return EXIT_CODES["HOLD"]
        learned = sequence.learn(run)
        if not as_json:
            click.echo(f"feedback: {learned.new} new rows, {learned.rows} in all")
        may_promote = not no_promote and run.params.monitor.promote
        with line_lock(run.project):
            done = sequence.release(run, may_promote=may_promote, progress=not as_json)
        claimed.outcome = done.name
    return finish(replace(done, feedback=learned).as_json(), as_json)


@click.group()
def feedback() -> None:
    """What people say about answers: reviews in MLflow come back as labels for judges.

    \b
    Where:   the Traces tab of the experiment (`sluice up`); every evaluated answer is a trace there
    How:     add or correct an assessment named like the judge, judge:NAME, in the judge's own scale
    """


@feedback.command(short_help="Import reviews from MLflow.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write; default data/labels/reviews.jsonl.",
)
@json_option
def pull(out: Path | None, as_json: bool) -> None:
    """Import the reviews of evaluated answers from MLflow; those of a judge's scores become its
    labels.
    """
    from sluicegate.line.learn.reviews import pull as pull_reviews
    from sluicegate.line.run import open_run

    found = pull_reviews(open_run(), out)
    if as_json:
        print_json(found)
        return
    click.echo(
        f"{found.lines} reviews in {found.file}: {found.new} new or changed, {found.gone} taken "
        "back"
    )
    for name, labels in found.judges.items():
        click.echo(
            f"judge {name}: {labels['added']} labels added, {labels['changed']} changed in "
            f"data/labels/{name}.jsonl"
        )
    for reason in found.refused:
        click.echo(f"no label:  {reason}", err=True)
    if found.judges:
        click.echo(f"next:      sluice judge calibrate {next(iter(found.judges))}")


@click.group()
def label() -> None:
    """Which rows people should look at next, so that few labels decide."""


@label.command("next")
@click.option("--rows", type=click.IntRange(min=1), default=50, show_default=True)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Write them as JSONL, too."
)
@json_option
def next_command(rows: int, out: Path | None, as_json: bool) -> None:
    """Name the rows whose label tells most, and why.

    Of the last evaluation those whose answers differ (judges disagree, thin slices), of the traffic
    those that are unlike the golden set. `sluice review` asks about the former.
    """
    import json

    from sluicegate.hashing import as_json as plain
    from sluicegate.hashing import write_atomic
    from sluicegate.line.learn.label_next import label_next
    from sluicegate.line.run import open_run

    found = label_next(open_run(), rows)
    if out is not None:
        lines = (json.dumps(plain(row), ensure_ascii=False) + "\n" for row in found)
        write_atomic(out, "".join(lines), mode=0o600)  # it holds what people wrote
    if as_json:
        print_json(found)
        return
    print_table(
        ("row", "group", "why"), [(row.id, row.group, ", ".join(row.reasons)) for row in found]
    )
