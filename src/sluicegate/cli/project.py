"""`sluice init` and `sluice doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from sluicegate.cli.output import json_option, print_json
from sluicegate.errors import ConfigError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Make a new project in FOLDER: flows, prompts, policy, sample data and its own tests, under git."""
    from sluicegate.scaffold import init as make

    files = make(folder)
    go = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    click.echo(f"{folder}: {len(files)} files, one commit.\nnext: {go}sluice release --no-server")


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
    checks = diagnose(project)
    if as_json:
        print_json(checks)
    else:
        for check in checks:
            click.echo(
                f"{'ok  ' if check.ok else 'MISS' if check.required else 'note'} {check.name:24} {check.detail}"
            )
            if not check.ok and check.fix:
                click.echo(f"     {'':24} {check.fix}")
    return 0 if all(check.ok or not check.required for check in checks) else 3
