"""Where a project's files are: one place for every path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError

MARKER = "params.yaml"


@dataclass(frozen=True, slots=True)
class Project:
    """A project root and the paths below it.

    State is under `.sluice/`, stage outputs under `build/`.
    """

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def prompts(self) -> Path:
        return self.root / "prompts"

    @property
    def registry(self) -> Path:
        return self.root / "registry"

    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def prepared(self) -> Path:
        return self.root / "data" / "prepared"

    @property
    def development(self) -> Path:
        return self.root / "data" / "development" / "development.jsonl"

    @property
    def golden(self) -> Path:
        return self.root / "data" / "golden" / "golden.jsonl"

    @property
    def adapter(self) -> Path:
        return self.build / "adapter"

    @property
    def evidence(self) -> Path:
        return self.build / "evidence"

    @property
    def profile(self) -> Path:
        return self.build / "profile"

    @property
    def state(self) -> Path:
        return self.root / ".sluice"

    @property
    def store(self) -> Path:
        """Content-addressed adapters, prompts, generation settings and release manifests."""
        return self.state / "store"

    @property
    def generations(self) -> Path:
        """Cache of generated answers, by content digest."""
        return self.state / "generations"

    @property
    def self_test(self) -> Path:
        """What the last self-test of the policy found."""
        return self.state / "self_test.json"

    @property
    def checkpoints(self) -> Path:
        return self.state / "checkpoints"

    @property
    def ledger_url(self) -> str:
        return read_variable("SLUICE_LEDGER_URL", f"sqlite:///{self.state / 'ledger.db'}")

    @property
    def ledger_witness(self) -> Path:
        """The head of the ledger that was written from here last: apart from the ledger's file."""
        return self.store / "ledger.json"

    @property
    def traffic_url(self) -> str:
        """The log of production traffic; not the ledger's database, since it grows and is cleaned."""
        return read_variable("SLUICE_TRAFFIC_URL", f"sqlite:///{self.state / 'traffic.db'}")

    @property
    def judgements(self) -> Path:
        """Cache of judges' answers, by content digest, and the record of calibrated judges."""
        return self.state / "judgements"

    @property
    def mlflow_url(self) -> str:
        return read_variable(
            "MLFLOW_TRACKING_URI", f"sqlite:///{self.state / 'mlflow' / 'mlflow.db'}"
        )

    @property
    def mlflow_artifacts(self) -> Path:
        return self.state / "mlflow" / "artifacts"


def find_project(start: Path | None = None) -> Project:
    """Return the project whose `params.yaml` is in `start` (default: working folder) or the nearest
    parent.

    Raises:
        ConfigError: no parent folder holds a `params.yaml`, or the working folder was deleted.
    """
    try:
        here = (start or Path.cwd()).resolve()
    except FileNotFoundError:
        raise ConfigError(
            "the working folder no longer exists.", hint="Change into a folder that exists."
        ) from None
    for folder in (here, *here.parents):
        if (folder / MARKER).is_file():
            return Project(folder)
    raise ConfigError(
        f"{here} is not inside a Sluicegate project (no {MARKER} here or above).",
        hint="Make one with `sluice init my-project`, or change into it.",
    )


def model_cache() -> Path:
    """Folder for converted base models, shared by all projects of this user (`SLUICE_CACHE`
    overrides).
    """
    chosen, shared = read_variable("SLUICE_CACHE"), read_variable("XDG_CACHE_HOME")
    base = Path(shared) if shared else Path.home() / ".cache"
    return Path(chosen) if chosen else base / "sluicegate"
