"""What a branch changes against its merge base, told part by part from git alone."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from sluicegate.errors import UsageError, VersioningError
from sluicegate.line.gate.base_ref import base_from_environment
from sluicegate.line.gate.change import Change, compare
from sluicegate.line.run import open_run
from sluicegate.scaffold import init
from sluicegate.versioning import current_commit, ensure_dvc
from sluicegate.versioning.history import (
    close_worktree,
    files_at,
    files_here,
    merge_base,
    open_worktree,
)


def git(root: Path, *arguments: str) -> str:
    """Run git with an author."""
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    done = subprocess.run(
        ["git", *author, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project on a branch `mine` of `main`, without a change."""
    folder = tmp_path / "project"
    init(folder)
    git(folder, "checkout", "-q", "-b", "mine")
    return folder


def edited(root: Path, file: str, old: str, new: str) -> Change:
    """The change that replacing text once in one file makes, uncommitted."""
    text = (root / file).read_text("utf-8")
    assert old in text
    (root / file).write_text(text.replace(old, new, 1), "utf-8")
    return changes(root)


def changes(root: Path) -> Change:
    """The project against its merge base with main."""
    return compare(open_run(root), "main", merge_base(root, "main"))


@pytest.mark.parametrize(
    ("file", "old", "new", "expected", "detail"),
    [
        ("prompts/summarize.yaml", "Read the following", "Please read", ["prompt"], "template"),
        ("params.yaml", "rank: 16", "rank: 8", ["tune settings"], "rank 16 → 8"),
        (
            "params.yaml",
            "temperature: 0.0",
            "temperature: 0.5",
            ["generation settings"],
            "temperature 0.0 → 0.5",
        ),
        (
            "params.yaml",
            "near_duplicate: 0.85",
            "near_duplicate: 0.9",
            ["preparation"],
            "near_duplicate 0.85 → 0.9",
        ),
        ("params.yaml", "baselines: [lead2]", "baselines: []", ["evaluation"], "baselines"),
        (
            "params.yaml",
            "model: smollm2-135m-instruct",
            "model: ../other",
            ["model"],
            "../other",
        ),
        (
            "params.yaml",
            "prompt: summarize",
            "prompt: summarize\n  price: {input: 1, output: 2}",
            ["price"],
            "price None → ",
        ),
        ("params.yaml", "encoder: auto", "encoder: packaged", ["profile settings"], "encoder"),
        ("params.yaml", "hours: 24", "hours: 12", ["monitor settings"], "hours"),
        (
            "params.yaml",
            "minimum_groups: 50",
            "minimum_groups: 60",
            ["calibration settings"],
            "minimum_groups 50 → 60",
        ),
        ("registry/gates.yaml", "minimum_examples: 50", "minimum_examples: 51", ["policy"], ""),
        ("registry/models.yaml", "context: 2048", "context: 1024", ["model"], ""),
        ("dvc.yaml", "always_changed: true", "always_changed: false", ["pipeline"], ""),
        ("requirements.txt", "sluicegate[", "mygate[", ["pipeline"], ""),
        ("flows/release.py", "def ", "def  ", ["code"], ""),
    ],
)
def test_one_part(
    root: Path, file: str, old: str, new: str, expected: list[str], detail: str
) -> None:
    """An edit in one file is told as the one part that it changes, with both digests."""
    change = edited(root, file, old, new)
    assert [part.name for part in change.parts] == expected
    assert detail in change.parts[0].detail
    assert change.parts[0].before != change.parts[0].after
    assert change.dirty
    # A model that lies nowhere here is a name on a hub: without a revision nobody knows its bytes.
    assert change.certain is (new != "model: ../other")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("prompts/summarize.yaml", "owner: support-quality", "owner: somebody"),
        ("registry/gates.yaml", "# What a release", "# What any release"),
        ("registry/sources.yaml", "owner: support-quality team", "owner: somebody"),
        ("params.yaml", "# a name in registry/models.yaml", "# a name"),
    ],
)
def test_comments_change_nothing(root: Path, file: str, old: str, new: str) -> None:
    """Owners, notes and comments are no part of a release."""
    change = edited(root, file, old, new)
    assert (change.parts, change.other) == ((), ())


def test_a_judge_counts_where_it_is_used(root: Path) -> None:
    """A criterion that no metric names is not told; one that is named is the part `judges`, in the
    words that differ.
    """
    unused = edited(
        root, "prompts/judge_coherence.yaml", "one well-organised text", "one clear text"
    )
    assert (unused.parts, unused.other) == ((), ())
    edited(root, "params.yaml", "metrics: [chrf,", 'metrics: ["judge:coherence", chrf,')
    git(root, "commit", "-qam", "judged")
    git(root, "branch", "-f", "main", "mine")
    change = edited(root, "prompts/judge_coherence.yaml", "one clear text", "one text")
    assert [part.name for part in change.parts] == ["judges"]
    assert "coherence" in change.parts[0].detail
    assert "clear" in change.parts[0].detail


