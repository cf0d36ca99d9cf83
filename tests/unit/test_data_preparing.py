"""Preparing: the three sets are disjoint by group, stable, clean, and refused when they cannot be
trusted.
"""

from __future__ import annotations

import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from sluicegate.config import PrepareParams
from sluicegate.data import prepare, read_examples, write_examples
from sluicegate.data.duplicates import remove_duplicates
from sluicegate.data.examples import _plain
from sluicegate.data.overlap import find_overlaps, refuse_overlaps
from sluicegate.data.splitting import held_out
from sluicegate.errors import ConfigError, DataError, EnvironmentFailure
from sluicegate.hashing import digest_file, digest_value
from sluicegate.records import Example

WORDS = [
    f"{a}{b}" for a in "bdfgklmnprst" for b in ("an", "el", "id", "om", "ur", "ax", "ib", "oc")
]


def row(number: int, group: str = "", text: str = "", source: str = "s") -> Example:
    """A row of 40 words that no other number shares."""
    words = random.Random(number).choices(WORDS, k=40)
    return Example(
        f"r{number:03d}",
        group or f"g{number}",
        {"text": text or " ".join(words)},
        (f"sum {number}",),
        source,
    )


PARAMS = PrepareParams(minimum_golden=2)


def ids(rows: list[Example]) -> set[str]:
    """The ids of rows."""
    return {item.id for item in rows}


def test_pool_rows_are_split_by_group_and_nothing_is_lost() -> None:
    """Each row is in exactly one set, and no group is in two."""
    pool = [row(n, f"g{n // 3}") for n in range(90)]
    made = prepare({"s": ("pool", pool)}, PARAMS)
    sets = [made.train, made.validation, made.golden]
    assert all(sets)
    assert sum(len(part) for part in sets) == made.counts["read"]
    groups = [{item.group for item in part} for part in sets]
    assert sum(len(part) for part in groups) == len(set().union(*groups))


def test_the_order_of_rows_does_not_matter() -> None:
    """Shuffled rows give the same sets, also where duplicates are removed."""
    pool = [row(n) for n in range(40)] + [replace(row(3), id="zz"), replace(row(4), id="aa")]
    shuffled = random.Random(1).sample(pool, len(pool))
    assert prepare({"s": ("pool", pool)}, PARAMS) == prepare({"s": ("pool", shuffled)}, PARAMS)


def test_new_groups_do_not_move_old_ones() -> None:
    """A group keeps its side when other groups come in, so golden stays golden."""
    before = held_out((f"g{n}" for n in range(50)), 0.3, "golden")
    after = held_out((f"g{n}" for n in range(500)), 0.3, "golden")
    assert before == {group for group in after if int(group[1:]) < 50}
    assert 100 < len(after) < 200


def test_golden_sources_are_the_golden_set_and_their_groups_never_train() -> None:
    """With a golden source, pool rows stay out of golden, and rows of golden groups are left out of
    training.
    """
    golden = [row(n) for n in range(5)]
    learn = [row(n) for n in range(10, 30)] + [row(40, group="g1"), row(41, group="g2")]
    made = prepare(
        {"g": ("golden", golden), "t": ("train", learn[:12]), "p": ("pool", learn[12:])}, PARAMS
    )
    assert ids(made.golden) == ids(golden)
    assert not ids(made.train + made.validation) & {"r040", "r041"}
    assert {item.id: item.reason for item in made.dropped} == dict.fromkeys(
        ("r040", "r041"), "group_in_golden"
    )
    assert made.counts["group_in_golden"] == 2


def test_train_rows_never_become_golden() -> None:
    """Only pool groups are held out."""
    made = prepare(
        {
            "t": ("train", [row(n) for n in range(30)]),
            "p": ("pool", [row(n) for n in range(50, 80)]),
        },
        PARAMS,
    )
    assert made.golden
    assert all(int(item.id[1:]) >= 50 for item in made.golden)


def test_duplicates_are_left_out_and_named() -> None:
    """Case, punctuation and white space do not hide a copy; two changed words do not either."""
    text = row(1).inputs["text"]
    words = [random.Random(5).choice(WORDS) + str(n) for n in range(120)]
    near = ["changed" if n == 60 else word for n, word in enumerate(words)]
    rows = [
        row(1),
        row(2, text=text.upper().replace(" ", ",  ")),
        row(3, text=" ".join(words)),
        row(4, text=" ".join(near)),
    ]
    kept, removed = remove_duplicates(rows, 0.85)
    assert ids(kept) == {"r001", "r003"}
    assert [(item.row.id, item.kept.id) for item in removed] == [("r002", "r001"), ("r004", "r003")]
    assert removed[0].similarity == 1.0
    assert 0.85 <= removed[1].similarity < 1.0


