"""How long a rollback takes: in a process that is up (warm) and as a command of its own (cold).

    python benchmarks/rollback.py [--warm 200] [--cold 20] [--json FILE]

A project of its own is made in a temporary folder: three releases that served, each with a LoRA
adapter of a usual size (rank 16 on six modules of 30 layers, width 576), 50 more in the ledger,
MLflow in a file beside it. Each rollback goes to the other of two former champions, its bytes
verified before the pointer moves. Measured with MLflow reachable, with its database unusable, and
with an address at which no server answers: then the time includes MLflow's own tries.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sluicegate.config import Params
from sluicegate.gates import load_policy
from sluicegate.hashing import digest_value
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.prompts import Prompt
from sluicegate.records import Decision, GenerationSettings, Lineage, Verdict
from sluicegate.releasing import (
    bootstrap,
    judge,
    promote,
    reconcile,
    register,
    rollback,
    store_release,
)
from sluicegate.tracking import Tracking
from sluicegate.yaml_file import load

BASE = "b" * 64
POLICY = "rules: [{name: gain, kind: better_than_champion, metric: rougeL}]\n"
PARAMS = Path(__file__).parents[1] / "params.yaml"
MODEL = load(PARAMS, Params).release.name
FORMER = (2, 3)


def adapter(folder: Path, seed: int) -> Path:
    """A sound adapter of about 20 MB."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    folder.mkdir(parents=True)
    widths = {
        "q_proj": 576,
        "k_proj": 192,
        "v_proj": 192,
        "o_proj": 576,
        "gate_proj": 1536,
        "up_proj": 1536,
    }
    tensors = {}
    for layer in range(30):
        for name, width in widths.items():
            stem = f"base_model.model.model.layers.{layer}.{name}"
            tensors[f"{stem}.lora_A.weight"] = torch.randn(16, 576)
            tensors[f"{stem}.lora_B.weight"] = torch.randn(width, 16)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 16,
        "lora_alpha": 32,
        "target_modules": sorted(widths),
        "base_model_name_or_path": f"sluicegate:{BASE}",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def made(root: Path) -> tuple[Project, Tracking]:
    """A project with three releases that served one after the other, and a ledger with some
    history.
    """
    (root / "registry").mkdir(parents=True)
    (root / "registry" / "gates.yaml").write_text(POLICY)
    (root / "params.yaml").write_bytes(PARAMS.read_bytes())
    project = Project(root)
    tracking = Tracking(project.mlflow_url, project.mlflow_artifacts)
    prompt = Prompt(
        "summarize", "You sum up.", "Sum up: {{ conversation }}", ("conversation",), "ann", ""
    )
    lineage = Lineage("1" * 64, "2" * 64, {"sample": "3" * 64}, "4" * 64, "c0ffee", False)
    policy = load_policy(project.registry / "gates.yaml").digest
    with tracking.start_run("benchmark", "evaluate") as run:
        pass
    ledger = Ledger(project.ledger_url)
    for number in range(4, 54):
        ledger.append("register", digest_value(number), "ann", {"version": 100 + number})
    for number in (1, *FORMER):
        release = store_release(
            project,
            base_digest=BASE,
            base_name="base",
            adapter=adapter(root / "made" / str(number), number),
            prompt=prompt,
            generation=GenerationSettings(max_new_tokens=number),
            lineage=lineage,
        )
        entered = register(
            project, release, tracking=tracking, model=MODEL, run_id=run.id, actor="ann"
        )
        assert entered.version == number
        champion = bootstrap(project, release.digest, actor="ann")
        if champion.release != release.digest:
            found = Verdict(
                Decision.PROMOTE,
                release.digest,
                champion.release,
                policy,
                "g" * 64,
                "e" * 64,
                "f" * 64,
                (),
                ("better",),
            )
            judge(project, found, actor="gate")
            promote(project, release.digest, actor="ann")
    reconcile(project, tracking=tracking, model=MODEL)
    return project, tracking


def other(project: Project) -> int:
    """The former champion that does not serve now."""
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    return FORMER[champion.version == FORMER[0]]


def seconds(call: Callable[[], object], times: int) -> list[float]:
    """Wall seconds of each call."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def command(project: Project, mlflow: str) -> None:
    """`sluice rollback` as a person would type it; it must have moved the champion."""
    to = other(project)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow, "SLUICE_ACTOR": "ann"}
    arguments = [
        sys.executable,
        "-m",
        "sluicegate",
        "rollback",
        "--to",
        str(to),
        "--reason",
        "benchmark",
    ]
    done = subprocess.run(
        arguments, cwd=project.root, env=environment, capture_output=True, text=True
    )
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    assert champion.version == to, done.stdout + done.stderr


def main() -> None:
    """Measure and print one line a case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--warm", type=int, default=200)
    parser.add_argument("--cold", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    print(f"{'case':52} {'n':>4} {'p50':>8} {'p99':>8} {'max':>8}   seconds", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        project, tracking = made(Path(folder) / "project")
        blocker = Path(folder) / "a file where a folder is needed"
        blocker.touch()
        away = Tracking(f"sqlite:///{blocker / 'mlflow.db'}", blocker / "artifacts")
        silent = Tracking("http://127.0.0.1:9", project.mlflow_artifacts)
        cases = {"reachable": tracking, "its file unusable": away, "its server down": silent}
        for name, reach in cases.items():
            warm = seconds(
                lambda reach=reach: rollback(
                    project, actor="ann", to=other(project), tracking=reach, model=MODEL
                ),  # type: ignore[misc]
                arguments.warm,
            )
            cold = seconds(lambda reach=reach: command(project, reach.url), arguments.cold)  # type: ignore[misc]
            for kind, found in (("warm, in a process", warm), ("cold, `sluice rollback`", cold)):
                row = {
                    "case": f"{kind}, MLflow {name}",
                    "n": len(found),
                    "p50": statistics.median(found),
                    "p99": sorted(found)[min(len(found) - 1, round(0.99 * len(found)))],
                    "max": max(found),
                }
                rows.append(row)
                print(
                    f"{row['case']:52} {row['n']:4} {row['p50']:8.3f} {row['p99']:8.3f} "
                    f"{row['max']:8.3f}",
                    flush=True,
                )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