def test_data_and_golden_set(root: Path) -> None:
    """A training row changes the data, a golden row the golden set, committed or not; other files
    are only listed.
    """
    train, golden = (
        root / "data" / "sample" / f"support_{name}.jsonl" for name in ("train", "golden")
    )
    train.write_text(train.read_text("utf-8").split("\n", 1)[1], "utf-8")
    git(root, "commit", "-qam", "less")
    (root / "README.md").write_text("changed", "utf-8")
    change = changes(root)
    assert ([part.name for part in change.parts], change.other) == (["data"], ("README.md",))
    golden.write_text(golden.read_text("utf-8").split("\n", 1)[1], "utf-8")
    assert [part.name for part in changes(root).parts] == ["data", "golden set"]


def test_an_unknown_file_makes_uncertain(root: Path) -> None:
    """Only files that are known to be read by nothing leave it sure that nothing changed; each one
    is listed.
    """
    edited(root, "params.yaml", "metrics: [chrf,", 'metrics: ["bertscore:docs/encoder", chrf,')
    git(root, "commit", "-qam", "a metric with files")
    git(root, "branch", "-f", "main", "mine")
    harmless = ("README.md", "tests/test_x.py", ".github/workflows/x.yml")
    unknown = (
        "src/team/words.txt",
        "prompts/words.txt",
        "models/base.dvc",
        "pdm.lock",
    )
    for file in (*harmless, *unknown):
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("changed", "utf-8")
        change = changes(root)
        assert (change.parts, change.other, change.certain) == ((), (file,), file in harmless)
        git(root, "stash", "-qu")
    (root / "docs" / "encoder").mkdir(parents=True)
    (root / "docs" / "encoder" / "config.json").write_text("changed", "utf-8")
    change = changes(root)
    assert ([part.name for part in change.parts], change.other) == (["metric files"], ())


def test_a_base_model_in_git(root: Path) -> None:
    """Replaced bytes below the base model's folder are a changed base model; a folder that git does
    not know is named.
    """
    folder = root / "models" / "base"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("one")
    edited(root, "params.yaml", "model: smollm2-135m-instruct", "model: models/base")
    assert changes(root).certain
    git(root, "add", "-A")
    git(root, "commit", "-qm", "a model")
    git(root, "branch", "-f", "main", "mine")
    (folder / "model.safetensors").write_text("two")
    change = changes(root)
    assert ([part.name for part in change.parts], change.other) == (["model"], ())
    edited(root, "params.yaml", "model: models/base", "model: ..")
    outside = changes(root)
    assert not outside.certain
    assert "The model (..)" in outside.notes[0]


def test_a_file_name_that_is_no_text(root: Path) -> None:
    """A file name is any bytes: it is compared as it is, and shown as text that any file can hold."""
    path = os.fsencode(root) + b"/data/caf\xe9.txt"
    Path(os.fsdecode(path)).write_text("x", "utf-8")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "latin")
    assert changes(root).other == ("data/caf\ufffd.txt",)
    assert "data/caf\udce9.txt" in files_here(root, "HEAD")


def test_a_new_file_that_the_line_may_use_makes_dirty(root: Path) -> None:
    """A prompt, registry file or code that nobody has added yet is no part of the commit; notes and
    products are none.
    """
    for file in ("notes.txt", "build/made.py"):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text("x", "utf-8")
    assert not current_commit(root).dirty
    for file in ("prompts/mine.yaml", "registry/mine.yaml", "team/metrics.py"):
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text("x", "utf-8")
        assert current_commit(root).dirty
        (root / file).unlink()


def test_only_this_side_counts(root: Path) -> None:
    """What was changed on main since the branch left it is not told as a change of the branch."""
    git(root, "checkout", "-q", "main")
    edited(root, "params.yaml", "rank: 16", "rank: 4")
    git(root, "commit", "-qam", "main moves")
    git(root, "checkout", "-q", "--detach", "mine")
    change = edited(root, "params.yaml", "temperature: 0.0", "temperature: 0.5")
    assert [part.name for part in change.parts] == ["generation settings"]


