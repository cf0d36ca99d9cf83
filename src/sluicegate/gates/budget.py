"""A golden set's share of error, spent evaluation by evaluation, and the correction where any of
several metrics may decide.

Each verdict is one more evaluation on the same golden set. With 20 of them at 5 % each an equal
candidate gets through in one case of three or so; here all evaluations on a golden set share one
alpha. Online fallback (J. Tian and A. Ramdas, "Online control of the familywise error rate",
Statistical Methods in Medical Research 30, 2021): evaluation k has alpha * gamma_k, gamma_k
proportional to k^-2 (or all alike, where the policy spends evenly), and one that promotes hands its
share on to the next. The chance that any of them promotes what it must not is at most alpha,
whatever the dependence between them.

A golden set that shares rows with earlier ones is not fresh: their evaluations count in proportion.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from sluicegate.gates.policy import Policy
from sluicegate.records import Decision, LedgerEntry

_POWERS = {"front": -2, "even": 0}
_WHOLE = 1.0 - 1e-9
"""An evaluation needs room for a whole one."""


def allowance(earlier: Sequence[bool], policy: Policy, inherited: float = 0.0) -> float:
    """Error rate of the next evaluation after the `earlier` ones (True: it promoted, oldest first).

    0.0 when all are used up.

    Args:
        earlier: evaluations on this very golden set.
        policy: says how many there may be, and how alpha is spent on them.
        inherited: see the function of that name.

    Example:
        >>> policy = Policy.model_validate({"rules": [{"name": "r", "kind": "requires",
        ...     "fact": "f"}]})
        >>> [round(allowance([False] * count, policy), 4) for count in (0, 1, 19, 20)]
        [0.0313, 0.0078, 0.0001, 0.0]
        >>> round(allowance([True], policy), 4), round(allowance([], policy, 0.5), 4)
        (0.0392, 0.0139)
    """
    if len(earlier) + inherited > policy.submissions - _WHOLE:
        return 0.0
    power = _POWERS[policy.spending]
    unit = policy.alpha / math.fsum(k**power for k in range(1, policy.submissions + 1))
    rate = unit * (1 + inherited) ** power
    for number, promoted in enumerate(earlier, start=2):
        rate = unit * (number + inherited) ** power + (rate if promoted else 0.0)
    return rate


def inherited(entries: Iterable[LedgerEntry], *, golden: str, shares: Mapping[str, float]) -> float:
    """How many evaluations the rows of a golden set have seen as rows of earlier ones.

    Args:
        entries: of the ledger, oldest first.
        golden: digest of the set.
        shares: digest of an earlier set to the share of this set's rows that it has; 0 where it is
            not named.

    Returns:
        Each evaluation of another set counts as the share of rows that this set has from it.
    """
    seen = {
        (found["golden"], found["evidence"], found["champion_evidence"], found["policy"])
        for found in (entry.payload for entry in entries if entry.kind == "verdict")
    }
    return math.fsum(shares.get(other, 0.0) for other, *_ in seen if other != golden)


def earlier_evaluations(
    entries: Iterable[LedgerEntry],
    *,
    golden: str,
    evidence: str,
    champion_evidence: str | None,
    policy: str,
) -> tuple[bool, ...]:
    """What the ledger holds of earlier evaluations on `golden`, oldest first; True where the
    verdict was PROMOTE.

    One evaluation is one triple (evidence, champion's evidence, policy), however often it was
    judged. The triple that is judged now counts only what came before its own first verdict, so
    that a re-run gives the same bytes.
    """
    now = (evidence, champion_evidence, policy)
    promoted: dict[tuple[str, str | None, str], bool] = {}
    for entry in entries:
        found = entry.payload
        if entry.kind != "verdict" or found["golden"] != golden:
            continue
        triple = (found["evidence"], found["champion_evidence"], found["policy"])
        if triple == now:
            break
        promoted[triple] = promoted.get(triple, False) or found["decision"] == Decision.PROMOTE
    return tuple(promoted.values())


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given.

    S. Holm, Scandinavian Journal of Statistics 6, 1979.

    Each is compared with alpha itself; the chance of any false discovery is then at most alpha.

    Example:
        >>> [round(p, 6) for p in holm([0.01, 0.04, 0.03, 0.005])]
        [0.03, 0.06, 0.06, 0.02]
    """
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted
