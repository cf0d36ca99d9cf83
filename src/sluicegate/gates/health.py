"""Rules that decide nothing: those that never passed, never failed, or always warn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sluicegate.gates.policy import Policy
from sluicegate.records import Decision, LedgerEntry

TELLING = 10
"""Fewer verdicts say nothing of a rule."""


@dataclass(frozen=True, slots=True)
class Health:
    """What became of one rule in the ledger's verdicts.

    Attributes:
        name, severity: of the rule.
        verdicts: how many had it.
        passed, held, rejected: in how many of them it did what.
    """

    name: str
    severity: str
    verdicts: int
    passed: int
    held: int
    rejected: int

    @property
    def finding(self) -> str:
        """What is wrong with it, in words; empty where nothing is, or too little is known."""
        if self.verdicts < TELLING or 0 < self.passed < self.verdicts:
            return ""
        if self.passed:
            return "never failed"
        return "always warned" if self.severity == "warn" else "never passed"


def health(entries: Iterable[LedgerEntry], policy: Policy) -> tuple[Health, ...]:
    """How each rule of `policy` did in the verdicts among `entries`.

    A rule is the same as long as its name is; an evaluation that was judged again by the same
    policy counts once.
    """
    found: dict[tuple[str, str | None, str], LedgerEntry] = {}
    for entry in entries:
        if entry.kind == "verdict":
            kept = entry.payload
            found[(kept["evidence"], kept["champion_evidence"], kept["policy"])] = entry
    outcomes: dict[str, list[str]] = {rule.name: [] for rule in policy.rules}
    for entry in found.values():
        for rule in entry.payload.get("rules", ()):
            if rule["name"] in outcomes:
                outcomes[rule["name"]].append(rule["decision"])
    return tuple(_one(rule.name, rule.severity, outcomes[rule.name]) for rule in policy.rules)


def _one(name: str, severity: str, decisions: list[str]) -> Health:
    return Health(
        name,
        severity,
        len(decisions),
        decisions.count(Decision.PROMOTE),
        decisions.count(Decision.HOLD),
        decisions.count(Decision.REJECT),
    )


def findings(entries: Iterable[LedgerEntry], policy: Policy) -> list[str]:
    """What the people who own the policy should know of it, in sentences."""
    named: dict[str, list[str]] = {}
    for one in health(entries, policy):
        if one.finding:
            named.setdefault(one.finding, []).append(one.name)
    people = policy.approvals.people if policy.approvals else ()
    owners = f" ({', '.join(people)}: are they worth their place?)" if people else ""
    return [
        f"rules that {finding} in {TELLING} verdicts or more{owners}: {', '.join(names)}"
        for finding, names in sorted(named.items())
    ]
