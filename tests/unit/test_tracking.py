"""MLflow for real, on a database in a temporary folder."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sluicegate.errors import TrackingError
from sluicegate.records import Release
from sluicegate.tracking import RunHandle, Tracking

BASE, ADAPTER, PROMPT, SETTINGS = ("b" * 64, "a" * 64, "d" * 64, "e" * 64)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    state = tmp_path_factory.mktemp("a folder with spaces") / ".sluice" / "mlflow"
    return Tracking(f"sqlite:///{state / 'mlflow.db'}", state / "artifacts")


def release(number: int, adapter: str | None = ADAPTER) -> Release:
    return Release(BASE, adapter, PROMPT, f"{number:064d}")


def adapter_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"\0" * 16)
    return folder


def interrupted(run: RunHandle, losses: list[float], error: BaseException) -> None:
    """Log `losses` from step 1 on, then fail inside the run."""
    with run:
        for step, loss in enumerate(losses, start=1):
            run.log_metrics({"loss": loss}, step)
        raise error


def test_import_is_light() -> None:
    """Importing the package, and making a Tracking, imports no mlflow."""
    code = (
        "import sys, pathlib; from sluicegate.tracking import Tracking; "
        "Tracking('sqlite:///x', pathlib.Path('y')); sys.exit('mlflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_run_keeps_every_point_and_ends_finished(tracking: Tracking) -> None:
    """All buffered points are in the store after the run ended, with parameters flattened."""
    with tracking.start_run("line", "tune", {"tune": {"rank": 8, "modules": ("q", "v")}}) as run:
        for step in range(1, 451):
            run.log_metrics({"loss": 1 / step}, step)
    found = tracking.client.get_run(run.id)
    assert [point.step for point in tracking.client.get_metric_history(run.id, "loss")] == list(
        range(1, 451)
    )
    assert found.data.params == {"tune.rank": "8", "tune.modules": "q, v"}
    assert found.info.status == "FINISHED"


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("x"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_error_marks_the_run(tracking: Tracking, error: BaseException, status: str) -> None:
    """An error ends the run FAILED, Ctrl-C KILLED; the error itself goes on and buffered points are
    kept.
    """
    run = tracking.start_run("line", "broken")
    with pytest.raises(type(error)):
        interrupted(run, [2.0], error)
    found = tracking.client.get_run(run.id)
    assert (found.info.status, found.data.metrics["loss"]) == (status, 2.0)


def test_table_is_replaced_not_appended(tracking: Tracking) -> None:
    """Logging a table twice leaves one table, listed once for the UI."""
    with tracking.start_run("line", "evaluate") as run:
        run.log_table("examples", {"id": ["x"], "score": [0.1]})
        run.log_table("examples", {"id": ["x", "y"], "score": [0.1, 0.2]})
    found = tracking.client.get_run(run.id)
    path = Path(tracking.client.download_artifacts(run.id, "examples.json"))
    assert json.loads(path.read_text()) == {
        "columns": ["id", "score"],
        "data": [["x", 0.1], ["y", 0.2]],
    }
    assert json.loads(found.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": "examples.json", "type": "table"}
    ]


def test_table_refuses_ragged_columns_and_nan(tracking: Tracking) -> None:
    """A column of another length, or a NaN, is an error and stores nothing."""
    with tracking.start_run("line", "evaluate") as run:
        with pytest.raises(ValueError, match="argument"):
            run.log_table("bad", {"id": ["x"], "score": []})
        with pytest.raises(ValueError, match="JSON"):
            run.log_table("bad", {"id": ["x"], "score": [math.nan]})
    assert not tracking.client.list_artifacts(run.id)


def test_dataset_keeps_the_whole_digest(tracking: Tracking) -> None:
    """A data set input carries all 64 characters of our digest and the row count."""
    with tracking.start_run("line", "tune") as run:
        run.log_dataset("train", "f" * 64, "data/prepared/train.jsonl", 92)
    (given,) = tracking.client.get_run(run.id).inputs.dataset_inputs
    assert json.loads(given.dataset.profile) == {"num_rows": 92, "sha256": "f" * 64}
    assert given.dataset.digest == "f" * 36


def test_system_metrics_are_a_curve(tracking: Tracking) -> None:
    """Each sample is the next point of MLflow's system metrics."""
    with tracking.start_run("line", "tune") as run:
        run.system_metrics()
        sample = run.system_metrics()
    assert sample["system/process_memory_usage_megabytes"] > 1
    history = tracking.client.get_metric_history(run.id, "system/cpu_utilization_percentage")
    assert [point.step for point in history] == [0, 1]


def test_release_is_one_version_however_often_registered(
    tracking: Tracking, tmp_path: Path
) -> None:
    """A second registration returns the first version, which holds manifest and adapter and carries
    every digest.
    """
    run = tracking.start_run("line", "register")
    folder = adapter_folder(tmp_path)
    first = tracking.register_version(
        "support", release(1), {"k": 1}, folder, run.id, {"git.commit": "abc"}, "why"
    )
    bare = tracking.register_version("support", release(1, None), {"k": 2}, None, run.id)
    assert tracking.register_version("support", release(1), {"k": 9}, folder, run.id) == first
    assert bare != first
    assert tracking.version_of("support", release(1, None).digest) == bare
    version = tracking.client.get_model_version("support", str(first))
    assert version.tags["sluice.adapter"] == ADAPTER
    assert version.tags["git.commit"] == "abc"
    stored = Path(version.source.removeprefix("file://").replace("%20", " "))
    assert sorted(path.name for path in stored.rglob("*") if path.is_file()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
    ]
    assert json.loads((stored / "manifest.json").read_text()) == {"k": 1}


