"""A project whose policy asks reviewers to approve, its ledger written without the pipeline before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sluicegate.gates import load_policy
from sluicegate.hashing import digest_value
from sluicegate.ledger import Ledger
from sluicegate.project import Project
from sluicegate.prompts import Prompt
from sluicegate.records import Decision, GenerationSettings, Lineage, Verdict
from sluicegate.releasing import (
    StoredRelease,
    approving,
    bootstrap,
    judge,
    register,
    registering,
    store_release,
)
from sluicegate.tracking import Tracking

sys.path.insert(0, str(Path(__file__).parent))
from kept_evidence import kept

LINEAGE = Lineage("1" * 64, "2" * 64, {"sample": "3" * 64}, "4" * 64, "c0ffee", False)
PROMPT = Prompt(
    "summarize", "You sum up.", "Sum up: {{ conversation }}", ("conversation",), "ann", ""
)
RULES = "rules: [{name: gain, kind: better_than_champion, metric: rougeL}]\n"
PEOPLE = "{ana: [reviewer], ben: [reviewer, lead], cleo: [lead], maker: [reviewer]}"


def reviewed(root: Path) -> Project:
    """A project whose policy asks for one approval by a reviewer."""
    (root / "registry").mkdir()
    project = Project(root)
    ask(project)
    return project


def with_candidate(project: Project) -> str:
    """Release 2 with a PROMOTE verdict, on top of release zero; its digest."""
    bootstrap(project, entered(project, 1), actor="maker")
    digest = entered(project, 2)
    decided(project, digest)
    return digest


def ask(project: Project, required: int = 1, wait_hours: float = 72) -> None:
    """Write a policy that asks for approvals."""
    approvals = (
        f"approvals: {{required: {required}, role: reviewer, wait_hours: {wait_hours}, "
        f"people: {PEOPLE}}}\n"
    )
    (project.registry / "gates.yaml").write_text(approvals + RULES)
    if (project.root / ".git").exists():  # what is not committed promotes nothing
        author = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        for command in (["add", "registry"], [*author, "commit", "-q", "-m", "policy"]):
            subprocess.run(["git", *command], cwd=project.root, check=True)


def stored(project: Project, length: int) -> StoredRelease:
    return store_release(
        project,
        base_digest="b" * 64,
        base_name="tiny",
        adapter=None,
        prompt=PROMPT,
        generation=GenerationSettings(max_new_tokens=length),
        lineage=LINEAGE,
    )


def entered(
    project: Project, version: int, actor: str = "maker@laptop", authors: Sequence[str] = ()
) -> str:
    """Store and enter a release as `register` does, without MLflow."""
    release = stored(project, version)
    made = {
        "manifest": digest_value(release.manifest),
        **release.manifest,
        "authors": list(authors),
    }
    payload = {"version": version, **made}
    Ledger(project.ledger_url).append("register", release.digest, actor, payload)
    return release.digest


def decided(
    project: Project,
    candidate: str,
    decision: Decision = Decision.PROMOTE,
    why: str = "better",
    tracking: Tracking | None = None,
) -> Verdict:
    """Record a verdict on `candidate` against the champion of now, under the policy of now; MLflow
    is told if given.
    """
    champion = Ledger(project.ledger_url).champion()
    assert champion is not None
    policy = load_policy(project.registry / "gates.yaml").digest
    verdict = Verdict(
        decision=decision,
        candidate=candidate,
        champion=champion.release,
        policy=policy,
        golden="a" * 64,
        evidence=kept(project),
        champion_evidence=kept(project, "champion"),
        rules=(),
        reasons=(why,),
    )
    judge(project, verdict, actor="gate", tracking=tracking, model="m", markdown="# why")
    return verdict


@contextmanager
def at_the_keyboard(*names: str) -> Iterator[None]:
    """Somebody else than who runs the tests registers and approves meanwhile."""
    modules = (approving, registering)
    before = [module.logins for module in modules]
    for module in modules:
        module.logins = lambda root: names
    try:
        yield
    finally:
        for module, logins in zip(modules, before, strict=True):
            module.logins = logins


def judged_in_mlflow(project: Project, tracking: Tracking) -> str:
    """Versions 1 and 2 in MLflow, the second with a PROMOTE verdict."""
    with tracking.start_run("m", "evaluate") as run:
        pass
    who = {"tracking": tracking, "model": "m", "run_id": run.id, "actor": "maker@laptop"}
    with at_the_keyboard("maker@laptop"):
        first, second = (
            register(project, stored(project, length), **who).release for length in (1, 2)
        )
    bootstrap(project, first, actor="maker")
    decided(project, second, tracking=tracking)
    return second
