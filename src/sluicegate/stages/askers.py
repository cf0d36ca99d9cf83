"""The models behind judges: opened by their names in registry/models.yaml, within what the run may still spend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.config import ModelsFile, ModelSpec, load
from sluicegate.errors import ConfigError
from sluicegate.evaluation.budget import Meter
from sluicegate.hashing import read_json, write_json
from sluicegate.project import Project
from sluicegate.records import Failure, Question, Reply

if TYPE_CHECKING:
    from sluicegate.backends.asking import Asker, AskLimits
    from sluicegate.judges import Criterion

FAILURES = "failures.json"


def judge_specs(project: Project, names: Sequence[str]) -> dict[str, ModelSpec]:
    """The entries of registry/models.yaml for a criterion's judges.

    Raises:
        ConfigError: the file is wrong, or has no such model.
    """
    path = project.registry / "models.yaml"
    models = load(path, ModelsFile).models
    for name in names:
        if name not in models:
            raise ConfigError(f"{path}: there is no model {name!r}, which a judge names.", hint=_known(models))
    return {name: models[name] for name in names}


def model_identity(spec: ModelSpec) -> dict[str, Any]:
    """What of a model's entry its answers may depend on: not limits, prices, keys or notes."""
    if spec.endpoint is not None:
        return {"url": spec.endpoint.url, "model": spec.endpoint.model}
    return spec.model_dump(include={"package", "path", "hub", "context"})


def open_judges(
    project: Project, criterion: Criterion, *, dtype: str = "auto", meter: Meter | None = None
) -> list[Metered]:
    """Open every model that `criterion` names; a jury shares what the run may still spend in equal parts.

    Raises:
        ConfigError: a model is not listed, its endpoint is unsafe, or money is limited and it has no price.
        ModelError: local weights cannot be found.
    """
    from sluicegate.backends.asking import open_asker

    meter = meter or Meter()
    specs = judge_specs(project, criterion.judges)
    return [
        Metered(
            open_asker(
                spec,
                name,
                root=project.root,
                cache=project.judgements,
                dtype=dtype,
                limits=_limits(meter, name, spec, len(specs)),
            ),
            spec,
            meter,
        )
        for name, spec in specs.items()
    ]


def failures(project: Project) -> int:
    """How many evaluations of this project had questions to judges that brought no answer.

    It is part of what the stage evaluate watches: the next run asks those again, and only those. An answer that was no
    score is an answer: to ask again would bring the same.
    """
    path = project.judgements / FAILURES
    return int(read_json(path)["evaluations"]) if path.is_file() else 0


def count_failure(project: Project) -> None:
    """Note that an evaluation had questions without an answer."""
    write_json(project.judgements / FAILURES, {"evaluations": failures(project) + 1})


@dataclass(slots=True)
class Metered:
    """An asker whose new answers count in the run's meter. `unanswered`: questions so far that brought no answer."""

    asker: Asker
    spec: ModelSpec
    meter: Meter
    unanswered: int = 0

    @property
    def identity(self) -> str:
        """Of the asker."""
        return self.asker.identity

    def ask(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Reply | Failure]:
        """Ask, and count what was not in the cache."""
        replies = self.asker.ask(questions, progress)
        new = [reply for reply in replies if isinstance(reply, Reply) and not reply.cached]
        asked, told = sum(reply.prompt_tokens for reply in new), sum(reply.completion_tokens for reply in new)
        price = self.spec.endpoint.price if self.spec.endpoint else None
        cost = (asked * price.input + told * price.output) / 1e6 if price else 0.0
        self.meter.judged(len(new), asked + told, cost)
        self.unanswered += sum(isinstance(reply, Failure) for reply in replies)
        return replies


def _limits(meter: Meter, name: str, spec: ModelSpec, parts: int) -> AskLimits:
    """A part of what is left; of what is used up the smallest amount, since 0 stands for no limit."""
    from sluicegate.backends.asking import AskLimits

    seconds, tokens, cost = meter.left
    if cost is not None and spec.endpoint is not None and spec.endpoint.price is None:
        raise ConfigError(
            f"--max-cost needs the price of the judge {name}, and registry/models.yaml has none.",
            hint=f"Set models.{name}.endpoint.price: {{input: ..., output: ...}}, money per million tokens.",
        )
    return AskLimits(
        max_seconds=0.0 if seconds is None else max(seconds, 0.001),
        max_tokens=0 if tokens is None else max(tokens // parts, 1),
        max_cost=0.0 if cost is None else max(cost / parts, 1e-12),
    )


def _known(models: Any) -> str:
    return f"Listed are: {', '.join(models)}."
