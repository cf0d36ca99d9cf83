"""Our light metrics against LangKit's own functions, value by value."""

from __future__ import annotations

import importlib
import json
import os
import random
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sluicegate.drift.light import NUMERIC, light_metrics
from sluicegate.drift.light.patterns import GROUPS, patterns
from sluicegate.drift.light.sentiment import vader_sentiment

PIECES = [
    "the", "order", "Order", "ARRIVED", "unbelievable", "re-fund", "e.g.", "3.5", "St", "Street",
    "12", "N", "NE.", "Rd.",
    "555-123-4567", "a@b.co", "naïve", "ΟΔΟΣ.", "İstanbul", "don’t", "don't", "=x=", "_id_",
    "__email__", "1234 123456",
    "+1 555 123 4567", "+12345678901234", "123-45-6789", "4111 1111 1111 1111", "😀", "日本語", "!!",
    "...", "?", "\x0b",
    "\u2028", "\n", "\t", "Ⅷ", "٣٤٥", "a.b.c", "x!y?z", "table", "le", "\ud800", "10", "Main",
    "communication", "-", "—",
    "responsibility", "electricity", "'", "\x1c", "ß", "ﬁn", "\u0301", "12345 Elm Ave", "it's",
    "but", "BUT", "no", "nor",
    "never", "so", "without", "doubt", "least", "at", "VERY", "very", "kind", "of", "the", "shit",
    "bad", "ass", "GOOD",
    "good", "isn't", "💘", ":)", "great!", "not", "yeah", "right", "horrible", "love,", "just",
    "enough", "hardly",
]  # fmt: skip

ADDRESSES = [
    "10", "7", "N.", "NE", "Main", "St", "Street", "Road", "Rd.", "Ave,", "Boulevard", "Blvd",
    "Drive", "Dr", "Court",
    "Ct", "Lane", "Ln", "Square", "Sq", "12Main", "5x", "a@b.co", "x@", "@y", "o'@a.org",
    "-@a.org", "+@a.org",
    "é@a.org", "555-123-4567", "+1", "+12", "(555)", "123", "4567", "123-45-6789", "4111", "1111",
    "0123456789",
    "1234", "123456", "+1234567890123", "+", "a+", "١٢٣",
]  # fmt: skip


