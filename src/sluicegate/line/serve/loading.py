"""A registered release into memory, every byte verified as evaluation verifies it."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.adapters import verify_adapter
from sluicegate.errors import ConfigError
from sluicegate.ledger import Ledger
from sluicegate.line.pipeline.base_model import stored_model
from sluicegate.line.pipeline.contender import Contender, check_format, open_contender
from sluicegate.line.run import Run, open_run
from sluicegate.models import Model
from sluicegate.project import Project
from sluicegate.releasing import load_registered


@dataclass(frozen=True, slots=True)
class Opened:
    """A release that can be asked; `run` is the project as it was then."""

    run: Run
    contender: Contender
    model: Model

    @property
    def digest(self) -> str:
        return self.contender.release.digest


def open_release(project: Project, digest: str) -> Opened:
    """Open a release of the ledger.

    Params.yaml and registry/models.yaml are read anew: keys, limits and dtype are today's.

    Raises:
        ReleaseError: it is not registered.
        AdapterError, IntegrityError: a part is missing, or not what was registered.
        ConfigError, ModelError: its model cannot be opened; or it is code, which is not served.
        UsageError: `digest` is none.
    """
    run = open_run(project)
    entries = Ledger(project.ledger_url).entries("register", digest)
    stored = load_registered(project, digest, entries)
    if stored.application is not None:
        raise ConfigError(
            f"{digest[:12]} is code that asks models; the router serves prompts only.",
            hint="Serve it by a program of your own, or release a prompt.",
        )
    model = stored_model(run, stored.base_name, stored.release.base, stored.asked)
    if stored.adapter is not None and model.base is not None:
        verify_adapter(
            stored.adapter,
            expected=stored.release.adapter,
            base_digest=stored.release.base,
            base_path=model.base.path,
        )
    contender = Contender(stored.release, model, stored.adapter, stored.prompt, stored.generation)
    check_format(contender)
    return Opened(run, contender, open_contender(run, model, stored.adapter))


def open_base(opened: Opened) -> Model:
    """The same model without the release's adapter."""
    return open_contender(opened.run, opened.contender.model, None)
