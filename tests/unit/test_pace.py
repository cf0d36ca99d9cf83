"""Times left converge, whatever the first step took."""

from __future__ import annotations

import random
import re

import pytest

from sluicegate.line.choose.select import peak_memory
from sluicegate.line.progress import counter
from sluicegate.pace import Pace

STEPS = 100


def steady(step: int) -> float:
    return 1.0


def slow_start(step: int) -> float:
    """The first step loads the weights."""
    return 60.0 if step == 1 else 1.4


def noisy(step: int) -> float:
    """Steps of 0.5 to 1.5 s; every tenth also measures a validation loss."""
    return random.Random(step).uniform(0.5, 1.5) + (4.0 if step % 10 == 0 else 0.0)


def cached(step: int) -> float:
    """The first tenth was answered before."""
    return 0.001 if step <= STEPS / 10 else 2.0


@pytest.mark.parametrize("seconds", [steady, slow_start, noisy, cached])
def test_after_a_fifth_of_the_work_the_time_left_is_about_right(seconds) -> None:  # type: ignore[no-untyped-def]
    """From 20 % of the steps on, the estimate stays within a factor of 1.5 of the truth."""
    now = 0.0
    pace = Pace(lambda: now)
    checked = 0
    for step in range(1, STEPS):
        now += seconds(step)
        left = pace.left(step, STEPS)
        truth = sum(seconds(later) for later in range(step + 1, STEPS + 1))
        if step >= STEPS / 5 and step <= STEPS * 0.9:  # at the very end one slow step is all
            assert left is not None
            assert truth / 1.5 <= left <= truth * 1.5, f"step {step}: {left} of {truth}"
            checked += 1
    assert checked > 50


def test_nothing_is_said_before_anything_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    """After the first step alone no time left is printed: it says nothing about the others."""
    report = counter("answers", every=0.0)
    for done in (0, 1, 2):
        report(done, 4)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["  answers 0/4", "  answers 1/4"]
    assert re.fullmatch(r"  answers 2/4, 0 s left", lines[2])


def test_memory_is_the_same_number_on_macos_and_linux() -> None:
    """The system tells bytes on macOS and kilobytes on Linux."""
    assert peak_memory("linux") == pytest.approx(1024 * peak_memory("darwin"), rel=0.01)
