"""Texts on which metrics are compared with their reference implementations: 500 generated ones, and
the shared data.
"""

from __future__ import annotations

import json
import os
import random
from functools import cache
from pathlib import Path

import pytest

_WORDS = """
the a customer asks about refund order parcel late delivery agent promises check number account please sorry was
Running runs ran delivered delivering happily nations flies won't don't e-mail 24/7 3.14 1,299.00 #12 @shop good bad
"""
WORDS = tuple(_WORDS.split())
ODD = [
    "",
    " ",
    "\n",
    ".",
    "?!",
    "the",
    "a",
    "refund",
    "😀",
    "👩‍👩‍👧‍👦 🎉🎉",
    "مرحبا أين طلبي؟",
    "שלום, איפה ההזמנה שלי?",
]
ODD += [
    "日本語のテキスト。",
    "\u0130stanbul'da",
    "naïve café",
    "x" * 300,
    "-- -- --",
    "A.B.C.",
    "&quot;ok&quot; <skipped>",
]
ODD += [
    "line one\nline two\n\nline three",
    "tab\tand\u00a0space",
    "\u200f\u202eabc",
    "don't-stop, can't!",
    "Yes. No. Maybe?",
]


@cache
def generated() -> tuple[str, ...]:
    """500 texts: the odd ones, one of 10,000 words, the rest random words, emoji and scripts of up
    to 60 words.
    """
    chance = random.Random(20)
    mixed = [*WORDS, *WORDS, ".", "!", ",", "😀", "مرحبا", "שלום", "你好", "\n"]
    texts = [*ODD, " ".join(chance.choices(WORDS, k=10_000))]
    texts += [
        " ".join(chance.choices(mixed, k=chance.randrange(1, 60))) for _ in range(500 - len(texts))
    ]
    return tuple(texts)


@cache
def pairs(limit: int = 500) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each generated text against one to three others; a third of them share most of their words."""
    chance = random.Random(21)
    texts = generated()
    found = []
    for text in texts:
        references = chance.sample(texts, chance.randrange(1, 4))
        if chance.random() < 0.34:
            words = text.split(" ")
            references[0] = " ".join(word for word in words if chance.random() < 0.8)
        found.append((text, tuple(references)))
    return tuple(found[:limit])


def blank(output: str, references: tuple[str, ...]) -> bool:
    """Whether nothing is there to compare."""
    return not output.strip() or not any(reference.strip() for reference in references)


def shared(name: str) -> Path:
    """A file of the shared data; the test is skipped where the variable SLUICE_SHARED_DATA does not
    name the folder.
    """
    folder = os.environ.get("SLUICE_SHARED_DATA", "")
    if not folder:
        pytest.skip("SLUICE_SHARED_DATA names no folder with the shared data")
    return Path(folder) / name


@cache
def summaries() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """TWEETSUMM test set as (dialogue, one person's summary, the other summaries)."""
    rows = map(json.loads, shared("tweetsumm/test.jsonl").read_text("utf-8").splitlines())
    found = []
    for row in rows:
        texts = [" ".join(text) if isinstance(text, list) else text for text in row["summaries"]]
        if len(texts) > 1:
            dialogue = "\n".join(f"{turn['role']}: {turn['text']}" for turn in row["turns"])
            found.append((dialogue, texts[0], tuple(texts[1:])))
    return tuple(found)
