"""Prepared rows and the prompt in, a LoRA adapter and its training summary out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict

from sluicegate.data.examples import read_examples
from sluicegate.errors import require_local
from sluicegate.hashing import digest_file, digest_value, read_json, write_json
from sluicegate.line.pipeline.base_model import model_spec, resolve
from sluicegate.line.pipeline.imported import put_in_place
from sluicegate.line.progress import say
from sluicegate.line.run import Run
from sluicegate.prompts import render
from sluicegate.records import Example, TuneSummary
from sluicegate.tracking import RunHandle


def stage(run: Run) -> None:
    """Write build/adapter/ and build/tune.json; without tuning the folder is empty."""
    project = run.project
    method = run.params.tune.method
    if method == "none" or not model_spec(run).weights:
        shutil.rmtree(project.adapter, ignore_errors=True)
        project.adapter.mkdir(parents=True)
        write_json(project.build / "tune.json", {"method": "none"})
        say("tune: nothing to tune: the release is the model as it is")
        return
    if method == "imported":
        put_in_place(run)
        return
    _tune(run)


def _tune(run: Run) -> None:
    from sluicegate.tuning import tune

    require_local()  # before what the base model needs: both would be told one after the other
    project, params = run.project, run.params
    base = resolve(run)
    train, validation = (
        read_examples(project.prepared / f"{name}.jsonl") for name in ("train", "validation")
    )
    key = digest_value(
        [
            base.digest,
            run.prompt.digest,
            params.tune.model_dump(),
            params.release.dtype,
            digest_file(project.prepared / "train.jsonl"),
        ]
    )
    say(f"tune: {len(train)} rows, LoRA rank {params.tune.rank} on {base.name}")
    tags = {
        "sluice.stage": "tune",
        "sluice.base": base.digest,
        "sluice.prompt": run.prompt.digest,
        "sluice.run_key": key,
    }
    settings = {
        **params.tune.model_dump(),
        "base": base.name,
        "prompt": run.prompt.name,
    }
    with run.tracking.start_run(run.name, "tune", settings, tags) as handle:
        _log_data(run, handle, len(train), len(validation))
        summary = tune(
            [_pair(run, row) for row in train],
            [_pair(run, row) for row in validation],
            base=base,
            params=params.tune,
            dtype=params.release.dtype,
            out=project.adapter,
            checkpoints=project.checkpoints,
            run_key=key,
            on_step=lambda values: _on_step(handle, values),
        )
        handle.log_metrics(_final(summary), summary.steps)
    write_json(
        project.build / "tune.json",
        {"method": "lora", "run_id": handle.id, "summary": asdict(summary)},
    )
    say(
        f"tune: {summary.steps} steps in {summary.seconds:.0f} s, "
        f"{summary.useful_tokens_per_second:.0f} useful tokens/s, validation loss "
        f"{summary.validation_loss:.3f}, "
        f"{summary.skipped_over_length} rows over {params.tune.max_tokens} tokens left out"
    )


def _pair(run: Run, row: Example) -> tuple[list[dict[str, str]], str]:
    return render(run.prompt, row.inputs), row.reference[0]


def _log_data(run: Run, handle: RunHandle, train: int, validation: int) -> None:
    prepared = read_json(run.project.build / "prepare.json")
    for name, digest in prepared["sources"].items():
        handle.log_dataset(name, digest, "registry/sources.yaml", train + validation)
    handle.log_dataset("train", prepared["data"], "data/prepared/train.jsonl", train)


def _on_step(handle: RunHandle, values: Mapping[str, float]) -> None:
    step = int(values["step"])
    handle.log_metrics(
        {
            name: value
            for name, value in values.items()
            if name not in ("step", "steps", "seconds_left")
        },
        step,
    )
    handle.system_metrics()
    validation = (
        f", validation {values['validation_loss']:.3f}" if "validation_loss" in values else ""
    )
    left = f"  {values['seconds_left']:.0f} s left" if "seconds_left" in values else ""
    say(
        f"  step {step}/{int(values['steps'])}  loss {values['loss']:.3f}{validation}  "
        f"{values['tokens_per_second']:.0f} tokens/s{left}"
    )


def _final(summary: TuneSummary) -> dict[str, float]:
    return {
        "final_train_loss": summary.train_loss,
        "final_validation_loss": summary.validation_loss,
        "useful_tokens_per_second": summary.useful_tokens_per_second,
        "trainable_parameters": float(summary.trainable_parameters),
    }
