"""`sluice release`, `gate` and `stage`."""

from __future__ import annotations

from typing import Any

import click

from sluicegate.cli.output import json_option, print_json

EXIT_CODES = {"PROMOTE": 0, "REJECT": 1, "HOLD": 4}


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
        return _finish(run_plain(str(project.root), promote=not no_promote, quiet=as_json), as_json)
    from sluicegate import servers

    result = project.build / "line" / "flow.json"
    result.unlink(missing_ok=True)
    code = servers.run_flow(project, promote=not no_promote, result=result)
    if not result.is_file():
        return code
    from sluicegate.hashing import read_json

    return _finish(read_json(result), as_json)


@click.command()
@json_option
def gate(as_json: bool) -> int:
    """Evaluate and judge what is checked out; the exit code is the answer and nothing is promoted."""
    from sluicegate.project import find_project

    return _finish(run_plain(str(find_project().root), promote=False, quiet=as_json), as_json)


@click.command()
@click.argument("name")
def stage(name: str) -> None:
    """Run one pipeline stage: fingerprint, prepare, tune, evaluate or profile. DVC calls this (see dvc.yaml)."""
    from sluicegate.stages import run_stage

    run_stage(name)


def run_plain(root: str, *, promote: bool, quiet: bool = False) -> dict[str, Any]:
    """The steps of flows/release.py as plain calls, in the same order."""
    from sluicegate.stages import line, reporting

    outcome: dict[str, Any] = {"reproduce": line.reproduce(root, progress=not quiet)}
    outcome["register"] = line.register(root)
    outcome["check_drift"] = line.check_drift(root)
    outcome["decide"] = line.decide(root)
    if outcome["decide"]["decision"] == "PROMOTE" and promote:
        outcome["promote"] = line.promote(root)
    outcome["report"] = reporting.report(root)
    return outcome


def _finish(outcome: dict[str, Any], as_json: bool) -> int:
    decided = outcome["decide"]
    if as_json:
        print_json(outcome)
        return EXIT_CODES[decided["decision"]]
    click.echo(f"\n{decided['text'].rstrip()}\n")
    if outcome["report"]["report"]:
        click.echo(f"report:   {outcome['report']['report']}")
    for warning in [*decided.get("warnings", []), *outcome.get("promote", {}).get("warnings", [])]:
        click.echo(f"warning:  {warning}", err=True)
    if outcome.get("promote", {}).get("moved"):
        click.echo(f"champion: version {outcome['promote']['champion']['version']} serves now")
        click.echo("next:     sluice history; sluice up shows it in MLflow; sluice rollback undoes it")
    elif decided["decision"] == "PROMOTE" and not decided["unchanged"]:
        click.echo(f"next:     sluice promote {decided['version']}")
    elif decided["decision"] != "PROMOTE":
        click.echo(f"champion: version {decided['champion_version']} still serves")
    return EXIT_CODES[decided["decision"]]
