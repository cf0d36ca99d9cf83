"""Labelled pairs whose better answer is known, and judges that play: an oracle with noise, coins,
lovers of a place.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping

from sluicegate.generating import Request
from sluicegate.hashing import digest_value
from sluicegate.judges import Criterion, JudgeRow
from sluicegate.judges.labels import LabelledRow, Labels

PAIRWISE = Criterion("better", "pairwise", "Which answer does the task?", ("fake",), (0, 1))
DIRECT = Criterion(
    "clear",
    "direct",
    "Is it clear?",
    ("fake",),
    (1, 5),
    sentinels=(JudgeRow("bad", "task", "gibberish zzz"),),
)
Answer = Callable[[Request], str]
Worth = Mapping[tuple[str, str], float]
_PART = re.compile(r"\[BEGIN ([A-Z ]+) (\w+)\]\n(.*?)\n\[END \1 \2\]", re.S)


def pairs(count: int, seed: int = 0, longer: float = 0.6) -> tuple[Labels, Worth]:
    """Pairs, the better answer the longer one in so many, and the worth of each answer to its task."""
    chance, rows, worth = random.Random(seed), [], {}
    for number in range(count):
        short, long = (
            " ".join(f"w{chance.randrange(10**6)}" for _ in range(size)) for size in (10, 16)
        )
        good, bad = (long, short) if chance.random() < longer else (short, long)
        output, other = (good, bad) if chance.random() < 0.5 else (bad, good)
        task = f"task {number} of {seed}"
        worth |= {(task, good): 1.0, (task, bad): 0.0}
        row = JudgeRow(f"p{number}", task, output, (), other)
        rows.append(LabelledRow(row, f"g{number}", (float(output == good),), ("ana",)))
    return Labels(tuple(rows)), worth


def scored(count: int, seed: int = 0) -> tuple[Labels, Worth]:
    """Single answers with a label from 1 to 5, and the worth of each in [0, 1]."""
    chance, rows, worth = random.Random(seed), [], {}
    for number in range(count):
        text = " ".join(f"w{chance.randrange(10**6)}" for _ in range(chance.randrange(6, 20)))
        task, label = f"task {number} of {seed}", chance.randrange(5) / 4
        worth[(task, text)] = label
        rows.append(
            LabelledRow(JudgeRow(f"s{number}", task, text), f"g{number}", (label,), ("ana",))
        )
    return Labels(tuple(rows)), worth


def parts(question: Request) -> dict[str, str]:
    """What a question shows between its marks, by label."""
    told = "\n\n".join(turn["content"] for turn in question.messages if turn["role"] == "user")
    return {label: text.strip() for label, _, text in _PART.findall(told)}


def pick(first: bool) -> str:
    """A pairwise verdict."""
    return json.dumps({"reason": "because", "better": "first" if first else "second"})


def oracle(worth: Worth, noise: float = 0.1, seed: int = 0) -> Answer:
    """Knows the better answer, says the other one in so many of the pairs, and is never fooled by a
    known-bad one.
    """

    def answer(question: Request) -> str:
        shown = parts(question)
        one, two = ((shown["SOURCE"], shown[f"{place} ANSWER"]) for place in ("FIRST", "SECOND"))
        wrong = one in worth and two in worth and _share(seed, sorted((one, two))) < noise
        return pick((worth.get(one, -1.0) > worth.get(two, -1.0)) != wrong)

    return answer


def scorer(worth: Worth, spread: float = 0.15) -> Answer:
    """Gives 1 to 5 near the worth of the answer; 1 to what it does not know."""

    def answer(question: Request) -> str:
        shown = parts(question)
        known = worth.get((shown["SOURCE"], shown["ANSWER"]), 0.0)
        near = known + spread * (2 * _share("scorer", shown["ANSWER"]) - 1)
        return json.dumps({"reason": "because", "score": round(1 + 4 * min(max(near, 0.0), 1.0))})

    return answer


def coin_each(seed: int) -> Answer:
    """A coin for every question."""
    chance = random.Random(seed)
    return lambda question: pick(chance.random() < 0.5)


def coin_a_pair(seed: int) -> Answer:
    """A coin for every pair: the same in both orders and again, so that no bias betrays it."""

    def answer(question: Request) -> str:
        shown = parts(question)
        return pick(_share(seed, shown["FIRST ANSWER"]) < _share(seed, shown["SECOND ANSWER"]))

    return answer


def _share(*of: object) -> float:
    return int(digest_value(list(of))[:8], 16) / 2**32
