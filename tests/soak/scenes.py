"""A project in the state before each step of a release, and what it must be like after it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sluicegate.ledger
from kept_evidence import kept
from sluicegate.gates import load_policy
from sluicegate.hashing import digest_file, digest_value
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.prompts import Prompt
from sluicegate.records import Decision, GenerationSettings, Lineage, Verdict
from sluicegate.releasing import (
    StoredRelease,
    bootstrap,
    judge,
    promote,
    reconcile,
    register,
    rollback,
    store_release,
    verify,
)
from sluicegate.tracking import Tracking

BASE = "b" * 64
MODEL = "support"
LINEAGE = Lineage("1" * 64, "2" * 64, {"sample": "3" * 64}, "4" * 64, "c0ffee", False)
PROMPT = Prompt(
    "summarize", "You sum up.", "Sum up: {{ conversation }}", ("conversation",), "ann", ""
)
POLICY = "rules: [{name: gain, kind: better_than_champion, metric: rougeL}]\n"


# The anchor and the status of a version that serves no more are notes of what MLflow saw, not part
# of the state.
_OF_NOW = """(key NOT IN ('sluice.epoch', 'sluice.ledger_head', 'sluice.status')
    OR version IN (SELECT version FROM registered_model_aliases))"""


@contextmanager
def quick_folder() -> Iterator[Path]:
    """A folder in memory where the system has one: a killed process leaves the same bytes there as
    on a disk.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="sluice-", dir=memory if memory.is_dir() else None
    ) as folder:
        yield Path(folder)


def new_project(root: Path, policy: str = POLICY) -> Project:
    """A project with a policy and nothing else."""
    (root / "registry").mkdir(parents=True, exist_ok=True)
    (root / "registry" / "gates.yaml").write_text(policy)
    return Project(root)


def stored(project: Project, number: int, adapter: Path | None = None) -> StoredRelease:
    """Release `number`; they differ in their generation length."""
    return store_release(
        project,
        base_digest=BASE,
        base_name="tiny",
        adapter=adapter,
        prompt=PROMPT,
        generation=GenerationSettings(max_new_tokens=number),
        lineage=LINEAGE,
    )


def entered(project: Project, number: int) -> str:
    """Store release `number` and enter it in the ledger as `register` does, without MLflow."""
    release = stored(project, number)
    payload = {"version": number, "manifest": digest_value(release.manifest), **release.manifest}
    Ledger(project.ledger_url).append(
        "register", release.digest, "ann", payload, unless_same=("manifest",)
    )
    return release.digest


def verdict(project: Project, candidate: str, decision: Decision = Decision.PROMOTE) -> Verdict:
    """A verdict on `candidate` against the champion of now under the policy of now."""
    champion = Ledger(project.ledger_url).champion()
    policy = load_policy(project.registry / "gates.yaml").digest
    serving = champion.release if champion else None
    return Verdict(
        decision,
        candidate,
        serving,
        policy,
        "g" * 64,
        kept(project),
        kept(project, "champion"),
        (),
        ("it is better",),
    )


def freeze_time() -> None:
    """Let every later entry of this process carry one time, so that two histories can be compared
    by their hash.
    """

    class Frozen(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Frozen:
            return cls(2026, 1, 2, tzinfo=tz or UTC)

    sluicegate.ledger.datetime = Frozen  # type: ignore[misc]


def save_adapter(folder: Path) -> Path:
    """A small sound adapter, written without PEFT."""
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(1)  # a forked child must not wait for threads that it does not have
    folder.mkdir(parents=True)
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    tensors = {f"{stem}.lora_A.weight": torch.ones(2, 8), f"{stem}.lora_B.weight": torch.ones(8, 2)}
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": f"sluicegate:{BASE}",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


@dataclass(frozen=True, slots=True)
class Scene:
    """A step of the line: the state before it, kept in `before`, and the step itself, to run on
    `project`.
    """

    name: str
    before: Path
    action: Callable[[], Any]


class Stage:
    """One project folder in which scenes are set up again and again; MLflow's store stays open in
    the parent process.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = new_project(root / "project")
        self.tracking = Tracking(self.project.mlflow_url, self.project.mlflow_artifacts)
        self.adapter = save_adapter(root / "adapter")
        with self.tracking.start_run("line", "evaluate") as run:
            self.run_id = run.id
        self.scenes = self._play()

    def _play(self) -> list[Scene]:
        """Go once through a release, keeping the state before every step."""
        project, found = self.project, []
        told: dict[str, Any] = {"tracking": self.tracking, "model": MODEL}

        def register_release(number: int) -> str:
            release = stored(project, number, self.adapter)
            return register(project, release, run_id=self.run_id, actor="ann", **told).release

        zero = stored(project, 1, self.adapter).digest
        one = stored(new_project(self.root / "aside"), 2, self.adapter).digest
        steps: list[tuple[str, Callable[[], Any]]] = [
            ("register the first", lambda: register_release(1)),
            ("bootstrap", lambda: bootstrap(project, zero, actor="ann")),
            ("register", lambda: register_release(2)),
            (
                "judge",
                lambda: judge(
                    project, verdict(project, one), actor="gate", markdown="# why", **told
                ),
            ),
            ("promote", lambda: promote(project, one, actor="ann", reason="better", **told)),
            ("rollback", lambda: rollback(project, actor="ann", to=1, reason="worse", **told)),
            ("reconcile", lambda: reconcile(project, **told)),
        ]
        for name, action in steps:
            if (
                name == "reconcile"
            ):  # somebody points both aliases elsewhere behind the ledger's back
                self.tracking.client.set_registered_model_alias(MODEL, "champion", "2")
                self.tracking.client.set_registered_model_alias(MODEL, "challenger", "1")
            before = self.root / "before" / name
            shutil.copytree(project.root, before)
            found.append(Scene(name, before, action))
            action()
        return found

    def set_up(self, scene: Scene) -> None:
        """Bring the project back to the state before the scene, with no connection left to the old
        files.
        """
        store, models = (
            self.tracking.client._tracking_client.store,
            self.tracking.client._get_registry_client().store,
        )
        for engine in (store.engine, models.engine):
            engine.dispose()
        shutil.rmtree(self.project.root)
        shutil.copytree(scene.before, self.project.root)


def result(project: Project) -> dict[str, Any]:
    """The state that counts, free of what differs from run to run: ledger, store and MLflow, as
    plain values.

    Raises:
        IntegrityError, AdapterError: the state is not sound.
    """
    verify(project)
    ledger = Ledger(project.ledger_url)
    names = [
        path.relative_to(project.store)
        for path in sorted(project.store.rglob("*"))
        if path.is_file()
    ]
    whole = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    found: dict[str, Any] = {
        "champion": ledger.champion(),
        "head": ledger.head(),
        "steps": [(entry.kind, entry.release[:8], entry.epoch) for entry in ledger.entries()],
        "store": {name.as_posix(): digest_file(project.store / name) for name in whole},
    }
    database = Path(project.mlflow_url.removeprefix("sqlite:///"))
    if database.exists():
        connection = sqlite3.connect(
            database
        )  # not read-only: SQLite must undo what a killed writer left half done
        queries = {
            "versions": "SELECT name, version, run_id, description FROM model_versions ORDER BY "
            "1, 2",
            "aliases": "SELECT name, alias, version FROM registered_model_aliases ORDER BY 1, 2",
            "tags": f"SELECT name, version, key, value FROM model_version_tags WHERE {_OF_NOW} "
            "ORDER BY 1, 2, 3",
        }
        for key, query in queries.items():
            found[key] = connection.execute(query).fetchall()
        connection.close()
    return found
