"""`sluice upgrade`: a project of an earlier version comes forward, and nothing of it is lost."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sluicegate import local_services
from sluicegate.cli import sluice
from sluicegate.config import Params
from sluicegate.errors import ConfigError, UsageError, VersioningError
from sluicegate.scaffold import HOSTED, Endpoint, init, template, upgrade
from sluicegate.scaffold.template import RECORD, archive, files, former_text, recorded
from sluicegate.scaffold.upgrade import due, plan
from sluicegate.yaml_file import load

ROOT = Path(__file__).parents[1]
MADE_BY_0_1_0 = ROOT / "tests" / "project_0_1_0.bundle"  # by `sluice init` of its wheel
FLOW = "one = 1\n\n\n\ntwo = 2\n\n\n\nthree = 3\n"
NEW_FLOW = FLOW.replace("one = 1", "one = 10")


def git(root: Path, *arguments: str) -> str:
    author = ("-c", "user.name=ana", "-c", "user.email=ana@example.org")
    done = subprocess.run(
        ["git", *author, *arguments], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "-q", "--allow-empty", "-m", "mine")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A project as version 0.1.0 made it."""
    git(tmp_path, "clone", "-q", str(MADE_BY_0_1_0), "old", "-b", "main")
    return tmp_path / "old"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The installed version's template, a small one that a test may change."""
    folder, history = tmp_path / "template", tmp_path / "history"
    for name in ("flows/a.py", "flows/b.py", "registry/gates.yaml", "data/sample/rows.jsonl"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(FLOW, "utf-8")
    for name in template.FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}\n", "utf-8")
    for module in (template, upgrade):
        monkeypatch.setattr(module, "template", lambda: folder)
    history.mkdir()
    monkeypatch.setattr(template, "_HISTORY", history)
    (history / "1.zip").write_bytes(archive(files()))
    template._former.cache_clear()
    return folder


@pytest.fixture
def project(shipped: Path, tmp_path: Path) -> Path:
    init(tmp_path / "mine")
    return tmp_path / "mine"


def actions(root: Path) -> dict[str, str]:
    return {step.path: step.action for step in plan(root)}


def test_a_project_of_0_1_0_is_known_by_what_it_holds(old: Path) -> None:
    """It has no record: the digests and texts shipped with the engine are those that it wrote."""
    assert not (old / RECORD).exists()
    wrote = recorded(old)
    assert wrote.version == "0.1.0"
    tracked = set(git(old, "ls-files").split())
    assert tracked - {"README.md"} == set(wrote.files)
    for path, digest in wrote.files.items():
        content = (old / path).read_bytes()
        assert template.digest_bytes(content) == digest, path
        if not template.is_own(path) and not template.is_sample(path):
            assert former_text(path, digest) == content


