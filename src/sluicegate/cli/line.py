"""`sluice release`, `gate` and `stage`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sluicegate.cli.output import json_option, plain, print_json

if TYPE_CHECKING:
    from sluicegate.line.gate.run import GateRun

EXIT_CODES = {"PROMOTE": 0, "REJECT": 1, "HOLD": 4}
OUT = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.option("--plain", is_flag=True, help="As plain functions: no Prefect server, no worker.")
@click.option("--no-promote", is_flag=True, help="Stop after the verdict.")
@json_option
def release(plain: bool, no_promote: bool, as_json: bool) -> int:
    """Run the whole line: prepare, tune, evaluate, profile, register, check drift, decide, promote, report.

    What did not change is not done again. Without --plain it runs as a Prefect flow on the servers of `sluice up`.
    """
    from sluicegate.project import find_project

    project = find_project()
    if plain:
        return finish(run_plain(str(project.root), promote=not no_promote, quiet=as_json), as_json)
    from sluicegate import local_services as servers

    result = project.build / "line" / "flow.json"
    result.unlink(missing_ok=True)
    code = servers.run_flow(project, promote=not no_promote, result=result)
    if not result.is_file():
        return code
    from sluicegate.hashing import read_json

    return finish(read_json(result), as_json)


@click.command()
@click.option(
    "--base",
    metavar="REF",
    default=None,
    help="Branch to merge into: says what changed since the merge base, whose release is what a candidate is compared "
    "with where nothing serves yet. Default: SLUICE_BASE, or what GitHub or GitLab name in a pull or merge request.",
)
@click.option("--junit", type=OUT, metavar="PATH", help="Write JUnit XML, one test case a rule.")
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
    as_json: bool,
) -> int:
    """Evaluate and judge what is checked out; the exit code is the answer and nothing is promoted.

    \b
    In a pull request:  sluice gate --base origin/main --comment comment.md --junit gate.xml
    Exit codes:         0 PROMOTE, 1 REJECT, 4 HOLD (not enough evidence, or a budget is spent), 2 and 3 errors
    """
    from sluicegate.line.gate.base_ref import base_from_environment
    from sluicegate.line.gate.run import Budget, run_gate
    from sluicegate.project import find_project

    files = {"junit": junit, "comment": comment, "json": json_out, "html": html}
    _clear(files)
    run = run_gate(
        str(find_project().root),
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


def _clear(files: dict[str, Path | None]) -> None:
    """Remove what an earlier run left, so that a run that fails leaves nothing that looks like its result."""
    from sluicegate.errors import EnvironmentFailure, UsageError

    for path in filter(None, files.values()):
        if path.is_dir():
            raise UsageError(f"{path} is a folder; a file is to be written there.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise EnvironmentFailure(f"cannot write {path}: {error.strerror}") from error


def _write(files: dict[str, Path | None], run: GateRun, result: dict[str, Any]) -> None:
    from datetime import UTC, datetime

    from sluicegate.cards import comment_markdown, gate_html, junit_xml
    from sluicegate.hashing import write_atomic, write_json

    if files["junit"]:
        write_atomic(
            files["junit"], junit_xml(run.report, moment=datetime.now(UTC), seconds=run.seconds)
        )
    if files["comment"]:
        write_atomic(files["comment"], comment_markdown(run.report).encode("utf-8", "replace"))
    if files["json"]:
        write_json(files["json"], plain(result))
    if files["html"]:
        write_atomic(files["html"], run.page.read_bytes() if run.page else gate_html(run.report))


@click.command()
@click.argument("name")
def stage(name: str) -> None:
    """Run one pipeline stage: fingerprint, prepare, tune, evaluate or profile. DVC calls this (see dvc.yaml)."""
    from sluicegate.line.pipeline import run_stage

    run_stage(name)


def run_plain(root: str, *, promote: bool, quiet: bool = False) -> dict[str, Any]:
    """The steps of flows/release.py as plain calls, in the same order."""
    from sluicegate.line.locks import line_lock

    with line_lock(root):
        return _steps(root, promote=promote, quiet=quiet)


def _steps(root: str, *, promote: bool, quiet: bool) -> dict[str, Any]:
    from sluicegate.line.release import approve as approval
    from sluicegate.line.release import report as reporting
    from sluicegate.line.release import steps as line

    outcome: dict[str, Any] = {"reproduce": line.reproduce(root, progress=not quiet)}
    outcome["register"] = line.register(root)
    outcome["check_drift"] = line.check_drift(root)
    outcome["decide"] = line.decide(root)
    if outcome["decide"]["decision"] == "PROMOTE" and promote:
        outcome["approvals"] = approval.approvals(root)
        if not outcome["approvals"]["missing"]:
            outcome["promote"] = line.promote(root)
    outcome["report"] = reporting.report(root)
    return outcome


def finish(outcome: dict[str, Any], as_json: bool) -> int:
    """Print what the line returned; the exit code."""
    decided, standing = outcome["decide"], outcome.get("approvals", {})
    code = EXIT_CODES["HOLD" if standing.get("missing") else decided["decision"]]
    if as_json:
        print_json(outcome)
        return code
    click.echo(f"\n{decided['text'].rstrip()}\n")
    if outcome["report"]["report"]:
        click.echo(f"report:   {outcome['report']['report']}")
    for warning in [
        warning
        for step in ("decide", "approvals", "promote")
        for warning in _warnings(outcome, step)
    ]:
        click.echo(f"warning:  {warning}", err=True)
    if outcome.get("promote", {}).get("moved"):
        click.echo(f"champion: version {outcome['promote']['champion']['version']} serves now")
        click.echo(
            "next:     sluice history; sluice up shows it in MLflow; sluice rollback undoes it"
        )
    elif standing.get("missing"):
        click.echo(f"{'held' if standing['over'] else 'next'}:     {standing['text']}")
    elif decided["decision"] == "PROMOTE" and not decided["unchanged"]:
        click.echo(f"next:     sluice promote {decided['version']}")
    elif decided["decision"] != "PROMOTE":
        click.echo(f"champion: version {decided['champion_version']} still serves")
    return code


def _warnings(outcome: dict[str, Any], step: str) -> list[str]:
    return list(outcome.get(step, {}).get("warnings", []))
