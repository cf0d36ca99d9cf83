"""The page of `sluice review`: for whoever has the address, by keyboard, and safe from answers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from chromium import CHROMIUM, Page, browser
from compared_project import HOSTILE, compared
from sluicegate.line.run import Run

DIFFERING = 20
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return compared(tmp_path_factory.mktemp("page") / "p", DIFFERING)


@contextmanager
def reviewing(run: Run, person: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command in a process of its own; the address that it tells."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sluicegate", "review", "--person", person],
        cwd=run.project.root, stdout=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield (
            next(found[1] for line in process.stdout if (found := re.match(r"open: (\S+)", line))),
            process,
        )
    finally:
        process.kill()
        process.wait(20)


def status(address: str, body: bytes | None = None, **headers: str) -> int:
    """What the server says to a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(address, body, named), timeout=20) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


def test_only_the_address_opens_it(run: Run) -> None:
    """Another token, another host's name, a form of another site and wrong JSON get nothing."""
    with reviewing(run, "eve") as (address, _):
        assert address.startswith("http://127.0.0.1:")
        root = address[: address.index("/", 8) + 1]
        assert status(address) == 200
        assert status(root) == 404
        assert status(f"{root}{'x' * 32}/") == 404
        assert status(address, Host="evil.example") == 400
        assert status(f"{address}state", b"{}", Content_Type="text/plain") == 415
        assert status(f"{address}answer", b"{", Content_Type="application/json") == 400
        wrong = json.dumps({"pair": "", "choice": "best", "left": [], "right": []}).encode()
        assert status(f"{address}answer", wrong, Content_Type="application/json") == 200
        with urlopen(address, timeout=20) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "http" not in answer.read().decode().replace("http-equiv", "")
    assert not run.ledger.entries("review")


def answered(page: Page, key: str) -> None:
    """Press a key that answers, and wait for the next pair."""
    before = page.text("place")
    page.press(key)
    page.wait(lambda: page.text("place") != before)


def shown(page: Page) -> bool:
    """Whether the hostile answer stands there, as text."""
    return HOSTILE.partition(">")[0] in page.text("left") + page.text("right")


@needs_browser
def test_twenty_pairs_by_keyboard_alone(run: Run, tmp_path: Path) -> None:
    """Answers, faults, differences, undo, a closed browser, a killed command: one line in the
    ledger, with every answer; what an answer holds is shown and never run.
    """
    hostile = 0
    with reviewing(run, "ana") as (address, process):
        with browser(tmp_path / "one") as page:
            page.open(address)
            page.wait(lambda: page.text("place").startswith("1 of 20"))
            assert (
                page.run("getComputedStyle(document.querySelector('.differs')).backgroundColor")
                == "rgba(0, 0, 0, 0)"
            )
            hostile += shown(page)
            page.press("d")
            assert (
                page.run("getComputedStyle(document.querySelector('.differs')).backgroundColor")
                != "rgba(0, 0, 0, 0)"
            )
            page.press("4")
            page.press("0")
            shot = os.environ.get("REVIEW_PICTURE")
            if shot:
                page.picture(Path(shot))
            answered(page, "ArrowLeft")
            answered(page, "ArrowDown")
            answered(page, "u")
            assert page.text("place").startswith("2 of 20")
            for place in range(2, 8):
                hostile += shown(page)
                answered(page, "ArrowRight" if place % 2 else "ArrowDown")
        process.kill()
    assert not run.ledger.entries("review")
    with reviewing(run, "ana") as (address, process), browser(tmp_path / "two") as page:
        page.open(address)
        page.wait(lambda: page.text("place").startswith("8 of 20"))
        for _ in range(13):
            hostile += shown(page)
            answered(page, "ArrowRight")
        assert page.text("place").startswith("All 20 answered")
        assert hostile == 1
        assert page.run("document.title") == "Review"
        assert page.run("document.querySelectorAll('img, iframe, body > script').length") == 1
        answered(page, "Enter")
        assert "are recorded" in page.text("place")
        assert not page.trouble
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    (entry,) = run.ledger.entries("review")
    answers = entry.payload["answers"]
    assert len(answers) == DIFFERING
    assert {answers[0]["candidate"][0], answers[0]["champion"][0]} == {"unsafe", "form"}
    assert [one["vote"] for one in answers].count("same") == 3


@needs_browser
def test_ctrl_c_records_what_there_is(run: Run, tmp_path: Path) -> None:
    """A session that is ended early is in the ledger as far as it went."""
    with reviewing(run, "ben") as (address, process), browser(tmp_path / "b") as page:
        page.open(address)
        page.wait(lambda: page.text("place").startswith("1 of 20"))
        answered(page, "ArrowLeft")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert [
        len(one.payload["answers"]) for one in run.ledger.entries("review") if one.actor == "ben"
    ] == [1]
