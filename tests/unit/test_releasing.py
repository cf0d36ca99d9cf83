"""Releases: stored by content, registered once, promoted only on evidence, rolled back with nothing
else running.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sluicegate.errors import (
    AdapterError,
    IntegrityError,
    NotApprovedError,
    ReleaseError,
    SluiceError,
    StaleEpochError,
    UsageError,
)
from sluicegate.gates import load_policy
from sluicegate.hashing import digest_value
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.prompts import Prompt
from sluicegate.records import Decision, GenerationSettings, Lineage, Verdict
from sluicegate.releasing import (
    StoredRelease,
    bootstrap,
    find_release,
    history,
    judge,
    load_stored,
    promote,
    reconcile,
    register,
    rollback,
    served_at,
    store_release,
    verify,
)
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parents[1]))
from kept_evidence import kept
from tiny_model import build_tiny_model

BASE = "b" * 64
LINEAGE = Lineage("1" * 64, "2" * 64, {"sample": "3" * 64}, "4" * 64, "c0ffee", False)
PROMPT = Prompt(
    "summarize", "You sum up.", "Sum up: {{ conversation }}", ("conversation",), "ann", ""
)
POLICY = "rules: [{name: gain, kind: better_than_champion, metric: rougeL}]\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "gates.yaml").write_text(POLICY)
    return Project(tmp_path)


def stored(project: Project, length: int) -> StoredRelease:
    """A release that differs from others by its generation length."""
    return store_release(
        project,
        base_digest=BASE,
        base_name="tiny",
        adapter=None,
        prompt=PROMPT,
        generation=GenerationSettings(max_new_tokens=length, stop=("\n\n",)),
        lineage=LINEAGE,
    )


def entered(project: Project, version: int) -> str:
    """Store and enter a release as `register` does, without MLflow."""
    release = stored(project, version)
    payload = {"version": version, "manifest": digest_value(release.manifest), **release.manifest}
    Ledger(project.ledger_url).append("register", release.digest, "ann", payload)
    return release.digest


def verdict(
    project: Project, candidate: str, decision: Decision = Decision.PROMOTE, **changes: str
) -> Verdict:
    champion = Ledger(project.ledger_url).champion()
    policy = load_policy(project.registry / "gates.yaml").digest
    serving = champion.release if champion else None
    plain = Verdict(
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
    return replace(plain, **changes)


def served(project: Project, *versions: int) -> list[str]:
    """Bootstrap the first version and promote the others, one after the other."""
    digests = [entered(project, version) for version in versions]
    bootstrap(project, digests[0], actor="ann")
    for digest in digests[1:]:
        judge(project, verdict(project, digest), actor="gate")
        promote(project, digest, actor="ann")
    return digests


def unreachable(project: Project) -> Tracking:
    """An MLflow whose database cannot be opened."""
    blocker = project.root / "blocker"
    blocker.write_text("a file where a folder is needed")
    return Tracking(f"sqlite:///{blocker / 'mlflow.db'}", blocker / "artifacts")


def test_a_release_comes_back_as_stored(project: Project) -> None:
    """Storing twice is a no-op; the parts come back equal and the first lineage is kept."""
    first = stored(project, 5)
    files = sorted(path for path in project.store.rglob("*") if path.is_file())
    again = store_release(
        project,
        base_digest=BASE,
        base_name="tiny",
        adapter=None,
        prompt=PROMPT,
        generation=first.generation,
        lineage=replace(LINEAGE, commit="later"),
    )
    assert again == first == load_stored(project, first.digest)
    assert first.generation.stop == ("\n\n",)
    assert first.prompt.digest == PROMPT.digest
    assert sorted(path for path in project.store.rglob("*") if path.is_file()) == files


@pytest.mark.parametrize("kind", ["releases", "prompts", "generation"])
@pytest.mark.parametrize("damage", ["flip", "empty", "gone", "other"])
def test_damaged_parts_are_refused(project: Project, kind: str, damage: str) -> None:
    """A changed, emptied, missing or swapped part is never loaded."""
    release, other = stored(project, 5), stored(project, 6)
    name = {
        "releases": release.digest,
        "prompts": PROMPT.digest,
        "generation": release.generation.digest,
    }[kind]
    path = project.store / kind / f"{name}.json"
    if damage == "flip":
        path.write_text(
            path.read_text().replace("tiny", "tina").replace("Sum", "Som").replace("5", "7")
        )
    elif damage == "empty":
        path.write_text("")
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes((project.store / "releases" / f"{other.digest}.json").read_bytes())
    if kind == "releases" and damage == "flip":
        payload = {"version": 1, "manifest": digest_value(release.manifest)}
        Ledger(project.ledger_url).append("register", release.digest, "ann", payload)
        with pytest.raises(IntegrityError):
            verify(project)
        return
    with pytest.raises(IntegrityError):
        load_stored(project, release.digest)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "a" * 63])
def test_names_that_are_not_digests_never_become_paths(project: Project, name: str) -> None:
    """Only 64 hexadecimal digits are looked up."""
    with pytest.raises(UsageError):
        load_stored(project, name)


def test_the_first_champion_is_recorded_once(project: Project) -> None:
    """Bootstrap needs a registered release, happens once, and later calls return who serves."""
    with pytest.raises(SluiceError):
        bootstrap(project, stored(project, 9).digest, actor="ann")
    first, second = entered(project, 1), entered(project, 2)
    assert bootstrap(project, first, actor="ann").release == first
    assert bootstrap(project, second, actor="ann").release == first
    assert [event.kind for event in history(project)] == ["register", "register", "bootstrap"]


def test_promotion_follows_a_verdict_and_a_second_call_changes_nothing(project: Project) -> None:
    """A PROMOTE verdict for exactly this pair moves the champion; promoting what serves is a no-op."""
    zero, one = entered(project, 1), entered(project, 2)
    bootstrap(project, zero, actor="ann")
    judge(project, verdict(project, one), actor="gate")
    move = promote(project, one, actor="ann", reason="good")
    assert (move.champion.release, move.champion.version, move.champion.epoch) == (one, 2, 2)
    assert move.entry is not None
    assert move.entry.payload["from"] == zero
    assert promote(project, one, actor="ann").entry is None
    assert verify(project).releases == 2


def test_without_a_fitting_verdict_nothing_is_promoted(project: Project) -> None:
    """No verdict, REJECT, HOLD, a superseded PROMOTE, another policy: refused, and the champion
    stays.
    """
    zero, one = entered(project, 1), entered(project, 2)
    with pytest.raises(ReleaseError):
        promote(project, one, actor="ann")
    champion = bootstrap(project, zero, actor="ann")
    with pytest.raises(NotApprovedError):
        promote(project, one, actor="ann")
    good = verdict(project, one)
    for last in (
        verdict(project, one, Decision.HOLD),
        verdict(project, one, Decision.REJECT),
        replace(good, policy="0" * 64),
    ):
        judge(project, good, actor="gate")
        judge(project, last, actor="gate")
        with pytest.raises(NotApprovedError):
            promote(project, one, actor="ann")
    judge(project, good, actor="gate")
    (project.registry / "gates.yaml").write_text(POLICY.replace("rougeL", "rouge1"))
    with pytest.raises(NotApprovedError, match="policy"):
        promote(project, one, actor="ann")
    assert Ledger(project.ledger_url).champion() == champion


def test_a_verdict_holds_for_one_reign_only(project: Project) -> None:
    """When the champion changed since, even to return later, the old verdict no longer promotes."""
    zero, one, two = (entered(project, version) for version in (1, 2, 3))
    bootstrap(project, zero, actor="ann")
    judge(project, verdict(project, one), actor="gate")
    judge(project, verdict(project, two), actor="gate")
    old = verdict(project, one)
    promote(project, two, actor="ann")
    with pytest.raises(NotApprovedError, match="has been replaced since"):
        promote(project, one, actor="ann")
    with pytest.raises(StaleEpochError):
        judge(project, old, actor="gate")
    rollback(project, actor="ann")
    with pytest.raises(NotApprovedError, match="has been replaced since"):
        promote(project, one, actor="ann")


def test_a_verdict_needs_a_registered_candidate_and_is_recorded_once(project: Project) -> None:
    """An unknown candidate is refused; the same verdict twice is one entry."""
    zero = entered(project, 1)
    bootstrap(project, zero, actor="ann")
    with pytest.raises(ReleaseError):
        judge(project, verdict(project, "9" * 64), actor="gate")
    one = entered(project, 2)
    first = judge(project, verdict(project, one), actor="gate")
    assert judge(project, verdict(project, one), actor="other").entry == first.entry


def test_rollback_walks_back_through_what_served(project: Project) -> None:
    """Without a version each rollback goes one promotion further back, never forward to what was
    left.
    """
    zero, one, two = served(project, 1, 2, 3)
    assert rollback(project, actor="ann").champion.release == one
    assert rollback(project, actor="ann").champion.release == zero
    with pytest.raises(UsageError, match="before"):
        rollback(project, actor="ann")
    assert rollback(project, actor="ann", to=3).champion.release == two
    assert rollback(project, actor="ann", to=3).entry is None
    verify(project)


def test_rollback_goes_only_to_former_champions(project: Project) -> None:
    """A version that never served, or none at all, cannot be rolled back to."""
    with pytest.raises(UsageError):
        rollback(project, actor="ann")
    served(project, 1, 2)
    entered(project, 3)
    with pytest.raises(UsageError, match="never served"):
        rollback(project, actor="ann", to=3)


def test_damaged_bytes_stop_rollback_and_promotion_before_the_pointer_moves(
    project: Project,
) -> None:
    """The champion stays where it is when what it should become is not whole, or does not load."""
    zero, one = served(project, 1, 2)
    two = entered(project, 3)
    judge(project, verdict(project, two), actor="gate")
    before = Ledger(project.ledger_url).champion()

    def fails(release: StoredRelease) -> None:
        raise IntegrityError(f"{release.digest} does not load")

    with pytest.raises(IntegrityError, match="does not load"):
        rollback(project, actor="ann", check=fails)
    shutil.rmtree(project.store / "generation")
    with pytest.raises(IntegrityError):
        rollback(project, actor="ann")
    with pytest.raises(IntegrityError):
        promote(project, two, actor="ann")
    assert Ledger(project.ledger_url).champion() == before
    assert before is not None
    assert before.release == one != zero


def test_a_release_that_was_rolled_back_does_not_come_back_by_itself(project: Project) -> None:
    """After a rollback a fresh verdict alone does not promote the same release; a person can, with
    `again`.
    """
    _, one = served(project, 1, 2)
    rollback(project, actor="ann", reason="complaints")
    judge(project, verdict(project, one), actor="gate")
    with pytest.raises(NotApprovedError, match="rolled back"):
        promote(project, one, actor="flow")
    assert promote(project, one, actor="ann", again=True).champion.release == one


def test_moves_need_no_mlflow(project: Project) -> None:
    """With MLflow out of reach promote and rollback work, and say what was not told."""
    served(project, 1, 2)
    two = entered(project, 3)
    judge(project, verdict(project, two), actor="gate")
    tracking = unreachable(project)
    move = promote(project, two, actor="ann", tracking=tracking, model="m")
    assert (move.champion.version, len(move.warnings)) == (3, 1)
    back = rollback(project, actor="ann", tracking=tracking, model="m")
    assert (back.champion.version, len(back.warnings)) == (2, 1)


def test_history_answers_what_served_on_a_day_and_who_let_it(project: Project) -> None:
    """Before the first champion nothing served; after it the last move before the moment did."""
    served(project, 1, 2)
    now = datetime.now(UTC)
    assert served_at(project, now - timedelta(days=1)) is None
    event = served_at(project, now)
    assert event is not None
    assert (event.kind, event.version, event.actor) == ("promote", 2, "ann")
    kinds = [event.kind for event in history(project)]
    assert kinds == ["register", "register", "bootstrap", "verdict", "promote"]
    assert history(project)[3].decision == "PROMOTE"


def test_releases_are_found_by_version_digest_and_role(project: Project) -> None:
    """A version, `v` and a version, the start of a digest and `champion` name a release; nothing
    else does.
    """
    zero, one = served(project, 1, 2)
    assert {find_release(project, name) for name in ("2", "v2", "champion", one[:8], one)} == {one}
    assert find_release(project, "1") == zero
    for name in ("3", "", "v", "zzzzzz", one[:3], one[:5]):
        with pytest.raises(UsageError):
            find_release(project, name)


def test_verify_finds_a_promotion_without_a_verdict(project: Project) -> None:
    """A move written past the guard keeps the chain whole, and is found all the same."""
    served(project, 1, 2)
    two = entered(project, 3)
    Ledger(project.ledger_url).move_champion(two, 3, 2, "promote", "eve", {})
    Ledger(project.ledger_url).verify()
    with pytest.raises(IntegrityError, match="no verdict"):
        verify(project)


def test_register_and_reconcile_with_mlflow(project: Project) -> None:
    """Registering twice is one version and one entry; aliases changed behind the ledger are put
    right and told.
    """
    tracking = Tracking(project.mlflow_url, project.mlflow_artifacts)
    with tracking.start_run("m", "evaluate") as run:
        pass
    releases = [stored(project, length) for length in (1, 2)]
    who = {"tracking": tracking, "model": "m", "run_id": run.id, "actor": "ann"}
    first, second = (register(project, release, **who) for release in releases)
    assert register(project, releases[0], **who).entry == first.entry
    assert (first.version, second.version) == (1, 2)
    bootstrap(project, first.release, actor="ann")
    found = verdict(project, second.release)
    judged = judge(project, found, actor="gate", tracking=tracking, model="m", markdown="# why")
    assert judged.warnings == ()
    reconcile(project, tracking=tracking, model="m")
    assert (tracking.alias("m", "champion"), tracking.alias("m", "challenger")) == (1, 2)
    move = promote(project, second.release, actor="ann", tracking=tracking, model="m")
    assert move.warnings == ()
    assert (tracking.alias("m", "champion"), tracking.alias("m", "challenger")) == (2, None)
    tracking.client.set_registered_model_alias("m", "champion", "1")
    assert reconcile(project, tracking=tracking, model="m").changed == (
        "alias champion: version 1 became version 2",
    )
    assert reconcile(project, tracking=tracking, model="m").changed == ()


def test_a_release_with_an_adapter_is_verified_when_loaded(
    project: Project, tmp_path: Path
) -> None:
    """The adapter is kept under its digest; a changed byte in the store or another base is refused."""
    folder = tmp_path / "adapter"
    _save_adapter(tmp_path / "base", folder)
    parts = {
        "base_name": "tiny",
        "prompt": PROMPT,
        "generation": GenerationSettings(),
        "lineage": LINEAGE,
    }
    release = store_release(project, base_digest=BASE, adapter=folder, **parts)
    assert release.adapter is not None
    assert release.release.adapter == release.adapter.name
    with pytest.raises(AdapterError):
        store_release(project, base_digest="c" * 64, adapter=folder, **parts)
    weights = release.adapter / "adapter_model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.unlink()
    weights.write_bytes(raw)
    with pytest.raises(AdapterError):
        load_stored(project, release.digest)


def _save_adapter(base: Path, folder: Path) -> None:
    """A LoRA adapter of the tiny model, as tuning leaves it."""
    import json

    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(build_tiny_model(base))
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=["q_proj", "v_proj"],
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    get_peft_model(model, config).save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = f"sluicegate:{BASE}"
    (folder / "adapter_config.json").write_text(json.dumps(settings))