def test_texts_without_words_are_only_the_same_when_they_are() -> None:
    """Two different emoji are no duplicates of each other."""
    kept, removed = remove_duplicates(
        [row(1, text="🙂"), row(2, text="🎪"), row(3, text="🙂")], 0.85
    )
    assert (len(kept), len(removed)) == (2, 1)


def test_personal_data_is_redacted_in_inputs_and_references() -> None:
    """Every set is clean and the counts say how much was found; kinds with no find count 0."""
    dirty = replace(
        row(1),
        inputs={"text": row(1).inputs["text"] + " a@example.com"},
        reference=("Call 555-0147.",),
    )
    made = prepare({"s": ("pool", [dirty, *(row(n) for n in range(2, 30))])}, PARAMS)
    none = dict.fromkeys(("secret", "iban", "card", "ip", "handle"), 0)
    assert made.redactions == {"email": 1, "phone": 1, **none}
    found = next(item for item in made.train + made.validation + made.golden if item.id == "r001")
    assert found.inputs["text"].endswith("[EMAIL]")
    assert found.reference == ("Call [PHONE].",)


def test_overlap_of_golden_and_training_stops_the_line() -> None:
    """A golden text that is quoted inside a longer training row is found by its n-grams, and both
    ids are named.
    """
    quoted = row(1)
    carrier = row(
        60, text=row(61).inputs["text"] + " " + quoted.inputs["text"] + " " + row(62).inputs["text"]
    )
    with pytest.raises(DataError, match="golden r001 ~ train r060"):
        prepare(
            {
                "g": ("golden", [quoted, row(2)]),
                "t": ("train", [carrier, *(row(n) for n in range(10, 20))]),
            },
            PARAMS,
        )


def test_overlap_counts_passages_over_all_training_rows() -> None:
    """A golden row pieced together from two training rows is contaminated too; half of it is under
    the limit.
    """
    left, right = row(1).inputs["text"], row(2).inputs["text"]
    train = [row(1), row(2)]
    both = find_overlaps(train, [row(9, text=f"{left} {right}")], ngram=8, share=0.8, near=0.85)
    assert [(item.golden, item.train) for item in both] == [("r009", "r001")]
    half = find_overlaps(
        train, [row(9, text=f"{left} {row(5).inputs['text']}")], ngram=8, share=0.8, near=0.85
    )
    assert half == []
    refuse_overlaps(half)


GOLDEN = ("golden", [row(1), row(2)])


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"s": ("pool", [])}, "no source has any rows"),
        ({"g": GOLDEN, "t": ("train", [row(n, group="one") for n in range(10, 14)])}, "one group"),
        ({"g": GOLDEN}, "no rows are left"),
        ({"t": ("train", [row(n) for n in range(10, 20)])}, "minimum_golden"),
        ({"g": GOLDEN, "t": ("train", [row(1, source="t"), row(30)])}, "used in source"),
    ],
)
def test_data_that_cannot_be_trusted_is_refused(
    sources: dict[str, tuple[str, list[Example]]], message: str
) -> None:
    """Empty, one-group, golden-less and id-sharing data stop with exit code 2."""
    with pytest.raises(DataError, match=message) as caught:
        prepare(sources, PARAMS)
    assert caught.value.hint


def test_an_unknown_role_is_refused() -> None:
    """A role outside the three is a configuration error."""
    with pytest.raises(ConfigError, match="unknown role"):
        prepare({"s": ("test", [row(1)])}, PARAMS)


def test_examples_are_read_as_written_and_the_digest_is_stable(tmp_path: Path) -> None:
    """Any order of rows gives the same bytes, and they read back equal."""
    rows = [row(n) for n in range(9)]
    digest = write_examples(tmp_path / "a.jsonl", rows)
    assert (
        digest
        == write_examples(tmp_path / "b.jsonl", rows[::-1])
        == digest_file(tmp_path / "a.jsonl")
    )
    assert read_examples(tmp_path / "a.jsonl") == rows


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id":"a"}', "line 2: field 'group' is missing"),
        (
            '{"group":"g","id":"a","inputs":{"t":"x"},"reference":["y"],"source":"s","more":1}',
            "field 'more' is unknown",
        ),
        (
            '{"group":"g","id":"a","inputs":{"t":3},"reference":["y"],"source":"s"}',
            "line 2: field inputs",
        ),
        (
            '{"group":"g","id":"a","inputs":{"t":"x"},"reference":[""],"source":"s"}',
            "line 2: field reference",
        ),
        (
            '{"group":"g","id":"a","inputs":{"t":""},"reference":["y"],"source":"s"}',
            "line 2: field inputs",
        ),
        (
            '{"group":"g","id":"r001","inputs":{"t":"x"},"reference":["y"],"source":"s"}',
            "line 2: field id",
        ),
        ("{", "line 2: not valid JSON"),
    ],
)
def test_a_damaged_set_is_refused(tmp_path: Path, line: str, message: str) -> None:
    """A set that was edited or cut is refused with line and field."""
    path = tmp_path / "golden.jsonl"
    write_examples(path, [row(1)])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=message):
        read_examples(path)


