"""Raw rows to train, validation, development and golden sets: redacted, without duplicates or
contamination.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sluicegate.config import PrepareParams
from sluicegate.data.duplicates import Duplicate, remove_duplicates
from sluicegate.data.examples import by_id
from sluicegate.data.overlap import find_overlaps, refuse_overlaps
from sluicegate.data.redaction import redact, redact_all, redact_texts
from sluicegate.data.splitting import held_out
from sluicegate.errors import ConfigError, DataError
from sluicegate.records import Example

ROLES = ("pool", "train", "development", "golden")


REASONS = ("duplicate", "near_duplicate", "group_in_golden", "group_in_development")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A row left out; `reason` is one of REASONS, `other` was kept."""

    id: str
    source: str
    reason: str
    other: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The sets (sorted by id), the counts, what was redacted, what was left out and why.

    Without `development_fraction` and rows of that role, `development` has the rows of other sets.
    """

    train: list[Example]
    validation: list[Example]
    development: list[Example]
    golden: list[Example]
    counts: dict[str, int]
    redactions: dict[str, int]
    dropped: list[Dropped]


def prepare(
    rows_by_source: Mapping[str, tuple[str, list[Example]]],
    params: PrepareParams,
    *,
    trains: bool = True,
    progress: Callable[[str], None] | None = None,
) -> Prepared:
    """Make the sets from the rows of all sources.

    Golden rows are those of `golden` sources; where there is none, `golden_fraction` of the `pool`
    groups. `train` rows never become golden; a group in the golden set is in no other. The order of
    rows does not matter.

    Development rows are those of `development` sources; else `development_fraction` of the groups
    that are not golden; else, without moving any row, the validation rows, or where nothing is
    trained all but the golden ones.

    Args:
        rows_by_source: source name -> (role, rows); the roles are ROLES.
        params: the `prepare` section of params.yaml.
        trains: rows to train on are needed; without it golden rows alone are enough.
        progress: called with one line per step.

    Raises:
        DataError: no rows, an id used twice, one group only, too few golden rows, overlap of golden
            and other rows, or none left for the development set that is asked for.
        ConfigError: an unknown role.
    """
    say = progress or _silent
    redactions: Counter[str] = Counter(dict.fromkeys(params.redact, 0))
    by_role = _redacted_by_role(rows_by_source, params, redactions)
    read = sum(len(rows) for rows in by_role.values())
    say(
        f"{read} rows from {len(rows_by_source)} source(s), {sum(redactions.values())} personal "
        "details redacted"
    )
    dropped: list[Dropped] = []
    golden_rows, repeats = remove_duplicates(by_role["golden"], params.near_duplicate)
    learn_rows, more_repeats = remove_duplicates(
        [*by_role["pool"], *by_role["train"], *by_role["development"]], params.near_duplicate
    )
    dropped += [_dropped(repeat) for repeat in (*repeats, *more_repeats)]
    say(f"{len(repeats) + len(more_repeats)} duplicates left out")
    rest, golden = _hold_out_golden(
        learn_rows, golden_rows, {row.id for row in by_role["pool"]}, params, dropped
    )
    learn, development = _hold_out_development(
        rest, {row.id for row in by_role["development"]}, params, dropped
    )
    _refuse_small(learn, golden, params, trains=trains)
    limits = {"share": params.overlap_share, "near": params.near_duplicate}
    refuse_overlaps(find_overlaps(rest, golden, ngram=params.overlap_ngram, **limits))
    train, validation = _hold_out_validation(learn, params)
    if not development and params.development_fraction is None:
        development = validation if trains else learn
    say(f"{len(train)} train, {len(validation)} validation, {len(golden)} golden rows; no overlap")
    sets = {"train": train, "validation": validation, "development": development, "golden": golden}
    counts = _counts(read, sets, dropped)
    dropped.sort(key=lambda item: (item.source, item.id))
    return Prepared(**sets, counts=counts, redactions=dict(redactions), dropped=dropped)


def _counts(read: int, sets: Mapping[str, list[Example]], dropped: list[Dropped]) -> dict[str, int]:
    reasons = Counter(item.reason for item in dropped)
    return {
        "read": read,
        **{name: len(rows) for name, rows in sets.items()},
        **{f"{name}_groups": len({row.group for row in rows}) for name, rows in sets.items()},
        **{reason: reasons[reason] for reason in REASONS},
    }


def _redacted_by_role(
    rows_by_source: Mapping[str, tuple[str, list[Example]]],
    params: PrepareParams,
    counts: Counter[str],
) -> dict[str, list[Example]]:
    by_role: dict[str, list[Example]] = {role: [] for role in ROLES}
    owner: dict[str, str] = {}
    for name in sorted(rows_by_source):
        role, rows = rows_by_source[name]
        if role not in by_role:
            raise ConfigError(
                f"source {name}: unknown role {role!r}.", hint=f"Known: {', '.join(ROLES)}."
            )
        for row in rows:
            if row.id in owner:
                raise DataError(
                    f"id {row.id!r} is used in source {owner[row.id]} and in source {name}.",
                    hint="Ids must be unique over all sources; "
                    "point fields.id at another column or leave it out.",
                )
            owner[row.id] = name
            by_role[role].append(_redacted(row, params, counts))
    if not owner:
        raise DataError("no source has any rows.", hint="See registry/sources.yaml.")
    return by_role


def _redacted(row: Example, params: PrepareParams, counts: Counter[str]) -> Example:
    inputs = redact_all(row.inputs, params.redact, counts)
    references = []
    for text in row.reference:
        clean, found = redact(text, params.redact)
        counts.update(found)
        references.append(clean)
    expected = {}
    for name, part in row.expected.items():
        expected[name], found = redact_texts(part, params.redact)
        counts.update(found)
    return replace(
        row, inputs=inputs, reference=tuple(dict.fromkeys(references)), expected=expected
    )


def _dropped(repeat: Duplicate) -> Dropped:
    reason = "duplicate" if repeat.similarity == 1.0 else "near_duplicate"
    return Dropped(repeat.row.id, repeat.row.source, reason, repeat.kept.id)


def _hold_out_golden(
    learn: list[Example],
    golden: list[Example],
    pool_ids: set[str],
    params: PrepareParams,
    dropped: list[Dropped],
) -> tuple[list[Example], list[Example]]:
    """Return (rows to learn from, golden rows), with no group in both."""
    if not golden:
        pool = [row for row in learn if row.id in pool_ids]
        chosen = held_out((row.group for row in pool), params.golden_fraction, "golden")
        golden = [row for row in pool if row.group in chosen]
        taken = {row.id for row in golden}
        learn = [row for row in learn if row.id not in taken]
    frozen = {row.group for row in golden}
    dropped += [
        Dropped(row.id, row.source, "group_in_golden", row.group)
        for row in learn
        if row.group in frozen
    ]
    return by_id(row for row in learn if row.group not in frozen), by_id(golden)


def _hold_out_validation(
    learn: list[Example], params: PrepareParams
) -> tuple[list[Example], list[Example]]:
    chosen = held_out((row.group for row in learn), params.validation_fraction, "validation")
    train = by_id(row for row in learn if row.group not in chosen)
    return train, by_id(row for row in learn if row.group in chosen)


def _hold_out_development(
    rest: list[Example], given: set[str], params: PrepareParams, dropped: list[Dropped]
) -> tuple[list[Example], list[Example]]:
    """Return (rows to learn from, development rows), with no group in both; `given` are the ids of
    rows of that role.
    """
    held = {row.group for row in rest if row.id in given}
    if not held and params.development_fraction:
        held = set(
            held_out((row.group for row in rest), params.development_fraction, "development")
        )
        if not held:
            raise DataError(
                "prepare.development_fraction asks for development rows, and "
                f"{len({row.group for row in rest})} groups are left beside the golden set.",
                hint="Give registry/sources.yaml a source of role development (or pool); golden "
                "rows are never used to try things on.",
            )
        return [row for row in rest if row.group not in held], [
            row for row in rest if row.group in held
        ]
    dropped += [
        Dropped(row.id, row.source, "group_in_development", row.group)
        for row in rest
        if row.group in held and row.id not in given
    ]
    development = [row for row in rest if row.id in given]
    return [row for row in rest if row.group not in held], development


def _refuse_small(
    learn: list[Example], golden: list[Example], params: PrepareParams, *, trains: bool
) -> None:
    if len(golden) < params.minimum_golden:
        asked = f"params.yaml asks for {params.minimum_golden} (prepare.minimum_golden)"
        raise DataError(
            f"{len(golden)} golden rows, but {asked}.",
            hint="Add rows to a source of role golden, or raise prepare.golden_fraction.",
        )
    groups = {row.group for row in learn}
    if trains and not learn:
        raise DataError(
            "no rows are left to train on.",
            hint="Add a source of role train or pool, or set tune.method: none.",
        )
    if trains and len(groups) < 2:
        raise DataError(
            f"all {len(learn)} training rows belong to one group ({min(groups)}): "
            "no validation set can be held out.",
            hint="Check fields.group in registry/sources.yaml: the customer or conversation.",
        )


def _silent(_: str) -> None:
    """No progress wanted."""
