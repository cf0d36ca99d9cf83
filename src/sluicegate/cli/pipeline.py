"""`sluice stage`: what DVC calls."""

from __future__ import annotations

import click


@click.command()
@click.argument("name")
def stage(name: str) -> None:
    """Run one pipeline stage: fingerprint, prepare, tune, evaluate or profile.

    DVC calls this (see dvc.yaml).
    """
    from sluicegate.line.pipeline import run_stage
    from sluicegate.line.run import open_run

    run_stage(open_run(), name)
