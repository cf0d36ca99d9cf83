"""What reads and moves the champion: `promote`, `rollback`, `reconcile`, `verify`, `history` ..."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta

import click

from sluicegate.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("release")
@click.option("--reason", default="", help="Why, for the ledger.")
@click.option(
    "--again", is_flag=True, help="Allow a release that was rolled back after it had served."
)
@json_option
def promote(release: str, reason: str, again: bool, as_json: bool) -> None:
    """Make RELEASE (a version or digest) the champion; needs a recorded PROMOTE verdict for
    exactly these digests.

    Where the policy asks for approvals it needs those as well, of exactly that verdict.
    """
    from sluicegate import releasing
    from sluicegate.line.release.approve import collect
    from sluicegate.line.run import actor, open_run

    run = open_run()
    project = run.project
    digest = releasing.find_release(project, release)
    for warning in collect(run).refused:
        click.echo(f"warning: {warning}", err=True)
    move = releasing.promote(
        project,
        digest,
        actor=actor(),
        reason=reason,
        again=again,
        tracking=run.tracking,
        model=run.name,
    )
    _moved(move, as_json)


@click.command()
@click.option(
    "--to", type=int, help="Version to go back to (default: the champion before this one)."
)
@click.option("--reason", default="", help="Why, for the ledger.")
@json_option
def rollback(to: int | None, reason: str, as_json: bool) -> None:
    """Make a former champion serve again: adapter, base, prompt and generation settings together.

    Its stored bytes are verified first. Works with MLflow, Prefect and git out of reach.
    """
    from sluicegate import releasing
    from sluicegate.config import Params
    from sluicegate.errors import ConfigError
    from sluicegate.line.run import actor, open_tracking
    from sluicegate.project import find_project
    from sluicegate.yaml_file import load

    project = find_project()
    try:
        name = load(project.params, Params).release.name
    except ConfigError as error:
        click.echo(
            f"warning: {error} MLflow was not updated; run `sluice reconcile` later.", err=True
        )
        name = ""
    tracking = open_tracking(project) if name else None
    _moved(
        releasing.rollback(
            project, actor=actor(), to=to, reason=reason, tracking=tracking, model=name
        ),
        as_json,
    )


@click.command()
@click.option(
    "--git-tag",
    is_flag=True,
    help="Also keep the ledger's head in a git tag, sluice/ledger/N; push it.",
)
@json_option
def reconcile(git_tag: bool, as_json: bool) -> None:
    """Make MLflow's aliases and tags say what the ledger says, and report what was changed behind
    its back.
    """
    from sluicegate import releasing
    from sluicegate.line.run import open_run

    run = open_run()
    tag = releasing.anchor_in_git(run.project) if git_tag else ""
    found = releasing.reconcile(run.project, tracking=run.tracking, model=run.name)
    if as_json:
        print_json({**asdict(found), "git_tag": tag})
        return
    for line in found.changed or ("nothing to repair",):
        click.echo(line)
    if tag:
        click.echo(
            f"the ledger's head is in the git tag {tag}; keep it elsewhere: git push origin {tag}"
        )


@click.command()
@click.option(
    "--offline", is_flag=True, help="Do not ask MLflow which head of the ledger it remembers."
)
@json_option
def verify(offline: bool, as_json: bool) -> None:
    """Check the ledger's hash chain and the stored bytes of every release; exit code 3 when
    something is wrong.

    The chain is compared with the heads that `sluice reconcile` left in MLflow and in git tags.
    """
    from sluicegate import releasing
    from sluicegate.errors import ConfigError
    from sluicegate.line.run import open_run, open_tracking
    from sluicegate.project import find_project

    project, tracking, name = find_project(), None, ""
    if not offline:
        try:
            tracking, name = open_tracking(project), open_run(project).name
        except ConfigError as error:
            click.echo(f"note: MLflow was not compared: {error}", err=True)
    found = releasing.verify(project, tracking=tracking, model=name)
    for place in found.unasked:
        click.echo(f"note: {place}", err=True)
    if as_json:
        print_json(found)
        return
    click.echo(
        f"sound: {found.entries} entries, {found.releases} releases, head {found.head[:12]}, "
        f"earlier heads compared: {found.anchors}, verdicts with their evidence: {found.evidence}"
    )
    for line in found.anew:
        click.echo(f"begun anew: {line}")


@click.group()
def ledger() -> None:
    """The record of who let which release serve."""


@ledger.command(short_help="Go on though another ledger is known.")
@click.option("--reason", required=True, help="Why; recorded with your name, for good.")
@json_option
def new(reason: str, as_json: bool) -> None:
    """Go on with the ledger that is there, or with an empty one, though another is known.

    For the day when the ledger was lost and no backup is left. The heads that are known in git
    tags,
    in MLflow and on this machine are given up by name; `sluice verify` and `sluice history` show
    it.
    """
    from sluicegate import releasing
    from sluicegate.line.run import actor, open_run

    run = open_run()
    entry = releasing.begin_anew(
        run.project, actor=actor(), reason=reason, tracking=run.tracking, model=run.name
    )
    if as_json:
        print_json(entry)
        return
    for lost in entry.payload["lost"]:
        click.echo(f"given up: entry {lost['sequence']}, which {lost['where']} vouches for")
    click.echo(f"recorded as entry {entry.sequence} by {entry.actor}")


@click.command()
@click.option(
    "--on",
    "moment",
    metavar="WHEN",
    help="Only: what served then (UTC): now, today, yesterday, a date, or a date with a time.",
)
@json_option
def history(moment: str | None, as_json: bool) -> None:
    """What was registered, judged, promoted and rolled back; when, by whom and why."""
    from sluicegate import releasing
    from sluicegate.project import find_project

    project = find_project()
    events = (
        releasing.served_between(project, *_span(moment, datetime.now(UTC)))
        if moment
        else releasing.history(project)
    )
    if as_json:
        print_json(events)
        return
    if moment and not events:
        click.echo(f"nothing served then ({moment})")
        return
    if not events:
        click.echo("nothing is recorded yet; `sluice release` makes the first entries")
        return
    rows = [
        (event.epoch, event.time[:19], event.kind, event.version or "", event.release[:12],
        event.actor, event.decision,
         event.reason)
        for event in events
    ]  # fmt: skip
    print_table(
        ("epoch", "time (UTC)", "what", "version", "release", "who", "verdict", "why"), rows
    )


def _span(text: str, now: datetime) -> tuple[datetime, datetime]:
    """From when to when `text` means: a day without a time is the whole day, as far as it has
    passed.
    """
    from sluicegate.errors import UsageError

    days = {"today": now.date(), "yesterday": now.date() - timedelta(days=1)}
    word = text.strip().casefold()
    if word == "now":
        return now, now
    try:
        day = days[word] if word in days else date.fromisoformat(text.strip())
    except ValueError:
        try:
            exact = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise UsageError(
                f"--on {text}: not a date.",
                hint="Write today, 2026-11-23 or 2026-11-23T08:00 (UTC).",
            ) from error
        return exact, exact
    start = datetime.combine(day, time.min, UTC)
    return start, start + timedelta(days=1, microseconds=-1)


@click.command()
@click.argument("release", default="champion")
@json_option
def lineage(release: str, as_json: bool) -> None:
    """What RELEASE (a version, a digest or `champion`) is made of and where it came from."""
    from sluicegate import releasing
    from sluicegate.ledger import Ledger
    from sluicegate.project import find_project

    project = find_project()
    digest = releasing.find_release(project, release)
    stored = releasing.load_registered(
        project, digest, Ledger(project.ledger_url).entries("register", digest)
    )
    if as_json:
        asked = {"asked": stored.asked} if stored.asked else {}
        print_json({"digest": stored.digest, **stored.manifest, **asked})
        return
    rows = [("release", stored.digest), ("model", f"{stored.base_name} {stored.release.base}")]
    rows += [(f"  asked {name}", str(said)) for name, said in (stored.asked or {}).items()]
    rows += [
        ("adapter", stored.release.adapter or "none"),
        ("prompt", f"{stored.prompt.name} {stored.release.prompt}"),
    ]
    rows += [("generation", stored.release.generation), ("data", stored.lineage.data)]
    rows += [(f"  source {name}", digest) for name, digest in stored.lineage.sources.items()]
    rows += [("golden", stored.lineage.golden), ("code", stored.lineage.code)]
    rows += [
        (
            "commit",
            stored.lineage.commit + (" with uncommitted changes" if stored.lineage.dirty else ""),
        )
    ]
    rows += [("parent", stored.lineage.parent or "none")]
    print_table(("part", "identity"), rows)


def _moved(move: object, as_json: bool) -> None:
    from sluicegate.releasing import Move

    assert isinstance(move, Move)
    if as_json:
        print_json(move)
        return
    verb = "serves now" if move.entry else "already serves; nothing was changed"
    click.echo(
        f"version {move.champion.version} {verb} (epoch {move.champion.epoch}, "
        f"{move.champion.release[:12]})"
    )
    for warning in move.warnings:
        click.echo(f"warning: {warning}", err=True)
