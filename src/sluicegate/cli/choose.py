"""`sluice select` and `sluice benchmark`."""

from __future__ import annotations

import click

from sluicegate.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("models", nargs=-1)
@json_option
def select(models: tuple[str, ...], as_json: bool) -> int:
    """Compare base models on the golden set: quality, response times, memory, licence, cost; and say which to take.

    \b
    sluice select                       the candidates of registry/selection.yaml
    sluice select small my-endpoint     these two, names in registry/models.yaml

    What rules a candidate out, and what the costs assume, is in registry/selection.yaml. The report is
    reports/selection.html. Exit code 0: one is chosen, 1: all were ruled out.
    """
    from sluicegate.hashing import read_json
    from sluicegate.line.choose.select import run_selection
    from sluicegate.line.run import open_run

    found = run_selection(open_run(), models)
    if as_json:
        print_json(read_json(found.page.with_suffix(".json")))
    else:
        click.echo(found.text)
        click.echo(f"report:   {found.page}")
    return 0 if found.choice.chosen else 1


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
    from sluicegate import hashing
    from sluicegate.line.choose.benchmark import benchmark as measure
    from sluicegate.line.run import open_run

    found = measure(open_run(), tasks, of=of, limit=limit, chat=chat)
    code = 1 if found.worse else 0
    if as_json:
        print_json(hashing.as_json(found) | {"exit_code": code})
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
            for one in found.comparisons
        ],
    )
    for task, names in found.left_out.items():
        click.echo(f"left out: {task}: {', '.join(names)} (not a mean over examples)")
    click.echo(f"evidence: {found.folder}")
    return code