def test_data_under_dvc(root: Path) -> None:
    """Data that git knows as a .dvc file is compared by it, and an edit that was not added to DVC
    is seen as well.
    """
    raw = root / "data" / "raw"
    raw.mkdir()
    (raw / "rows.jsonl").write_text("one\n", "utf-8")
    (raw / ".gitignore").write_text("/rows.jsonl\n", "utf-8")
    pointer = "outs:\n- md5: {}\n  size: 4\n  hash: md5\n  path: rows.jsonl\n"
    (raw / "rows.jsonl.dvc").write_text(pointer.format(hashlib.md5(b"one\n").hexdigest()), "utf-8")
    edited(root, "registry/sources.yaml", "data/sample/support_train.jsonl", "data/raw/rows.jsonl")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "raw data")
    git(root, "branch", "-f", "main")
    assert (changes(root).parts, changes(root).certain) == ((), False)
    (raw / "rows.jsonl").write_text("two\n", "utf-8")
    assert [part.name for part in changes(root).parts] == ["data"]
    (raw / "rows.jsonl.dvc").write_text(pointer.format(hashlib.md5(b"two\n").hexdigest()), "utf-8")
    assert [part.name for part in changes(root).parts] == ["data"]


def test_committed_results_are_parts(root: Path) -> None:
    """A commit's dvc.lock and `.dvc/` are told as changed; what a run has written on the disk is
    nobody's change.
    """
    (root / "dvc.lock").write_text("stages: {}\n", "utf-8")
    (root / ".dvc" / "cache").mkdir(parents=True)
    (root / ".dvc" / "cache" / "forged").write_text("x", "utf-8")
    assert changes(root).parts == ()
    git(root, "add", "-f", "dvc.lock")
    git(root, "commit", "-qm", "lock")
    assert [part.name for part in changes(root).parts] == ["recorded results"]
    git(root, "add", "-f", ".dvc")
    git(root, "commit", "-qm", "cache")
    assert [part.name for part in changes(root).parts] == ["recorded results", "DVC settings"]
    assert changes(root).other == ()


def test_unversioned_data_is_said(root: Path) -> None:
    """Rows that neither git nor DVC knows cannot be compared, and the change says so."""
    change = edited(
        root, "registry/sources.yaml", "data/sample/support_train.jsonl", "../elsewhere/rows.jsonl"
    )
    assert not change.certain
    assert any("../elsewhere/rows.jsonl" in note for note in change.notes)


def test_unreadable_merge_base(root: Path) -> None:
    """A merge base whose files are wrong is told as such: every part counts as changed."""
    git(root, "checkout", "-q", "main")
    edited_text = (root / "params.yaml").read_text("utf-8").replace("rank: 16", "rnak: 16")
    (root / "params.yaml").write_text(edited_text, "utf-8")
    git(root, "commit", "-qam", "broken")
    git(root, "checkout", "-q", "-B", "mine")
    (root / "params.yaml").write_text(edited_text.replace("rnak", "rank"), "utf-8")
    change = changes(root)
    assert "prompt" in [part.name for part in change.parts]
    assert any("rnak" in note for note in change.notes)


def test_no_project_at_the_merge_base(root: Path) -> None:
    """Where there was no project yet, there is nothing to compare with, and the error says what to
    do.
    """
    git(root, "checkout", "-q", "--orphan", "empty")
    git(root, "rm", "-rqf", ".")
    git(root, "commit", "-q", "--allow-empty", "-m", "start")
    start = git(root, "rev-parse", "HEAD")
    git(root, "checkout", "-q", "mine")
    with pytest.raises(UsageError, match=r"no params\.yaml"):
        compare(open_run(root), "empty", start)
    with pytest.raises(UsageError, match="no history in common"):
        merge_base(root, "empty")


def test_project_below_the_repository(tmp_path: Path) -> None:
    """A project in a subfolder of a repository is compared by its own files only."""
    init(tmp_path / "repo" / "apps" / "support")
    root = tmp_path / "repo" / "apps" / "support"
    subprocess.run(["rm", "-rf", str(root / ".git")], check=True)
    git(tmp_path / "repo", "init", "-q", "-b", "main")
    (tmp_path / "repo" / "outside.py").write_text("x = 1\n", "utf-8")
    git(tmp_path / "repo", "add", "-A")
    git(tmp_path / "repo", "commit", "-qm", "all")
    (tmp_path / "repo" / "outside.py").write_text("x = 2\n", "utf-8")
    change = edited(root, "params.yaml", "rank: 16", "rank: 8")
    assert ([part.name for part in change.parts], change.other) == (["tune settings"], ())
    folder = root / ".sluice" / "base" / "x"
    there = open_worktree(root, git(root, "rev-parse", "HEAD"), folder)
    assert "rank: 16" in (there / "params.yaml").read_text("utf-8")
    close_worktree(root, folder)


