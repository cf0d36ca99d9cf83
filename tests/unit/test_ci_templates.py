"""The shipped CI files: valid YAML, and every command and option that they use exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from sluicegate import __version__
from sluicegate.cli import COMMANDS, sluice
from sluicegate.scaffold import FILES

ROOT = Path(__file__).parents[2]
TEMPLATES = (".github/workflows/sluice-gate.yml", ".gitlab-ci.yml")


def texts(value: Any) -> Iterator[str]:
    """Every string below `value`."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def commands(path: Path) -> list[list[str]]:
    """The words of every `sluice ...` command in a CI file."""
    found = []
    for text in texts(YAML(typ="safe").load(path.read_text("utf-8"))):
        for line in text.replace("\\\n", " ").splitlines():
            match = re.match(r"\s*(?:\.venv/bin/)?sluice (?P<rest>.*?)(\|\||&&|;|$)", line)
            if match:
                found.append(shlex.split(match["rest"]))
    return found


@pytest.mark.parametrize("name", TEMPLATES)
def test_commands_exist(name: str) -> None:
    """Each template runs the gate, with options that it has."""
    found = commands(ROOT / name)
    assert "gate" in {words[0] for words in found}
    for command, *arguments in found:
        assert command in COMMANDS, command
        loaded = sluice.get_command(click.Context(sluice), command)
        assert loaded is not None
        known = {option for parameter in loaded.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in arguments if word.startswith("-")} <= known


@pytest.mark.parametrize("name", TEMPLATES)
def test_template_is_generic(name: str) -> None:
    """A template is part of every new project, fetches the whole history, and names no package
    index.
    """
    text = (ROOT / name).read_text("utf-8")
    assert name in FILES
    assert "fetch-depth: 0" in text or 'GIT_DEPTH: "0"' in text
    assert not re.search(r"index-url|find-links|PIP_", text)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_is_installed_is_pinned(name: str) -> None:
    """CI installs the version that wrote the project, with torch's wheels for CPUs, into a kept
    folder.
    """
    text = (ROOT / name).read_text("utf-8")
    assert "--torch-backend cpu -r requirements.txt" in text
    assert "pip install sluicegate" not in text
    assert ".venv" in text
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [pin.partition("==")[2] for pin in pins] == [__version__]
    assert "requirements.txt" in FILES


def test_actions_are_pinned() -> None:
    """An action is named by the hash of its commit, which nobody can move, with its version for
    people.
    """
    for file in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        used = re.findall(r"uses: (.*)", file.read_text("utf-8"))
        assert len(used) >= 2, file.name
        for action in used:
            assert re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40}   # v\d+\.\d+\.\d+", action), action


def test_the_queue_and_main_run_it_too() -> None:
    """A merge queue gets a verdict; main, which decides nothing, fills the caches and spends no
    error budget.
    """
    text = (ROOT / TEMPLATES[0]).read_text("utf-8")
    events = YAML(typ="safe").load(text)["on"]
    assert set(events) == {"pull_request", "push", "merge_group"}
    assert events["push"]["branches"] == ["main"]
    assert events["push"]["paths-ignore"] == events["pull_request"]["paths-ignore"]
    assert "github.event_name != 'push' && secrets.SLUICE_LEDGER_URL" in text
    rules = YAML(typ="safe").load((ROOT / TEMPLATES[1]).read_text("utf-8"))["sluice gate"]["rules"]
    assert [rule.get("allow_failure", False) for rule in rules] == [False, False, True]


def test_code_of_a_change_never_runs_with_the_right_to_write() -> None:
    """On GitHub the job that runs it may only read; the one that comments checks out and runs
    nothing of it, and is not there for a fork.
    """
    workflow = YAML(typ="safe").load((ROOT / TEMPLATES[0]).read_text("utf-8"))
    assert "pull_request_target" not in workflow["on"]
    assert workflow["permissions"] == {"contents": "read"}
    gate, comment = workflow["jobs"]["gate"], workflow["jobs"]["comment"]
    assert "permissions" not in gate
    assert comment["permissions"] == {"pull-requests": "write"}
    assert "head.repo.full_name == github.repository" in comment["if"]
    assert [step["uses"].partition("@")[0] for step in comment["steps"]] == [
        "actions/download-artifact",
        "actions/github-script",
    ]
    assert not list(texts(comment.get("env", {})))
    assert "secrets." not in "".join(texts(comment))


def test_gitlab_keeps_the_token_from_the_code_of_a_change() -> None:
    """The note is a job of its own, without the sources, with an environment of its own for its
    token; a fork's code never runs beside this project's variables.
    """
    jobs = YAML(typ="safe").load((ROOT / TEMPLATES[1]).read_text("utf-8"))
    gate, note = jobs["sluice gate"], jobs["sluice note"]
    assert "SLUICE_NOTE_TOKEN" not in "".join(texts(gate))
    assert note["environment"] == {"name": "sluice-note", "action": "access"}
    assert note["variables"] == {"GIT_STRATEGY": "none"}
    assert note["needs"] == ["sluice gate"]
    for job in (gate, note):
        assert job["rules"][0]["when"] == "never"
        assert "!= $CI_PROJECT_ID" in job["rules"][0]["if"]


