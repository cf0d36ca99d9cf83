"""What a release and its verdict depend on: the one table, read by the fingerprint and by change
detection.

The parts that ship are the fields of `records.Release`; `records.RELEASE_PARTS` has their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sluicegate.config import Params, SourceSpec
from sluicegate.data import is_absent, needs_file
from sluicegate.line.judge.clients import judge_specs, model_identity
from sluicegate.line.run import Run
from sluicegate.prompts import load_prompt
from sluicegate.records import RELEASE_PARTS

JUDGED = "judge:"
"""As `evaluation.judging.PREFIX`, which would bring more than the fingerprint needs."""
REST = [n for n in Params.model_fields if n not in ("release", "prepare", "tune", "evaluate")]
"""Sections of params.yaml that the table does not name: each, also one that is yet to come, is a
part by itself.
"""


class Bytes(Protocol):
    """What is known of the bytes at a path: their digest on the disk, or what git and DVC say of
    them at a commit.
    """

    def __call__(self, what: str, path: str, *, absent: bool = False, hub: bool = False) -> Any: ...


@dataclass(frozen=True, slots=True)
class Part:
    """One row.

    Attributes:
        name: for people.
        value: what is digested, JSON-able; equal values are the same part.
        shown: settings that can be shown in words, by name; or nothing.
        judges: it decides how a release is judged, not what the release is.
    """

    name: str
    value: Callable[[Run, Bytes], Any]
    shown: Callable[[Run], Mapping[str, Any]] = lambda run: {}
    judges: bool = False


def source_value(run: Run, spec: SourceSpec, name: str, bytes_of: Bytes) -> list[Any]:
    """A source: its entry without what is only noted there, and its bytes."""
    absent = is_absent(spec, run.project.root)
    entry = spec.model_dump(exclude={"licence", "owner", "notes"})
    hub = not needs_file(spec.kind)
    return [entry, bytes_of(f"Source {name}", spec.path, absent=absent, hub=hub)]


def base_value(run: Run, bytes_of: Bytes) -> list[Any]:
    """The release's model; see `model_value`."""
    return model_value(run, run.params.release.model, bytes_of)


def model_value(run: Run, name: str, bytes_of: Bytes) -> list[Any]:
    """A model: its name, its entry, and the bytes of what lies here, or what a hosted one is asked.

    The name itself may be a folder of the project; then it is no entry of registry/models.yaml.
    """
    entry = run.models.models.get(name)
    if entry is not None and not entry.weights:
        return [name, model_identity(entry)]
    value = [
        name,
        entry.model_dump(exclude={"notes", "licence", "commercial", "residency"})
        if entry
        else None,
    ]
    if entry is None or entry.path:
        named = entry.path if entry else name
        value.append(bytes_of("The model", named, hub=entry is None))
    return value


def judges_value(run: Run, bytes_of: Bytes) -> dict[str, Any]:
    """The judged metrics: criteria, and the models behind them.

    Empty where params.yaml names no judge.

    Raises:
        ConfigError: a criterion or a model that it names is missing.
    """
    if not any(name.startswith(JUDGED) for name in run.params.evaluate.metrics):
        return {}
    from sluicegate.evaluation.judging import criteria  # brings more than an unjudged project needs

    found: dict[str, Any] = {}
    for one in criteria(run.params.evaluate.metrics, run.project.prompts):
        models = {
            name: [
                model_identity(spec),
                bytes_of(f"The judge {name}", spec.path) if spec.path else "",
            ]
            for name, spec in judge_specs(run.project, one.judges).items()
        }
        found[one.metric] = [one.digest, list(one.judges), models]
    return found


def judges_shown(run: Run) -> dict[str, str]:
    """The wording of each criterion."""
    from sluicegate.evaluation.judging import criteria

    return {
        one.name: " ".join((one.form, str(one.scale), one.text, *one.steps))
        for one in criteria(run.params.evaluate.metrics, run.project.prompts)
    }


def _sources(*roles: str) -> Callable[[Run, Bytes], Any]:
    def value(run: Run, bytes_of: Bytes) -> Any:
        return {
            name: source_value(run, spec, name, bytes_of)
            for name, spec in run.sources.items()
            if spec.role in ("pool", *roles)
        }

    return value


def _development(run: Run, bytes_of: Bytes) -> Any:
    """The sources of the development set where the gate judges on it."""
    used = run.params.gate.set == "development"
    return _sources("development")(run, bytes_of) if used else {}


