"""A noisy classifier on the packaged demo model: repeats, classes and critical rows, from `sluice
init` to the report.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from test_line import edit
from test_line import sluice as run

from sluicegate.evaluation import read_evidence
from sluicegate.local_services.demo_model import application

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SAID = {
    "billing": ("I was charged twice for invoice {}.", "My card was charged, bill {}.",
                "The price on invoice {} is wrong."),
    "delivery": ("My parcel {} is late.", "The courier lost package {}.",
                 "Where does order {} arrive? Tracking says nothing."),
    "technical": ("The app shows error {}.", "Screen {} freezes after the crash.",
                  "Since today the app is broken, code {}."),
}  # fmt: skip
PROMPT = """\
name: summarize
owner: queue team
variables: [ticket]
template: |-
  Classify the ticket. Answer with one word only, one of: billing, delivery, technical.

  Ticket: {{ ticket }}
"""
SOURCES = """\
sources:
  tickets:
    kind: jsonl
    path: data/tickets.jsonl
    role: golden
    fields: {id: id, inputs: {ticket: text}, reference: queue, critical: must}
    licence: CC0-1.0
    owner: queue team
"""
POLICY = """\
minimum_examples: 50
rules:
  - {name: right, kind: at_least, metric: accuracy, threshold: 0.7}
  - {name: every-class, kind: at_least, metric: accuracy, slice: label, threshold: 0.4}
  - {name: must-pass, kind: every_case, metric: accuracy, threshold: 1, at_least: 1}
  - {name: better, kind: better_than_champion, metric: accuracy}
"""


@pytest.fixture
def address() -> Iterator[str]:
    """Where the demo listens; it spoils every tenth answer, another one for every seed."""
    config = uvicorn.Config(application(flips=0.1), port=0, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()


def project(folder: Path, address: str) -> Path:
    """Sixty tickets of three classes, four of them critical, each asked three times."""
    hosted = ("--template", "hosted", "--endpoint", address, "--model", "demo")
    run(folder, "init", "project", *hosted)
    root = folder / "project"
    rows = [
        {"id": f"t{n:02}-{queue}", "text": said.format(n * 7), "queue": queue, "must": n < 2}
        for queue, texts in SAID.items()
        for n, said in zip(range(20), itertools.cycle(texts), strict=False)
    ]
    (root / "data" / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "prompts" / "summarize.yaml").write_text(PROMPT)
    (root / "registry" / "sources.yaml").write_text(SOURCES)
    (root / "registry" / "gates.yaml").write_text(POLICY)
    edit(root / "params.yaml", "metrics: [chrf, rouge1, rouge2, rougeL, length_ratio, repetition, "
         "refusal, same_language,\n    profanity, pii_found, copied_links, copied_numbers, "
         "copied_names]\n  baselines: [lead2]", "metrics: [accuracy, macro_f1]\n  baselines: []\n"
         "  repeats: 3")  # fmt: skip
    edit(root / "params.yaml", "near_duplicate: 0.85", "near_duplicate: 1.0")
    author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", *author, "commit", "-qam", "policy"], cwd=root, check=True)
    return root


def test_a_noisy_classifier(tmp_path: Path, address: str) -> None:
    """The first release passes with the noise told; a prompt without the labels is rejected, and
    the critical rows are named.
    """
    root = project(tmp_path, address)
    assert "nothing is wrong" in run(root, "check").stdout
    first = run(root, "release", "--no-server")
    assert first.returncode == 0, first.stdout + first.stderr
    evidence = read_evidence(root / "build" / "evidence" / "candidate.parquet")
    assert len(evidence.rows) == 60
    assert {len(row.repeats) for row in evidence.rows} == {3}
    assert {row.slices["label"] for row in evidence.rows} == set(SAID)
    assert evidence.set_scores["macro_f1"].low < evidence.set_scores["macro_f1"].mean
    assert 0.8 < evidence.summaries["accuracy"].mean < 1.0
    page = (root / "reports" / "release.html").read_text("utf-8")
    assert "answered 3 times" in page
    assert "one more repeat narrows the interval by" in page

    edit(root / "prompts" / "summarize.yaml", " one of: billing, delivery, technical.", " please.")
    worse = run(root, "release", "--no-server")
    assert worse.returncode == 1, worse.stdout + worse.stderr
    assert "critical rows are right at least 1 of 3 times" in worse.stdout
