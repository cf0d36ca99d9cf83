"""How many labels does the order of `sluice label next` save, and which order breaks the promise?

    python benchmarks/label_next.py --simulations 2000
    python benchmarks/label_next.py --data summeval.json     # votes from real human ratings

The rule `human_review` (margin 0.15, one look, one-sided alpha 5 %) on candidates whose answers
equal the champion's in a part of the rows. People label rows

    random            any row, equal or not
    next              rows whose answers differ, in an order that digests give; equal ones count 0
    disagreement      rows whose answers differ, those first on which two judges disagree; equal
                      ones in proportion: what an active learner would do

and the gate judges by what is labelled. `labels`: how many it takes until 80 % of the candidates
with no true difference are promoted. `false`: how often one that is exactly at the margin is
promoted after so many labels; its losses are such that both judges see them. At most 5 % is
promised.

Exit code 1 when `next` breaks the promise by more than three Monte-Carlo errors, or takes more than
60 % of the labels although at least half of the answers are equal.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sluicegate.gates.bounds import Clusters, p_mean_at_most

MARGIN, ALPHA, POWER, ROWS = 0.15, 0.05, 0.8, 1500
SLOPE = 0.35
"""By how much the power grows near 0.8 where the logarithm of the labels grows by 1 (normal)."""
DIFFERING = (0.3, 0.5, 0.7, 1.0)
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]


def simulated(rng: np.random.Generator, n: int) -> Floats:
    """Votes on answers that differ but are as good: half of them are the same to people."""
    return rng.choice([-1.0, 0.0, 1.0], size=n, p=[0.25, 0.5, 0.25])


def from_ratings(path: Path) -> Draw:
    """Votes by the mean human ratings of two answers, as they are in the file."""
    found = json.loads(path.read_text("utf-8")).values()
    ratings = np.array([np.mean(row["annotations"]) for row in found])

    def draw(rng: np.random.Generator, n: int) -> Floats:
        return np.sign(rng.choice(ratings, n) - rng.choice(ratings, n))

    return draw


def rows(rng: np.random.Generator, draw: Draw, share: float, loss: float) -> tuple[Floats, ...]:
    """Votes of all rows, whether the answers differ, and how far two judges disagree."""
    differs = rng.random(ROWS) < share
    votes = np.where(differs, draw(rng, ROWS), 0.0)
    # A vote turns to -1 in so many differing rows that the mean over all rows is -loss.
    rate = loss / share  # votes are 0 in the mean: a turned one loses 1
    worse = differs & (rng.random(ROWS) < rate)
    votes = np.where(worse, -1.0, votes)
    return votes, differs.astype(float), np.where(worse, 0.0, rng.random(ROWS))


def labelled(order: str, found: tuple[Floats, ...], labels: int) -> Floats:
    """The votes that the gate sees after so many labels."""
    votes, differs, disagree = found
    if order == "random":
        return votes[:labels]
    places = np.flatnonzero(differs)
    last = int(places[min(labels, len(places)) - 1]) + 1
    if order == "next":
        return votes[:last]
    within = places[: 4 * labels]  # the most disputed quarter of four times as many
    chosen = within[np.argsort(-disagree[within], kind="stable")][:labels]
    equal = round(labels * (1.0 - differs.mean()) / differs.mean())
    return np.concatenate([votes[chosen], np.zeros(equal)])


def promoted(votes: Floats) -> bool:
    return p_mean_at_most(Clusters(np.sort(votes), len(votes), -1.0, 1.0), -MARGIN) < ALPHA


def share_promoted(
    draw: Draw, share: float, order: str, labels: int, loss: float, simulations: int
) -> float:
    """How often so many labels are enough."""
    rng = np.random.default_rng([round(100 * share), round(100 * loss)])
    return float(
        np.mean(
            [
                promoted(labelled(order, rows(rng, draw, share, loss), labels))
                for _ in range(simulations)
            ]
        )
    )


def needed(draw: Draw, share: float, order: str, simulations: int) -> int:
    """Labels until an equal candidate passes in 80 %."""
    low, high = 4, 400
    while high - low > 1:
        middle = (low + high) // 2
        if share_promoted(draw, share, order, middle, 0.0, simulations) >= POWER:
            high = middle
        else:
            low = middle
    return high


def error(share: float, simulations: int) -> float:
    return math.sqrt(max(share * (1 - share), 1 / simulations) / simulations)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--data", type=Path, help="summeval.json with three annotations a row")
    given = parser.parse_args()
    draw = from_ratings(given.data) if given.data else simulated
    print("| answers that differ | labels, random | labels, next | of random |", end="")
    print(" false, random | false, next | false, disagreement |")
    print("|---|---|---|---|---|---|---|")
    broken = False
    for share in DIFFERING:
        random, following = (
            needed(draw, share, order, given.simulations) for order in ("random", "next")
        )
        false = {
            order: share_promoted(draw, share, order, count, MARGIN, given.simulations)
            for order, count in (
                ("random", random), ("next", following), ("disagreement", following),
            )
        }  # fmt: skip
        errors = {order: error(found, given.simulations) for order, found in false.items()}
        ratio = following / random
        spread = ratio * math.sqrt(2.0) * error(POWER, given.simulations) / SLOPE
        cells = [f"{false[order]:.1%} ± {errors[order]:.1%}" for order in false]
        print(f"| {share:.0%} | {random} | {following} | {ratio:.0%} ± {spread:.0%} |", end="")
        print(f" {' | '.join(cells)} |", flush=True)
        broken |= false["next"] > ALPHA + 3 * errors["next"] or (share <= 0.5 and ratio > 0.6)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
