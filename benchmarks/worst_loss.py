"""What does a declared worst loss give, and what does it cost? Simulated, cell by cell.

    python benchmarks/worst_loss.py --simulations 10000

The rule `not_worse_than_champion` (margin 0.05, one look, one-sided alpha 5 %), with `worst_loss:
0.5` and without, beside the t test, on the kinds of differences of `gate_calibration.py` and on
ratings in five levels (standard deviation of the differences 0.2).

    equal passes      a candidate with no true difference passes: without, with, and by the t test
    false promotion   a candidate whose mean of clipped differences is exactly minus the margin
                      passes: promised are at most 5 %, by the gate; the t test is shown beside it
    both              the same, if `share_losing_more_than` (0.5, in at most 10 % of the rows,
                      `compare: mean`) has to pass too
    catastrophes      a candidate that totally fails in 15 % of the rows and gains a little in the
                      others, so that its clipped mean is 0: with `worst_loss` alone, and with both

Exit code 1 when a promise is broken by more than three Monte-Carlo errors, or when on ratings with
n = 60 an equal candidate passes less than 0.75 times as often as by the t test.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable

import numpy as np
from gate_simulation import KINDS, Floats, Rule, paired_t

MARGIN, ALPHA, WORST, SHARE = 0.05, 0.05, 0.5, 0.1
LEVELS, WEIGHTS = [-0.5, -0.25, 0.0, 0.25, 0.5], [0.03, 0.2, 0.54, 0.2, 0.03]
SIZES = (20, 60, 100, 200)


def ratings(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Five levels between 0 and 1; a loss is one mark down in 4 x loss of the rows."""
    steps = rng.choice(LEVELS, size=n, p=WEIGHTS)
    return steps - 0.25 * (rng.random(n) < 4 * loss)


def catastrophes(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Total failure in 15 % of the rows; the others gain as much as that costs when clipped."""
    failed = rng.random(n) < 0.15
    return np.where(failed, -1.0, 0.15 * WORST / 0.85 - loss)


DRAWS: dict[str, Callable[[np.random.Generator, int, float], Floats]] = {
    "ratings": ratings,
    **KINDS,
}


def loss_at_the_margin(kind: str) -> float:
    """The loss at which the mean of the clipped differences is minus the margin."""
    low, high = 0.0, 0.25
    for _ in range(30):
        middle = 0.5 * (low + high)
        drawn = DRAWS[kind](np.random.default_rng(5), 1_000_000, middle)
        low, high = (middle, high) if np.maximum(drawn, -WORST).mean() > -MARGIN else (low, middle)
    return 0.5 * (low + high)


def few_lose_much(rows: Floats) -> Floats:
    """The second rule, on the mean itself."""
    return (rows < -WORST - 1e-9).mean(axis=(1, 2)) <= SHARE


def cell(kind: str, n: int, simulations: int) -> list[float]:
    """Rates of one cell, in the order of the table."""
    rng = np.random.default_rng([list(DRAWS).index(kind), n, 20260101])
    whole, clipped = Rule(rng), Rule(rng, -WORST)

    def drawn(draw: Callable[[np.random.Generator, int, float], Floats], loss: float) -> Floats:
        return draw(rng, simulations * n, loss).reshape(simulations, n, 1)

    equal, lossy = drawn(DRAWS[kind], 0.0), drawn(DRAWS[kind], loss_at_the_margin(kind))
    lost = np.maximum(lossy, -WORST)
    passed = clipped.shows(lost, -MARGIN, ALPHA)
    wild = drawn(catastrophes, 0.0)
    slipped = clipped.shows(np.maximum(wild, -WORST), -MARGIN, ALPHA)
    flags = [
        whole.shows(equal, -MARGIN, ALPHA),
        clipped.shows(np.maximum(equal, -WORST), -MARGIN, ALPHA),
        paired_t(equal, -MARGIN, ALPHA),
        passed,
        paired_t(lost, -MARGIN, ALPHA),
        passed & few_lose_much(lossy),
        slipped,
        slipped & few_lose_much(wild),
    ]
    return [float(np.mean(found)) for found in flags]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000, help="per cell")
    simulations = parser.parse_args().simulations
    columns = (
        "equal passes: without", "with", "t", "false promotion: gate", "t", "both",
        "catastrophes: alone", "both",
    )  # fmt: skip
    print("| differences | n | " + " | ".join(f"{name} %" for name in columns) + " |")
    print("|---|---:|" + "---:|" * len(columns))
    faults = []
    slack = 3 * math.sqrt(ALPHA * (1 - ALPHA) / simulations)
    for kind in DRAWS:
        for n in SIZES:
            rates = cell(kind, n, simulations)
            shown = [
                f"{100 * rate:.1f} ± {100 * math.sqrt(rate * (1 - rate) / simulations):.1f}"
                for rate in rates
            ]
            print(f"| {kind} | {n} | {' | '.join(shown)} |", flush=True)
            if rates[3] > ALPHA + slack:
                faults.append(f"{kind}, n={n}: false promotion {100 * rates[3]:.2f} %")
            if kind == "ratings" and n == 60 and rates[1] < 0.75 * rates[2]:
                faults.append(f"{kind}, n={n}: {rates[1] / rates[2]:.2f} times the t test")
    for fault in faults:
        print(f"MISSED: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
