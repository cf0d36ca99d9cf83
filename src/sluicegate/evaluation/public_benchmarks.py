"""lm-evaluation-harness tasks, example by example: did tuning break anything? Needs the extra
`benchmarks`.

A task is a name that lm-eval knows, or a YAML file (or a folder of them) of your own. It runs on
the bare base model and on the tuned weights, both through lm-eval's own `HFLM` in this process, so
that the numbers are those that it publishes; tasks bring their own prompts, and what a release says
to its users plays no part. Every example's score is kept as Evidence, and the two are compared pair
by pair. Nothing is downloaded where `HF_HUB_OFFLINE=1`; a task of your own whose data is a local
file needs no network at all. A task's YAML may name Python functions, which lm-eval runs.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sluicegate.errors import ConfigError, EvidenceError, MissingExtraError
from sluicegate.evaluation.benchmark_runs import RANGES, BenchmarkRun
from sluicegate.evaluation.scoring import summarise
from sluicegate.hashing import digest_value
from sluicegate.records import Evidence, ScoredExample
from sluicegate.yaml_file import read_yaml

if TYPE_CHECKING:
    from sluicegate.models import LoadedBase

SEED = 1234
_REFUSALS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
    NotImplementedError,
)


def run_tasks(
    model: LoadedBase,
    adapter: Path | None,
    tasks: Sequence[str],
    *,
    digest: str,
    dtype: str = "auto",
    root: Path | None = None,
    limit: int | None = None,
    chat: bool = False,
    batch: int = 8,
) -> BenchmarkRun:
    """Run `tasks` on a base model, or on one tuned by the verified `adapter`.

    Args:
        model: the resolved base model.
        adapter: a verified LoRA folder, or None for the bare base.
        tasks: names that lm-eval knows, YAML files, or folders of them (relative to `root`).
        digest: of the release, for the evidence.
        dtype: `float32`, `bfloat16` or `auto`.
        root: folder that relative paths start from; default: the working folder.
        limit: the first so many examples of each task; None for all.
        chat: put the tasks' prompts into the model's chat template.
        batch: examples in one pass.

    Raises:
        MissingExtraError: lm-eval is not installed; the hint is the line that installs it.
        ConfigError: no such task, or a file that is none.
        EvidenceError: a task fails, or has no metric with a value for each example.
        ModelError: the model cannot be loaded.
    """
    names, manager = _open_tasks(tasks, root or Path.cwd())
    from lm_eval import evaluator

    adapted = _adapted(model, adapter, dtype, batch)
    with _refusals(names):
        loaded = manager.load(names)
        _prepare(loaded["tasks"].values())
        found = evaluator.evaluate(
            lm=adapted,
            task_dict=loaded,
            limit=limit,
            apply_chat_template=chat,
            fewshot_as_multiturn=True,
            bootstrap_iters=0,
            log_samples=True,
        )
    settings = {
        "limit": limit,
        "chat": chat,
        "dtype": str(adapted.model.dtype),
        "lm_eval": _version(),
    }
    return _read(found, digest, settings)


def _adapted(model: LoadedBase, adapter: Path | None, dtype: str, batch: int) -> Any:
    """The model as lm-eval runs one, its random numbers begun anew."""
    from lm_eval.models import huggingface

    from sluicegate.engines.loading import choose_dtype, load_tuned

    weights, tokenizer = load_tuned(model.path, adapter, choose_dtype(dtype, exact=True))
    huggingface.torch.manual_seed(SEED)
    return huggingface.HFLM(
        pretrained=weights,
        tokenizer=tokenizer,
        max_length=model.context,
        batch_size=batch,
        device=str(weights.device),
        dtype=None,
    )


@contextmanager
def _refusals(names: Sequence[str]) -> Iterator[None]:
    """What lm-eval raises where a task cannot be run, as an EvidenceError."""
    try:
        yield
    except _REFUSALS as error:
        raise EvidenceError(
            f"lm-eval cannot run {', '.join(names)}: {type(error).__name__}: {error}"[:500],
            hint="Its data must be in the local datasets cache, or in a local file that the "
            "task's YAML names.",
        ) from error


def _prepare(tasks: Iterable[Any]) -> None:
    """What `lm_eval.simple_evaluate` does first: no worked examples unless the task asks for them,
    and its seeds.

    It also asks pip and the machine about everything installed, after each run; that is left out.
    """
    for task in tasks:
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=SEED)
    random.seed(0)
    np.random.seed(SEED)  # what tasks draw from


def _open_tasks(tasks: Sequence[str], root: Path) -> tuple[list[str], Any]:
    """The names of the tasks and what knows them.

    lm-eval's own 14,000 are only read where one of them is named.
    """
    if not tasks:
        raise ConfigError(
            "no task was named.", hint="Name an lm-eval task, or a YAML file of your own."
        )
    folders: list[str] = []
    names: list[str] = []
    known: list[str] = []
    for task in tasks:
        path = root / task
        if path.is_dir():
            found = [name for file in sorted(path.glob("*.yaml")) if (name := _task_name(file))]
            if not found:
                raise ConfigError(
                    f"{path} contains no task.", hint="A task is a YAML file with the field `task`."
                )
            names, folders = [*names, *found], [*folders, str(path)]
        elif task.endswith((".yaml", ".yml")):
            name = _task_name(path)
            if not name:
                raise ConfigError(
                    f"{path} is not a task.", hint="A task is a YAML file with the field `task`."
                )
            names, folders = [*names, name], [*folders, str(path.parent)]
        else:
            names, known = [*names, task], [*known, task]
    if len(set(names)) != len(names):
        raise ConfigError("a task is named twice.")
    try:
        from lm_eval.tasks import TaskManager
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "lm_eval":
            raise
        raise MissingExtraError("lm-eval", "benchmarks") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=list(dict.fromkeys(folders)), include_defaults=bool(known))
    if unknown := [name for name in known if name not in manager.all_tasks]:
        raise ConfigError(
            f"lm-eval has no task {unknown[0]!r}.",
            hint="Name one it has, or a YAML file or folder here.",
        )
    return names, manager


def _task_name(file: Path) -> str:
    value = read_yaml(file)
    name = value.get("task") if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""


def _version() -> str:
    return importlib.metadata.version("lm-eval")


def _read(found: Mapping[str, Any], digest: str, settings: Mapping[str, Any]) -> BenchmarkRun:
    evidence: dict[str, Evidence] = {}
    directions: dict[str, dict[str, str]] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for task, samples in found["samples"].items():
        rows, ways, without = _task_rows(task, samples, found["higher_is_better"].get(task, {}))
        config = json.loads(json.dumps(found["configs"].get(task, {}), default=_named))
        asked = sorted(
            {(str(one["doc_id"]), one["doc_hash"], one["prompt_hash"]) for one in samples}
        )
        groups = [row.group for row in rows]
        evidence[task] = Evidence(
            release=digest,
            golden=digest_value([task, asked]),
            metrics=digest_value({"task": config, **settings}),
            rows=tuple(rows),
            summaries={
                name: summarise(
                    [row.scores[name] for row in rows],
                    groups,
                    RANGES.get(name.partition(",")[0], (0.0, 1.0)),
                )
                for name in ways
            },
        )
        directions[task], left_out[task] = ways, without
    return BenchmarkRun(evidence, directions, left_out)


def _named(value: object) -> str:
    """What stands for a function in a task's configuration: its name, never its address."""
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _task_rows(
    task: str, samples: Sequence[Mapping[str, Any]], higher: Mapping[str, bool]
) -> tuple[list[ScoredExample], dict[str, str], tuple[str, ...]]:
    """Rows by example, the direction of each metric that all have, and the names of the others."""
    scores: dict[str, dict[str, float]] = {}
    outputs: dict[str, str] = {}
    ways: dict[str, str] = {}
    without: set[str] = set()
    for sample in samples:
        doc, chosen = str(sample["doc_id"]), sample["filter"]
        outputs.setdefault(doc, _output(sample))
        for metric in sample["metrics"]:
            name = metric if chosen == "none" else f"{metric},{chosen}"
            value = _value(metric, sample[metric])
            if value is None:
                without.add(name)
                continue
            scores.setdefault(doc, {})[name] = value
            ways[name] = "higher" if higher.get(metric, True) else "lower"
    ways = {name: way for name, way in ways.items() if name not in without}
    if not ways or any(not ways.keys() <= row.keys() for row in scores.values()):
        raise EvidenceError(
            f"{task} has no metric with a value for each example "
            f"({', '.join(sorted(without)) or 'none at all'}).",
            hint="acc, acc_norm, exact_match and bits_per_byte have one; a perplexity is not "
            "a mean over examples.",
        )
    rows = [
        ScoredExample(doc, doc, outputs[doc], {name: scores[doc][name] for name in ways}, 0.0, 0, 0)
        for doc in scores
    ]
    return sorted(rows, key=lambda row: row.id), ways, tuple(sorted(without))


def _value(metric: str, value: Any) -> float | None:
    """The score of one example; None where the metric is no mean of examples."""
    if (
        metric == "bits_per_byte"
        and isinstance(value, (list, tuple))
        and len(value) == 2
        and value[1]
    ):
        low, high = RANGES[metric]
        return min(max(-float(value[0]) / float(value[1]) / math.log(2), low), high)
    if isinstance(value, (list, tuple, str)) or not hasattr(value, "__float__"):
        return None
    number = float(value)
    return number if 0.0 <= number <= 1.0 else None


def _output(sample: Mapping[str, Any]) -> str:
    """The text that was generated, or the choice that was likeliest."""
    found = sample["filtered_resps"]
    if found and all(isinstance(one, (list, tuple)) and len(one) == 2 for one in found):
        best = max(range(len(found)), key=lambda place: float(found[place][0]))
        arguments = sample["arguments"]
        return (
            str(arguments[best][1])
            if isinstance(arguments, (list, tuple)) and len(arguments) > best
            else str(best)
        )
    return str(found[0]) if found else ""
