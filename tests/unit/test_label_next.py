"""Which rows are to be labelled next: only telling ones, each reason in its turn."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from compared_project import at_the_keyboard, compared
from sluicegate.cli import sluice
from sluicegate.evaluation import read_evidence, write_evidence
from sluicegate.line.learn import label_next as module
from sluicegate.line.learn.label_next import (
    DIFFER,
    DISAGREE,
    THIN,
    UNLIKE,
    Row,
    chosen,
    disagreement,
    label_next,
)
from sluicegate.line.release.review import Session
from sluicegate.line.run import Run, open_run
from sluicegate.records import ScoredExample
from sluicegate.traffic import TrafficRow
from watched_project import log

DIFFERING = 12


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return compared(tmp_path_factory.mktemp("label") / "p", DIFFERING)


class Letters:
    """An encoder that only sees whether a text speaks of zebras."""

    identity = weights = "letters"

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = [(0.0, 1.0) if "zebra" in text else (1.0, 0.0) for text in texts]
        return np.array(found, np.float32)


def row(name: str, **reasons: float) -> Row:
    return Row(name, name, {}, "a", "b", reasons)


def scored(**scores: float) -> ScoredExample:
    judged = {f"judge:{name}": value for name, value in scores.items()}
    return ScoredExample("1", "1", "text", judged, 0.1, 1, 1)


def test_each_reason_has_its_turn() -> None:
    """A common reason does not crowd out a rare one, and the strongest of a reason comes first."""
    rows = [row(f"{place}", differ=1.0) for place in range(30)]
    rows += [row("weak", rare=0.1), row("strong", rare=0.9)]
    ids = [one.id for one in chosen(rows, 4)]
    assert "strong" in ids
    assert ids.index("strong") < ids.index("weak")
    assert len(set(ids)) == 4


def test_the_order_is_not_that_of_the_file() -> None:
    """Where a reason is equally strong, digests give the order: a sample, and always the same."""
    rows = [row(f"{place:02d}", differ=1.0) for place in range(30)]
    ids = [one.id for one in chosen(rows, 30)]
    assert ids != sorted(ids)
    assert ids == [one.id for one in chosen(rows[::-1], 30)]


def test_judges_disagree_on_which_is_better() -> None:
    """One finds the candidate better, the other the champion; one judge alone cannot disagree."""
    apart = disagreement(scored(a=1.0, b=0.0), scored(a=0.0, b=1.0))
    assert apart == 1.0
    assert disagreement(scored(a=1.0, b=1.0), scored(a=0.0, b=0.0)) == 0.0
    assert disagreement(scored(a=1.0), scored(a=0.0)) == 0.0


def test_equal_and_reviewed_pairs_are_left_out(run: Run, tmp_path: Path) -> None:
    """Only what differs, until somebody has said something of it."""
    shutil.copytree(run.project.root, tmp_path / "p", symlinks=True)
    run = open_run(tmp_path / "p")
    rows = label_next(run, 50)
    assert len(rows) == DIFFERING
    assert all(DIFFER in one.reasons and one.output != one.other for one in rows)
    with at_the_keyboard("somebody@desk"), Session(run, "ana") as session:
        for _ in range(5):
            session.answer(str(session.view()["pair"]), "same", [], [])
    assert len(label_next(run, 50)) == DIFFERING - 5


def test_a_thin_slice_is_a_reason(run: Run) -> None:
    """A row whose slice has few others comes with that reason."""
    folder = run.project.evidence
    both = [folder / f"{side}.parquet" for side in ("candidate", "champion")]
    before = [read_evidence(path) for path in both]
    try:
        for path, found in zip(both, before, strict=True):
            rows = tuple(
                replace(one, slices={"industry": "rare" if place == 11 else "common"})
                for place, one in enumerate(found.rows)
            )
            write_evidence(path, replace(found, rows=rows))
        thin = [one for one in label_next(run, 50) if THIN in one.reasons]
        assert [one.id for one in thin] == [before[0].rows[11].id]
        assert DISAGREE not in thin[0].reasons
    finally:
        for path, found in zip(both, before, strict=True):
            write_evidence(path, found)


def test_traffic_unlike_the_golden_set(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only rows of a kind that the golden set lacks; without an encoder none is looked for, which
    is told.
    """
    now = datetime.now(UTC)
    asked = ["Sum up: my parcel is late", "Sum up: my zebra is ill"]
    log(run.project).write([TrafficRow(f"t{n}", now, text, "ok") for n, text in enumerate(asked)])
    assert not [one for one in label_next(run, 50) if UNLIKE in one.reasons]
    assert "traffic is not looked at" in capsys.readouterr().err
    monkeypatch.setattr(module, "text_encoder", lambda name: Letters())
    found = [one for one in label_next(run, 50) if UNLIKE in one.reasons]
    assert [one.id for one in found] == ["t1"]


def test_the_command(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It prints the rows and writes them, at most as many as asked for."""
    monkeypatch.chdir(run.project.root)
    out = tmp_path / "rows.jsonl"
    done = CliRunner().invoke(
        sluice, ["label", "next", "--rows", "3", "--out", str(out)], catch_exceptions=False
    )
    assert done.exit_code == 0
    lines = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert len(lines) == 3
    assert set(lines[0]) == {"id", "group", "inputs", "output", "other", "reasons"}
    assert all(line["id"] in done.output for line in lines)
