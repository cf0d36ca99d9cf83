"""The gate of a judge itself: held against people, recorded under its digest, for a time.

It passes for a use: `comparative` (rules that compare two releases) or `absolute` too (rules with a
threshold of their own). Fails closed: every check has to be shown, 95 % sure, a row without a
verdict counts as wrong, and too few rows are a judge that has not passed. A record holds for one
digest of judge, prompt, settings and code.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sluicegate.config import CalibrationParams
from sluicegate.errors import DataError, IntegrityError
from sluicegate.evidence_key import evidence_key, mac
from sluicegate.generating import Model, Progress
from sluicegate.hashing import as_json, digest_value, read_json, write_json
from sluicegate.judges import measuring
from sluicegate.judges.agreement import Interval
from sluicegate.judges.base import Judged
from sluicegate.judges.checks import Check, checks_of, uses_of
from sluicegate.judges.criteria import Criterion
from sluicegate.judges.jury import PRAISE, judge_digest, judge_rows
from sluicegate.judges.labels import LabelledRow, Labels
from sluicegate.judges.measuring import Point, Sample

FOLDER = "calibrations"
MOST_REASONS = 5


@dataclass(frozen=True, slots=True)
class Calibration:
    """What came of holding one judge against people.

    Attributes:
        name, form: of the criterion. `judges`: the models that answered, as registry/models.yaml
            names them.
        digest: `judge_digest` of exactly what was measured.
        made, expires: ISO 8601, UTC.
        labels: digest of the labelled rows; `rows` of them in `groups`, by so many `raters`.
        passed: for comparative use, at least; `uses` says for which.
        headline: the measure that decides, `accuracy` or `spearman`.
        measures: by name, with 95 % intervals.
        baselines: the headline measure of trivial judges.
        failed: rows without a verdict, and `failures` why, each once.
        uncalled: rows that were settled without asking the judge.
        missed: known-bad answers that the judge did not notice, of `sentinels` in all.
    """

    name: str
    form: str
    judges: tuple[str, ...]
    digest: str
    passed: bool
    uses: tuple[str, ...]
    made: str
    expires: str
    checks: tuple[Check, ...]
    labels: str
    rows: int
    groups: int
    raters: int
    headline: str
    measures: Mapping[str, Interval]
    baselines: Mapping[str, Interval]
    points: tuple[Point, ...]
    failed: int
    failures: tuple[str, ...]
    uncalled: int
    sentinels: int
    missed: tuple[str, ...]
    calls: int
    prompt_tokens: int
    completion_tokens: int
    weighted: bool | None
    thresholds: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Runs:
    """What the judge said: to the labelled rows, to some again, and to the known-bad ones."""

    first: Judged
    again: Judged
    repeated: Sequence[LabelledRow]
    bad: Judged
    bad_rows: Sequence[str]

    def counts(self) -> dict[str, Any]:
        """The fields of a calibration that count calls and failures."""
        every = (self.first, self.again, self.bad)
        return {
            "failed": self.first.failed,
            "failures": tuple(sorted({failure for failure in self.first.failures if failure}))[
                :MOST_REASONS
            ],
            "uncalled": self.first.uncalled,
            "sentinels": len(self.bad_rows),
            "calls": sum(run.calls for run in every),
            "prompt_tokens": sum(run.prompt_tokens for run in every),
            "completion_tokens": sum(run.completion_tokens for run in every),
            "weighted": self.first.weighted,
        }


def calibrate(
    criterion: Criterion,
    labels: Labels,
    models: Sequence[Model],
    params: CalibrationParams,
    *,
    now: datetime,
    progress: Progress | None = None,
) -> Calibration:
    """Hold the judge against the labels and say whether it passed.

    The judge is asked about every labelled row (pairwise: in both orders), about
    `params.repeat_rows` of them again with another seed and other marks, and about every known-bad
    answer, even those that an evaluation would score without a call. The criterion's own sentinels
    are among those; they do not stop the rest here, so that the report of a bad judge says how bad
    it is.

    Raises:
        DataError: no labelled row.
        BudgetError, ConfigError: see `judge_rows`.
    """
    rows = [row for row in labels.rows if not row.sentinel]
    if not rows:
        raise DataError(
            f"there is no labelled row for judge {criterion.name}.",
            hint=f"`sluice judge labels export {criterion.name}` writes rows for people to label.",
        )
    bad = [row for row in labels.rows if row.sentinel]
    runs = _ask(criterion, rows, bad, models, params, progress)
    data = measuring.sample(criterion, rows, runs.first.scores)
    asked = runs.first.failed < len(rows)
    measured = _measured(data, runs, rows, params) if asked else {}
    missed = _missed(criterion, runs)
    known = {"groups": len(set(data.groups)), "rows": len(rows), "failed": runs.first.failed}
    known["sentinels"] = len(runs.bad_rows)
    checks = checks_of(data, measured, missed, known, params)
    uses = uses_of(checks)
    return Calibration(
        name=criterion.name,
        form=criterion.form,
        judges=criterion.judges,
        digest=judge_digest(criterion, models),
        passed=bool(uses),
        uses=uses,
        made=now.isoformat(timespec="seconds"),
        expires=(now + timedelta(days=params.expires_days)).isoformat(timespec="seconds"),
        checks=checks,
        labels=labels.digest,
        rows=len(rows),
        groups=known["groups"],
        raters=len(data.raters),
        headline=data.headline,
        measures=measured,
        baselines=measuring.baselines(data, params) if asked else {},
        points=measuring.points(data) if asked else (),
        missed=missed,
        thresholds=params.model_dump(mode="json"),
        **runs.counts(),
    )


def record(folder: Path, calibration: Calibration) -> Path:
    """Write the calibration below `folder` (`project.judgements`); a digest's last one counts."""
    path, value = folder / FOLDER / f"{calibration.digest}.json", as_json(calibration)
    write_json(path, {**value, "seal": _seal(folder, value)})
    return path


