"""`sluice gate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sluicegate.cli.output import EXIT_CODES, json_option, print_json

if TYPE_CHECKING:
    from sluicegate.line.gate.run import GateRun

OUT = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--base",
    metavar="REF",
    default=None,
    help="Branch to merge into: says what changed since the merge base, whose release is what a "
    "candidate is compared "
    "with where nothing serves yet. Default: SLUICE_BASE, or what GitHub or GitLab name in a pull "
    "or merge request.",
)
@click.option("--junit", type=OUT, metavar="PATH", help="Write JUnit XML, one test case per rule.")
@click.option(
    "--comment", type=OUT, metavar="PATH", help="Write the comment for the pull request (Markdown)."
)
@click.option("--json-out", type=OUT, metavar="PATH", help="Write what --json prints.")
@click.option("--html", type=OUT, metavar="PATH", help="Write the report (one HTML file).")
@click.option(
    "--max-seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop with HOLD after this time.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    help="Stop with HOLD before more tokens are generated.",
)
@click.option(
    "--max-cost",
    type=click.FloatRange(min=0, min_open=True),
    help="The same in money; needs release.price.",
)
@click.option(
    "--self-test",
    "testing",
    is_flag=True,
    help="Judge nothing: show what the policy would let through, by answers broken on purpose.",
)
@click.option(
    "--set",
    "on",
    type=click.Choice(["development", "golden"]),
    help="What to judge on, in place of gate.set; only the golden set can promote.",
)
@json_option
def gate(
    base: str | None,
    junit: Path | None,
    comment: Path | None,
    json_out: Path | None,
    html: Path | None,
    max_seconds: float | None,
    max_tokens: int | None,
    max_cost: float | None,
    testing: bool,
    on: str | None,
    as_json: bool,
) -> int:
    """Evaluate and judge what is checked out; the exit code is the answer and nothing is promoted.

    \b
    In a pull request:  sluice gate --base origin/main --comment comment.md --junit gate.xml
    Test the policy:    sluice gate --self-test
    Exit codes:         0 PROMOTE, 1 REJECT, 4 HOLD (not enough evidence, or a budget is spent), 2
    and 3 errors
    """
    from sluicegate.budget import Budget
    from sluicegate.line.check import refuse_problems
    from sluicegate.line.gate.base_ref import base_from_environment
    from sluicegate.line.gate.run import run_gate
    from sluicegate.line.run import open_run
    from sluicegate.project import find_project

    files = {"junit": junit, "comment": comment, "json": json_out, "html": html}
    _clear(files)
    refuse_problems(find_project())
    if testing:
        return _self_test(as_json=as_json)
    opened = open_run()
    run = run_gate(
        opened.judged_on(on) if on else opened,
        base=base_from_environment() if base is None else base,
        budget=Budget(max_seconds, max_tokens, max_cost),
        quiet=as_json,
    )
    result = {**run.outcome, "exit_code": EXIT_CODES[run.decision]}
    _write(files, run, result)
    if as_json:
        print_json(result)
        return EXIT_CODES[run.decision]
    click.echo(f"\n{run.text.rstrip()}\n")
    for name, path in files.items():
        if path is not None:
            click.echo(f"{name + ':':<9} {path}")
    if run.page is not None and html is None:
        click.echo(f"report:   {run.page}")
    return EXIT_CODES[run.decision]


def _self_test(*, as_json: bool) -> int:
    from sluicegate.cards.self_test import self_test_text
    from sluicegate.hashing import as_json as jsonable
    from sluicegate.line.gate.self_test import self_test
    from sluicegate.line.run import open_run

    run = open_run()
    found = self_test(run)
    if as_json:
        print_json(jsonable(found))
    else:
        click.echo(self_test_text(found), nl=False)
        click.echo(f"page:  {run.project.reports / 'self_test.html'}")
    return 0


def _clear(files: dict[str, Path | None]) -> None:
    """Remove what an earlier run left, so that a run that fails leaves nothing that looks like its
    result.
    """
    from sluicegate.errors import EnvironmentFailure, UsageError

    for path in filter(None, files.values()):
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise EnvironmentFailure(f"cannot write {path}: {error.strerror}") from error


def _write(files: dict[str, Path | None], run: GateRun, result: dict[str, Any]) -> None:
    from datetime import UTC, datetime

    from sluicegate.cards import comment_markdown, gate_html, junit_xml
    from sluicegate.hashing import as_json, write_atomic, write_json

    if files["junit"]:
        write_atomic(
            files["junit"], junit_xml(run.report, moment=datetime.now(UTC), seconds=run.seconds)
        )
    if files["comment"]:
        write_atomic(files["comment"], comment_markdown(run.report).encode("utf-8", "replace"))
    if files["json"]:
        write_json(files["json"], as_json(result))
    if files["html"]:
        write_atomic(files["html"], run.page.read_bytes() if run.page else gate_html(run.report))


@click.command()
@click.option("--base", metavar="REF", default=None, help="Branch to merge into, as for `gate`.")
@click.option("--person", help="Name in the base's approvals.people; yours by default.")
@click.option("--reason", default="", help="Why, for the ledger.")
@json_option
def accept(base: str | None, person: str | None, reason: str, as_json: bool) -> None:
    """Accept what the checked-out change does to policy, judges, metrics or golden set.

    `sluice gate --base REF` holds such a change until somebody whom the base's policy names, and
    who wrote none of it, accepts it.
    """
    from sluicegate.errors import UsageError
    from sluicegate.line.gate.base_ref import base_from_environment
    from sluicegate.line.gate.judging import accept as record
    from sluicegate.line.run import open_run

    ref = base_from_environment() if base is None else base
    if not ref:
        raise UsageError("accept against which branch?", hint="Add --base origin/main.")
    found, entry = record(open_run(), ref, person=person or "", reason=reason)
    if as_json:
        print_json({"accepted": entry, "parts": found.parts})
    else:
        click.echo(f"{entry.actor} accepted: {', '.join(found.parts)}")
        click.echo(f"next:     sluice gate --base {ref}")