def test_nothing_half_made_stays(tmp_path: Path) -> None:
    """Repeated ids and a folder that cannot be made leave the old file and no other."""
    path = tmp_path / "set.jsonl"
    write_examples(path, [row(1)])
    before = path.read_bytes()
    with pytest.raises(DataError):
        write_examples(path, [row(2), row(2)])
    with pytest.raises(EnvironmentFailure):
        write_examples(path / "below" / "set.jsonl", [row(2)])
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["set.jsonl"]
    with pytest.raises(DataError, match="is missing"):
        read_examples(tmp_path / "none.jsonl")


def test_a_limit_of_zero_only_refuses_what_is_shared() -> None:
    """With a limit of 0 any shared n-gram counts, but rows that share nothing still pass."""
    assert find_overlaps([row(1)], [row(2)], ngram=8, share=0.0, near=0.85) == []
    assert find_overlaps([], [row(2)], ngram=8, share=0.5, near=0.85) == []


def test_golden_rows_alone_are_enough_where_nothing_is_trained() -> None:
    """Without tuning the other two sets are empty; with it that is refused."""
    golden = {"g": ("golden", [row(n) for n in range(5)])}
    made = prepare(golden, PARAMS, trains=False)
    assert (len(made.golden), made.train, made.validation) == (5, [], [])
    with pytest.raises(DataError, match="no rows are left to train on"):
        prepare(golden, PARAMS)


def test_only_their_owner_reads_the_sets(tmp_path: Path) -> None:
    """The files hold what people wrote."""
    path = tmp_path / "golden.jsonl"
    write_examples(path, [row(1)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def pools() -> dict[str, tuple[str, list[Example]]]:
    """Rows to train on and golden ones."""
    return {
        "t": ("train", [row(n, f"g{n // 2}") for n in range(60)]),
        "g": ("golden", [row(n) for n in range(100, 105)]),
    }


def test_without_being_asked_for_a_development_set_moves_no_row() -> None:
    """The other sets are as version 0.2.0 made them; it is what nothing is trained on."""
    made = prepare(pools(), PARAMS)
    none = prepare(pools(), PARAMS.model_copy(update={"development_fraction": 0.0}))
    assert none.development == []
    assert made.development == made.validation != []
    assert (made.train, made.validation) == (none.train, none.validation)
    assert [
        digest_value([_plain(item) for item in part])[:16] for part in (made.train, made.golden)
    ] == [
        "0b31ebe6e7518f97",
        "7fa6974109ec0b8e",
    ]
    untrained = prepare(pools(), PARAMS, trains=False)
    assert untrained.train == made.train
    assert ids(untrained.development) == ids([*made.train, *made.validation])


def test_a_development_fraction_is_set_apart_by_groups() -> None:
    """It is in no other set, and a group that comes in moves no other."""
    params = PARAMS.model_copy(update={"development_fraction": 0.3})
    made = prepare(pools(), params)
    sets = [made.train, made.validation, made.development, made.golden]
    groups = [{item.group for item in part} for part in sets]
    assert all(groups)
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert sum(map(len, sets)) == made.counts["read"]
    more = pools()
    more["more"] = ("train", [row(n) for n in range(200, 240)])
    later = prepare(more, params)
    assert ids(made.development) <= ids(later.development)


def test_development_sources_are_the_development_set() -> None:
    """Their groups are not trained on, and groups of the golden set are not in it."""
    rows = pools()
    rows["d"] = (
        "development",
        [row(300, "g1"), row(301), row(302, "g100"), replace(row(301), id="z")],
    )
    made = prepare(rows, PARAMS.model_copy(update={"development_fraction": 0.5}))
    assert ids(made.development) == {"r300", "r301"}
    assert "g1" not in {item.group for item in [*made.train, *made.validation]}
    assert made.counts["group_in_development"] == 2
    assert made.counts["group_in_golden"] == 1
    assert made.counts["duplicate"] == 1


def test_a_development_row_that_copies_a_golden_one_is_refused() -> None:
    """What one tries things on would otherwise tell of what decides."""
    rows = pools()
    rows["d"] = ("development", [row(301, text=f"{row(102).inputs['text']} and more")])
    with pytest.raises(DataError, match="golden r102 ~ train r301"):
        prepare(rows, PARAMS)


def test_golden_rows_alone_make_no_development_set() -> None:
    """It is empty; where it is asked for, the error says how to get one."""
    golden = {"g": pools()["g"]}
    assert prepare(golden, PARAMS, trains=False).development == []
    with pytest.raises(DataError) as caught:
        prepare(golden, PARAMS.model_copy(update={"development_fraction": 0.2}), trains=False)
    assert "role development" in caught.value.hint