def generated(count: int, seed: int = 5) -> list[str]:
    """Texts of pieces that are hard to split and count, and texts of random characters."""
    chance = random.Random(seed)
    between = [" ", " ", " ", "  ", ". ", "! ", "", ", ", "\n"]
    texts = []
    for _ in range(count * 4 // 5):
        size = chance.choice([0, 1, 2, 3, 5, 20, 60, 150])
        texts.append("".join(chance.choice(PIECES) + chance.choice(between) for _ in range(size)))
    while len(texts) < count:
        kinds = [(32, 127), (32, 127), (32, 127), (0, 0x250), (0, 0x3000)]
        texts.append(
            "".join(
                chr(chance.randrange(*chance.choice(kinds))) for _ in range(chance.randrange(120))
            )
        )
    return texts


def langkit(texts: list[str]) -> dict[str, list[Any]]:
    """The columns that LangKit computes."""
    pytest.importorskip("langkit", reason="pip install 'sluicegate[langkit]'")
    from sluicegate.drift import langkit_door

    langkit_door.whylogs()
    importlib.import_module("langkit.light_metrics").init()
    groups = importlib.import_module("whylogs.experimental.core.udf_schema")._multicolumn_udfs[""]
    functions = {name: function for group in groups for name, function in group.udfs.items()}
    return {
        name.removeprefix("prompt."): list(function({"prompt": texts}))
        for name, function in functions.items()
        if name.startswith("prompt.") and not name.endswith("sentiment")
    }


def assert_equal(texts: list[str]) -> None:
    """All twelve columns are the same for every text."""
    theirs = langkit(texts)
    numbers, found = light_metrics(texts)
    assert set(theirs) == {*NUMERIC, "has_patterns"}
    for name in NUMERIC:
        wrong = [
            (text, a, b)
            for text, a, b in zip(texts, theirs[name], numbers[name], strict=True)
            if a != b
        ]
        assert not wrong, (name, wrong[:3])
    assert [group[0] if group else None for group in found if group is not None] == theirs[
        "has_patterns"
    ]


def test_generated_texts_have_langkits_values() -> None:
    """On 2,000 generated texts all twelve columns equal LangKit's, to the last digit."""
    assert_equal(generated(2000))


@pytest.mark.slow
def test_tweetsumm_has_langkits_values() -> None:
    """On all conversations and summaries of TWEETSUMM all twelve columns equal LangKit's."""
    folder = Path(os.environ.get("SLUICE_SHARED_DATA", "")) / "tweetsumm"
    if "SLUICE_SHARED_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("SLUICE_SHARED_DATA does not name a folder with tweetsumm/")
    rows = [
        json.loads(line)
        for name in ("train", "test")
        for line in (folder / f"{name}.jsonl").open(encoding="utf-8")
    ]
    texts = [
        "\n".join(f"{turn['role'].capitalize()}: {turn['text']}" for turn in row["turns"])
        for row in rows
    ]
    texts += [row["summaries"][0] for row in rows]
    assert len(texts) > 1800
    assert_equal(texts)


def test_sentiment_is_vaders() -> None:
    """On 2,000 generated texts the compound score equals vaderSentiment's."""
    module = pytest.importorskip(
        "vaderSentiment.vaderSentiment", reason="pip install 'sluicegate[langkit]'"
    )
    analyzer = module.SentimentIntensityAnalyzer()
    texts = generated(2000, seed=6)
    assert vader_sentiment(texts).tolist() == [
        analyzer.polarity_scores(text)["compound"] for text in texts
    ]


def test_a_missing_text_is_a_null_in_its_own_row() -> None:
    """One None leaves the other rows as they are; LangKit would lose the column for all of them."""
    texts = ["Where is my order?", None, "", "Call 555-123-4567 now."]
    numbers, found = light_metrics(texts)
    alone, _ = light_metrics([text for text in texts if text is not None])
    for name in NUMERIC:
        assert np.isnan(numbers[name][1])
        assert numbers[name][[0, 2, 3]].tolist() == alone[name].tolist()
    assert found == [(), None, (), ("phone number",)]
    assert np.isnan(vader_sentiment(texts)).tolist() == [False, True, False, False]


def test_no_texts() -> None:
    """No texts give empty columns."""
    numbers, found = light_metrics([])
    assert found == []
    assert {name: len(values) for name, values in numbers.items()} == dict.fromkeys(NUMERIC, 0)


def test_all_patterns_are_found() -> None:
    """A text with a telephone number and an email address holds both, where LangKit reports the
    first.
    """
    text = "SSN 123-45-6789, card 4111 1111 1111 1111, +1 555 123 4567, 10 Main St, me@example.org"
    assert patterns(text) == tuple(GROUPS)
    assert light_metrics([text])[1] == [tuple(GROUPS)]


def test_looking_only_where_a_pattern_could_be_misses_none() -> None:
    """On 4,000 texts of addresses, numbers and parts of them the groups are those of every
    expression on every text.
    """
    chance = random.Random(8)
    texts = [
        "".join(
            chance.choice(ADDRESSES) + chance.choice(["", " ", " ", " ", "\n"])
            for _ in range(chance.randrange(1, 12))
        )
        for _ in range(4_000)
    ]
    texts += [
        "+ 1234567890 1",
        "+ 12 34 56 78 90 1",
        "+1 2 3 4 5 6 7 8 9 0 1",
        "3 N Elm Street",
        "3 Elm Street",
        "'@a.org",
    ]
    found = light_metrics(texts)[1]
    assert found == [patterns(text) for text in texts]
    assert {group for groups in found if groups for group in groups} == set(GROUPS)


def test_what_was_seen_before_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values do not depend on which words were counted before, nor on how the texts fall into
    batches.
    """
    texts = generated(300, seed=9)
    first, found = light_metrics(texts)
    for size, characters in ((1, 1), (5, 1_000), (7, 300_000)):
        monkeypatch.setattr("sluicegate.drift.light._TEXTS", size)
        monkeypatch.setattr("sluicegate.drift.light._CHARACTERS", characters)
        for start in range(0, 300, 60):
            again, groups = light_metrics(texts[start : start + 60])
            assert all(
                again[name].tolist() == first[name][start : start + 60].tolist() for name in NUMERIC
            )
            assert groups == found[start : start + 60]


def test_no_word_is_kept() -> None:
    """After 30 batches of new words, long ones and such of other scripts among them, the process
    holds none of them.
    """
    chance = random.Random(3)

    def batch() -> list[str]:
        alphabets = ["abcdefghijklmnopqrstuvwxyz", "abcdéèñç"]
        return [
            " ".join(
                "".join(chance.choices(chance.choice(alphabets), k=chance.choice([5, 9, 30])))
                for _ in range(200)
            )
        ]

    light_metrics(batch())
    tracemalloc.start()
    try:
        light_metrics(batch())
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(30):
            light_metrics(batch())
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()


def test_threads_get_the_same_values() -> None:
    """Several threads counting at once get what one gets."""
    texts = generated(400, seed=11)
    expected = light_metrics(texts)[0]["syllable_count"].tolist()
    results: list[list[float]] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(light_metrics(texts)[0]["syllable_count"].tolist())
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


@pytest.mark.parametrize(
    "text",
    [
        "1" * 400_000 + "x 1 Main St",
        "a" * 400_000 + "@",
        "good " * 80_000 + "but",
        "+" * 400_000,
        "1 " * 200_000,
        "<" * 400_000,
        "é" * 400_000,
        "a-" * 200_000,
        "’é " * 130_000,
        "@a." * 130_000,
        "1 Sta " * 60_000,
    ],
)
@pytest.mark.timeout(60)
def test_hostile_texts_take_linear_time(text: str) -> None:
    """A text made to send an expression or a search back and forth is counted in a moment."""
    started = time.process_time()
    light_metrics([text])
    vader_sentiment([text])
    assert time.process_time() - started < 10
