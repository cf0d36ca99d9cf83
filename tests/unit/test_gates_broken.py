"""Broken evaluation files: whatever is wrong with either, it ends in an error or a HOLD, and never
in a promotion.
"""

from __future__ import annotations

import copy
import math
import random
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from test_gates import evidence, policy

import evidence_file
from sluicegate.errors import EvidenceError, IntegrityError
from sluicegate.evaluation import read_evidence, write_evidence
from sluicegate.gates import decide
from sluicegate.hashing import digest_value
from sluicegate.records import Decision, Evidence, Verdict
from soak_scale import scaled

RULES = policy(
    {"name": "gain", "kind": "better_than_champion", "metric": "score"},
    {
        "name": "kept",
        "kind": "not_worse_than_champion",
        "metric": "score",
        "margin": 0.3,
        "slice": "industry",
    },
    {"name": "any", "kind": "any_better_than_champion", "metrics": ["score"]},
    {"name": "floor", "kind": "at_least", "metric": "score", "threshold": 0.3},
    {"name": "fast", "kind": "at_most", "metric": "latency_p95", "threshold": 2.0},
)
VALUES = (
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    -1e308,
    1e13,
    1.5,
    -0.5,
    None,
    "0.5",
    "NaN",
    True,
    [],
    {},
    "",
)
Side = dict[str, Any]
Damage = Callable[[Side, random.Random], None]


def sound(level: float, release: str) -> Evidence:
    """60 rows in two industries whose scores lie around `level`, in 30 groups."""
    chance = random.Random(3)
    values = [level + chance.uniform(-0.05, 0.05) for _ in range(60)]
    made = evidence(values, release, groups=[f"g{place // 2}" for place in range(60)])
    rows = tuple(
        replace(row, slices={"industry": "bank" if place % 2 else "gym"})
        for place, row in enumerate(made.rows)
    )
    return replace(made, rows=rows)


def _row(change: Callable[[Side, random.Random], None]) -> Damage:
    return lambda side, chance: change(chance.choice(side["rows"]), chance)


def _put(name: str, *values: Any) -> Callable[[Side, random.Random], None]:
    return lambda row, chance: row.__setitem__(name, chance.choice(values))


def _repeat(side: Side, chance: random.Random) -> None:
    side["rows"].insert(chance.randrange(60), copy.deepcopy(chance.choice(side["rows"])))


def _lose(side: Side, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 50)):
        side["rows"].pop(chance.randrange(len(side["rows"])))


# On either side, or on both alike: then nothing but the file itself can tell.
DAMAGE: dict[str, Damage] = {
    "score": _row(lambda row, chance: row["scores"].__setitem__("score", chance.choice(VALUES))),
    "no score": _row(lambda row, chance: row["scores"].clear()),
    "extra score": _row(lambda row, chance: row["scores"].__setitem__("other", 0.5)),
    "no slices": _row(lambda row, chance: row.pop("slices")),
    "slices": _row(_put("slices", {}, {"industry": ""}, {"industry": 3}, None, "bank")),
    "no id": _row(_put("id", "", None, 7)),
    "no group": _row(_put("group", "", None, [])),
    "seconds": _row(_put("seconds", math.nan, math.inf, None, "x")),
    "missing field": _row(
        lambda row, chance: row.pop(chance.choice(["id", "group", "scores"])) and None
    ),
    "duplicate": _repeat,
    "missing rows": _lose,
    "empty": lambda side, chance: side["rows"].clear(),
    "rows": lambda side, chance: side.__setitem__(
        "rows", chance.choice([None, {}, "rows", [None], [[]]])
    ),
    "summary": lambda side, chance: side["summaries"]["score"].__setitem__(
        chance.choice(["mean", "n"]), chance.choice([math.nan, 0.9, 3, 1e308, None])
    ),
    "no summary": lambda side, chance: side["summaries"].clear(),
    "other summary": lambda side, chance: side["summaries"].__setitem__(
        "other", side["summaries"]["score"]
    ),
    "operation": lambda side, chance: side["operations"].__setitem__(
        "latency_p95", chance.choice([math.nan, math.inf, 1e308, None, "x", []])
    ),
    "no part": lambda side, chance: (
        side.pop(chance.choice(["golden", "metrics", "rows", "release"])) and None
    ),
}
# On one side only: on both it would be another sound evaluation.
ONE_SIDED: dict[str, Damage] = {
    "foreign id": _row(_put("id", "zzz", "e9999")),
    "foreign group": _row(_put("group", "zzz", "g77")),
    "other slice": _row(lambda row, chance: row.__setitem__("slices", {"industry": "elsewhere"})),
    "other golden": lambda side, chance: side.__setitem__("golden", "another"),
    "other metrics": lambda side, chance: side.__setitem__("metrics", "others"),
}