def _settings(name: str, read: Callable[[Run], Mapping[str, Any]], *, judges: bool = False) -> Part:
    """A part that consists of settings: what is shown is what is digested."""
    return Part(name, lambda run, _: dict(read(run)), read, judges)


def _section(name: str) -> Callable[[Run], Mapping[str, Any]]:
    return lambda run: getattr(run.params, name).model_dump()


_APART = {
    "model", "application", "prompt", "dtype", "generation",
    "models", "prompts", "data", "settings", "row_seconds",
}  # fmt: skip
"""Settings of `release` that are parts of their own, or go with one."""


def _release(run: Run) -> Mapping[str, Any]:
    return run.params.release.model_dump(exclude={*_APART, "price"})


def _price(run: Run) -> Mapping[str, Any]:
    """What rules on cost count with."""
    price = run.params.release.price
    return {"price": price.model_dump() if price else None}


def _prompt(run: Run) -> Mapping[str, Any]:
    return {name: part for name, part in run.prompt.content.items() if name != "variables"}


def _model(run: Run) -> Mapping[str, Any]:
    name = run.params.release.model
    entry = run.models.models.get(name)
    asked = model_identity(entry) if entry is not None and not entry.weights else {}
    return {"model": name, **asked}


def _tune(run: Run) -> Mapping[str, Any]:
    return {**run.params.tune.model_dump(), "dtype": run.params.release.dtype}


def _application(run: Run) -> dict[str, Any]:
    return {"application": run.params.release.application}


def application_value(run: Run, bytes_of: Bytes) -> Any:
    """The application: its name and, where it is code, the folder that the code is in."""
    value = _application(run)
    if run.params.release.is_code:
        module = run.params.release.application.partition(":")[0].split(".")
        path = module[0] if len(module) > 1 else f"{module[0]}.py"
        value["code"] = bytes_of("The application", path)
    return value


def prompts_value(run: Run, bytes_of: Bytes) -> dict[str, str]:
    """Digests of the application's prompts besides the release's own.

    Raises:
        ConfigError, PromptError: one is missing or wrong.
    """
    names = set(run.params.release.prompts) - {run.prompt.name}
    return {
        name: load_prompt(run.project.prompts / f"{name}.yaml").digest for name in sorted(names)
    }


def roles_value(run: Run, bytes_of: Bytes) -> dict[str, Any]:
    """The application's models besides the release's own, by role."""
    release = run.params.release
    return {
        role: model_value(run, name, bytes_of)
        for role, name in release.models.items()
        if name != release.model
    }


def data_value(run: Run, bytes_of: Bytes) -> dict[str, Any]:
    """The files that the application reads, by path."""
    return {path: bytes_of("The application's data", path) for path in run.params.release.data}


def _application_settings(run: Run) -> Mapping[str, Any]:
    release = run.params.release
    limit = {"row_seconds": release.row_seconds} if release.is_code else {}
    return {**release.settings, **limit}


PARTS = (
    Part(RELEASE_PARTS["prompt"], lambda run, _: run.prompt.digest, _prompt),
    Part("data", _sources("train", "development")),
    Part("golden set", _sources("golden"), judges=True),
    Part("development set", _development, judges=True),
    _settings("preparation", lambda run: run.params.prepare.model_dump(), judges=True),
    Part(RELEASE_PARTS["base"], base_value, _model),
    Part(RELEASE_PARTS["application"], application_value, _application),
    Part("application's prompts", prompts_value),
    Part("application's models", roles_value, lambda run: run.params.release.models),
    Part("application's data", data_value),
    _settings("application's settings", _application_settings),
    _settings("tune settings", _tune),
    _settings(RELEASE_PARTS["generation"], lambda run: run.params.release.generation.model_dump()),
    _settings("evaluation", lambda run: run.params.evaluate.model_dump(), judges=True),
    _settings("release", _release),
    _settings("price", _price, judges=True),
    *(
        _settings(f"{name} settings", _section(name), judges=name in ("calibration", "gate"))
        for name in REST
    ),
    Part("judges", judges_value, judges_shown, judges=True),
    Part("policy", lambda run, _: run.policy.digest, judges=True),
)
"""All that a change can do to a release or its verdict, but for code: what of the files is code,
git has to say.
"""