def test_description_is_cut_at_a_line(tracking: Tracking) -> None:
    """A description longer than MLflow holds ends at a whole line and says that it was cut."""
    run = tracking.start_run("line", "register")
    version = tracking.register_version("long", release(2), {}, None, run.id)
    tracking.describe("long", version, "a line of the verdict\n" * 900, {"sluice.verdict": "HOLD"})
    found = tracking.client.get_model_version("long", str(version))
    assert len(found.description) <= 5000
    assert "verdict\n\n*(cut here" in found.description
    assert found.tags["sluice.verdict"] == "HOLD"


def test_aliases_follow_the_ledger(tracking: Tracking) -> None:
    """Projecting a new champion moves both aliases and marks the old one; projecting it again
    changes nothing.
    """
    run = tracking.start_run("line", "register")
    zero, one = (
        tracking.register_version("aliased", release(number), {}, None, run.id) for number in (3, 4)
    )
    assert tracking.alias("aliased", "champion") is None
    assert tracking.alias("no such model", "champion") is None
    tracking.project_champion("aliased", zero, one)
    assert (tracking.alias("aliased", "champion"), tracking.alias("aliased", "challenger")) == (
        zero,
        one,
    )
    for _ in range(2):
        tracking.project_champion("aliased", one, None, {"sluice.epoch": "2"})
        assert (tracking.alias("aliased", "champion"), tracking.alias("aliased", "challenger")) == (
            one,
            None,
        )
        versions = [
            tracking.client.get_model_version("aliased", str(number)) for number in (zero, one)
        ]
        assert [version.tags["sluice.status"] for version in versions] == [
            "former champion",
            "champion",
        ]


def test_prompt_is_written_once_per_digest(tracking: Tracking) -> None:
    """The same digest gives the same prompt version; another digest the next one; the experiment
    lists it once.
    """
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sum up {{ conversation }}"},
    ]
    versions = [
        tracking.project_prompt(
            "summarize", messages, {"digest": digest, "commit": "c"}, experiment="line"
        )
        for digest in ("x", "x", "y", "x")
    ]
    assert versions == [1, 1, 2, 1]
    prompt = tracking.client.get_prompt_version("summarize", "1")
    assert prompt.template == messages
    tags = tracking.client.get_prompt("summarize").tags
    assert tags["_mlflow_experiment_ids"] == f",{tracking.experiment('line')},"


def test_prompt_without_digest_is_refused(tracking: Tracking) -> None:
    """Without a digest tag a prompt could be written twice, so it is not written at all."""
    with pytest.raises(TrackingError, match="digest"):
        tracking.project_prompt("anonymous", "text", {})


def test_broken_store_is_a_tracking_error(tmp_path: Path) -> None:
    """A database that is no database, or a folder that is a file, gives a TrackingError with a
    hint.
    """
    (tmp_path / "mlflow.db").write_text(
        "this is not a database, it only looks like one from far away" * 50
    )
    with pytest.raises(TrackingError) as caught:
        _ = Tracking(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts").client
    assert caught.value.hint
    (tmp_path / "file").write_text("")
    with pytest.raises(TrackingError):
        _ = Tracking(
            f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}", tmp_path / "file" / "artifacts"
        ).client


def test_processes_that_race_for_a_fresh_database_all_succeed(tmp_path: Path) -> None:
    """Three processes that open the same absent database at once register one version between them."""
    code = """
import sys; from pathlib import Path
from sluicegate.tracking import Tracking; from sluicegate.records import Release
state = Path(sys.argv[1]); tracking = Tracking(f"sqlite:///{state / 'mlflow.db'}", state / "artifacts")
with tracking.start_run("line", "race") as run:
    print(tracking.register_version("raced", Release("b", None, "p", "g"), {}, None, run.id))
"""
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "m")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    answers = [(racer.communicate(timeout=100)[0].strip(), racer.returncode) for racer in racers]
    assert answers == [("1", 0)] * 3


def test_links_name_the_page() -> None:
    """Links point into the tracking server where there is one, into the local UI otherwise."""
    local, remote = (Tracking(url, Path("a")) for url in ("sqlite:///x.db", "http://mlflow:5000/"))
    assert local.ui_link() == "http://127.0.0.1:5000"
    assert (
        local.ui_link(prompt="a b", ui="http://127.0.0.1:5001")
        == "http://127.0.0.1:5001/#/prompts/a_b"
    )
    assert (
        remote.ui_link(model="support", version=3)
        == "http://mlflow:5000/#/models/support/versions/3"
    )


def test_a_server_that_is_down_is_told_soon(tmp_path: Path) -> None:
    """An address at which nobody answers is a TrackingError after a moment, not after MLflow's
    minutes of retries.
    """
    with pytest.raises(TrackingError):
        Tracking("http://127.0.0.1:9", tmp_path).alias("m", "champion")  # the import is in this one
    start = time.monotonic()
    with pytest.raises(TrackingError):
        Tracking("http://127.0.0.1:9", tmp_path).alias("m", "champion")
    assert time.monotonic() - start < 10
