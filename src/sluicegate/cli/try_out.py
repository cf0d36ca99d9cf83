"""`sluice try`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sluicegate.cli.output import json_option, print_json, visible

if TYPE_CHECKING:
    from sluicegate.cards.trial import Trial, TrialRow

MOST = 400
"""Characters of a text in a cell; the page has all of it."""
LOOKS = 0.5
"""Seconds between two looks at the files."""


@click.command("try")
@click.option(
    "--prompt",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A prompt in the place of release.prompt.",
)
@click.option(
    "--rows", type=click.IntRange(min=1), default=20, show_default=True, help="So many rows."
)
@click.option(
    "--against",
    default="",
    metavar="WHAT",
    help="champion (default where one serves), a prompt file, or a git revision.",
)
@click.option("--judges", is_flag=True, help="Ask judges, too; they cost more than the answers.")
@click.option("--watch", is_flag=True, help="Run again whenever a file is saved, until Ctrl-C.")
@json_option
def try_out(
    prompt: Path | None, rows: int, against: str, judges: bool, watch: bool, as_json: bool
) -> int:
    """Answer development rows with what is in the working tree, beside the champion's answers.

    \b
    sluice try                              the prompt as it is now, against the champion
    sluice try --prompt drafts/summarize.yaml --watch
                                            again on every save
    sluice try --against HEAD~1             against the project one commit ago

    Golden rows are never used, nothing is recorded, and nothing is promised: that is `sluice gate`.
    The page is reports/try.html. Exit code 0, unless something is broken.
    """
    from sluicegate.errors import SluiceError
    from sluicegate.line.try_out.trial import watched
    from sluicegate.project import find_project

    def once() -> None:
        trial = _tried(prompt, rows, against, judges=judges)
        print_json(trial) if as_json else _show(trial)

    if not watch:
        once()
        return 0
    project = find_project()
    try:
        while True:
            seen = watched(project, prompt)
            try:
                once()
            except SluiceError as error:  # the next save may mend it
                click.echo(f"error: {error}\n  what to do: {error.hint}", err=True)
            click.echo("watching for changes; Ctrl-C ends it.", err=True)
            while watched(project, prompt) == seen:
                time.sleep(LOOKS)
    except KeyboardInterrupt:
        return 0


def _tried(prompt: Path | None, rows: int, against: str, *, judges: bool) -> Trial:
    from sluicegate.line.run import open_run
    from sluicegate.line.try_out.other import with_prompt
    from sluicegate.line.try_out.trial import try_out

    run = open_run()
    if prompt is not None:
        run = with_prompt(run, prompt)
    return try_out(run, rows=rows, against=against, judges=judges)


def _show(trial: Trial) -> None:
    """A table as wide as the terminal, and what there is to say."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sluicegate.cards.trial import trial_lines

    table = Table(box=box.SIMPLE_HEAD, show_lines=True, expand=True)
    table.add_column("input", ratio=3)
    if trial.against:
        table.add_column(Text(visible(trial.against)), ratio=3)
    table.add_column("new", ratio=3)
    table.add_column("scores", ratio=2)
    for row in trial.rows:
        texts = ["\n".join(row.inputs.values()), *([row.before or ""] if trial.against else [])]
        cells = [*texts, row.after]
        table.add_row(*(Text(_cut(cell)) for cell in cells), Text(_scores(row, trial)))
    Console(highlight=False).print(table)
    for line in trial_lines(trial):
        click.echo(line)
    click.echo(f"page:     {trial.page}")


def _cut(text: str) -> str:
    plain = visible(" ".join(text.split()))
    return plain if len(plain) <= MOST else f"{plain[:MOST]} …"


def _scores(row: TrialRow, trial: Trial) -> str:
    """The metric that orders the rows, then those that differ."""
    from sluicegate.cards.wording import number

    before, after = row.scores_before, row.scores
    names = [name for name in after if name == trial.metric or before.get(name) != after[name]]
    names.sort(key=lambda name: name != trial.metric)
    return "\n".join(
        f"{name} {number(before[name])} -> {number(after[name])}"
        if name in before
        else f"{name} {number(after[name])}"
        for name in names[:5]
    )
