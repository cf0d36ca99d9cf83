"""`sluice adapter`: adapters that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from sluicegate.cli.output import json_option, print_json


@click.group()
def adapter() -> None:
    """Bring in LoRA adapters that another tool trained.

    \b
    From:    PEFT, TRL, axolotl, LLaMA-Factory, Unsloth: adapter_config.json and
             adapter_model.safetensors
    Then:    sluice release judges it like an adapter tuned here
    """


@adapter.command("import", short_help="Check it, put it in tuning's place.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--reason", required=True, help="Why it is brought in, for the record.")
@click.option("--tool", default="", help="What trained it, where the folder does not tell.")
@json_option
def bring(folder: Path, reason: str, tool: str, as_json: bool) -> None:
    """Verify the adapter in FOLDER against the project's base model and put it in tuning's place.

    It is kept under data/adapters/ (versioned by DVC) with a record of where it came from, and
    params.yaml names it; `tune.method: lora` there goes back to tuning.
    """
    from sluicegate.line.pipeline.bring_adapter import bring_adapter
    from sluicegate.line.run import open_run

    found = bring_adapter(open_run(), folder, reason=reason, tool=tool)
    if as_json:
        print_json(found)
        return
    click.echo(f"adapter {found.digest[:12]}: {found.folder}{'' if found.new else ' (as before)'}")
    click.echo(
        f"trained: with {tool or found.origin.tool}, on {found.origin.base or 'no named base'}"
    )
    click.echo(
        f"base:    its layers fit {found.base}; that the weights are the same nobody can see"
    )
    for change in found.origin.changed:
        click.echo(f"written: {change}")
    click.echo(
        f"next:    git add params.yaml {found.folder}.dvc {found.folder}.json && git commit, then "
        "sluice release"
    )
