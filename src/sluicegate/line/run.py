"""An opened project, which every step starts from, and what the steps return."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.config import ModelsFile, Params, SourcesFile, SourceSpec
from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError
from sluicegate.ledger import Ledger
from sluicegate.own_code import use_code_of
from sluicegate.project import Project, find_project
from sluicegate.prompts import Prompt, load_prompt, prompt_names
from sluicegate.records import Champion, Decision, DriftReport, Verdict
from sluicegate.tracking import Tracking
from sluicegate.yaml_file import load

if TYPE_CHECKING:
    from sluicegate.gates import Policy


@dataclass(frozen=True)
class Run:
    """A project, opened once: its parameters and its active prompt, validated; the rest is read
    when it is asked for.
    """

    project: Project
    params: Params
    prompt: Prompt

    @property
    def name(self) -> str:
        """The registered model's and the experiment's name."""
        return self.params.release.name

    @cached_property
    def policy(self) -> Policy:
        """registry/gates.yaml. Raises ConfigError where it is missing or wrong."""
        from sluicegate.gates import load_policy  # brings numpy, which not every step needs

        return load_policy(self.project.registry / "gates.yaml")

    def judged_by(self, policy: Policy) -> Run:
        """The same project under another policy than its own."""
        other = replace(self)
        other.__dict__["policy"] = policy
        return other

    def judged_on(self, name: str) -> Run:
        """The same project with another `gate.set`: development or golden."""
        gate = self.params.gate.model_copy(update={"set": name})
        return replace(self, params=self.params.model_copy(update={"gate": gate}))

    @cached_property
    def sources(self) -> Mapping[str, SourceSpec]:
        """registry/sources.yaml. Raises ConfigError where it is missing or wrong."""
        return load(self.project.registry / "sources.yaml", SourcesFile).sources

    @cached_property
    def models(self) -> ModelsFile:
        """registry/models.yaml. Raises ConfigError where it is missing or wrong."""
        return load(self.project.registry / "models.yaml", ModelsFile)

    @property
    def tracking(self) -> Tracking:
        """The project's MLflow store."""
        return open_tracking(self.project)

    @property
    def ledger(self) -> Ledger:
        """The project's ledger."""
        return Ledger(self.project.ledger_url)

    @property
    def champion(self) -> Champion | None:
        """What serves now."""
        return self.ledger.champion()


def open_run(project: Project | Path | str | None = None) -> Run:
    """Open a project: load and validate params.yaml and the prompt that it names.

    Args:
        project: the project, or a folder in it; the working folder by default.

    Raises:
        ConfigError: there is no project, or params.yaml is wrong or names a prompt that does not
            exist.
        PromptError: the prompt's variables and template disagree.
    """
    if not isinstance(project, Project):
        project = find_project(None if project is None else Path(project))
    use_code_of(project.root)
    params = load(project.params, Params)
    path = project.prompts / f"{params.release.prompt}.yaml"
    if not path.is_file():
        known = ", ".join(prompt_names(project.prompts)) or "none"
        raise ConfigError(
            f"{project.params}: release.prompt: there is no {path}.", hint=f"Prompts: {known}"
        )
    return Run(project, params, load_prompt(path))


def open_tracking(project: Project) -> Tracking:
    """A project's MLflow store, also where its params.yaml is wrong."""
    return Tracking(project.mlflow_url, project.mlflow_artifacts)


def actor() -> str:
    """Who acts, for the ledger: `SLUICE_ACTOR`, or user@machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return read_variable("SLUICE_ACTOR") or f"{user}@{socket.gethostname()}"


@dataclass(frozen=True, slots=True)
class Reproduced:
    """The pipeline is up to date.

    `ran`: the stages that were run for it; `model`: the registered model's name.
    """

    ran: tuple[str, ...]
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The candidate is stored and registered.

    Attributes:
        release: its digest.
        version: its number in MLflow.
        champion: digest of the release that it is compared with.
        champion_version: the number of that one; None where it does not serve.
        unchanged: the candidate is that very release.
        first: nothing serves: the candidate may become the first champion. It is compared with
            release zero, the bare base model, or is that itself: then it is judged alone, by the
            rules that need no champion.
    """

    release: str
    version: int
    champion: str
    champion_version: int | None
    unchanged: bool
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficChecked(DriftReport):
    """Recent traffic beside what the champion was judged on.

    `golden_represents_traffic` is ok, drift or no_data; `missing` says what the golden set lacks.
    """

    golden_represents_traffic: str = "no_data"
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided(Registered):
    """The verdict is recorded; None where nothing changed.

    `text` is for a terminal, `markdown` for a page.
    """

    decision: Decision
    text: str
    markdown: str
    verdict: Verdict | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Approvals:
    """Where a release with a PROMOTE verdict stands.

    Attributes:
        release: its digest.
        in_force: False where the verdict that it waited with no longer holds; then nothing else is
            known.
        text: for people: what is missing, or until when.
        missing: how many approvals are.
        over: nobody will be waited for any longer.
    """

    release: str
    in_force: bool
    text: str
    missing: int = 0
    version: int = 0
    required: int = 0
    given: tuple[str, ...] = ()
    until: str = ""
    over: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Promoted:
    """The champion after the step; `moved` is False where it served already."""

    champion: Champion
    moved: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reported:
    """Paths of the pages; empty where nothing changed and no earlier page is there."""

    report: str = ""
    model_card: str = ""


@dataclass(frozen=True, slots=True)
class Learned:
    """Feedback as training data.

    Attributes:
        rows: in the source's file; `new`: of those, were not there before.
        corrections, liked: what kinds they are.
        left_out: reason to number of rows.
        note: why nothing can be learned, where that is so.
    """

    rows: int
    new: int
    corrections: int
    liked: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class FeedbackWaiting:
    """Rows of feedback that are not learned from yet; `enough` of them start a retraining.

    `warning`: what is wrong.
    """

    waiting: int
    wanted: int
    enough: bool
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one look at production found.

    Attributes:
        status: OK, DRIFT or NO_DATA; the last two are alarms.
        rows, window: how many rows, and which, in words.
        model, version, release: what serves.
        moved: columns that moved.
        notes: what else there is to know, in sentences.
        text, markdown: for people; `html`: path of the report; `run_id` of it in MLflow.
        warnings: what could not be done beside the comparison.
    """

    status: str
    rows: int
    window: str
    model: str
    version: int
    release: str
    moved: tuple[str, ...]
    notes: tuple[str, ...]
    text: str
    markdown: str
    html: str
    run_id: str
    warnings: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        return self.status != "OK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What a probe of a model found, or what was recorded of it.

    Attributes:
        status: OK, or CHANGED, which is an alarm.
        model: its name in registry/models.yaml; `release`: the digest of its identity.
        p: chance of answers so far from the recorded ones; None where they were recorded.
        prompts: id to the same for each prompt by itself.
        recorded: when, by whom and why answers were.
        notes: what else there is to know, in sentences; `text`: everything, for people.
        calls, tokens, cost: what it took.
        run_id: in MLflow.
        warnings: what could not be done beside it.
    """

    status: str
    model: str
    release: str
    p: float | None
    prompts: Mapping[str, float]
    recorded: tuple[Mapping[str, str], ...]
    notes: tuple[str, ...]
    text: str
    calls: int
    tokens: int
    cost: float
    html: str = ""
    run_id: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def alarm(self) -> bool:
        return self.status != "OK"


@dataclass(frozen=True, slots=True)
class Alerted:
    """Whether a message went out, and what hindered it ("" if nothing)."""

    sent: bool = False
    warning: str = ""
