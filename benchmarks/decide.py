"""How long does a verdict take? Six rules, at several sizes, beside plain bisection.

    python benchmarks/decide.py

Ours inverts the p value by false position (`gates.bounds._crossing`); the peer is the same p value
inverted by sixty halvings. Both give the same bounds to 1e-9, or the exit code is 1. Seconds are of
this process alone, the better of two runs each, in turn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np

from sluicegate.gates import Policy, bounds, decide
from sluicegate.records import Evidence, ScoredExample, Summary, Verdict

METRICS = ("a", "b", "c", "d", "e")
RULES = [
    {"name": "gain", "kind": "better_than_champion", "metric": "a"},
    {"name": "b kept", "kind": "not_worse_than_champion", "metric": "b", "margin": 0.05},
    {"name": "c kept", "kind": "not_worse_than_champion", "metric": "c", "margin": 0.05},
    {"name": "enough d", "kind": "at_least", "metric": "d", "threshold": 0.5},
    {"name": "little e", "kind": "at_most", "metric": "e", "threshold": 0.6},
    {"name": "a or e", "kind": "any_better_than_champion", "metrics": ["a", "e"]},
]


def evidence(release: str, rows: int, groups: int, shift: float, seed: int) -> Evidence:
    """Scores between 0 and 1, `rows / groups` rows a group."""
    values = np.random.default_rng(seed).normal(0.5 + shift, 0.2, (rows, len(METRICS))).clip(0, 1)
    names = [f"g{row % groups}" for row in range(rows)]
    summaries = {
        metric: Summary(bounds.clusters(list(column), names, 0.0, 1.0).mean, 0, 1, rows, groups)
        for metric, column in zip(METRICS, values.T, strict=True)
    }
    scored = tuple(
        ScoredExample(
            f"r{row}", names[row], "text", dict(zip(METRICS, map(float, found), strict=True)),
            0.1, 1, 1,
        )
        for row, found in enumerate(values)
    )  # fmt: skip
    return Evidence(release * 64, "0" * 64, "1" * 64, scored, summaries)


def halving(
    rises: Callable[[float], float],
    below: tuple[float, float],
    above: tuple[float, float],
    _: float,
) -> float:
    """The peer: what `_crossing` finds, by bisection."""
    low, high = below[0], above[0]
    for _turn in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rises(middle) < 0.0 else (low, middle)
    return low


def timed(rows: int, groups: int) -> tuple[float, Verdict]:
    """Process seconds of one verdict."""
    candidate, champion = evidence("a", rows, groups, 0.005, 1), evidence("b", rows, groups, 0, 2)
    policy = Policy.model_validate({"rules": RULES})
    start = time.process_time()
    verdict = decide(candidate, champion, policy, facts={})
    return time.process_time() - start, verdict


def same(one: Verdict, other: Verdict) -> bool:
    """Whether every bound and p value agrees to 1e-9."""
    pairs = [
        (getattr(mine, name), getattr(theirs, name))
        for mine, theirs in zip(one.rules, other.rules, strict=True)
        for name in ("low", "high", "p", "detectable")
    ]
    return bool(pairs) and all(
        mine == theirs or abs((mine or 0.0) - (theirs or 0.0)) <= 1e-9 for mine, theirs in pairs
    )


def main() -> int:
    print("| rows | groups | ours, s | bisection, s | ratio | equal to 1e-9 |")
    print("|---|---|---|---|---|---|")
    sound = True
    timed(64, 64)  # imports
    for rows, groups in ((64, 64), (500, 250), (5_000, 2_500)):
        ours, peers = [], []
        for _ in range(2):
            ours.append(timed(rows, groups))
            with patch.object(bounds, "_crossing", halving):
                peers.append(timed(rows, groups))
        (mine, verdict), (theirs, other) = (
            min(ours, key=lambda x: x[0]),
            min(peers, key=lambda x: x[0]),
        )
        equal = same(verdict, other)
        sound &= equal
        print(
            f"| {rows:,} | {groups:,} | {mine:.2f} | {theirs:.2f} | {theirs / mine:.1f} | {equal} |"
        )
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
