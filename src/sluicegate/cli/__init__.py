"""The command `sluice`: a lazy group, so that `sluice --help` imports nothing heavy.

One file per family of commands; every command is a thin call into the engine. The one `except
Exception` is here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import NamedTuple

import click

from sluicegate import __version__
from sluicegate.environment import read_variable
from sluicegate.errors import SluiceError, UnfinishedError, local_packages, without_credentials


class Command(NamedTuple):
    """One row of the command line.

    Attributes:
        target: where the click command is, `module:function`.
        help: its line in `sluice --help`.
        example: a call that works; it ends the command's own help.
    """

    target: str
    help: str
    example: str


COMMANDS = {
    "init": Command(
        "sluicegate.cli.project:init",
        "Make a new project from the shipped template.",
        "sluice init my-project",
    ),
    "upgrade": Command(
        "sluicegate.cli.project:upgrade",
        "Bring a project's flows, pipeline and workflows to this version.",
        "sluice upgrade",
    ),
    "doctor": Command(
        "sluicegate.cli.project:doctor",
        "Say what is missing and the line that installs it.",
        "sluice doctor",
    ),
    "check": Command(
        "sluicegate.cli.project:check",
        "Say everything that is wrong with the project's files.",
        "sluice check",
    ),
    "release": Command(
        "sluicegate.cli.release:release",
        "Run the whole line: data to champion.",
        "sluice release --no-promote",
    ),
    "stage": Command(
        "sluicegate.cli.pipeline:stage",
        "Run one pipeline stage (DVC calls this).",
        "sluice stage evaluate",
    ),
    "try": Command(
        "sluicegate.cli.try_out:try_out",
        "Try a prompt on development rows, beside the champion.",
        "sluice try --prompt prompts/summarize.yaml --watch",
    ),
    "gate": Command(
        "sluicegate.cli.gate:gate",
        "Evaluate and judge what is checked out; promote nothing.",
        "sluice gate --base origin/main --junit gate.xml",
    ),
    "adapter": Command(
        "sluicegate.cli.adapter:adapter",
        "Bring in adapters that another tool trained.",
        'sluice adapter import ../lora --reason "trained on the 2026 tickets"',
    ),
    "accept": Command(
        "sluicegate.cli.gate:accept",
        "Accept a change of policy, judges, metrics or golden set.",
        'sluice accept --base origin/main --reason "agreed on Monday"',
    ),
    "approve": Command(
        "sluicegate.cli.release:approve",
        "Approve a release whose policy asks for it.",
        'sluice approve 3f9c2a71 --reason "read 20 answers"',
    ),
    "promote": Command(
        "sluicegate.cli.ledger:promote",
        "Make a release with a PROMOTE verdict the champion.",
        "sluice promote 3f9c2a71",
    ),
    "rollback": Command(
        "sluicegate.cli.ledger:rollback",
        "Make a former champion serve again.",
        'sluice rollback --reason "answers in the wrong language"',
    ),
    "serve": Command(
        "sluicegate.cli.serve:serve",
        "Answer users with the champion, over OpenAI's interface.",
        "sluice serve key add website --role client",
    ),
    "reconcile": Command(
        "sluicegate.cli.ledger:reconcile",
        "Repair MLflow's aliases and tags from the ledger.",
        "sluice reconcile",
    ),
    "verify": Command(
        "sluicegate.cli.ledger:verify",
        "Check the ledger's chain and every stored byte.",
        "sluice verify --offline",
    ),
    "ledger": Command(
        "sluicegate.cli.ledger:ledger",
        "Begin a new ledger where one is known, on the record.",
        'sluice ledger new --reason "the disk was lost, there is no backup"',
    ),
    "history": Command(
        "sluicegate.cli.ledger:history",
        "What served when, and who decided it.",
        "sluice history --on today",
    ),
    "lineage": Command(
        "sluicegate.cli.ledger:lineage",
        "What a release is made of and where it came from.",
        "sluice lineage champion",
    ),
    "prompt": Command(
        "sluicegate.cli.prompt:prompt",
        "List, show, compare and render prompts.",
        "sluice prompt show summarize",
    ),
    "golden": Command(
        "sluicegate.cli.golden:golden",
        "What is left of the golden set's error budget.",
        "sluice golden status",
    ),
    "plan": Command(
        "sluicegate.cli.plan:plan",
        "How many golden rows each rule of the policy needs.",
        "sluice plan --gain 0.05",
    ),
    "judge": Command(
        "sluicegate.cli.judge:judge",
        "List and try judges; compare them with people.",
        "sluice judge calibrate coherence",
    ),
    "review": Command(
        "sluicegate.cli.review:review",
        "Let people compare answers with the champion's, blind.",
        "sluice review export pairs.json",
    ),
    "label": Command(
        "sluicegate.cli.learn:label",
        "Say which rows people should label next.",
        "sluice label next --rows 50",
    ),
    "select": Command(
        "sluicegate.cli.choose:select",
        "Compare base models: quality, speed, licence, cost.",
        "sluice select small my-endpoint",
    ),
    "benchmark": Command(
        "sluicegate.cli.choose:benchmark",
        "Run lm-eval tasks before and after tuning.",
        "sluice benchmark arc_easy --limit 50",
    ),
    "monitor": Command(
        "sluicegate.cli.watch:monitor",
        "Compare recent traffic with what the champion was judged on.",
        "sluice monitor --hours 24",
    ),
    "probe": Command(
        "sluicegate.cli.watch:probe",
        "Say whether the model behind a name has changed.",
        "sluice probe --max-tokens 20000",
    ),
    "retrain": Command(
        "sluicegate.cli.learn:retrain",
        "Add feedback to the data, then run the line.",
        "sluice retrain --force",
    ),
    "traffic": Command(
        "sluicegate.cli.traffic:traffic",
        "Import, show, export and forget production traffic.",
        "sluice traffic export rows.jsonl",
    ),
    "feedback": Command(
        "sluicegate.cli.learn:feedback",
        "Import reviews of evaluated answers from MLflow as labels.",
        "sluice feedback pull",
    ),
    "up": Command(
        "sluicegate.cli.servers:up",
        "Start the local Prefect server, worker and MLflow UI.",
        "sluice up",
    ),
    "down": Command(
        "sluicegate.cli.servers:down",
        "Stop them.",
        "sluice down",
    ),
    "demo-model": Command(
        "sluicegate.cli.servers:demo_model",
        "Serve rules behind OpenAI's interface: a demo for examples.",
        "sluice demo-model --latency 50ms",
    ),
}


class LazyGroup(click.Group):
    """Loads a command's module only when that command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].target.partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        command.epilog = f"Example: {COMMANDS[cmd_name].example}"
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sluice")
def sluice() -> None:
    """From a changed prompt, data set or adapter to a champion in production, on recorded evidence.

    \b
    New here:      sluice init my-project && cd my-project && sluice release --no-server
    What is missing:          sluice doctor
    Every night, as a flow:   sluice up && sluice release

    Exit codes: 0 yes, 1 REJECT, 2 wrong use or configuration, 3 the environment failed, 4 HOLD (not
    enough evidence).
    """


