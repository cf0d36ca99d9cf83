"""Reading the ledger back: what served when, which release a name means, and what `verify` counts
and finds.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from sluicegate.errors import IntegrityError, ReleaseError, UsageError
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.records import Decision
from sluicegate.releasing import (
    Anchor,
    anchor_in_git,
    bootstrap,
    find_release,
    history,
    promote,
    rollback,
    served_at,
    verify,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from reviewed_project import RULES, decided, entered, reviewed


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = reviewed(tmp_path)
    (made.registry / "gates.yaml").write_text(RULES)
    return made


def test_what_served_is_known_to_the_microsecond_and_in_any_zone(project: Project) -> None:
    """At the moment of a move its release serves, just before it the former one; no zone means UTC."""
    zero, one = entered(project, 1), entered(project, 2)
    bootstrap(project, zero, actor="maker")
    decided(project, one)
    promote(project, one, actor="ann", reason="Friday")
    moved = datetime.fromisoformat(Ledger(project.ledger_url).entries()[-1].time).astimezone(UTC)
    before = moved - timedelta(microseconds=1)
    for moment in (
        moved,
        moved.replace(tzinfo=None),
        moved.astimezone(timezone(timedelta(hours=-7))),
    ):
        event = served_at(project, moment)
        assert event is not None
        assert (event.release, event.kind, event.version, event.epoch, event.reason) == (
            one,
            "promote",
            2,
            2,
            "Friday",
        )
    for moment in (
        before,
        before.replace(tzinfo=None),
        before.astimezone(timezone(timedelta(hours=9))),
    ):
        event = served_at(project, moment)
        assert event is not None
        assert (event.release, event.kind, event.version, event.epoch) == (zero, "bootstrap", 1, 1)
    assert [(event.sequence, event.decision, event.reason) for event in history(project)] == [
        (1, "", ""),
        (2, "", ""),
        (3, "", "release zero"),
        (4, "PROMOTE", "better"),
        (5, "", "Friday"),
    ]


def test_a_name_means_one_release(project: Project) -> None:
    """Six digits are enough and five are not; a version goes before a digest, and two that fit are
    none.
    """
    one, two = entered(project, 1), entered(project, 2)
    assert [find_release(project, name) for name in (one[:6], two[:6], "1", "v2")] == [
        one,
        two,
        one,
        two,
    ]
    with pytest.raises(UsageError, match="no release is called"):
        find_release(project, one[:5])
    with pytest.raises(ReleaseError, match="no champion yet"):
        find_release(project, "champion")
    payload = Ledger(project.ledger_url).entries("register", one)[0].payload
    Ledger(project.ledger_url).append(
        "register", "0123456" + "a" * 57, "eve", {**payload, "version": 2}
    )
    assert find_release(project, "012345") == "0123456" + "a" * 57
    Ledger(project.ledger_url).append("register", "f" * 64, "eve", {**payload, "version": 123456})
    Ledger(project.ledger_url).append(
        "register", "123456" + "a" * 58, "eve", {**payload, "version": 4}
    )
    assert find_release(project, "123456") == "f" * 64
    with pytest.raises(UsageError, match="several releases fit"):
        find_release(project, "2")


def test_verify_counts_what_it_looked_at(project: Project) -> None:
    """Entries, releases and every anchor: this machine's own, and those given by hand."""
    zero = entered(project, 1)
    bootstrap(project, zero, actor="maker")
    entered(project, 2)
    head = Ledger(project.ledger_url).head()
    known = Anchor("a note", *head)
    first = Anchor("an older note", 1, Ledger(project.ledger_url).entries()[0].hash)
    found = verify(project)
    assert (found.entries, found.releases, found.head, found.anchors) == (3, 2, head[1], 1)
    assert verify(project, anchor=head).anchors == 2
    assert verify(project, anchors=[known, first]).anchors == 3
    assert verify(project, anchor=head, anchors=[known, first]).anchors == 4
    for wrong in (Anchor("a note", head[0], first.hash), Anchor("a note", 1, head[1])):
        with pytest.raises(IntegrityError, match="that a note vouches for"):
            verify(project, anchors=[first, wrong])


@pytest.mark.parametrize(
    "wrong", [{"decision": "HOLD"}, {"candidate": "0" * 64}, {"champion": "0" * 64}, {}]
)
def test_verify_asks_for_the_verdict_that_allowed_each_promotion(
    project: Project, wrong: dict[str, Any]
) -> None:
    """It is a PROMOTE on that release against the champion it replaced; any other is as good as
    none.
    """
    bootstrap(project, entered(project, 1), actor="maker")
    one, ledger = entered(project, 2), Ledger(project.ledger_url)
    decided(project, one, Decision.PROMOTE)
    payload = ledger.entries("verdict")[-1].payload
    ledger.append("verdict", one, "eve", {**payload, **wrong})
    moved = ledger.move_champion(one, 2, 1, "promote", "eve", {"verdict": payload["verdict"]})
    if not wrong:
        assert verify(project).entries == moved.sequence
        return
    with pytest.raises(IntegrityError, match=f"entry {moved.sequence} .promote. was not"):
        verify(project)


def test_an_empty_ledger_has_no_head_to_anchor(project: Project) -> None:
    """There is nothing to vouch for, and git is not even asked."""
    with pytest.raises(ReleaseError, match="empty"):
        anchor_in_git(project)


def test_a_rollback_goes_to_the_version_that_was_named(project: Project) -> None:
    """Neither to a later one that served since nor to an earlier one, from either end."""
    releases = {version: entered(project, version) for version in (1, 2, 3)}
    bootstrap(project, releases[1], actor="maker")
    for version in (2, 3):
        decided(project, releases[version])
        promote(project, releases[version], actor="ann")
    for version in (1, 3, 2, 1, 2):
        found = rollback(project, actor="ann", to=version).champion
        assert (found.version, found.release) == (version, releases[version])
