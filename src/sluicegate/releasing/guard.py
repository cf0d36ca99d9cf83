"""The guard: pure answers to "may this move happen?", asked inside the transaction that would make
it.
"""

from __future__ import annotations

from collections.abc import Sequence

from sluicegate.errors import NotApprovedError, ReleaseError, UsageError
from sluicegate.gates.policy import Approvals
from sluicegate.ledger import MOVES
from sluicegate.records import Champion, Decision, LedgerEntry
from sluicegate.releasing.people import is_maker

_JUDGE = "Run `sluice gate --set golden`, then promote."


def registered_version(entries: Sequence[LedgerEntry], release: str) -> int:
    """The version under which `release` was registered.

    Raises:
        ReleaseError: it never was.
    """
    for entry in entries:
        if entry.kind == "register" and entry.release == release:
            return int(entry.payload["version"])
    raise ReleaseError(f"Release {release[:12]} is not registered.", hint="Run `sluice release`.")


def verdict_in_force(
    entries: Sequence[LedgerEntry], champion: Champion | None, *, release: str, policy: str
) -> LedgerEntry:
    """Return the PROMOTE verdict on `release` that holds now, against this champion in this reign,
    under `policy`; where nothing serves, one that judged it as the first champion.

    Args:
        entries: all entries of `release`, in order; others do no harm.
        policy: digest of the policy in force.

    Raises:
        NotApprovedError: the latest verdict on `release` is absent, not PROMOTE, about another
            champion or an earlier reign of the same one, not about a first champion where nothing
            serves, or under another policy.
        ReleaseError: the release is not registered.
    """
    registered_version(entries, release)
    short = release[:12]
    verdicts = [entry for entry in entries if entry.kind == "verdict" and entry.release == release]
    if not verdicts:
        raise NotApprovedError(f"There is no verdict on {short}.", hint=_JUDGE)
    verdict = verdicts[-1]
    found = verdict.payload
    if found["decision"] != Decision.PROMOTE:
        raise NotApprovedError(
            f"The latest verdict on {short} is {found['decision']}.", hint=_JUDGE
        )
    if found["candidate"] != release:
        raise NotApprovedError(
            f"The verdict filed under {short} is about another release.", hint=_JUDGE
        )
    if champion is None and not found.get("first"):
        raise NotApprovedError(
            f"Nothing serves yet, and {short} was judged against another commit's release, not as "
            "the first champion.",
            hint="Run `sluice release`.",
        )
    now = (found["champion"], 0) if champion is None else (champion.release, champion.epoch)
    if (found["champion"], found["judged_epoch"]) != now:
        raise NotApprovedError(
            f"{short} was judged against a champion that has been replaced since.", hint=_JUDGE
        )
    if found["policy"] != policy:
        raise NotApprovedError(f"The policy has changed since {short} was judged.", hint=_JUDGE)
    return verdict


def may_promote(
    entries: Sequence[LedgerEntry],
    champion: Champion | None,
    *,
    release: str,
    policy: str,
    approvals: Approvals | None,
    again: bool,
) -> LedgerEntry:
    """Return the verdict entry that allows `release` to replace `champion` under `policy`.

    Args:
        entries: all entries of `release` and all moves, in order.
        policy: digest of the policy in force.
        approvals: what that policy asks of people.
        again: a person asks for a release that was rolled back.

    Raises:
        NotApprovedError: no PROMOTE verdict is in force (see `verdict_in_force`), approvals of it
            are missing, or the
            release was rolled back since it served.
        ReleaseError: the release is not registered.
    """
    verdict = verdict_in_force(entries, champion, release=release, policy=policy)
    if rolled_back(entries, release) and not again:
        raise NotApprovedError(
            f"{release[:12]} was rolled back after it had served.",
            hint="A person may promote it once more with `sluice promote --again`.",
        )
    if approvals is not None:
        given = [entry.actor for entry in consents(entries, verdict, approvals)]
        missing = approvals.required - len(given)
        if missing > 0:
            version = registered_version(entries, release)
            raise NotApprovedError(
                f"Version {version} still needs {wanted(missing, approvals.role)}.",
                hint=f"{_askable(entries, release, approvals, given)} `sluice approve {version}`, "
                f"then `sluice promote {version}`.",
            )
    return verdict