def main() -> None:
    """Run `sluice`; the process's exit code says what happened."""
    from sluicegate.cli.output import guarded_terminal

    with guarded_terminal():
        _main()


def _main() -> None:
    try:
        with local_packages():
            code = sluice.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        if not read_variable("SLUICE_FAILURE"):  # a stage's own command says it
            click.echo(
                "\nstopped. Nothing is half done: run the same command again to go on.", err=True
            )
        sys.exit(130)
    except SluiceError as error:
        if not _left_for_pipeline(error):
            click.echo(f"{_told_as(error)}: {error}", err=True)
            if error.hint:
                click.echo(f"  what to do: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == 28:
            click.echo(
                "error: the disk is full.\n  what to do: free some space and run the same command "
                "again.",
                err=True,
            )
            sys.exit(3)
        import traceback

        click.echo(without_credentials(traceback.format_exc()), err=True, nl=False)
        click.echo(
            f"error: {type(error).__name__}: {without_credentials(str(error))}\n"
            "  what to do: this is a defect in sluicegate; please report it with the lines above.",
            err=True,
        )
        sys.exit(3)


def _told_as(error: SluiceError) -> str:
    """What is unfinished is held, and no error."""
    return "HOLD" if isinstance(error, UnfinishedError) else "error"


def _left_for_pipeline(error: SluiceError) -> bool:
    """Where DVC runs this stage for `sluice release`, leave what stopped it to be told by that
    command.
    """
    place = read_variable("SLUICE_FAILURE")
    if not place:
        return False
    from pathlib import Path

    from sluicegate.hashing import write_json

    try:
        write_json(
            Path(place),
            {
                "exit_code": error.exit_code,
                "kind": type(error).__name__,
                "message": str(error),
                "hint": error.hint,
            },
        )
    except (SluiceError, OSError):
        return False  # a full disk
    return True
