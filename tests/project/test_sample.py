"""The committed sample: enough, varied, disjoint, and texts rather than templates."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from sluicegate.config import SourcesFile
from sluicegate.data import read_source
from sluicegate.data.redaction import redact
from sluicegate.personal_data import KINDS
from sluicegate.yaml_file import load

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
if not (SAMPLE / "support_train.jsonl").is_file():
    pytest.skip("this project has data of its own", allow_module_level=True)

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    """The raw rows of one sample file."""
    return [json.loads(line) for line in (SAMPLE / name).read_text("utf-8").splitlines()]


TRAIN, GOLDEN = rows("support_train.jsonl"), rows("support_golden.jsonl")
ALL = TRAIN + GOLDEN


def test_there_is_enough_to_train_and_judge() -> None:
    """About 150 conversations, at least 60 of them golden with two references, the others with one."""
    assert len(ALL) >= 150
    assert len(GOLDEN) >= 60
    assert {len(row["summaries"]) for row in GOLDEN} == {2}
    assert {len(row["summaries"]) for row in TRAIN} == {1}
    assert len({row["id"] for row in ALL}) == len(ALL)


def test_the_sample_is_varied() -> None:
    """At least 12 intents and 8 industries, none dominating, and 4 to 12 turns with both ends used."""
    intents, industries = (Counter(row[field] for row in ALL) for field in ("intent", "industry"))
    assert len(intents) >= 12
    assert len(industries) >= 8
    assert max(industries.values()) <= len(ALL) / 8
    lengths = [len(row["turns"]) for row in ALL]
    assert (min(lengths), max(lengths)) == (4, 12)


def test_no_customer_is_in_both_sets() -> None:
    """A group in the golden set is not in the training set."""
    assert not {row["group"] for row in TRAIN} & {row["group"] for row in GOLDEN}


def test_no_sentence_frame_is_shared_by_more_than_three() -> None:
    """Openings, endings (4 words) and passages (6 words, numbers masked) recur in at most 3
    conversations.
    """
    frames: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in ALL:
        texts = [redact(turn["text"], KINDS)[0] for turn in row["turns"]] + row["summaries"]
        for sentence in (part for text in texts for part in re.split(r"(?<=[.!?:;])\s+", text)):
            words = re.findall(r"[\w']+", re.sub(r"\d+", "0", sentence.lower()))
            if len(words) >= 4:
                frames["opening", " ".join(words[:4])].add(row["id"])
                frames["ending", " ".join(words[-4:])].add(row["id"])
            for start in range(len(words) - 5):
                frames["passage", " ".join(words[start : start + 6])].add(row["id"])
    shared = {frame: sorted(ids) for frame, ids in frames.items() if len(ids) > 3}
    assert shared == {}


def test_numbers_in_summaries_come_from_the_conversation() -> None:
    """At most one number in fifty of the summaries is derived (a sum, a converted clock time)
    rather than quoted.
    """
    quoted = derived = 0
    for row in ALL:
        known = set(re.findall(r"\d+", " ".join(turn["text"] for turn in row["turns"])))
        for number in re.findall(r"\d+", " ".join(row["summaries"])):
            quoted += number in known
            derived += number not in known
    assert derived <= (quoted + derived) / 50


def test_personal_data_is_invented_and_not_in_the_summaries() -> None:
    """E-mail is at example domains only, and no summary repeats a personal detail."""
    text = json.dumps(ALL, ensure_ascii=False)
    assert all(
        re.search(r"\bexample\.(com|org|net)$", domain)
        for domain in re.findall(r"@([\w-]+(?:\.[\w-]+)+)", text)
    )
    for row in ALL:
        for summary in row["summaries"]:
            assert redact(summary, KINDS) == (summary, {}), row["id"]


def test_sources_yaml_reads_the_sample() -> None:
    """The shipped registry entries read every row of the two files."""
    sources = load(ROOT / "registry" / "sources.yaml", SourcesFile).sources
    found = {name: read_source(name, spec, ROOT) for name, spec in sources.items()}
    assert {"support_train", "support_golden"} <= set(found)
    assert (len(found["support_train"].rows), len(found["support_golden"].rows)) == (
        len(TRAIN),
        len(GOLDEN),
    )
    assert all(sources[name].licence and sources[name].owner for name in found)