def may_approve(
    entries: Sequence[LedgerEntry],
    *,
    release: str,
    approvals: Approvals,
    person: str,
    logins: Sequence[str] = (),
) -> None:
    """Allow `person` to approve `release`: known to the policy, with the role, not one of its
    makers.

    Args:
        logins: the names under which whoever enters it acts (`people.logins`): none may be a
            maker's,
            whatever name is typed.

    Raises:
        NotApprovedError: one of these does not hold.
    """
    others = _askable(entries, release, approvals, [])
    if person not in approvals.people:
        raise NotApprovedError(
            f"The policy names nobody called {person!r}.",
            hint=f"{others} `sluice approve --as NAME`.",
        )
    if approvals.role not in approvals.people[person]:
        raise NotApprovedError(
            f"{person} does not have the role {approvals.role}.", hint=f"{others} `sluice approve`."
        )
    if is_maker(entries, release, person):
        raise NotApprovedError(
            f"{person} made {release[:12]}, and nobody approves their own release.",
            hint=f"{others} `sluice approve`.",
        )
    for login in logins:
        if is_maker(entries, release, login):
            raise NotApprovedError(
                f"This approval is entered by {login}, who made {release[:12]}; "
                "the name that is typed makes no difference.",
                hint=f"{others} `sluice approve`, from an account of their own.",
            )


def consents(
    entries: Sequence[LedgerEntry], verdict: LedgerEntry, approvals: Approvals
) -> list[LedgerEntry]:
    """The first approval of exactly this verdict by each person who may give one; earlier
    verdicts' do not count.
    """
    found: dict[str, LedgerEntry] = {}
    for entry in entries:
        if (
            entry.kind == "approval"
            and entry.release == verdict.release
            and entry.sequence > verdict.sequence
            and entry.payload["verdict"] == verdict.payload["verdict"]
            and approvals.role in approvals.people.get(entry.actor, ())
            and not any(
                is_maker(entries, verdict.release, name)
                for name in (entry.actor, *entry.payload.get("logins", ()))
            )
        ):
            found.setdefault(entry.actor, entry)
    return list(found.values())


def wanted(count: int, role: str) -> str:
    """E.g. `1 approval by a reviewer`."""
    article = "an" if role[:1].lower() in tuple("aeiou") else "a"
    return f"{count} approval{'s' if count > 1 else ''} by {article} {role}"


def _askable(
    entries: Sequence[LedgerEntry], release: str, approvals: Approvals, given: Sequence[str]
) -> str:
    """Who could still approve, as the start of a sentence."""
    able = [
        person
        for person, roles in sorted(approvals.people.items())
        if approvals.role in roles
        and person not in given
        and not is_maker(entries, release, person)
    ]
    return (
        f"{' or '.join(able)}:"
        if able
        else f"Nobody else with the role {approvals.role} may: add one to gates.yaml;"
    )


def may_roll_back(
    entries: Sequence[LedgerEntry], champion: Champion | None, *, release: str
) -> None:
    """Allow a rollback only to a release that once served.

    Raises:
        ReleaseError: it never did, or nothing serves.
    """
    if champion is None:
        raise ReleaseError(
            "There is no champion, so there is nothing to roll back.",
            hint="`sluice release` makes a champion.",
        )
    if not any(entry.kind in MOVES and entry.release == release for entry in entries):
        raise ReleaseError(
            f"{release[:12]} never served; only a former champion can be rolled back to.",
            hint="`sluice history` lists what served.",
        )


def may_bootstrap(
    entries: Sequence[LedgerEntry], champion: Champion | None, *, release: str
) -> None:
    """Allow a first champion without a verdict, only while there is none: so did version 0.2.0 and
    earlier ones begin.

    Raises:
        ReleaseError: the release is not registered, or a release has served before.
    """
    registered_version(entries, release)
    if champion is not None or any(entry.kind in MOVES for entry in entries):
        raise ReleaseError("There is a champion already; the next release needs a verdict.")


def rolled_back(entries: Sequence[LedgerEntry], release: str) -> bool:
    """Was `release` taken out of service by a rollback more recently than it was put into it?"""
    taken_out = False
    for entry in entries:
        if entry.kind in MOVES and entry.release == release:
            taken_out = False
        elif entry.kind == "rollback" and entry.payload.get("from") == release:
            taken_out = True
    return taken_out


def before_champion(entries: Sequence[LedgerEntry]) -> LedgerEntry:
    """The move to go back to: the one under the champion on the pile of promotions (a rollback
    takes off what it left).

    Raises:
        UsageError: nothing served before the champion of now.
    """
    pile: list[LedgerEntry] = []
    for entry in entries:
        if entry.kind == "rollback":
            while pile and pile[-1].release != entry.release:
                pile.pop()
            if pile:
                continue
        if entry.kind in MOVES:
            pile.append(entry)
    if len(pile) < 2:
        raise UsageError(
            "No release served before this one.",
            hint="Name a version: `--to`; see `sluice history`.",
        )
    return pile[-2]