def _store(path: Path, side: Side, chance: random.Random) -> None:
    """Write a damaged file; half of the time with a digest that fits it, as a fault before writing
    would.
    """
    if chance.random() < 0.5:
        with suppress(ValueError):  # NaN has no canonical form: the old digest stays
            side["digest"] = digest_value(
                {name: part for name, part in side.items() if name != "digest"}
            )
    evidence_file.save(path, side)
    if chance.random() < 0.05:
        data = path.read_bytes()
        path.write_bytes(data[: chance.randrange(len(data))])


def _judged(folder: Path) -> Verdict:
    sides = [read_evidence(folder / f"{name}.parquet") for name in ("candidate", "champion")]
    return decide(sides[0], sides[1], RULES, facts={})


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Side, Side]:
    for name, level, release in (("candidate", 0.9, "c" * 64), ("champion", 0.4, "d" * 64)):
        write_evidence(tmp_path / f"{name}.parquet", sound(level, release))
    assert _judged(tmp_path).decision is Decision.PROMOTE
    first, second = (
        evidence_file.load(tmp_path / f"{name}.parquet") for name in ("candidate", "champion")
    )
    return first, second


def test_no_broken_evaluation_passes(tmp_path: Path, pair: tuple[Side, Side]) -> None:
    """Damaged at random in one to three places, on one side or both: 0 promotions, and only errors
    that are foreseen.
    """
    chance, seen = random.Random(11), Counter[str]()
    everything = {**DAMAGE, **ONE_SIDED}
    for attempt in range(scaled(200, 2000)):
        sides = copy.deepcopy(pair)
        first = sorted(everything)[attempt % len(everything)]
        both = first in DAMAGE and chance.random() < 0.3
        seed = chance.random()
        for side in sides if both else [sides[chance.randrange(2)]]:
            everything[first](side, random.Random(seed))
            for name in random.Random(seed + 1).sample(sorted(DAMAGE), chance.choice([0, 0, 1, 2])):
                try:
                    DAMAGE[name](side, chance)
                except (KeyError, TypeError, AttributeError, IndexError, ValueError):
                    break  # the first damage left nothing for a further one
        for name, side in zip(("candidate", "champion"), sides, strict=True):
            _store(tmp_path / f"{name}.parquet", side, chance)
        try:
            decision = _judged(tmp_path).decision
        except (EvidenceError, IntegrityError) as error:
            seen[type(error).__name__] += 1
            continue
        seen[decision.value] += 1
        assert decision is not Decision.PROMOTE, (first, both)
    assert min(seen["EvidenceError"], seen["IntegrityError"], seen["HOLD"]) > 0, seen


@pytest.mark.parametrize("name", sorted({**DAMAGE, **ONE_SIDED}))
@pytest.mark.parametrize("which", [0, 1])
def test_each_damage_alone_never_passes(
    tmp_path: Path, pair: tuple[Side, Side], name: str, which: int
) -> None:
    """Every kind of damage, on either side, with a digest that fits the damaged file: an error or
    HOLD.
    """
    side = pair[which]
    {**DAMAGE, **ONE_SIDED}[name](side, random.Random(5))
    side.pop("digest", None)
    try:
        side["digest"] = digest_value(side)
    except ValueError:
        side["digest"] = "0" * 64
    evidence_file.save(tmp_path / f"{('candidate', 'champion')[which]}.parquet", side)
    try:
        decision = _judged(tmp_path).decision
    except (EvidenceError, IntegrityError):
        return
    assert decision is Decision.HOLD
