"""Weights and adapters behind the router: verified, probed, and answering as they were judged."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `local` is not installed")
sys.path.insert(0, str(Path(__file__).parents[1]))
from served_project import LINEAGE, PROMPT, promoted, registered
from sluicegate.data.examples import write_examples
from sluicegate.errors import AdapterError, ReleaseError
from sluicegate.generating import Reply, request_of
from sluicegate.hashing import digest_file
from sluicegate.ledger import Ledger
from sluicegate.line.pipeline.base_model import release_model
from sluicegate.line.run import open_run
from sluicegate.line.serve.follow import Follower, load_release
from sluicegate.line.serve.loading import open_base, open_release
from sluicegate.line.serve.probing import probe
from sluicegate.project import Project
from sluicegate.prompts import render
from sluicegate.records import Evidence, Example, GenerationSettings, ScoredExample
from sluicegate.releasing import keep_evidence, store_release
from sluicegate.scaffold import init
from sluicegate.serving import Releases
from sluicegate.serving.counters import Counters
from sluicegate.serving.router import Standing
from tiny_model import build_tiny_model

SETTINGS = GenerationSettings(max_new_tokens=12)
TEXTS = [f"Customer {n}: hello, my parcel {n} has not arrived." for n in range(6)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project on tiny weights."""
    folder = tmp_path_factory.mktemp("weights") / "p"
    init(folder)
    build_tiny_model(folder / "tiny")
    params = folder / "params.yaml"
    lines = params.read_text().splitlines()
    params.write_text(
        "\n".join("  model: tiny" if one.startswith("  model:") else one for one in lines) + "\n"
    )
    return Project(folder)


def adapter(project: Project, scale: float, seed: int) -> Path:
    """A LoRA of random weights of this size for the tiny model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = project.root / f"lora-{seed}-{scale}"
    if folder.exists():
        return folder
    torch.manual_seed(seed)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(project.root / "tiny"),
        LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=scale)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    base = release_model(open_run(project)).digest
    config["base_model_name_or_path"] = f"sluicegate:{base}"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def release(project: Project, lora: Path | None, version: int) -> str:
    stored = store_release(
        project,
        base_digest=release_model(open_run(project)).digest,
        base_name="tiny",
        adapter=lora,
        prompt=PROMPT,
        generation=SETTINGS,
        lineage=LINEAGE,
    )
    return registered(project, stored, version)


def judged(project: Project, digest: str, outputs: Sequence[str]) -> None:
    """A golden set, evidence with these outputs, and a verdict that names both."""
    rows = [Example(str(n), str(n), {"text": text}, ("r",), "s") for n, text in enumerate(TEXTS)]
    project.golden.parent.mkdir(parents=True, exist_ok=True)
    write_examples(project.golden, rows)
    golden = digest_file(project.golden)
    scored = tuple(
        ScoredExample(str(n), str(n), text, {"rougeL": 0.5}, 0.1, 3, 2)
        for n, text in enumerate(outputs)
    )
    kept = keep_evidence(project, Evidence(digest, golden, "m" * 64, scored, {}))
    payload = {"golden": golden, "evidence": kept, "n": len(outputs)}
    Ledger(project.ledger_url).append("verdict", digest, "ann", payload)


def alone(project: Project, digest: str) -> list[str]:
    """What a release says to each text, by itself."""
    model = open_release(project, digest).model
    said = [model.generate([request_of(render(PROMPT, {"text": text}), SETTINGS)])[0]
            for text in TEXTS]  # fmt: skip
    return [one.text for one in said if isinstance(one, Reply)]


def follower(project: Project) -> Follower:
    return Follower(project, Releases(), Standing(), Counters())


def test_two_adapters_side_by_side_answer_as_each_alone(project: Project) -> None:
    """Requests to two releases on one base, at once and batched: every text is its release's own."""
    digests = [release(project, adapter(project, 0.5, seed), seed) for seed in (1, 2)]
    expected = {digest: alone(project, digest) for digest in digests}
    assert expected[digests[0]] != expected[digests[1]]
    loaded = {digest: load_release(project, digest) for digest in digests}

    async def ask_all() -> list[Any]:
        asked = [
            loaded[digest].engine.ask(request_of(render(PROMPT, {"text": text}), SETTINGS))
            for text in TEXTS
            for digest in digests
        ]
        return await asyncio.gather(*asked)

    said = iter(asyncio.run(ask_all()))
    for place in range(len(TEXTS)):
        for digest in digests:
            assert next(said).text == expected[digest][place]
    for one in loaded.values():
        one.engine.close()


def test_the_probe_knows_the_recorded_answers(project: Project) -> None:
    """Answers as recorded pass; those of the bare model under this release's name do not."""
    digest = release(project, adapter(project, 0.5, 1), 1)
    opened = open_release(project, digest)
    judged(project, digest, alone(project, digest))
    assert probe(opened) == "4 of 4 recorded answers are the same"
    bare = open_base(opened)
    requests = [request_of(render(PROMPT, {"text": text}), SETTINGS) for text in TEXTS]
    others = [one.text for one in bare.generate(requests) if isinstance(one, Reply)]
    judged(project, digest, others)
    with pytest.raises(ReleaseError, match="0 of 4 answers"):
        probe(opened)


def test_an_adapter_without_effect_is_not_served(project: Project) -> None:
    """It passes every check of its bytes, changes no answer, and is refused on the record; what
    served before goes on.
    """
    good = release(project, adapter(project, 0.5, 2), 2)
    idle = release(project, adapter(project, 1e-6, 3), 3)
    one = follower(project)
    promoted(project, good, 2)
    one.look()
    assert one.releases.champion is not None
    assert one.releases.champion.release == good
    promoted(project, idle, 3)
    one.look()
    assert one.releases.champion.release == good
    assert "changes none of 3 answers" in one.standing.refused
    (entry,) = Ledger(project.ledger_url).entries("serve_refused", idle)
    assert entry.payload["reason"] == one.standing.refused


def test_a_damaged_adapter_is_not_loaded(project: Project) -> None:
    """One bit is enough."""
    digest = release(project, adapter(project, 0.5, 4), 4)
    stored = open_release(project, digest).contender.adapter
    assert stored is not None
    weights = stored / "adapter_model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.unlink()
    weights.write_bytes(raw)
    with pytest.raises(AdapterError):
        load_release(project, digest)
