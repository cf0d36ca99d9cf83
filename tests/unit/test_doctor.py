"""`sluice doctor`: says what is missing, and the line that mends it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from sluicegate import doctor
from sluicegate.project import Project

ROOT = Path(__file__).parents[2]


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True
    )


def named(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def test_this_environment_is_complete() -> None:
    """Where the tests run, everything required is there, and every check says what it found."""
    checks = doctor.diagnose(None)
    assert [check for check in checks if check.required and not check.ok] == []
    assert all(check.detail for check in checks)
    assert {"python", "git", *doctor.VERSIONS, *doctor.EXTRAS, doctor.MODEL} == set(named(checks))


def test_every_failed_check_has_a_fix(tmp_path: Path) -> None:
    """In an empty folder several things are missing; each says how to mend it, and what is fine has
    no fix.
    """
    checks = doctor.diagnose(Project(tmp_path))
    assert {"project files", "git tree", "servers"} <= {
        check.name for check in checks if not check.ok
    }
    assert all(bool(check.fix) != check.ok for check in checks)


@pytest.mark.parametrize(
    ("floor", "below", "ok"),
    [("8.0", "", True), ("8.0", "9999", True), ("9999", "", False), ("1", "2", False)],
)
def test_a_version_outside_its_bounds_is_found(floor: str, below: str, ok: bool) -> None:
    """Too old and too new both fail, with the bounds in the line that mends it."""
    check = doctor._package("pytest", floor, below, "it breaks")
    assert check.ok is ok
    if not ok:
        assert floor in check.fix
        assert "it breaks" in check.detail


def test_an_absent_package_names_its_extra() -> None:
    """What belongs to an extra is mended by installing the extra."""
    check = doctor._package("no-such-package-here", "1", "", "drift", extra="langkit")
    assert (check.ok, check.fix) == (False, "pip install 'sluicegate[langkit]'")


def test_extras_are_those_of_the_package() -> None:
    """Each optional package is looked for under the extra that installs it, and no extra is
    forgotten.
    """
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    listed = {
        (extra, re.split(r"[\[<>=]", line)[0]) for extra, lines in extras.items() for line in lines
    }
    asked = {(extra, name) for name, (extra, *_) in doctor.EXTRAS.items()}
    assert asked <= listed
    assert {extra for extra, _ in asked} == extras.keys() - {"smollm2", "all"}


def test_the_versions_of_python_are_those_of_the_package() -> None:
    """The doctor lets pass what pip lets in."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        wanted = SpecifierSet(tomllib.load(file)["project"]["requires-python"])
    (low, oldest), (high, newest) = doctor.OLDEST, doctor.NEWEST
    assert [f"{low}.{oldest}" in wanted, f"{low}.{oldest - 1}" in wanted] == [True, False]
    assert [f"{high}.{newest}" in wanted, f"{high}.{newest + 1}" in wanted] == [True, False]


def test_bounds_of_langkit_count_beside_langkit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where LangKit is not installed, a setuptools that it could not use is no fault."""
    monkeypatch.setattr(doctor.metadata, "version", lambda _: "84.0")
    for there in (True, False):
        monkeypatch.setattr(doctor, "_installed", lambda name, there=there: there)
        check = doctor._package("setuptools", "0", "82", "gone", extra="langkit")
        assert check.ok is not there


def test_an_absent_program_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git on the PATH the check fails and does not raise."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert named(doctor.diagnose(None))["git"].fix == "apt-get install git"


def test_the_tree_may_be_dirty_or_detached(tmp_path: Path) -> None:
    """A clean tree passes, a dirty one is told but does not stop the line, a detached head is fine."""
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    assert doctor._tree(Project(tmp_path)).ok
    (tmp_path / "a").write_text("2")
    dirty = doctor._tree(Project(tmp_path))
    assert (dirty.ok, dirty.required) == (False, False)
    git(tmp_path, "checkout", "-q", "--", "a")
    git(tmp_path, "checkout", "-q", "--detach")
    assert "detached HEAD" in doctor._tree(Project(tmp_path)).detail


def test_too_little_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less free space than a run needs fails, and says what may be deleted."""
    monkeypatch.setattr(doctor, "NEEDED_DISK", 1 << 60)
    check = doctor._disk(Project(tmp_path))
    assert not check.ok
    assert ".sluice/checkpoints" in check.fix


def test_a_damaged_server_record_does_not_stop_the_doctor(tmp_path: Path) -> None:
    """The doctor reports a broken servers.json instead of failing on it."""
    (tmp_path / ".sluice").mkdir()
    (tmp_path / ".sluice" / "servers.json").write_text("{oops")
    check = doctor._servers(Project(tmp_path))
    assert not check.ok
    assert "servers.json" in check.fix


def test_the_doctor_imports_nothing_heavy() -> None:
    """Versions are read from metadata: a broken package can be diagnosed, and the command is quick."""
    code = (
        "import sys; from sluicegate.doctor import diagnose; diagnose(None);"
        "print([m for m in ('torch','mlflow','prefect','transformers','dvc','pandas','whylogs') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_missing_key_of_a_hosted_model_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of its variable; once it is set its value is not shown."""
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "models.yaml").write_text(
        "models:\n  a: {endpoint: {url: 'https://h/v1', model: m, key_env: KEY_ONE}}\n"
        "  b: {litellm: {model: v/m, key_env: KEY_TWO}}\n",
        "utf-8",
    )
    monkeypatch.setenv("KEY_ONE", "secret-of-one")
    monkeypatch.delenv("KEY_TWO", raising=False)
    found = named(doctor.diagnose(Project(tmp_path)))["model keys"]
    assert (found.ok, found.detail, found.fix) == (False, "not set: KEY_TWO", "export KEY_TWO=...")
    monkeypatch.setenv("KEY_TWO", "x")
    assert named(doctor.diagnose(Project(tmp_path)))["model keys"].detail == "set: KEY_ONE, KEY_TWO"
