"""`sluice select` on two local models and one endpoint: measured for real, one report, one
decision.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import ChatServer, says
from sluicegate.cli.choose import select
from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.hashing import write_atomic
from sluicegate.line.choose.select import run_selection
from sluicegate.line.run import open_run
from tiny_model import build_tiny_model

PLAN = """
candidates: [small, other, remote, gone]
metrics: [rouge1, length_ratio]
quality: rouge1
latency: {repeats: 2, new_tokens: 4, at_once: 2}
needs: {commercial_use: true}
assumptions: {requests_per_month: 1000}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with six golden rows and two tiny local models."""
    monkeypatch.setenv("SLUICE_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "project"
    for name in ("one", "two"):
        build_tiny_model(tmp_path / name, seed=len(name) + (name == "two"))
    release = (
        "release: {name: demo, model: small, prompt: p, generation: {max_new_tokens: 4}, "
        "dtype: float32}"
    )
    write_atomic(
        root / "params.yaml", f"{release}\nevaluate: {{metrics: [rouge1], batch_tokens: 512}}\n"
    )
    write_atomic(
        root / "prompts" / "p.yaml", "name: p\nvariables: [text]\ntemplate: 'Sum up: {{ text }}'\n"
    )
    write_atomic(root / "registry" / "selection.yaml", PLAN)
    rows = [
        {
            "id": f"e{number}",
            "group": f"g{number}",
            "inputs": {"text": f"parcel {number} " * number},
            "reference": [f"parcel {number} is late"],
            "source": "test",
        }
        for number in range(1, 7)
    ]
    write_atomic(
        root / "data" / "golden" / "golden.jsonl", "".join(json.dumps(row) + "\n" for row in rows)
    )
    monkeypatch.chdir(root)
    return root


def models(root: Path, url: str) -> None:
    write_atomic(
        root / "registry" / "models.yaml",
        f"""
models:
  small: {{path: ../one, licence: MIT, commercial: true}}
  other: {{path: ../two, licence: CC-BY-NC-4.0, commercial: false}}
  remote:
    endpoint: {{url: '{url}', model: big, allow_private: true, price: {{input: 1, output: 4}}, tries: 1}}
    licence: closed
    commercial: true
    residency: EU
  gone:
    endpoint: {{url: 'http://127.0.0.1:9/v1', model: x, allow_private: true, tries: 1}}
    commercial: true
""",
    )


def test_two_local_models_and_an_endpoint(project: Path) -> None:
    """All are measured on the same rows; the wrong licence and the dead endpoint are out; the
    report shows everything.
    """
    with ChatServer(says(lambda asked: f"parcel {asked.text.split()[3]} is late")) as server:
        models(project, server.url)
        done = CliRunner().invoke(select, [], standalone_mode=False)
    assert done.exception is None, done.output
    told = json.loads((project / "reports" / "selection.json").read_text())
    found = {option["name"]: option for option in told["options"]}
    assert told["choice"]["chosen"] == "remote"
    assert told["choice"]["steps"][0]["out"] == ["gone"]
    assert told["choice"]["steps"][1]["out"] == ["other"]
    assert found["remote"]["quality"]["rouge1"]["mean"] == 1.0
    assert found["remote"]["residency"] == "EU"
    assert found["small"]["residency"] == "on-premises"
    assert found["small"]["speed"]["memory_gib"] > 0.1
    assert len(found["small"]["speed"]["timings"]) == 6
    assert found["remote"]["cost"]["parts"]["tokens at list price"] > 0
    assert "remote has the best rouge1" in done.output
    page = (project / "reports" / "selection.html").read_text()
    for text in (
        "<svg",
        "requests_per_month",
        "CC-BY-NC-4.0",
        "ruled out",
        "gone was not measured",
    ):
        assert text in page
    assert "<script" not in page
    assert "http://" not in page.replace("http://127.0.0.1:9", "")


def test_nothing_is_asked_twice_for_quality(project: Path) -> None:
    """A second run asks the endpoint only for what is timed."""
    with ChatServer(says(lambda asked: "parcel")) as server:
        models(project, server.url)
        run_selection(open_run(), ["remote"])
        first = len(server.asked)
        run_selection(open_run(), ["remote"])
        assert len(server.asked) - first == first - 6
        assert (
            len({json.dumps(asked.body, sort_keys=True) for asked in server.asked[:first]}) == first
        )


def test_what_is_missing_is_named(project: Path) -> None:
    """An unknown candidate and an absent golden set are errors that say what to do."""
    models(project, "http://127.0.0.1:9/v1")
    with pytest.raises(ConfigError, match="no nobody"):
        run_selection(open_run(), ["nobody"])
    plan = (project / "registry" / "selection.yaml").read_text()
    write_atomic(
        project / "registry" / "selection.yaml",
        plan.replace("quality: rouge1", "quality: length_words").replace(
            "[rouge1", "[length_words"
        ),
    )
    with pytest.raises(ConfigError, match="how good it is"):
        run_selection(open_run(), ["small"])
    write_atomic(project / "registry" / "selection.yaml", plan)
    (project / "data" / "golden" / "golden.jsonl").unlink()
    with pytest.raises(EvidenceError, match="nothing to compare on"):
        run_selection(open_run(), ["small"])
