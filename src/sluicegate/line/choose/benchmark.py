"""Public benchmarks of this project's base model and of a release that was tuned from it, side by
side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.errors import UsageError
from sluicegate.evaluation.benchmark_runs import BenchmarkRun, Comparison, compare_runs
from sluicegate.evaluation.files import write_evidence
from sluicegate.evaluation.public_benchmarks import run_tasks
from sluicegate.hashing import digest_value
from sluicegate.line.pipeline.contender import Contender, candidate_release, champion_release
from sluicegate.line.progress import say
from sluicegate.line.run import Run

if TYPE_CHECKING:
    from sluicegate.models.base_models import LoadedBase


@dataclass(frozen=True, slots=True)
class Benchmarked:
    """What came of the tasks.

    Attributes:
        release, base: digest of the release, name of its base model.
        comparisons: one a task and metric.
        left_out: task to metrics that have no value for each example.
        worse: tuning is shown to have made something worse.
        folder: of the evidence.
    """

    release: str
    base: str
    comparisons: Sequence[Comparison]
    left_out: Mapping[str, Sequence[str]]
    worse: bool
    folder: str


def benchmark(
    run: Run,
    tasks: Sequence[str],
    *,
    of: str = "candidate",
    limit: int | None = None,
    chat: bool = False,
) -> Benchmarked:
    """Run lm-eval `tasks` on the bare base model and on a tuned release; keep every example's
    score.

    Args:
        run: the project.
        tasks: names that lm-eval knows, or YAML files and folders below the project.
        of: `candidate` (what build/adapter holds) or `champion`.
        limit: the first so many examples of each task.
        chat: put prompts into the model's chat template.

    Raises:
        UsageError: the release has no adapter: there is nothing to compare the base model with.
        MissingExtraError, ConfigError, EvidenceError: see `run_tasks`.
    """
    project = run.project
    chosen, on, adapter = _tuned(run, of)
    dtype = run.params.release.dtype

    def measured(digest: str, weights: Path | None) -> BenchmarkRun:
        return run_tasks(
            on,
            weights,
            tasks,
            digest=digest,
            dtype=dtype,
            root=project.root,
            limit=limit,
            chat=chat,
        )

    say(f"benchmark: {on.name} as it is")
    base = measured(digest_value({"base": on.digest}), None)
    say(f"benchmark: {on.name} as tuned ({of} {chosen.release.digest[:12]})")
    tuned = measured(chosen.release.digest, adapter)
    folder = project.build / "benchmarks"
    for name, made in (("base", base), (of, tuned)):
        for task, evidence in made.evidence.items():
            write_evidence(folder / f"{task.replace('/', '_')}.{name}.json", evidence)
    comparisons = compare_runs(base, tuned)
    return Benchmarked(
        release=chosen.release.digest,
        base=on.name,
        comparisons=comparisons,
        left_out={task: tuple(names) for task, names in base.left_out.items() if names},
        worse=any(one.decision == "worse" for one in comparisons),
        folder=str(folder),
    )


def _tuned(run: Run, of: str) -> tuple[Contender, LoadedBase, Path]:
    chosen = candidate_release(run)
    if of == "champion":
        chosen = champion_release(run, chosen)
    base = chosen.model.base
    if chosen.adapter is None or base is None:
        raise UsageError(
            f"the {of} is the model as it is: tuning changed nothing that could break.",
            hint="Run `sluice stage tune` with tune.method lora first, or name --release champion.",
        )
    return chosen, base, chosen.adapter
