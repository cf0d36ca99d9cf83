"""Does the error budget hold while the golden set grows? Simulated.

    python benchmarks/growing_golden.py --simulations 10000

Twenty equal candidates, one after the other, are each judged once by `better_than_champion` on a
golden set that has a few rows more each time. Half of a candidate's differences are those of all
others on that row, as they share the champion's answers.

    in proportion     alpha as `gates.budget` leaves it: evaluations of earlier sets count by the
                      share of this set's rows that they had; promised: any of 20 in at most 5.5 %
    reset             every changed set has a whole alpha, as before version 0.2.0

Exit code 1 when the promise is broken by more than three Monte-Carlo errors.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
from gate_simulation import COPIED, KINDS, Rule

from sluicegate.gates import Policy, allowance

TIMES, START, PROMISED = 20, 60, 0.055
POLICY = Policy.model_validate(
    {"rules": [{"name": "gain", "kind": "better_than_champion", "metric": "m"}]}
)


def any_passes(kind: str, grows: int, simulations: int) -> tuple[float, float]:
    """Shares of the golden sets on which any of the equal candidates passes."""
    rng = np.random.default_rng([list(KINDS).index(kind), grows, 20260101])
    rule, most = Rule(rng), START + grows * (TIMES - 1)
    common = KINDS[kind](rng, simulations * most, 0.0).reshape(simulations, most)
    passed = np.zeros((2, simulations), dtype=bool)
    sizes: list[int] = []
    for turn in range(TIMES):
        size = START + grows * turn
        own = KINDS[kind](rng, simulations * size, 0.0).reshape(simulations, size)
        rows = np.where(rng.random(own.shape) < COPIED, common[:, :size], own)[:, :, None]
        before = math.fsum(earlier / size for earlier in sizes)
        passed[0] |= rule.shows(rows, 0.0, allowance((), POLICY, before))
        passed[1] |= rule.shows(rows, 0.0, allowance((), POLICY))
        sizes.append(size)
    return float(passed[0].mean()), float(passed[1].mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000, help="per cell")
    simulations = parser.parse_args().simulations
    print("| differences | rows a time | any of 20: in proportion % | reset % |")
    print("|---|---:|---:|---:|")
    slack = 3 * math.sqrt(PROMISED * (1 - PROMISED) / simulations)
    faults = []
    for kind in KINDS:
        for grows in (1, 5, 20):
            rates = any_passes(kind, grows, simulations)
            shown = [
                f"{100 * rate:.1f} ± {100 * math.sqrt(rate * (1 - rate) / simulations):.1f}"
                for rate in rates
            ]
            print(f"| {kind} | {grows} | {' | '.join(shown)} |", flush=True)
            if rates[0] > PROMISED + slack:
                faults.append(f"{kind}, {grows} rows a time: {100 * rates[0]:.2f} %")
    for fault in faults:
        print(f"PROMISE BROKEN: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
