"""The model of a release: its entry, its identity, and where its verified bytes are or whom to ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.config import ModelSpec, PriceParams
from sluicegate.errors import IntegrityError
from sluicegate.hashing import digest_value, read_json
from sluicegate.line.judge.clients import model_identity
from sluicegate.line.pipeline import has_stage
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.models import price_of
from sluicegate.project import model_cache

if TYPE_CHECKING:
    from sluicegate.models.base_models import LoadedBase


@dataclass(frozen=True, slots=True)
class ReleaseModel:
    """What generates the text of a release.

    Attributes:
        name: as params.yaml had it.
        spec: its entry.
        digest: its identity in the release.
        base: its weights here; None for a hosted model.
    """

    name: str
    spec: ModelSpec
    digest: str
    base: LoadedBase | None = None

    @property
    def content(self) -> dict[str, Any]:
        """What it is, as JSON; `stored_model` finds it again."""
        return {"name": self.name, "digest": self.digest, "asked": self.asked}

    @property
    def asked(self) -> Mapping[str, Any] | None:
        """Whom a hosted model's release asks, and for what: what its digest is of."""
        return None if self.base else model_identity(self.spec)


def model_spec(run: Run) -> ModelSpec:
    """The model's entry: by name in registry/models.yaml, else as a local folder, else as a hub
    name.

    Raises:
        ConfigError: registry/models.yaml is missing or wrong.
    """
    name = run.params.release.model
    models = run.models.models
    if name in models:
        return models[name]
    return ModelSpec(path=name) if (run.project.root / name).is_dir() else ModelSpec(hub=name)


def trains(run: Run) -> bool:
    """Whether tuning makes a part of the release: only where the model's weights are here."""
    return run.params.tune.method == "lora" and model_spec(run).weights


def tuned(run: Run) -> dict[str, Any]:
    """What the stage tune says of its work; it did nothing where dvc.yaml has no such stage, or the
    model is hosted.
    """
    if not (model_spec(run).weights and has_stage(run.project, "tune")):
        return {"method": "none"}
    return read_json(run.project.build / "tune.json")


def price(run: Run) -> PriceParams | None:
    """Money per million tokens: of params.yaml, else of the model's entry; None where nobody says."""
    return run.params.release.price or price_of(model_spec(run))


def resolve(run: Run) -> LoadedBase:
    """Locate (and once, convert) the weights of the model, with progress on stderr.

    Raises:
        ConfigError: it is hosted.
        ModelError: see `resolve_base`.
    """
    from sluicegate.models.base_models import resolve_base

    spec = model_spec(run)
    if spec.path:
        spec = spec.model_copy(update={"path": str(run.project.root / spec.path)})
    return resolve_base(spec, run.params.release.model, model_cache(), progress=say)


def release_model(run: Run) -> ReleaseModel:
    """The model that params.yaml names; a hosted one is not asked for it.

    Raises:
        ModelError: its weights cannot be found.
    """
    name, spec = run.params.release.model, model_spec(run)
    if spec.weights:
        base = resolve(run)
        return ReleaseModel(name, spec, base.digest, base)
    return ReleaseModel(name, spec, digest_value(model_identity(spec)))


def on_model(run: Run, name: str) -> Run:
    """The same project with another model in the place of its own."""
    release = run.params.release.model_copy(update={"model": name})
    return Run(run.project, run.params.model_copy(update={"release": release}), run.prompt)


def stored_model(run: Run, name: str, digest: str, asked: Mapping[str, Any] | None) -> ReleaseModel:
    """A model of an older release: the weights by the name they had then, or the hosted one that
    was `asked` then.

    Its key, limits and price are those of an entry of today's registry/models.yaml that asks the
    same, or that calls the same address: a key is sent to no other.

    Raises:
        IntegrityError: that name now holds other bytes, or no entry calls that address any more.
    """
    if asked is None:
        found = release_model(on_model(run, name))
        if found.digest != digest:
            raise IntegrityError(
                f"the model {name} is {found.digest[:12]}, but the champion was made on "
                f"{digest[:12]}.",
                hint="Restore the former model under that name.",
            )
        return found
    hosted = {each: spec for each, spec in run.models.models.items() if not spec.weights}
    for spec in hosted.values():
        if digest_value(model_identity(spec)) == digest:
            return ReleaseModel(name, spec, digest)
    for spec in hosted.values():
        former = _asking(spec, asked)
        if former is not None and digest_value(model_identity(former)) == digest:
            return ReleaseModel(name, former, digest)
    raise IntegrityError(
        f"no entry of registry/models.yaml calls the address that the champion's model {name} "
        "was asked at.",
        hint="Keep the former entry, under any name, until the new one serves.",
    )


def _asking(spec: ModelSpec, asked: Mapping[str, Any]) -> ModelSpec | None:
    """The entry `spec`, asking what a release `asked`; None where the address is another one."""
    if spec.endpoint is not None:
        if asked.get("url") != spec.endpoint.url:
            return None
        changed = spec.endpoint.model_copy(update={"model": asked["model"]})
        return spec.model_copy(update={"endpoint": changed})
    former, today = asked.get(spec.kind), spec.other[spec.kind]
    if not isinstance(former, dict) or not isinstance(today, dict):
        return None
    if former.get("url") != today.get("url"):
        return None
    kept = {
        key: value for key, value in today.items() if key not in model_identity(spec)[spec.kind]
    }
    return spec.model_copy(update={"other": {spec.kind: kept | former}})
