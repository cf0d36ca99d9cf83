"""`sluice init`, `sluice upgrade`, `sluice check` and `sluice doctor`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sluicegate.cli.output import json_option, print_json
from sluicegate.errors import ConfigError

if TYPE_CHECKING:
    from sluicegate.doctor import Check


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--template",
    type=click.Choice(["tuned", "hosted", "code", "rag", "tools"]),
    default="tuned",
    show_default=True,
    help="tuned: open weights, tuned here; hosted: a prompt on a model behind an address; code, "
    "rag, tools: Python in app/ that asks such a model (sorts tickets; searches and answers; calls "
    "tools).",
)
@click.option("--endpoint", default="", metavar="URL", help="hosted: up to and with /v1.")
@click.option("--model", default="", metavar="NAME", help="hosted: the server's name for it.")
@click.option(
    "--key-env", default="", metavar="VARIABLE", help="hosted: the variable with the API key."
)
def init(folder: Path, template: str, endpoint: str, model: str, key_env: str) -> None:
    """Make a new project in FOLDER: flows, prompts, policy, sample data and its own tests."""
    from sluicegate.scaffold import Endpoint
    from sluicegate.scaffold import init as make

    files = make(folder, template, Endpoint(endpoint, model, key_env))
    go = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    click.echo(f"{folder}: {len(files)} files, one commit.")
    if template != "tuned":
        from sluicegate.line.check_notes import notes
        from sluicegate.project import Project

        for note in notes(Project(folder.resolve())):
            click.echo(f"note: {note}")
    click.echo(f"next: {go}sluice release --no-server")


@click.command()
@click.option("--check", is_flag=True, help="Only say what would happen; exit code 1 if anything.")
@json_option
def upgrade(check: bool, as_json: bool) -> int:
    """Bring the project's flows, pipeline, workflows and shipped tests to the installed version.

    \b
    Files that nobody edited are replaced, edited ones merged; where both changed
    the same lines, yours stays and the new one lies beside it (NAME.new).
    Parameters, prompts and policy are yours: they stay as they are.
    Exit codes: 0 done, 1 (--check) something is due, 4 something is left to merge by hand.
    """
    from sluicegate.project import find_project
    from sluicegate.scaffold.upgrade import due, plan
    from sluicegate.scaffold.upgrade import upgrade as bring_forward

    root = find_project().root
    steps = plan(root) if check else bring_forward(root)
    left = bool(due(root)) if check else any(step.by_hand for step in steps)
    if as_json:
        print_json([{"path": step.path, "action": step.action, "why": step.why} for step in steps])
    else:
        for step in steps:
            click.echo(f"{step.action:8} {step.path:36} {step.why}")
        if not steps:
            click.echo("up to date")
        elif not check:
            click.echo("next: look at `git diff`, run `pytest tests`, commit")
    return (1 if check else 4) if left else 0


@click.command()
@json_option
def check(as_json: bool) -> int:
    """Check params.yaml, prompts, policy, sources and models whole: every problem, before
    anything runs.

    `sluice release`, `gate` and `retrain` begin with this. Exit codes: 0 nothing is wrong, 2
    something is.
    """
    from sluicegate.line.check import check_configuration
    from sluicegate.line.check_notes import notes
    from sluicegate.project import find_project

    project = find_project()
    problems = check_configuration(project)
    if as_json:
        print_json(problems)
    else:
        click.echo("\n".join(problems) or "nothing is wrong")
        for note in notes(project):
            click.echo(f"note: {note}")
    return 2 if problems else 0


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Check this machine and project; exit code 3 when something that is needed is missing."""
    from sluicegate.doctor import diagnose
    from sluicegate.project import find_project

    try:
        project = find_project()
    except ConfigError:
        project = None
    checks = diagnose(project) + ([template_check(project.root)] if project else [])
    if as_json:
        print_json(checks)
        return 0 if all(check.ok or not check.required for check in checks) else 3
    for check in checks:
        mark = "ok  " if check.ok else "MISS" if check.required else "note"
        click.echo(f"{mark} {check.name:24} {check.detail}")
        if not check.ok and check.fix:
            click.echo(f"     {'':24} {check.fix}")
    return 0 if all(check.ok or not check.required for check in checks) else 3


def template_check(root: Path) -> Check:
    """Are the files that `sluice init` wrote those of the installed version?"""
    from sluicegate.doctor import Check
    from sluicegate.errors import SluiceError
    from sluicegate.scaffold.upgrade import due

    try:
        steps = due(root)
    except SluiceError as error:
        return Check("template", False, str(error), error.hint, required=False)
    if not steps:
        return Check("template", True, "as this version's template, or edited here")
    names = ", ".join(step.path for step in steps[:3]) + (", ..." if len(steps) > 3 else "")
    by_hand = all(step.by_hand for step in steps)
    fix = "Merge the .new files by hand, then delete them." if by_hand else "sluice upgrade"
    return Check("template", False, f"{len(steps)} to bring forward: {names}", fix, False)
