"""How often does the gate err? Simulated, cell by cell, beside what most teams use.

    python benchmarks/gate_calibration.py --simulations 10000 --processes 2

Each cell is a number of examples n, a kind of score and a cluster size (rows that share a group: half of them copy
their group's draw, so the marginal distribution stays the same). Per cell, for the rule `not_worse_than_champion`:

    false promotion   a candidate whose true loss is exactly the margin passes; promised: at most 5 %
    naive mean        "mean of the candidate >= mean of the champion" on the same samples
    mean - margin     "mean of the candidate >= mean of the champion - margin"
    paired t          the textbook one-sided t bound, rows taken as independent
    equal passes      a candidate with no true difference passes (the power at this n)
    equal rejected    the same candidate is shown to be worse; promised: at most 5 %

and per kind and cluster size: how often an equal candidate passes at the n that the gate recommends after a pilot.
The functions are those of the rule (`gates.bounds`, `gates.planning`); a sample of cells also goes through `decide`.
Exit code 1 when a promise is broken by more than three Monte-Carlo errors.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sluicegate.gates import Policy, decide
from sluicegate.gates.bounds import Clusters, p_mean_at_most
from sluicegate.gates.planning import more_examples
from sluicegate.records import Decision, Evidence, ScoredExample

ALPHA, POWER, MARGIN, COPIED, PILOT = 0.05, 0.8, 0.05, 0.5, 60
SIZES, CLUSTER_SIZES = (20, 50, 100, 200, 500), (1, 5)
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int, float], Floats]


def binary(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Right or wrong; 5 % gains, 5 % + loss losses, the rest equal."""
    u = rng.random(n)
    return np.where(u < 0.05, 1.0, np.where(u < 0.10 + loss, -1.0, 0.0))


