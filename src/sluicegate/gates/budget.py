"""A golden set's share of error, spent evaluation by evaluation, and the correction where any of
several metrics may decide.

Each verdict is one more evaluation on the same golden set. With 20 of them at 5 % each an equal
candidate gets through in one case of three or so; here all evaluations on a golden set share one
alpha. Online fallback (J. Tian and A. Ramdas, "Online control of the familywise error rate",
Statistical Methods in Medical Research 30, 2021): evaluation k has alpha * gamma_k, gamma_k
proportional to k^-2, and one that promotes hands its share on to the next. The chance that any of
them promotes what it must not is at most alpha, whatever the dependence between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sluicegate.gates.policy import Policy
from sluicegate.records import Decision, LedgerEntry


def allowance(earlier: Sequence[bool], policy: Policy) -> float:
    """Error rate of the next evaluation after the `earlier` ones (True: it promoted, oldest first).

    0.0 when all are used up.

    Example:
        >>> policy = Policy.model_validate({"rules": [{"name": "r", "kind": "requires",
        ...     "fact": "f"}]})
        >>> [round(allowance([False] * count, policy), 4) for count in (0, 1, 19, 20)]
        [0.0313, 0.0078, 0.0001, 0.0]
        >>> round(allowance([True], policy), 4)
        0.0392
    """
    if len(earlier) >= policy.submissions:
        return 0.0
    unit = policy.alpha / math.fsum(k**-2 for k in range(1, policy.submissions + 1))
    rate = unit
    for number, promoted in enumerate(earlier, start=2):
        rate = unit * number**-2 + (rate if promoted else 0.0)
    return rate


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
