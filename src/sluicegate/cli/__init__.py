"""The command `sluice`: a lazy group, so that `sluice --help` imports nothing heavy.

One file per family of commands; every command is a thin call into the engine. The one `except Exception` is here.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from sluicegate import __version__
from sluicegate.errors import SluiceError

COMMANDS = {
    "init": "sluicegate.cli.project:init",
    "upgrade": "sluicegate.cli.project:upgrade",
    "doctor": "sluicegate.cli.project:doctor",
    "release": "sluicegate.cli.release:release",
    "stage": "sluicegate.cli.pipeline:stage",
    "gate": "sluicegate.cli.gate:gate",
    "approve": "sluicegate.cli.release:approve",
    "promote": "sluicegate.cli.ledger:promote",
    "rollback": "sluicegate.cli.ledger:rollback",
    "reconcile": "sluicegate.cli.ledger:reconcile",
    "verify": "sluicegate.cli.ledger:verify",
    "history": "sluicegate.cli.ledger:history",
    "lineage": "sluicegate.cli.ledger:lineage",
    "prompt": "sluicegate.cli.prompt:prompt",
    "judge": "sluicegate.cli.judge:judge",
    "select": "sluicegate.cli.choose:select",
    "benchmark": "sluicegate.cli.choose:benchmark",
    "monitor": "sluicegate.cli.watch:monitor",
    "retrain": "sluicegate.cli.learn:retrain",
    "traffic": "sluicegate.cli.traffic:traffic",
    "feedback": "sluicegate.cli.learn:feedback",
    "up": "sluicegate.cli.servers:up",
    "down": "sluicegate.cli.servers:down",
}
HELP = {
    "init": "Make a new project from the shipped template.",
    "upgrade": "Bring a project's flows, pipeline and workflows to this version.",
    "doctor": "Say what is missing and the line that installs it.",
    "release": "Run the whole line: data to champion.",
    "stage": "Run one pipeline stage (DVC calls this).",
    "gate": "Evaluate and judge what is checked out; promote nothing.",
    "approve": "Consent to a release whose policy asks for it.",
    "promote": "Make a release with a PROMOTE verdict the champion.",
    "rollback": "Make a former champion serve again.",
    "reconcile": "Repair MLflow's aliases and tags from the ledger.",
    "verify": "Check the ledger's chain and every stored byte.",
    "history": "What served when, and who let it.",
    "lineage": "What a release is made of and where it came from.",
    "prompt": "List, show, compare and render prompts.",
    "judge": "List and try judges, hold them against people.",
    "select": "Compare base models: quality, speed, licence, cost.",
    "benchmark": "Ask lm-eval tasks before and after tuning.",
    "monitor": "Compare recent traffic with what the champion was judged on.",
    "retrain": "Bring feedback into the data, then run the line.",
    "traffic": "Take in, show, export and forget production traffic.",
    "feedback": "Bring reviews of evaluated answers from MLflow as labels.",
    "up": "Start the local Prefect server, worker and MLflow UI.",
    "down": "Stop them.",
}


class LazyGroup(click.Group):
    """Loads a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, HELP[name]) for name in COMMANDS])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sluice")
def sluice() -> None:
    """From a changed prompt, data set or adapter to a champion in production, on recorded evidence.

    \b
    New here:      sluice init my-project && cd my-project && sluice release --no-server
    What is missing:          sluice doctor
    Every night, as a flow:   sluice up && sluice release

    Exit codes: 0 yes, 1 REJECT, 2 wrong use or configuration, 3 the environment failed, 4 HOLD (not enough evidence).
    """


def main() -> None:
    """Run `sluice`; the process's exit code says what happened."""
    try:
        code = sluice.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        if "SLUICE_FAILURE" not in os.environ:  # a stage's own command says it
            click.echo(
                "\nstopped. Nothing is half done: run the same command again to go on.", err=True
            )
        sys.exit(130)
    except SluiceError as error:
        if not _left_for_pipeline(error):
            click.echo(f"error: {error}", err=True)
            if error.hint:
                click.echo(f"  what to do: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == 28:
            click.echo(
                "error: the disk is full.\n  what to do: free some space and run the same command again.",
                err=True,
            )
            sys.exit(3)
        import traceback

        traceback.print_exc()
        click.echo(
            f"error: {type(error).__name__}: {error}\n"
            "  what to do: this is a defect in sluicegate; please report it with the lines above.",
            err=True,
        )
        sys.exit(3)


def _left_for_pipeline(error: SluiceError) -> bool:
    """Where DVC runs this stage for `sluice release`, leave what stopped it to be told by that command."""
    place = os.environ.get("SLUICE_FAILURE")
    if not place:
        return False
    from pathlib import Path

    from sluicegate.hashing import write_json

    try:
        write_json(
            Path(place), {"exit_code": error.exit_code, "message": str(error), "hint": error.hint}
        )
    except (SluiceError, OSError):
        return False  # a full disk
    return True
