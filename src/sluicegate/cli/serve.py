"""`sluice serve` and `sluice serve key`."""

from __future__ import annotations

from pathlib import Path

import click

from sluicegate.cli.output import json_option, print_json, print_table

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8790, show_default=True)
@click.option("--tls-cert", type=FILE, help="Certificate (PEM).")
@click.option("--tls-key", type=FILE, help="Its private key (PEM).")
@click.pass_context
def serve(
    ctx: click.Context, host: str, port: int, tls_cert: Path | None, tls_key: Path | None
) -> None:
    """Answer with the champion over OpenAI's interface, and follow every promotion and roll-back.

    Without a key it listens on loopback only; docs/how-to/serve.md says who may what.
    """
    if ctx.invoked_subcommand is not None:
        return
    from sluicegate.line.run import open_run
    from sluicegate.line.serve.start import Address
    from sluicegate.line.serve.start import serve as start

    start(open_run(), Address(host, port, tls_cert, tls_key))


@serve.group()
def key() -> None:
    """Keys of those who may ask."""


@key.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["client", "operator", "auditor"]),
    required=True,
    help="client asks; operator also asks exact releases; auditor reads metrics.",
)
@click.option(
    "--per-minute",
    type=click.IntRange(min=0),
    default=600,
    show_default=True,
    help="Most requests a minute; 0 for no limit.",
)
def add(name: str, role: str, per_minute: int) -> None:
    """Make the key NAME and print it, this once: only its SHA-256 is kept."""
    from sluicegate.line.serve.start import key_file
    from sluicegate.project import find_project

    click.echo(key_file(find_project()).add(name, role, per_minute))


@key.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """Names, roles and limits."""
    from sluicegate.line.serve.start import key_file
    from sluicegate.project import find_project

    keys = key_file(find_project()).all()
    if as_json:
        print_json([one.model_dump(exclude={"sha256"}) for one in keys])
        return
    print_table(
        ("name", "role", "per minute"), [(one.name, one.role, one.per_minute) for one in keys]
    )


@key.command()
@click.argument("name")
def remove(name: str) -> None:
    """Take the key NAME away; running routers refuse it from the next request on."""
    from sluicegate.line.serve.start import key_file
    from sluicegate.project import find_project

    key_file(find_project()).remove(name)
    click.echo(f"{name} is removed")