def five_level(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Marks 1 to 5, scaled to 0 to 1: symmetric steps, and one mark down in 4 x loss of the rows."""
    steps = rng.choice([-0.5, -0.25, 0.0, 0.25, 0.5], size=n, p=[0.05, 0.2, 0.5, 0.2, 0.05])
    return steps - 0.25 * (rng.random(n) < 4 * loss)


def skewed(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Mostly a little better, sometimes far worse: 0.1 - Beta(0.4, 3.6), skewness -1.7."""
    return 0.1 - rng.beta(0.4, 3.6, n) - loss


def ties(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Four of five answers score the same; the others differ by up to half the range."""
    return np.where(rng.random(n) < 0.8, 0.0, rng.uniform(-0.5, 0.5, n) - 5 * loss)


def rare_failure(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Equal, but for a rare total failure."""
    return np.where(rng.random(n) < loss, -1.0, 0.0)


def smooth(rng: np.random.Generator, n: int, loss: float) -> Floats:
    """Like ROUGE: bell-shaped differences with standard deviation 0.12."""
    return np.clip(rng.normal(0.0, 0.12, n), -0.9, 0.9) - loss


KINDS: dict[str, Draw] = {
    "binary": binary,
    "five levels": five_level,
    "skewed": skewed,
    "ties": ties,
    "rare failure": rare_failure,
    "smooth": smooth,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One simulated cell and its rates (shares of `simulations`)."""

    kind: str
    n: int
    cluster: int
    simulations: int
    false_promotion: float
    naive: float
    naive_margin: float
    t_test: float
    equal_passes: float
    equal_rejected: float


def draw(kind: str, n: int, cluster: int, loss: float, rng: np.random.Generator) -> Floats:
    """Differences (candidate - champion) with mean -loss, as (groups, cluster size)."""
    groups = n // cluster
    own = KINDS[kind](rng, groups * cluster, loss).reshape(groups, cluster)
    if cluster == 1:
        return own
    shared = KINDS[kind](rng, groups, loss)[:, None]
    return np.where(rng.random(own.shape) < COPIED, shared, own)


def sample(rows: Floats) -> Clusters:
    return Clusters(np.sort(rows.sum(axis=1)), np.full(len(rows), float(rows.shape[1])), -1.0, 1.0)


def simulate(task: tuple[str, int, int, int]) -> Cell:
    """Run one cell; its seed depends on the cell only."""
    from scipy.stats import t

    kind, n, cluster, simulations = task
    rng = np.random.default_rng([list(KINDS).index(kind), n, cluster, 20260101])
    quantile = float(t.ppf(1 - ALPHA, n - 1))
    counts = np.zeros(6)
    for _ in range(simulations):
        rows = draw(kind, n, cluster, MARGIN, rng)
        mean, error = float(rows.mean()), float(rows.std(ddof=1)) / math.sqrt(n)
        counts[0] += p_mean_at_most(sample(rows), -MARGIN) < ALPHA
        counts[1] += mean >= 0.0
        counts[2] += mean >= -MARGIN
        counts[3] += mean - quantile * error > -MARGIN
        equal = sample(draw(kind, n, cluster, 0.0, rng))
        counts[4] += p_mean_at_most(equal, -MARGIN) < ALPHA
        counts[5] += p_mean_at_most(equal.mirrored(), MARGIN) < ALPHA
    return Cell(kind, n, cluster, simulations, *(counts / simulations).tolist())


def recommended(task: tuple[str, int, int]) -> tuple[str, int, float, float, int]:
    """Pilot, recommendation, fresh sample of that size: (kind, cluster, mean n, share of passes, repetitions)."""
    kind, cluster, repetitions = task
    rng = np.random.default_rng([list(KINDS).index(kind), cluster, 7])
    passes, sizes = 0, []
    for _ in range(repetitions):
        pilot = sample(draw(kind, PILOT, cluster, 0.0, rng))
        more = more_examples(pilot, -MARGIN, 0.0, ALPHA, POWER)
        size = PILOT + (more or 0)
        sizes.append(-(-size // cluster) * cluster)
        passes += p_mean_at_most(sample(draw(kind, sizes[-1], cluster, 0.0, rng)), -MARGIN) < ALPHA
    return kind, cluster, float(np.mean(sizes)), passes / repetitions, repetitions


def check_against_decide(seed: int = 1) -> int:
    """The whole gate and the shortcut of this file must agree; returns the number of comparisons."""
    rule = {"name": "r", "kind": "not_worse_than_champion", "metric": "m", "margin": MARGIN, "range": [0.0, 1.0]}
    policy = Policy.model_validate({"alpha": ALPHA, "minimum_examples": 2, "rules": [rule]})
    rng, compared = np.random.default_rng(seed), 0
    for kind in KINDS:
        for cluster in CLUSTER_SIZES:
            rows = draw(kind, 100, cluster, 0.0, rng)
            gains, losses = np.clip(rows, 0, 1), np.clip(-rows, 0, 1)
            verdict = decide(_evidence(gains, "new"), _evidence(losses, "old"), policy, facts={})
            if (verdict.decision is Decision.PROMOTE) != (p_mean_at_most(sample(gains - losses), -MARGIN) < ALPHA):
                raise SystemExit(f"{kind}, clusters of {cluster}: the shortcut and the gate disagree")
            compared += 1
    return compared


def _evidence(values: Floats, release: str) -> Evidence:
    rows = tuple(
        ScoredExample(f"{group:04d}-{member}", f"g{group}", "", {"m": float(value)}, 0.0, 1, 1)
        for group, line in enumerate(values)
        for member, value in enumerate(line)
    )
    return Evidence(release, "golden", "metrics", rows, {})


def share(rate: float, simulations: int) -> str:
    """A rate and its Monte-Carlo standard error, in per cent."""
    return f"{100 * rate:.1f} ± {100 * math.sqrt(rate * (1 - rate) / simulations):.1f}"


def table(cells: list[Cell]) -> str:
    columns = ("false promotion", "naive mean", "mean - margin", "paired t", "equal passes", "equal rejected")
    head = "| score | clusters of | n | " + " | ".join(f"{name} %" for name in columns) + " |"
    lines = [head, "|---|---:|---:|" + "---:|" * len(columns)]
    for cell in cells:
        judged = (cell.false_promotion, cell.naive, cell.naive_margin, cell.t_test)
        rates = (*judged, cell.equal_passes, cell.equal_rejected)
        numbers = " | ".join(share(rate, cell.simulations) for rate in rates)
        lines.append(f"| {cell.kind} | {cell.cluster} | {cell.n} | {numbers} |")
    return "\n".join(lines)


def broken(cells: list[Cell], promised: float) -> list[str]:
    """Cells whose rate of false promotion or of equal rejected exceeds `promised` by more than three errors."""
    found = []
    for cell in cells:
        slack = 3 * math.sqrt(promised * (1 - promised) / cell.simulations)
        worst = max(cell.false_promotion, cell.equal_rejected)
        if worst > promised + slack:
            found.append(f"{cell.kind}, n={cell.n}, clusters of {cell.cluster}: {100 * worst:.2f} %")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000, help="per cell (default 1000; the docs use 10000)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    chosen = parser.parse_args()
    start = time.monotonic()
    compared = check_against_decide()
    pairs = [(kind, cluster) for kind in KINDS for cluster in CLUSTER_SIZES]
    tasks = [(kind, n, cluster, chosen.simulations) for kind, cluster in pairs for n in chosen.sizes]
    repetitions = max(100, chosen.simulations // 5)
    with ProcessPoolExecutor(chosen.processes) as pool:
        cells = list(pool.map(simulate, tasks))
        plans = list(pool.map(recommended, [(kind, cluster, repetitions) for kind, cluster in pairs]))
    print(f"margin {MARGIN}, one-sided alpha {ALPHA}, {chosen.simulations} simulations a cell (± Monte-Carlo error)\n")
    print(table(cells))
    print(f"\nEqual candidate at the recommended n, after a pilot of {PILOT} rows:\n")
    print("| score | clusters of | mean recommended n | passes % |\n|---|---:|---:|---:|")
    for kind, cluster, size, rate, count in plans:
        print(f"| {kind} | {cluster} | {size:.0f} | {share(rate, count)} |")
    faults = broken(cells, ALPHA)
    print(f"\nworst false promotion {100 * max(cell.false_promotion for cell in cells):.2f} %, ", end="")
    print(f"naive mean gate {100 * max(cell.naive for cell in cells):.1f} %, ", end="")
    print(f"paired t {100 * max(cell.t_test for cell in cells):.1f} %; ", end="")
    print(f"{compared} cells checked against decide(); {time.monotonic() - start:.0f} s")
    for fault in faults:
        print(f"PROMISE BROKEN: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
