"""`sluice benchmark`."""

from __future__ import annotations

import click

from sluicegate.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@click.option(
    "--release",
    "of",
    type=click.Choice(["candidate", "champion"]),
    default="candidate",
    show_default=True,
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the first N examples of each task.",
)
@click.option("--chat", is_flag=True, help="Put the tasks' prompts into the model's chat template.")
@json_option
def benchmark(tasks: tuple[str, ...], of: str, limit: int | None, chat: bool, as_json: bool) -> int:
    """Did tuning break anything? Run lm-eval tasks on the base model and on the tuned release, example by example.

    TASK is a name that lm-eval knows, or a YAML file or folder of your own. The exit code is 1 where tuning is shown to
    have made a task worse, 0 otherwise; a wide interval says that too few examples were asked to tell.
    """
    from sluicegate.line.choose.benchmark import benchmark as run
    from sluicegate.project import find_project

    found = run(str(find_project().root), tasks, of=of, limit=limit, chat=chat)
    code = 1 if found["worse"] else 0
    if as_json:
        print_json({**found, "exit_code": code})
        return code
    print_table(
        ["task", "metric", "n", "base", "tuned", "tuned is better by (95 %)", "better/worse", ""],
        [
            [
                one.task,
                one.metric,
                one.base.n,
                f"{one.base.mean:.4f}",
                f"{one.tuned.mean:.4f}",
                f"{one.difference.mean:+.4f} ({one.difference.low:+.4f} to {one.difference.high:+.4f})",
                f"{one.better}/{one.worse}",
                one.decision,
            ]
            for one in found["comparisons"]
        ],
    )
    for task, names in found["left_out"].items():
        click.echo(f"left out: {task}: {', '.join(names)} (no mean of examples)")
    click.echo(f"evidence: {found['folder']}")
    return code