def test_a_project_of_0_1_0_with_two_edited_files(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One edit merges, one collides; afterwards every flow loads and nothing is lost."""
    merges, collides = old / "flows" / "monitor.py", old / "flows" / "release.py"
    merges.write_text(merges.read_text("utf-8") + "# Ask Ana before you change this.\n", "utf-8")
    line = "from sluicegate.stages import approval, line, reporting\n"
    assert line in collides.read_text("utf-8")
    edited = collides.read_text("utf-8").replace(line, line + "import ours\n")
    collides.write_text(edited, "utf-8")
    policy = old / "registry" / "gates.yaml"
    policy.write_text(policy.read_text("utf-8") + "# ours\n", "utf-8")
    commit(old)
    before = git(old, "rev-parse", "HEAD")

    monkeypatch.chdir(old)
    done = CliRunner().invoke(sluice, ["upgrade"], standalone_mode=False)

    assert done.return_value == 4, done.output
    assert "merge flows/release.py.new by hand" in done.output
    new = files()
    assert merges.read_bytes() == new["flows/monitor.py"] + b"# Ask Ana before you change this.\n"
    assert collides.read_text("utf-8") == edited
    assert collides.with_name("release.py.new").read_bytes() == new["flows/release.py"]
    assert (old / "flows" / "retrain.py").read_bytes() == new["flows/retrain.py"]
    assert policy.read_text("utf-8").endswith("# ours\n")
    assert git(old, "rev-parse", "HEAD") == before, "what to commit is for people to say"
    assert [(step.path, step.action) for step in due(old)] == [("flows/release.py", "open")]
    collides.with_name("release.py.new").replace(collides)
    assert due(old) == []
    flows = sorted((old / "flows").glob("*.py"))
    assert len(flows) >= 4
    load = "import runpy, sys\nfor flow in sys.argv[1:]: runpy.run_path(flow, run_name='flow')"
    subprocess.run([sys.executable, "-c", load, *map(str, flows)], cwd=old, check=True)


def test_a_field_that_is_gone_is_told_and_taken_out(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """params.yaml of 0.1.0 has `calibration.length`: whoever reads it is told what stands in its
    place, the upgrade takes that line out and no other, and what cannot be taken out stays told.
    """
    path = old / "params.yaml"
    before = path.read_text("utf-8")
    with pytest.raises(ConfigError, match=r"calibration\.length: this field is gone: `favour`"):
        load(path, Params)
    path.write_text(before + "# ours\n", "utf-8")
    with pytest.raises(UsageError, match=r"params\.yaml"):
        upgrade.upgrade(old)
    commit(old)
    monkeypatch.chdir(old)
    done = CliRunner().invoke(sluice, ["upgrade"], standalone_mode=False)
    assert "params.yaml" in done.output
    lines = before.splitlines()
    [gone] = [line for line in lines if line.startswith("  length: 0.5")]
    assert path.read_text("utf-8").splitlines() == [
        *(line.replace("  base:", "  model:") for line in lines if line != gone),
        "# ours",
    ]
    assert load(path, Params).calibration.favour == 0.2
    path.write_text(before.replace(gone, "  ? length\n  : 0.5") + "calibration: {length: 1}\n")
    with pytest.raises(ConfigError, match="calibration"):
        load(path, Params)
    assert "length" in path.read_text("utf-8")


def test_an_old_flow_says_what_to_do(old: Path) -> None:
    """Before the upgrade its import fails with the command that mends it."""
    flow = str(old / "flows" / "approvals.py")
    done = subprocess.run([sys.executable, flow], cwd=old, capture_output=True, text=True)
    assert done.returncode
    assert "run `sluice upgrade`" in done.stderr


def test_what_is_shipped_is_what_a_new_project_needs_no_upgrade_for(tmp_path: Path) -> None:
    """Straight after `sluice init` nothing is due, and the record is committed."""
    init(tmp_path / "new")
    assert plan(tmp_path / "new") == []
    assert RECORD in git(tmp_path / "new", "ls-files").split()
    assert set(recorded(tmp_path / "new").files) == set(files())


def test_untouched_edited_new_and_gone(project: Path, shipped: Path) -> None:
    """Each kind of file: replaced, merged, added, removed; a second call finds nothing to do."""
    (project / "flows" / "b.py").write_text(FLOW.replace("three = 3", "three = 33"), "utf-8")
    (project / "dvc.yaml").unlink()
    commit(project)
    for name in ("flows/a.py", "flows/b.py", "registry/gates.yaml"):
        (shipped / name).write_text(NEW_FLOW, "utf-8")
    (shipped / "data" / "sample" / "rows.jsonl").write_text("other\n", "utf-8")
    (shipped / "flows" / "c.py").write_text("", "utf-8")
    (shipped / "dvc.yaml").write_text("stages: {}\n", "utf-8")
    wanted = {
        "flows/a.py": "replace",
        "flows/b.py": "merge",
        "flows/c.py": "add",
        "registry/gates.yaml": "keep",
    }
    assert actions(project) == wanted
    assert {step.path: step.action for step in upgrade.upgrade(project)} == wanted
    assert (project / "flows" / "a.py").read_text("utf-8") == NEW_FLOW
    assert (project / "flows" / "b.py").read_text("utf-8") == NEW_FLOW.replace("= 3\n", "= 33\n")
    assert (project / "flows" / "c.py").read_bytes() == b""
    assert (project / "registry" / "gates.yaml").read_text("utf-8") == FLOW
    assert not (project / "dvc.yaml").exists(), "its owner deleted it"
    assert plan(project) == []
    commit(project)
    (shipped / "flows" / "c.py").unlink()
    assert actions(project) == {"flows/c.py": "remove"}
    upgrade.upgrade(project)
    assert not (project / "flows" / "c.py").exists()


def test_an_upgrade_that_was_killed_is_run_again(
    project: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after each write in turn, the next call ends where one whole call would have."""
    (project / "flows" / "a.py").write_text(FLOW.replace("three = 3", "three = 33"), "utf-8")
    (project / "flows" / "b.py").write_text(FLOW.replace("one = 1", "one = 11"), "utf-8")
    commit(project)
    for name in ("flows/a.py", "flows/b.py", "flows/c.py", "prefect.yaml"):
        (shipped / name).write_text(NEW_FLOW, "utf-8")
    carry_out, count = upgrade._carry_out, len(plan(project))
    assert count == 4
    for killed_after in range(1, count + 1):
        writes = iter(range(1, count + 1))

        def killed(
            root: Path, step: upgrade.Step, *, at: int = killed_after, writes: Any = writes
        ) -> None:
            carry_out(root, step)
            if next(writes) == at:
                raise KeyboardInterrupt

        monkeypatch.setattr(upgrade, "_carry_out", killed)
        with pytest.raises(KeyboardInterrupt):
            upgrade.upgrade(project)
        monkeypatch.setattr(upgrade, "_carry_out", carry_out)
        steps = upgrade.upgrade(project)
        assert [step.path for step in steps if step.by_hand] == ["flows/b.py"]
        assert (project / "flows" / "a.py").read_text("utf-8") == NEW_FLOW.replace(
            "= 3\n", "= 33\n"
        )
        assert "one = 11" in (project / "flows" / "b.py").read_text("utf-8")
        assert (project / "flows" / "b.py.new").read_text("utf-8") == NEW_FLOW
        assert (project / "prefect.yaml").read_text("utf-8") == NEW_FLOW
        assert recorded(project).files == recorded_now()
        git(project, "reset", "-q", "--hard")
        git(project, "clean", "-fdq")


def recorded_now() -> dict[str, str]:
    return {path: template.digest_bytes(text) for path, text in files().items()}


def test_edits_that_are_not_committed_stop_it_before_the_first_write(
    project: Path, shipped: Path
) -> None:
    """What git could not bring back is not touched, nor anything else."""
    (project / "flows" / "b.py").write_text(FLOW.replace("three = 3", "three = 33"), "utf-8")
    for name in ("flows/a.py", "flows/b.py"):
        (shipped / name).write_text(NEW_FLOW, "utf-8")
    with pytest.raises(UsageError, match=r"not committed.*flows/b\.py") as caught:
        upgrade.upgrade(project)
    assert "flows/a.py" not in str(caught.value)
    assert (project / "flows" / "a.py").read_text("utf-8") == FLOW
    shutil.rmtree(project / ".git")
    with pytest.raises(VersioningError, match="git"):
        upgrade.upgrade(project)
    assert (project / "flows" / "a.py").read_text("utf-8") == FLOW


def test_an_unfinished_merge_is_not_written_over(project: Path, shipped: Path) -> None:
    """A `.new` in the way stops the next upgrade, and until it is gone it is told."""
    mine = project / "flows" / "a.py"
    mine.write_text(FLOW.replace("one = 1", "one = 11"), "utf-8")
    commit(project)
    (shipped / "flows" / "a.py").write_text(NEW_FLOW, "utf-8")
    assert [step.action for step in upgrade.upgrade(project)] == ["beside"]
    assert actions(project) == {"flows/a.py": "open"}
    (shipped / "flows" / "a.py").write_text(NEW_FLOW.replace("10", "100"), "utf-8")
    with pytest.raises(UsageError, match=r"a\.py\.new"):
        upgrade.upgrade(project)
    assert (project / "flows" / "a.py.new").read_text("utf-8") == NEW_FLOW


@pytest.mark.parametrize("kind", ["link", "folder", "unknown"])
def test_what_cannot_be_merged_stays(project: Path, shipped: Path, kind: str) -> None:
    """A link, a folder, a file whose first text is not known: the new one lies beside it."""
    mine = project / "flows" / "a.py"
    if kind == "unknown":
        record = json.loads((project / RECORD).read_text("utf-8"))
        record["files"]["flows/a.py"] = "0" * 64
        (project / RECORD).write_text(json.dumps(record), "utf-8")
    else:
        mine.unlink()
        mine.symlink_to("b.py") if kind == "link" else mine.mkdir()
    commit(project)
    (shipped / "flows" / "a.py").write_text(NEW_FLOW, "utf-8")
    assert actions(project) == {"flows/a.py": "beside"}
    upgrade.upgrade(project)
    assert (project / "flows" / "a.py.new").read_text("utf-8") == NEW_FLOW
    assert (mine.is_symlink(), mine.is_dir()) == (kind == "link", kind == "folder")


def test_a_file_of_ones_own_by_a_new_name_stays(project: Path, shipped: Path) -> None:
    """Where a new version brings a name that the project already uses, the project's file stays."""
    (project / "flows" / "c.py").write_text("ours\n", "utf-8")
    (shipped / "flows" / "c.py").write_text(NEW_FLOW, "utf-8")
    commit(project)
    assert actions(project) == {"flows/c.py": "beside"}


def test_a_damaged_record_is_named(project: Path) -> None:
    """Nothing is guessed from a record that cannot be read."""
    (project / RECORD).write_text("{", "utf-8")
    with pytest.raises(ConfigError, match=re.escape(RECORD)):
        plan(project)


def test_the_template_itself_has_no_upgrade() -> None:
    """In the engine's own checkout the files are the template."""
    assert plan(template.template()) == []


def test_the_commands(project: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--check` writes nothing and says 1 where something is due; the doctor tells it."""
    monkeypatch.chdir(project)
    run = CliRunner().invoke
    assert "up to date" in run(sluice, ["upgrade", "--check"]).output
    (shipped / "flows" / "a.py").write_text(NEW_FLOW, "utf-8")
    checked = run(sluice, ["upgrade", "--check", "--json"], standalone_mode=False)
    assert checked.return_value == 1
    assert [(step["path"], step["action"]) for step in json.loads(checked.output)] == [
        ("flows/a.py", "replace")
    ]
    assert (project / "flows" / "a.py").read_text("utf-8") == FLOW
    told = [line for line in run(sluice, ["doctor"]).output.splitlines() if "template" in line]
    assert told
    assert "flows/a.py" in told[0]
    monkeypatch.setattr(local_services, "up", lambda project, progress: [])
    up = run(sluice, ["up"])
    assert "1 to bring forward: flows/a.py" in up.stderr
    assert "sluice upgrade" in up.stderr
    assert run(sluice, ["upgrade"], standalone_mode=False).return_value == 0
    assert run(sluice, ["up"]).stderr == ""
    assert (project / "flows" / "a.py").read_text("utf-8") == NEW_FLOW


def test_every_released_template_is_kept() -> None:
    """Without the former texts there is no merge: `tests/keep_template.py` adds a release's."""
    kept = {path.stem for path in template._HISTORY.glob("*.zip")}
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = set(re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text, re.M))
    assert {"0.1.0"} | (released - {newest(released)}) <= kept


def newest(versions: set[str]) -> str:
    return max(versions, key=lambda version: [int(part) for part in version.split(".")], default="")


def test_the_model_has_its_new_name_after_an_upgrade(old: Path) -> None:
    """`release.base` becomes `release.model`, once; every other byte of params.yaml stays, but for
    the line that calibration no longer has.
    """
    before = (old / "params.yaml").read_text("utf-8")
    assert actions(old)["params.yaml"] in ("rename", "keep")
    upgrade.upgrade(old)
    after = (old / "params.yaml").read_text("utf-8")
    expected = before.replace("  base:", "  model:", 1).splitlines(keepends=True)
    assert after == "".join(line for line in expected if not line.startswith("  length: 0.5"))
    assert load(old / "params.yaml", Params).release.model == "smollm2-135m-instruct"
    assert not [step for step in plan(old) if step.action == "rename"]


def test_a_hosted_project_stays_hosted(tmp_path: Path) -> None:
    """An upgrade brings no tuning into it, and keeps what `sluice init` was told."""
    init(tmp_path / "new", HOSTED, Endpoint("https://host.example/v1", "m-2026-01-01", "MY_KEY"))
    root = tmp_path / "new"
    assert due(root) == []
    (root / "dvc.yaml").unlink()
    git(root, "commit", "-qam", "no pipeline")
    upgrade.upgrade(root)
    assert recorded(root).template == HOSTED
    assert "MY_KEY" in (root / ".github" / "workflows" / "sluice-gate.yml").read_text("utf-8")
    assert not (root / "dvc.yaml").exists()
