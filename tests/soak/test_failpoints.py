"""Whatever single side effect of a step fails, and however it fails: the state is whole, and
running again completes it.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scenes import Scene, Stage, freeze_time, quick_folder, result

from faults import MODES, effects, failing, in_child
from sluicegate.records import Champion
from soak_scale import scaled

pytestmark = pytest.mark.timeout(7200)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with quick_folder() as folder:
        made = Stage(folder)
        gc.collect()  # closes what is open in this process, before it is forked
        yield made


SCENES = (
    "register the first",
    "bootstrap",
    "register",
    "judge",
    "promote",
    "rollback",
    "reconcile",
)


def _state(stage: Stage) -> dict[str, Any]:
    found = in_child(lambda: result(stage.project))
    assert found.end == "done", found.text
    return dict(found.value)


def _run(scene: Scene) -> Any:
    freeze_time()
    scene.action()


@pytest.mark.parametrize("name", SCENES)
def test_every_failpoint_leaves_a_whole_state_and_a_rerun_completes_it(
    stage: Stage, name: str, record_property: Any
) -> None:
    """After each failure all is sound under the old or the new champion; a re-run ends in the same
    head, nothing twice.
    """
    scene = next(scene for scene in stage.scenes if scene.name == name)
    stage.set_up(scene)
    before = _state(stage)["champion"]
    points = effects(lambda: _run(scene))
    wanted = _state(stage)
    assert points
    ends: Counter[str] = Counter()
    for number, point in enumerate(points, start=1):
        for mode in MODES if scaled(0, 1) else MODES[number % 12 // 3 :][: number % 3 == 0]:
            stage.set_up(scene)
            outcome = failing(lambda: _run(scene), number, mode)
            case = f"{name}: {mode} at {number} of {len(points)}, {point}"
            assert outcome.end != "crashed", f"{case}\n{outcome.text}"
            ends[outcome.end] += 1
            middle: Champion | None = _state(stage)["champion"]
            assert middle in (before, wanted["champion"]), case
            again = in_child(lambda: _run(scene))
            assert again.end == "done", f"{case}, then again\n{again.text}"
            assert _state(stage) == wanted, case
    record_property("cases", sum(ends.values()))
    print(f"{name}: {len(points)} side effects, {sum(ends.values())} cases: {dict(ends)}")


def test_a_failpoint_fires(stage: Stage, tmp_path: Path) -> None:
    """The machinery itself: an effect is counted, killed, refused, and one that is not reached
    changes nothing.
    """

    def write() -> str:
        (tmp_path / "made").mkdir(exist_ok=True)
        (tmp_path / "made" / "file").write_text("x")
        return "written"

    points = effects(write)
    assert [point.split(" ")[0] for point in points] == ["os.mkdir", "open"]
    assert failing(write, 2, "SIGKILL").end == "killed"
    assert failing(write, 2, "exception").end == "injected"
    assert "No space left" in failing(write, 2, "ENOSPC").text
    assert failing(write, 3, "EIO").value == "written"
