"""Does the gate keep its promise on an application that does not answer alike twice?

    python benchmarks/noisy_application.py [--runs 1000]

An application is right on each of 100 rows by a chance of the row's own (most rows are easy, some
are hard), and each answer flips with a chance of 10 %. Candidate and champion are evaluated anew,
`repeats` times a row, and go through `gates.decide`: first two that are equal, then a candidate
that is right 10 points less often. Shown is the share of `better_than_champion` (alpha 5 %) and of
`not_worse_than_champion` (margin 5 points) that is PROMOTE, with the Monte-Carlo standard error.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from numpy.typing import NDArray

from sluicegate.gates import Policy, decide
from sluicegate.records import Decision, Evidence, Repeat, ScoredExample

ROWS, FLIPS, LOSS = 100, 0.1, 0.1
RULES = {
    "better": {"kind": "better_than_champion"},
    "not worse": {"kind": "not_worse_than_champion", "margin": 0.05},
}
METRIC = "accuracy"


def evidence(
    chance: np.random.Generator, right: NDArray[np.float64], repeats: int, release: str
) -> Evidence:
    """An evaluation of an application that is right on a row by so much chance, before flips."""
    flipped = right * (1 - FLIPS) + (1 - right) * FLIPS
    scores = (chance.random((repeats, len(right))) < flipped).astype(float)
    rows = []
    for place, found in enumerate(scores.T):
        each = tuple(Repeat("", {METRIC: float(one)}) for one in found) if repeats > 1 else ()
        name = f"e{place:03d}"
        rows.append(
            ScoredExample(name, name, "", {METRIC: float(found.mean())}, 0.1, 1, 1, repeats=each)
        )
    return Evidence(release, "golden", "metrics", tuple(rows), {})


def promoted(loss: float, repeats: int, runs: int, seed: int = 0) -> dict[str, float]:
    """The share of runs in which each rule lets the candidate through; `loss` is what the candidate
    is right less often, in the end.
    """
    chance = np.random.default_rng([seed, repeats, round(1000 * loss)])
    policies = {
        name: Policy.model_validate(
            {"submissions": 1, "rules": [{"name": name, "metric": METRIC, **rule}]}
        )
        for name, rule in RULES.items()
    }
    passed = dict.fromkeys(RULES, 0)
    for _ in range(runs):
        right = np.where(chance.random(ROWS) < 0.8, 1.0, 0.3)
        champion = evidence(chance, right, repeats, "champion")
        worse = right - np.minimum(right, loss / (1 - 2 * FLIPS))
        candidate = evidence(chance, worse, repeats, "candidate")
        for name, policy in policies.items():
            found = decide(candidate, champion, policy, facts={})
            passed[name] += found.decision is Decision.PROMOTE
    return {name: count / runs for name, count in passed.items()}


def main() -> None:
    """Print the table."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--runs", type=int, default=1000)
    runs = reader.parse_args().runs
    print(f"{runs} evaluations a cell, {ROWS} rows, {FLIPS:.0%} flips; +- Monte-Carlo error")
    print("| truth | repeats | better: PROMOTE | not worse by 0.05: PROMOTE |")
    print("|---|---|---|---|")
    for truth, loss in (("equal", 0.0), ("10 points worse", LOSS)):
        for repeats in (1, 3):
            shares = promoted(loss, repeats, runs)
            cells = " | ".join(
                f"{100 * share:.1f} % +- {100 * math.sqrt(share * (1 - share) / runs):.1f}"
                for share in shares.values()
            )
            print(f"| {truth} | {repeats} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
