"""The guard by itself: each condition of a move decides, from both sides, and what is about other
releases does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from sluicegate.errors import NotApprovedError, ReleaseError, UsageError
from sluicegate.gates.policy import Approvals
from sluicegate.records import Champion, LedgerEntry
from sluicegate.releasing import guard

LOW, SERVES, WANTED, HIGH = ("".join([sign] * 64) for sign in "akmz")
REIGN = int("3000")
CHAMPION = Champion(SERVES, REIGN, 1)
POLICY = "m" * 10
APPROVALS = Approvals(
    required=2,
    role="reviewer",
    people={
        "ann": ("reviewer",),
        "ben": ("reviewer",),
        "cleo": ("lead", "reviewer"),
        "dan": ("lead",),
        "eve": ("reviewer",),
    },
)
KINDS = (
    "aaa",
    "approval",
    "bootstrap",
    "promote",
    "purge",
    "register",
    "rollback",
    "verdict",
    "zzz",
)


def line(
    *steps: tuple[str, str] | tuple[str, str, dict[str, Any]], actor: str = "ann"
) -> list[LedgerEntry]:
    """Entries of these kinds and releases, in order; texts are fresh objects, as they are when read
    from a database.
    """
    entries = []
    for number, (kind, release, *rest) in enumerate(steps, start=1001):
        payload = {"version": number, "verdict": "verdict-digest", **(rest[0] if rest else {})}
        person = payload.pop("actor", actor)
        payload = {
            key: "".join(list(value)) if isinstance(value, str) else value
            for key, value in payload.items()
        }
        fresh = ["".join(list(text)) for text in (person, kind, release)]
        entries.append(LedgerEntry(number, "2026", *fresh, 0, payload, "", ""))
    return entries


def judged(**changes: Any) -> tuple[str, str, dict[str, Any]]:
    """A verdict that allows WANTED to replace the champion, but for `changes`."""
    good = {
        "decision": "PROMOTE",
        "candidate": WANTED,
        "champion": SERVES,
        "judged_epoch": int("3000"),
        "policy": POLICY,
    }
    fresh = {
        key: "".join(list(value)) if isinstance(value, str) else value
        for key, value in good.items()
    }
    return ("verdict", WANTED, {**fresh, **changes})


def noise() -> list[tuple[str, str, dict[str, Any]]]:
    """Every kind of entry about other releases, lower and higher in any order."""
    said = {
        "decision": "REJECT",
        "candidate": "x",
        "champion": "x",
        "judged_epoch": 0,
        "policy": "x",
        "from": "x",
    }
    return [(kind, release, dict(said)) for release in (LOW, HIGH) for kind in KINDS]


def promoting(
    entries: Sequence[LedgerEntry], champion: Champion | None = CHAMPION, **changes: Any
) -> LedgerEntry:
    wanted = {"release": WANTED, "policy": POLICY, "approvals": None, "again": False, **changes}
    return guard.may_promote(entries, champion, **wanted)


def test_a_fitting_verdict_is_returned() -> None:
    """The latest verdict on the release is what allows the move, whatever is recorded about others
    around it.
    """
    entries = line(*noise(), ("register", WANTED), judged(), *noise(), judged(note=2), *noise())
    assert promoting(entries).payload["note"] == 2


def test_the_version_is_that_of_the_first_registration() -> None:
    """Only `register` entries of exactly this release count, the first of them."""
    others = [(kind, WANTED) for kind in KINDS if kind != "register"]
    entries = line(
        *noise(),
        *others,
        ("register", WANTED, {"version": "7"}),
        ("register", WANTED, {"version": 8}),
    )
    assert guard.registered_version(entries, WANTED) == 7
    with pytest.raises(ReleaseError, match=r"^Release m{12} is not registered"):
        guard.registered_version(line(*noise(), *others), WANTED)


@pytest.mark.parametrize(
    "last",
    [
        {"decision": "REJECT"},
        {"decision": "HOLD"},
        {"candidate": LOW},
        {"candidate": HIGH},
        {"champion": LOW},
        {"champion": HIGH},
        {"champion": None},
        {"judged_epoch": REIGN - 1},
        {"judged_epoch": REIGN + 1},
        {"policy": "a" * 10},
        {"policy": "z" * 10},
    ],
)
def test_each_part_of_the_verdict_decides(last: dict[str, Any]) -> None:
    """A verdict that differs in one part refuses, also after a fitting one; and a fitting one after
    it allows.
    """
    entries = line(("register", WANTED), judged(), judged(**last))
    with pytest.raises(NotApprovedError):
        promoting(entries)
    assert promoting(line(("register", WANTED), judged(**last), judged()))


def test_nothing_is_promoted_without_registration_and_verdict() -> None:
    """Each of the two missing is a refusal of its own kind."""
    with pytest.raises(ReleaseError, match="not registered"):
        promoting(line(*noise(), judged()))
    with pytest.raises(NotApprovedError, match=r"no verdict on m{12}\.$"):
        promoting(line(*noise(), ("register", WANTED)))


FIRST = {"champion": LOW, "judged_epoch": 0, "first": True}


def test_the_first_champion_needs_a_verdict_that_judged_it_as_such() -> None:
    """While nothing serves only a verdict of a first release counts, be it compared with release
    zero or judged alone; once something serves, that verdict is one about another champion.
    """
    for compared in (LOW, None):
        entries = line(("register", WANTED), judged(**FIRST | {"champion": compared}))
        assert promoting(entries, None).payload["first"] is True
        with pytest.raises(NotApprovedError, match="has been replaced"):
            promoting(entries, Champion(LOW, 1, 1))
    for other in (
        judged(champion=LOW, judged_epoch=0),
        judged(**FIRST | {"first": False}),
        judged(),
    ):
        with pytest.raises(NotApprovedError, match="not as the first champion"):
            promoting(line(("register", WANTED), other), None)
    for refused, said in (
        ({"decision": "HOLD"}, "is HOLD"),
        ({"policy": "x"}, "policy has changed"),
        ({"judged_epoch": 3}, "has been replaced"),
    ):
        with pytest.raises(NotApprovedError, match=said):
            promoting(line(("register", WANTED), judged(**FIRST | refused)), None)
    with pytest.raises(NotApprovedError, match="2 approvals"):
        promoting(line(("register", WANTED), judged(**FIRST)), None, approvals=APPROVALS)


LEFT = ("rollback", SERVES, {"from": WANTED})


@pytest.mark.parametrize(
    ("moves", "out"),
    [
        ([], False),
        ([("promote", WANTED)], False),
        ([("promote", WANTED), LEFT], True),
        ([("promote", WANTED), LEFT, ("promote", LOW)], True),
        ([("promote", WANTED), LEFT, ("promote", WANTED)], False),
        ([("promote", WANTED), LEFT, ("rollback", WANTED, {"from": SERVES})], False),
        ([("bootstrap", WANTED), LEFT], True),
        (
            [
                ("promote", WANTED),
                ("rollback", SERVES, {"from": LOW}),
                ("rollback", SERVES, {"from": HIGH}),
            ],
            False,
        ),
        (
            [
                ("promote", WANTED),
                LEFT,
                *[(kind, WANTED) for kind in ("approval", "purge", "register", "verdict")],
            ],
            True,
        ),
        ([(kind, SERVES, {"from": WANTED}) for kind in KINDS if kind != "rollback"], False),
    ],
)
def test_what_was_rolled_back_stays_out_until_it_serves_again(moves: list[Any], out: bool) -> None:
    """Only a rollback from this release takes it out, only a move to it brings it back; `again`
    overrides.
    """
    entries = line(*noise(), *moves, *noise())
    assert guard.rolled_back(entries, WANTED) is out
    entries = line(("register", WANTED), *moves, judged())
    assert promoting(entries, again=True)
    if out:
        with pytest.raises(NotApprovedError, match=r"^m{12} was rolled back"):
            promoting(entries)
    else:
        assert promoting(entries)


def approved(person: str, **payload: Any) -> tuple[str, str, dict[str, Any]]:
    return ("approval", WANTED, {"actor": person, "verdict": "verdict-digest", **payload})


MADE = ("register", WANTED, {"actor": "Ann", "authors": ["Cleo@example.org"]})


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], 2),
        ([approved("ben")], 1),
        ([approved("ben"), approved("ben")], 1),
        ([approved("ben"), approved("eve")], 0),
        ([approved("ben"), approved("eve"), approved("ben")], 0),
        ([approved("ben"), approved("ann")], 1),  # registered it
        ([approved("ben"), approved("cleo")], 1),  # wrote its commit
        ([approved("ben"), approved("dan")], 1),  # another role
        ([approved("ben"), approved("who")], 1),  # unknown
        ([approved("ben"), approved("eve", verdict="a")], 1),
        ([approved("ben"), approved("eve", verdict="z")], 1),
        (
            [
                approved("ben"),
                ("approval", LOW, {"actor": "eve"}),
                ("approval", HIGH, {"actor": "eve"}),
            ],
            1,
        ),
        (
            [
                approved("ben"),
                *[
                    (kind, WANTED, {"actor": "eve"})
                    for kind in KINDS
                    if kind not in ("approval", "verdict")
                ],
            ],
            1,
        ),
    ],
)
def test_only_consents_that_count_are_counted(given: list[Any], missing: int) -> None:
    """Two different people with the role, not makers, of exactly this verdict and after it; and
    then it may go ahead.
    """
    others = [step for step in given if step[0] != "register"]
    entries = line(MADE, judged(), *others)
    if not missing:
        assert promoting(entries, approvals=APPROVALS)
        return
    count = "1 approval" if missing == 1 else "2 approvals"
    with pytest.raises(
        NotApprovedError, match=f"Version 1001 still needs {count} by a reviewer"
    ) as caught:
        promoting(entries, approvals=APPROVALS)
    assert caught.value.hint.startswith("ben or eve:" if missing == 2 else "eve:")
    assert promoting(entries)


def test_what_is_missing_is_a_difference() -> None:
    """With one of three given, two are missing."""
    three = APPROVALS.model_copy(update={"required": 3})
    with pytest.raises(NotApprovedError, match="still needs 2 approvals"):
        promoting(
            line(("register", WANTED, {"actor": "maker"}), judged(), approved("ben")),
            approvals=three,
        )


def test_more_consents_than_asked_for_are_enough() -> None:
    """Three of two is as good as two; and the order in which they are returned is that in which
    they were given.
    """
    entries = line(
        ("register", WANTED, {"actor": "maker"}),
        judged(),
        *[approved(name) for name in ("eve", "ann", "ben")],
    )
    verdict = promoting(entries, approvals=APPROVALS)
    assert [entry.actor for entry in guard.consents(entries, verdict, APPROVALS)] == [
        "eve",
        "ann",
        "ben",
    ]


def test_a_consent_counts_once_and_only_after_its_verdict() -> None:
    """What was given before the verdict was recorded does not count, and of two by one person the
    first is kept.
    """
    entries = line(
        MADE, approved("ben"), judged(), approved("eve", note=1), approved("eve", note=2)
    )
    verdict = entries[2]
    found = guard.consents(entries, verdict, APPROVALS)
    assert [(entry.actor, entry.payload["note"]) for entry in found] == [("eve", 1)]
    same_place = LedgerEntry(
        verdict.sequence,
        "2026",
        "ben",
        "approval",
        WANTED,
        0,
        {"verdict": "verdict-digest"},
        "",
        "",
    )
    assert guard.consents([*entries[:1], same_place], verdict, APPROVALS) == []


def test_who_may_approve() -> None:
    """Somebody the policy knows, with the role, who did not make the release; each refusal says
    which it is.
    """
    entries = line(*noise(), MADE, judged())
    guard.may_approve(entries, release=WANTED, approvals=APPROVALS, person="ben")
    for person, why in (
        ("who", "names nobody"),
        ("dan", "does not have the role"),
        ("ann", "made m{12},"),
        ("cleo", "made"),
    ):
        with pytest.raises(NotApprovedError, match=why) as caught:
            guard.may_approve(entries, release=WANTED, approvals=APPROVALS, person=person)
        assert caught.value.hint.startswith("ben or eve:")
    alone = APPROVALS.model_copy(
        update={"people": {"ann": ("reviewer",), "cleo": ("reviewer",), "dan": ("lead",)}}
    )
    with pytest.raises(NotApprovedError) as caught:
        guard.may_approve(entries, release=WANTED, approvals=alone, person="dan")
    assert caught.value.hint.startswith("Nobody else with the role reviewer")


@pytest.mark.parametrize(
    ("name", "made"),
    [("ann", True), (" ANN ", True), ("ann@other.org", True), ("cleo", True), ("cleo@x", True),
    ("an", False), ("", False),
     ("@", True), ("zoe", False), ("eve", False)],
)  # fmt: skip
def test_makers_are_known_by_name(name: str, made: bool) -> None:
    """Who registered this release or wrote its commit, capitals and addresses aside; no
    registration of another one.
    """
    steps = [(kind, WANTED, {"actor": "eve"}) for kind in KINDS if kind != "register"]
    others = [
        ("register", release, {"actor": "zoe", "authors": ["zoe"]}) for release in (LOW, HIGH)
    ]
    entries = line(
        *others,
        *steps,
        ("register", WANTED, {"actor": "Ann", "authors": ["Cleo@example.org", "@"]}),
        *others,
    )
    assert guard.is_maker(entries, WANTED, name) is made


def test_what_is_missing_is_said_in_words() -> None:
    """One approval or several, with the article that fits the role."""
    assert guard.wanted(1, "reviewer") == "1 approval by a reviewer"
    assert guard.wanted(2, "Owner") == "2 approvals by an Owner"
    assert guard.wanted(0, "u") == "0 approval by an u"


def test_a_rollback_needs_a_champion_and_a_release_that_served() -> None:
    """Any kind of move to exactly this release allows it; nothing else does."""
    for kind in ("bootstrap", "promote", "rollback"):
        guard.may_roll_back(line(*noise(), (kind, WANTED)), CHAMPION, release=WANTED)
    never = line(
        *noise(),
        *[(kind, WANTED) for kind in KINDS if kind not in ("bootstrap", "promote", "rollback")],
    )
    with pytest.raises(ReleaseError, match=r"^m{12} never served"):
        guard.may_roll_back(never, CHAMPION, release=WANTED)
    with pytest.raises(ReleaseError, match="There is no champion"):
        guard.may_roll_back(line(("promote", WANTED)), None, release=WANTED)


def test_a_first_champion_of_an_earlier_version_needs_a_registration_and_an_empty_throne() -> None:
    """Version 0.2.0 and earlier ones recorded it without a verdict: registered and nobody before is
    allowed; a champion now, or a move ever, or no registration refused.
    """
    guard.may_bootstrap(
        line(("register", WANTED), ("verdict", WANTED), ("approval", LOW)), None, release=WANTED
    )
    with pytest.raises(ReleaseError, match="not registered"):
        guard.may_bootstrap(line(("verdict", WANTED)), None, release=WANTED)
    with pytest.raises(ReleaseError, match="There is a champion already"):
        guard.may_bootstrap(line(("register", WANTED)), CHAMPION, release=WANTED)
    for kind in ("bootstrap", "promote", "rollback"):
        with pytest.raises(ReleaseError, match="There is a champion already"):
            guard.may_bootstrap(line(("register", WANTED), (kind, LOW)), None, release=WANTED)


@pytest.mark.parametrize(
    ("moves", "back_to"),
    [
        ("bA pB", "A"),
        ("bA pB pC", "B"),
        ("bA pB pC rB", "A"),
        ("bA pB pC rB rA", None),
        ("bA", None),
        ("", None),
        ("bA pB rA pC", "A"),
        ("bA pB pC rA pD", "A"),
        ("bA pB rA rB", None),
        ("bA pB pA rB", "A"),
        ("bA pB rA rB rA", None),
        ("rA pB", "A"),
        ("bA pB rC", None),
        ("bA pB rC pD", "C"),
    ],
)
def test_a_plain_rollback_goes_one_promotion_back(moves: str, back_to: str | None) -> None:
    """A rollback takes off the pile what it left, so the next goes further back; other kinds do not
    count.
    """
    kinds = {"b": "bootstrap", "p": "promote", "r": "rollback"}
    steps: list[tuple[str, str]] = []
    for move in moves.split():
        steps += [(kind, "X" * 64) for kind in KINDS if kind not in kinds.values()] + [
            (kinds[move[0]], move[1] * 64)
        ]
    entries = line(*steps)
    if back_to is None:
        with pytest.raises(UsageError, match="before this one"):
            guard.before_champion(entries)
    else:
        assert guard.before_champion(entries).release == back_to * 64