def test_shallow_clone(root: Path, tmp_path: Path) -> None:
    """A clone without the merge base names the line that fetches it; `files_here` needs no history."""
    git(root, "commit", "-q", "--allow-empty", "-m", "mine")
    clone = tmp_path / "clone"
    git(root, "clone", "-q", "--depth", "1", "--branch", "mine", f"file://{root}", str(clone))
    with pytest.raises(VersioningError) as caught:
        merge_base(clone, "origin/main")
    assert "git fetch --deepen=" in caught.value.hint
    git(clone, "fetch", "-q", "--depth", "1", "origin", "+refs/heads/main:refs/remotes/origin/main")
    with pytest.raises(VersioningError, match="too shallow") as caught:
        merge_base(clone, "origin/main")
    assert "fetch-depth: 0" in caught.value.hint
    assert files_here(clone, "HEAD") == files_at(clone, "HEAD")


def test_worktree_is_made_anew(root: Path) -> None:
    """A work tree that was cut off while it was made is replaced, shares DVC's cache, and leaves
    nothing behind.
    """
    ensure_dvc(root)
    folder, sha = root / ".sluice" / "base" / "x", git(root, "rev-parse", "main")
    (folder / "tree").mkdir(parents=True)
    (folder / "tree" / "half").touch()
    there = open_worktree(root, sha, folder)
    assert not (there / "half").exists()
    assert str(root / ".dvc" / "cache") in (there / ".dvc" / "config.local").read_text("utf-8")
    assert open_worktree(root, sha, folder) == there
    close_worktree(root, folder)
    assert git(root, "worktree", "list").count("\n") == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, ""),
        ({"GITHUB_BASE_REF": ""}, ""),
        ({"GITHUB_BASE_REF": "main"}, "origin/main"),
        ({"CI_MERGE_REQUEST_DIFF_BASE_SHA": "abc"}, "abc"),
        ({"SLUICE_BASE": "release", "GITHUB_BASE_REF": "main"}, "release"),
        ({"SLUICE_BASE": " ", "GITHUB_BASE_REF": "main", "CI": "true"}, "origin/main"),
        (
            {
                "CI_MERGE_REQUEST_DIFF_BASE_SHA": "abc",
                "CI_MERGE_REQUEST_TARGET_BRANCH_SHA": "def",
            },
            "def",
        ),
        (
            {"CI_COMMIT_BRANCH": "m", "CI_DEFAULT_BRANCH": "m", "CI_COMMIT_BEFORE_SHA": "abc"},
            "abc",
        ),
        (
            {"CI_COMMIT_BRANCH": "m", "CI_DEFAULT_BRANCH": "m", "CI_COMMIT_BEFORE_SHA": "0" * 40},
            "",
        ),
        ({"CI": "false"}, ""),
    ],
)
def test_base_of_the_ci_system(variables: dict[str, str], expected: str) -> None:
    """The base comes from SLUICE_BASE, else from what GitHub or GitLab say of the change; blank is
    unset.
    """
    assert base_from_environment(variables) == expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"merge_group": {"base_sha": "abc", "base_ref": "refs/heads/main"}}, "abc"),
        ({"ref": "refs/heads/main", "before": "def"}, "def"),
        ({"ref": "refs/heads/main", "before": "0" * 40}, ""),
    ],
)
def test_base_of_github_events(tmp_path: Path, event: dict[str, object], expected: str) -> None:
    """A merge queue names what it builds on; a push to the default branch the commit before it."""
    event |= {"repository": {"default_branch": "main"}}
    (tmp_path / "event.json").write_text(json.dumps(event), "utf-8")
    known = {"CI": "true", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    assert base_from_environment(known) == expected


@pytest.mark.parametrize(
    "event", [{"ref": "refs/heads/other", "before": "abc"}, {"schedule": "0 0 * * *"}, []]
)
def test_ci_without_a_base_stops(tmp_path: Path, event: object) -> None:
    """In CI, where nothing says what to compare with, the gate ends with 2 and the option that says
    it.
    """
    (tmp_path / "event.json").write_text(json.dumps(event), "utf-8")
    known = {"CI": "true", "GITHUB_EVENT_PATH": str(tmp_path / "event.json")}
    with pytest.raises(UsageError) as caught:
        base_from_environment(known)
    assert caught.value.exit_code == 2
    assert "--base origin/main" in caught.value.hint
    with pytest.raises(UsageError, match="cannot be read"):
        base_from_environment({"GITHUB_EVENT_PATH": str(tmp_path / "gone.json")})


def test_an_optional_source_is_uncertain_only_where_it_is_there(root: Path) -> None:
    """Feedback that nobody has given yet is no unversioned data; once it lies on this machine it
    is, and is said.
    """
    found = changes(root)
    assert (found.parts, found.notes, found.certain) == ((), (), True)
    path = root / "data" / "raw" / "feedback.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"id": "a"}\n')
    found = changes(root)
    assert not found.certain
    assert "data/raw/feedback.jsonl" in found.notes[0]