@pytest.mark.parametrize(
    ("event", "code", "expected"),
    [
        ("pull_request", "0", 0),
        ("pull_request", "1", 1),
        ("merge_group", "4", 4),
        ("pull_request", "3", 3),
        ("pull_request", "", 3),
        ("push", "1", 0),
        ("push", "4", 0),
        ("push", "2", 2),
    ],
)
def test_the_last_step_says_it(event: str, code: str, expected: int) -> None:
    """The job fails as the gate does; on main only an error fails it, and no code at all is one."""
    steps = YAML(typ="safe").load((ROOT / TEMPLATES[0]).read_text("utf-8"))["jobs"]["gate"]["steps"]
    known = {"GITHUB_EVENT_NAME": event, "CODE": code, "SLUICE_HOLD": "fail"}
    done = subprocess.run(
        ["bash", "-e", "-c", steps[-1]["run"]], env=os.environ | known, check=False
    )
    assert done.returncode == expected


def test_exit_codes_are_told_apart() -> None:
    """GitHub's last step and GitLab's allowed failure treat HOLD as something else than REJECT."""
    github = (ROOT / TEMPLATES[0]).read_text("utf-8")
    assert re.search(r"^\s+1\) .*REJECT", github, re.M)
    assert re.search(r"^\s+4\) .*HOLD", github, re.M)
    gitlab = YAML(typ="safe").load((ROOT / TEMPLATES[1]).read_text("utf-8"))
    assert gitlab["sluice gate"]["allow_failure"]["exit_codes"] == [4]
    assert gitlab["sluice gate"]["artifacts"]["reports"]["junit"] == "reports/gate.xml"


KEPT = {f".sluice/{name}" for name in ("generations", "judgements", "checkpoints", "seals")}
KEPT |= {".dvc/cache"}


def test_what_a_run_made_is_kept_however_it_ends() -> None:
    """Answers, judgements, checkpoints and stages are saved after REJECT, HOLD and errors too, and
    brought back.
    """
    steps = YAML(typ="safe").load((ROOT / TEMPLATES[0]).read_text("utf-8"))["jobs"]["gate"]["steps"]
    used = {step.get("uses", step.get("name", "")): step for step in steps}
    restore, save = (
        next(step for name, step in used.items() if name.startswith(f"actions/cache/{what}@"))
        for what in ("restore", "save")
    )
    assert set(restore["with"]["path"].split()) == set(save["with"]["path"].split()) == KEPT
    # A key is written once: a repeated run, e.g. after HOLD, has the same run_id and another
    # run_attempt.
    assert restore["with"]["key"] == save["with"]["key"]
    assert "run_attempt" in save["with"]["key"]
    assert save["with"]["key"].startswith(restore["with"]["restore-keys"])
    assert save["if"] == "always() && github.event_name == 'push'"
    assert steps.index(used["Gate"]) < steps.index(save) < steps.index(used["Verdict"])
    caches = YAML(typ="safe").load((ROOT / TEMPLATES[1]).read_text("utf-8"))["sluice gate"]["cache"]
    cache, environment = caches
    assert environment["paths"] == [".venv"]
    assert (cache["when"], set(cache["paths"])) == ("always", KEPT)
    assert cache["policy"] == "$KEEP"


@pytest.mark.parametrize(
    ("theirs", "refused", "expected"),
    [
        ([(7, "<!-- m -->")], False, [("POST", "/p/notes")]),
        ([(7, "<!-- m -->"), (5, "hello"), (5, "<!-- m -->")], False, [("PUT", "/p/notes/2")]),
        ([(5, "<!-- m -->")], True, [("PUT", "/p/notes/0"), ("POST", "/p/notes")]),
    ],
)
def test_only_its_own_note_is_replaced(
    tmp_path: Path, theirs: list[tuple[int, str]], refused: bool, expected: list[tuple[str, str]]
) -> None:
    """GitLab's note is found by author and marker; where it may not be replaced, a new one is
    written.
    """
    asked: list[tuple[str, str]] = []

    class GitLab(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.replace("/projects/3/merge_requests/4", "/p")
            if self.command != "GET":
                asked.append((self.command, path))
            notes = [
                {"id": number, "author": {"id": who}, "body": text}
                for number, (who, text) in enumerate(theirs)
            ]
            self.send_response(403 if refused and self.command == "PUT" else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"id": 5} if path == "/user" else notes).encode())

        do_GET = do_PUT = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    text = YAML(typ="safe").load((ROOT / TEMPLATES[1]).read_text("utf-8"))["sluice note"]["script"][
        0
    ]
    script = re.search(r"<<'PYTHON'\n(.*)\nPYTHON", text, re.S)
    assert script
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "comment.md").write_text("<!-- m -->\nPROMOTE\n", "utf-8")
    with HTTPServer(("127.0.0.1", 0), GitLab) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        known = {"CI_API_V4_URL": f"http://127.0.0.1:{server.server_port}", "CI_PROJECT_ID": "3"}
        known |= {"CI_MERGE_REQUEST_IID": "4", "SLUICE_NOTE_TOKEN": "t", "no_proxy": "127.0.0.1"}
        subprocess.run(
            [sys.executable, "-c", script[1]],
            cwd=tmp_path,
            env=os.environ | known,
            check=True,
            timeout=60,
        )
        server.shutdown()
    assert asked == expected