def recorded(folder: Path, digest: str) -> dict[str, Any] | None:
    """One judge's record as plain values; None where there is none, or it was not made here."""
    return _read(folder, folder / FOLDER / f"{digest}.json")


def standing(
    folder: Path,
    digest: str,
    now: datetime,
    *,
    name: str = "",
    params: CalibrationParams | None = None,
) -> str:
    """Does this judge count: `ok` (for every use), `comparative` (for comparisons alone),
    `uncalibrated`, `other_digest`, `stale` or `failed`.

    A record made before 0.2.0 does not say for which use it passed: it is stale.

    Args:
        folder: `project.judgements`.
        now: with time zone.
        name: of the criterion; with it a judge that passed under another digest is told from one
            never calibrated.
        params: with them a calibration by other thresholds is stale.
    """
    found = recorded(folder, digest)
    if found is None or found.get("digest") != digest or (name and found.get("name") != name):
        return "other_digest" if name and _passed_before(folder, name) else "uncalibrated"
    if found.get("passed") is not True:
        return "failed"
    if params is not None and found.get("thresholds") != params.model_dump(mode="json"):
        return "stale"
    made, expires = (datetime.fromisoformat(found[name]) for name in ("made", "expires"))
    uses = found.get("uses", ())
    if not made <= now < expires or "comparative" not in uses:
        return "stale"
    return "ok" if "absolute" in uses else "comparative"


def _passed_before(folder: Path, name: str) -> bool:
    found = (_read(folder, path) for path in sorted((folder / FOLDER).glob("*.json")))
    return any(
        one is not None and one.get("name") == name and one.get("passed") is True for one in found
    )


def _seal(folder: Path, value: dict[str, Any]) -> str:
    """Who could write the file could not make this: see `evidence_key`."""
    return mac(evidence_key(folder.parent), digest_value(value))


def _read(folder: Path, path: Path) -> dict[str, Any] | None:
    try:
        value = read_json(path)
    except IntegrityError:
        return None
    sealed = str(value.pop("seal", ""))
    return value if hmac.compare_digest(sealed, _seal(folder, value)) else None


def _ask(
    criterion: Criterion,
    rows: Sequence[LabelledRow],
    known_bad: Sequence[LabelledRow],
    models: Sequence[Model],
    params: CalibrationParams,
    progress: Progress | None,
) -> _Runs:
    open_one = replace(criterion, sentinels=())
    made = measuring.made_sentinels(criterion, rows, params.made_sentinels)
    bad = [*criterion.sentinels, *(row.row for row in known_bad), *made]
    repeated = sorted(rows, key=lambda row: digest_value(row.row.id))[: params.repeat_rows]
    other = [
        replace(row.row, output=f"{row.row.output} ", other=row.row.other and f"{row.row.other} ")
        for row in repeated
    ]
    return _Runs(
        first=judge_rows(open_one, [row.row for row in rows], models, progress),
        again=judge_rows(open_one, other, models, progress, seed=params.seed + 1),
        repeated=repeated,
        bad=judge_rows(open_one, bad, models, progress, ask_all=True),
        bad_rows=[row.id for row in bad],
    )


def _measured(
    data: Sample, runs: _Runs, rows: Sequence[LabelledRow], params: CalibrationParams
) -> dict[str, Interval]:
    """What the report shows beside the checks."""
    found = measuring.measures(data, params) | measuring.position_measures(runs.first, data.groups)
    places = {row.row.id: place for place, row in enumerate(rows)}
    chosen = [places[row.row.id] for row in runs.repeated]
    before = replace(runs.first, scores=tuple(runs.first.scores[place] for place in chosen))
    same = measuring.consistency(before, runs.again, [row.group for row in runs.repeated])
    people = measuring.raters_agreement(rows, params)
    found |= {"self_consistency": same} if same is not None else {}
    return found | ({"raters_alpha": people} if people is not None else {})


def _missed(criterion: Criterion, runs: _Runs) -> tuple[str, ...]:
    """Known-bad answers that were praised, or got no verdict; nor may a pair of equals pass."""
    pairwise = criterion.compares
    return tuple(
        name
        for name, score in zip(runs.bad_rows, runs.bad.scores, strict=True)
        if score is None or (score > 0.0 if pairwise else abs(score - criterion.worst) > PRAISE)
    )
