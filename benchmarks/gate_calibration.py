"""How often does the gate err? Simulated, cell by cell, beside what most teams use.

    python benchmarks/gate_calibration.py --simulations 10000 --processes 2

Each cell is a number of examples n, a kind of score and a cluster size (rows that share a group:
half of them copy their group's draw, so the marginal distribution stays the same). Three tables,
every rate with its Monte-Carlo error:

1. The rule `not_worse_than_champion`, one look.
    false promotion   a candidate whose true loss is exactly the margin passes; promised: at most 5
    % naive mean        "mean of the candidate >= mean of the champion" on the same samples mean -
    margin     "mean of the candidate >= mean of the champion - margin" paired t          the
    textbook one-sided t bound, rows taken as independent equal passes      a candidate with no true
    difference passes (the power at this n) equal rejected    the same candidate is shown to be
    worse; promised: at most 5 %

2. The rule `better_than_champion` (margin 0) and an equal candidate, which must not pass: one look,
then 20 candidates
   one after the other at the same golden set, and whether any of them passes; promised: at most 5
   %.
    gate              the rule; for the 20 with the alpha that `gates.budget` leaves to each look
    no budget         the rule with 5 % at each of the 20 looks
    naive mean        "mean of the candidate > mean of the champion"
    MLflow            `compare_evaluations(...).assert_improved()`: see
    `gate_simulation.mlflow_improved`

3. How often an equal candidate passes `not_worse_than_champion` at the n that the gate recommends
after a pilot;
   promised: at least 80 %.

The decisions are those of the rule (`gates.bounds`, `gates.planning`, see `gate_simulation.Rule`);
a sample of cells also goes through `decide`. Exit code 1 when a promise is broken by more than
three Monte-Carlo errors.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from gate_simulation import (
    KINDS,
    Floats,
    Rule,
    draw,
    flat,
    looks,
    mlflow_improved,
    paired_t,
    sample,
)

from sluicegate.gates import Policy, allowance, decide
from sluicegate.gates.planning import more_examples
from sluicegate.records import Decision, Evidence, ScoredExample

ALPHA, POWER, MARGIN, PILOT, TIMES = 0.05, 0.8, 0.05, 60, 20
SIZES, CLUSTER_SIZES = (20, 50, 100, 200, 500), (1, 5)
BATCH_VALUES = 2_000_000
POLICY = Policy.model_validate(
    {
        "alpha": ALPHA,
        "minimum_examples": 2,
        "submissions": TIMES,
        "rules": [
            {"name": "kept", "kind": "not_worse_than_champion", "metric": "m", "margin": MARGIN},
            {"name": "gain", "kind": "better_than_champion", "metric": "m"},
        ],
    }
)


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
    one: tuple[float, float, float]
    twenty: tuple[float, float, float, float]


def simulate(task: tuple[str, int, int, int]) -> Cell:
    """Run one cell; its seed depends on the cell only."""
    kind, n, cluster, simulations = task
    rng = np.random.default_rng([list(KINDS).index(kind), n, cluster, 20260101])
    rule = Rule(rng)
    counts, one, twenty = np.zeros(6), np.zeros(3), np.zeros(4)
    batch = max(1, BATCH_VALUES // (n * TIMES))
    for start in range(0, simulations, batch):
        count = min(batch, simulations - start)
        lossy, equal = (draw(kind, count, n, cluster, loss, rng) for loss in (MARGIN, 0.0))
        means = flat(lossy).mean(axis=1)
        counts += [
            rule.shows(lossy, -MARGIN, ALPHA).sum(),
            (means >= 0.0).sum(),
            (means >= -MARGIN).sum(),
            paired_t(lossy, -MARGIN, ALPHA).sum(),
            rule.shows(equal, -MARGIN, ALPHA).sum(),
            rule.shows(-equal, MARGIN, ALPHA).sum(),
        ]
        higher = flat(equal).mean(axis=1) > 0
        one += [rule.shows(equal, 0.0, ALPHA).sum(), higher.sum(), mlflow_improved(equal).sum()]
        twenty += resubmitted(looks(kind, count, TIMES, n, cluster, rng), rule)
    rates = (counts / simulations).tolist()
    return Cell(
        *task[:3], simulations, *rates, tuple(one / simulations), tuple(twenty / simulations)
    )


def resubmitted(tries: Floats, rule: Rule) -> list[float]:
    """How many golden sets let any of their equal candidates pass, by rule; `tries` as `looks`
    gives them.
    """
    count, times = tries.shape[:2]
    rows = tries.reshape(count * times, *tries.shape[2:])
    shared = np.tile([allowance([False] * number, POLICY) for number in range(times)], count)
    flags = (
        rule.shows(rows, 0.0, shared),
        rule.shows(rows, 0.0, ALPHA),
        flat(rows).mean(axis=1) > 0,
        mlflow_improved(rows),
    )
    return [float(passed.reshape(count, times).any(axis=1).sum()) for passed in flags]


def recommended(task: tuple[str, int, int]) -> tuple[str, int, float, float, int]:
    """Pilot, recommendation, fresh sample of that size: (kind, cluster, mean n, share of passes,
    repetitions).
    """
    kind, cluster, repetitions = task
    rng = np.random.default_rng([list(KINDS).index(kind), cluster, 7])
    rule, passes, sizes = Rule(rng), 0, []
    for _ in range(repetitions):
        pilot = sample(draw(kind, 1, PILOT, cluster, 0.0, rng)[0])
        size = PILOT + (more_examples(pilot, -MARGIN, 0.0, ALPHA, POWER) or 0)
        sizes.append(-(-size // cluster) * cluster)
        passes += int(rule.shows(draw(kind, 1, sizes[-1], cluster, 0.0, rng), -MARGIN, ALPHA)[0])
    return kind, cluster, float(np.mean(sizes)), passes / repetitions, repetitions


def check_against_decide(seed: int = 1) -> int:
    """The whole gate and the shortcut of this file must agree, in the first look; returns the
    number of comparisons.
    """
    rng, compared, alpha = np.random.default_rng(seed), 0, allowance((), POLICY)
    for kind in KINDS:
        for cluster in CLUSTER_SIZES:
            rows = draw(kind, 1, 100, cluster, 0.0, rng)
            gains, losses = np.clip(rows, 0, 1), np.clip(-rows, 0, 1)
            verdict = decide(
                _evidence(gains[0], "new"), _evidence(losses[0], "old"), POLICY, facts={}
            )
            shortcut = [
                bool(Rule(rng).shows(gains - losses, null, alpha)[0]) for null in (-MARGIN, 0.0)
            ]
            if [found.decision is Decision.PROMOTE for found in verdict.rules] != shortcut:
                raise SystemExit(
                    f"{kind}, clusters of {cluster}: the shortcut and the gate disagree"
                )
            compared += 2
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


def margin_table(cells: Sequence[Cell]) -> str:
    columns = (
        "false promotion",
        "naive mean",
        "mean - margin",
        "paired t",
        "equal passes",
        "equal rejected",
    )
    judged = [
        (
            cell.false_promotion,
            cell.naive,
            cell.naive_margin,
            cell.t_test,
            cell.equal_passes,
            cell.equal_rejected,
        )
        for cell in cells
    ]
    return _table(columns, cells, judged)


def equal_table(cells: Sequence[Cell]) -> str:
    columns = (
        "gate",
        "naive mean",
        "MLflow",
        "20: gate",
        "20: no budget",
        "20: naive mean",
        "20: MLflow",
    )
    return _table(columns, cells, [(*cell.one, *cell.twenty) for cell in cells])


def _table(columns: Sequence[str], cells: Sequence[Cell], rates: Sequence[Sequence[float]]) -> str:
    lines = ["| score | clusters of | n | " + " | ".join(f"{name} %" for name in columns) + " |"]
    lines.append("|---|---:|---:|" + "---:|" * len(columns))
    for cell, row in zip(cells, rates, strict=True):
        numbers = " | ".join(share(rate, cell.simulations) for rate in row)
        lines.append(f"| {cell.kind} | {cell.cluster} | {cell.n} | {numbers} |")
    return "\n".join(lines)


def broken(cells: Sequence[Cell], promised: float) -> list[str]:
    """Cells in which a wrong decision is more frequent than `promised`, by more than three
    Monte-Carlo errors.
    """
    found = []
    for cell in cells:
        slack = 3 * math.sqrt(promised * (1 - promised) / cell.simulations)
        worst = max(cell.false_promotion, cell.equal_rejected, cell.one[0], cell.twenty[0])
        if worst > promised + slack:
            found.append(
                f"{cell.kind}, n={cell.n}, clusters of {cell.cluster}: {100 * worst:.2f} %"
            )
    return found


def underpowered(plans: Sequence[tuple[str, int, float, float, int]]) -> list[str]:
    """Plans that let an equal candidate pass in less than `POWER` of the cases, by more than three
    errors.
    """
    found = []
    for kind, cluster, _, rate, count in plans:
        if rate < POWER - 3 * math.sqrt(POWER * (1 - POWER) / count):
            found.append(f"{kind}, clusters of {cluster}: {100 * rate:.1f} % at the recommended n")
    return found


def worst(cells: Sequence[Cell]) -> str:
    """The largest of each wrong rate over all cells, gate and peers."""
    rows = {
        "false promotion at the margin": [
            (cell.false_promotion, cell.naive, cell.t_test) for cell in cells
        ],
        "equal promoted as better, one look": [cell.one for cell in cells],
        "any of 20 equal promoted": [cell.twenty for cell in cells],
    }
    names = (("gate", "naive mean", "paired t"), ("gate", "naive mean", "MLflow"))
    names = (*names, ("gate", "no budget", "naive mean", "MLflow"))
    lines = []
    for (title, rates), who in zip(rows.items(), names, strict=True):
        tops = [max(column) for column in zip(*rates, strict=True)]
        lines.append(
            f"- {title}: "
            + ", ".join(f"{name} {100 * top:.2f} %" for name, top in zip(who, tops, strict=True))
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--simulations", type=int, default=1000, help="per cell (default 1000; the docs use 10000)"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    chosen = parser.parse_args()
    start = time.monotonic()
    compared = check_against_decide()
    pairs = [(kind, cluster) for kind in KINDS for cluster in CLUSTER_SIZES]
    tasks = [
        (kind, n, cluster, chosen.simulations) for kind, cluster in pairs for n in chosen.sizes
    ]
    repetitions = max(100, chosen.simulations // 5)
    with ProcessPoolExecutor(chosen.processes) as pool:
        cells = list(pool.map(simulate, tasks))
        plans = list(
            pool.map(recommended, [(kind, cluster, repetitions) for kind, cluster in pairs])
        )
    print(
        f"margin {MARGIN}, one-sided alpha {ALPHA}, {chosen.simulations} simulations a cell (± "
        "Monte-Carlo error)"
    )
    print(f"\nThe worst of all cells:\n\n{worst(cells)}")
    print(f"\n## Not worse than the champion, one look\n\n{margin_table(cells)}")
    print(
        "\n## An equal candidate called better: one look, and any of "
        f"{TIMES}\n\n{equal_table(cells)}"
    )
    print(f"\n## Equal candidate at the recommended n, after a pilot of {PILOT} rows\n")
    print("| score | clusters of | mean recommended n | passes % |\n|---|---:|---:|---:|")
    for kind, cluster, size, rate, count in plans:
        print(f"| {kind} | {cluster} | {size:.0f} | {share(rate, count)} |")
    print(f"\n{compared} decisions checked against decide(); {time.monotonic() - start:.0f} s")
    faults = [*broken(cells, ALPHA), *underpowered(plans)]
    for fault in faults:
        print(f"PROMISE BROKEN: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
