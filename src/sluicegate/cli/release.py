"""`sluice release`, and `sluice approve`: a person's consent, recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from sluicegate.cli.output import EXIT_CODES, json_option, print_json
from sluicegate.environment import read_variable

NO_SERVER = "As plain functions: no Prefect server, no worker."


@click.command()
@click.option("--no-server", is_flag=True, help=NO_SERVER)
@click.option("--plain", is_flag=True, hidden=True)
@click.option("--no-promote", is_flag=True, help="Stop after the verdict.")
@json_option
def release(no_server: bool, plain: bool, no_promote: bool, as_json: bool) -> int:
    """Run the whole line: prepare, tune, evaluate, profile, register, check drift, decide, promote,
    report.

    What did not change is not done again. Without --no-server it runs as a Prefect flow on the
    servers of `sluice up`.
    """
    from sluicegate.line import sequence
    from sluicegate.line.check import refuse_problems
    from sluicegate.line.locks import line_lock
    from sluicegate.line.run import open_run
    from sluicegate.project import find_project

    if plain:
        click.echo(
            "note: --plain is --no-server now; the old name goes with the next version.", err=True
        )
    refuse_problems(find_project())
    if not (no_server or plain):
        return _as_flow(promote=not no_promote, as_json=as_json)
    run = open_run()
    with line_lock(run.project):
        done = sequence.release(run, may_promote=not no_promote, progress=not as_json)
    return finish(done.as_json(), as_json)


def _as_flow(*, promote: bool, as_json: bool) -> int:
    from sluicegate import local_services
    from sluicegate.hashing import read_json
    from sluicegate.project import find_project

    project = find_project()
    result = project.build / "line" / "flow.json"
    result.unlink(missing_ok=True)
    code = local_services.run_flow(project, promote=promote, result=result)
    return finish(read_json(result), as_json) if result.is_file() else code


def finish(outcome: Mapping[str, Any], as_json: bool) -> int:
    """Print what the line returned, as `Released.as_json` gives it; the exit code."""
    decided, standing = outcome["decide"], outcome.get("approvals", {})
    code = EXIT_CODES["HOLD" if standing.get("missing") else decided["decision"]]
    if as_json:
        print_json(outcome)
        return code
    click.echo(f"\n{decided['text'].rstrip()}\n")
    if outcome["report"]["report"]:
        click.echo(f"report:   {outcome['report']['report']}")
    for step in ("decide", "approvals", "promote"):
        for warning in outcome.get(step, {}).get("warnings", ()):
            click.echo(f"warning:  {warning}", err=True)
    if outcome.get("promote", {}).get("moved"):
        champion = outcome["promote"]["champion"]
        undo = "; sluice rollback undoes it" if champion["epoch"] > 1 else ""
        click.echo(f"champion: version {champion['version']} serves now")
        click.echo(f"next:     sluice history; sluice up shows it in MLflow{undo}")
    elif standing.get("missing"):
        click.echo(f"{'held' if standing['over'] else 'next'}:     {standing['text']}")
    elif decided["decision"] == "PROMOTE" and not decided["unchanged"]:
        click.echo(f"next:     sluice promote {decided['version']}")
    elif decided["decision"] != "PROMOTE":
        serves = decided["champion_version"]
        click.echo(f"champion: version {serves} still serves" if serves else "champion: none yet")
    return code


@click.command()
@click.argument("release")
@click.option(
    "--as",
    "person",
    metavar="PERSON",
    help="Name in gates.yaml (default: SLUICE_ACTOR, else the login).",
)
@click.option("--reason", default="", help="Why, for the ledger.")
@json_option
def approve(release: str, person: str | None, reason: str, as_json: bool) -> None:
    """Approve RELEASE (a version or digest): its current PROMOTE verdict, once per person.

    A run of the line that waits for it goes on by itself when nothing is missing any more.
    """
    from sluicegate import local_services, releasing
    from sluicegate.line.release.approve import waiting_tag
    from sluicegate.line.run import actor, open_run

    run = open_run()
    project, login = run.project, actor()
    digest = releasing.find_release(project, release)
    entry = releasing.approve(
        project,
        digest,
        person=person or read_variable("SLUICE_ACTOR") or login.rpartition("@")[0],
        reason=reason,
        entered_by=login,
        tracking=run.tracking,
        model=run.name,
    )
    found = releasing.standing(project, digest)
    resumed, note = (
        ([], "") if found.missing else local_services.resume_waiting(project, waiting_tag(digest))
    )
    if as_json:
        print_json(
            {
                "approval": entry,
                "missing": found.missing,
                "text": found.text,
                "resumed": resumed,
                "note": note,
            }
        )
        return
    click.echo(f"{entry.actor} approved version {found.version} ({digest[:12]}) as {found.role}")
    if entry.payload.get("rolled_back"):
        click.echo("note: it was rolled back after it had served", err=True)
    if found.missing:
        click.echo(found.text)
    elif resumed:
        click.echo(f"the waiting run goes on: {', '.join(resumed)}")
    else:
        click.echo(f"next:     {found.next}")
    if note:
        click.echo(f"note: {note}", err=True)
