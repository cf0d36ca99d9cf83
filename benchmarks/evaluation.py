"""The stage `evaluate` on answers that are in the cache already: wall time and peak memory, for
growing golden sets.

    python benchmarks/evaluation.py --rows 1000 2000 10000
    python benchmarks/evaluation.py --rows 100000 --limit-mib 2048

For each number of rows a project is made in a temporary folder, with two releases of the base model
that differ in their settings, and both releases' answers are put into the cache. Then the stage
runs as a process of its own (`sluice stage evaluate`): scores for candidate, champion and baseline,
Parquet files, MLflow run, table, plots and traces. Wall time is of the whole process, from start to
end; beside it the processor's, which a busy machine does not stretch; memory is `ru_maxrss`. The
MLflow database is there before, as in every project after its first run. One of the files is then
read back, also in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

CHILD = """
import json, resource, sys
from pathlib import Path
if sys.argv[1] == "evaluate":
    from sluicegate.line.pipeline import run_stage
    run_stage("evaluate")
else:
    from sluicegate.evaluation import read_evidence
    read_evidence(Path("build/evidence/candidate.parquet"))
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}))
"""


def main() -> None:
    """Measure and print one line for each number of rows; exit 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[1000])
    parser.add_argument("--metrics", nargs="+", default=[], help="in place of those of params.yaml")
    parser.add_argument("--limit-seconds", type=float, default=0.0, help="0: none")
    parser.add_argument("--limit-mib", type=float, default=0.0, help="0: none")
    asked = parser.parse_args()
    print(
        f"{'rows':>8} {'evaluate':>10} {'processor':>10} {'peak':>10} {'read one':>10} "
        f"{'peak':>10} {'file':>11}"
    )
    over = False
    for count in asked.rows:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "project"
            # In a process of its own: a child's peak memory begins with that of the process that
            # started it.
            maker = multiprocessing.get_context("spawn").Process(
                target=prepare, args=(root, count, asked.metrics)
            )
            maker.start()
            maker.join()
            if maker.exitcode:
                sys.exit("the project could not be made")
            made, read = child(root, "evaluate"), child(root, "read")
            size = (root / "build" / "evidence" / "candidate.parquet").stat().st_size / 2**10
        print(
            f"{count:8} {made['wall']:8.1f} s {made['cpu']:8.1f} s {made['mib']:6.0f} MiB "
            f"{read['wall']:8.1f} s"
            f" {read['mib']:6.0f} MiB {size:7.0f} KiB"
        )
        over |= bool(asked.limit_seconds and made["wall"] > asked.limit_seconds)
        over |= bool(asked.limit_mib and max(made["mib"], read["mib"]) > asked.limit_mib)
    sys.exit(int(over))


def child(root: Path, what: str) -> dict[str, float]:
    """Run one step in a process of its own; seconds of the whole process, and its peak memory."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, what],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": time.perf_counter() - start}


def prepare(root: Path, count: int, metrics: Sequence[str] = ()) -> None:
    """A project with `count` golden rows, two releases of the bare base model, and all their
    answers in the cache.
    """
    from sluicegate import releasing
    from sluicegate.data.examples import write_examples
    from sluicegate.evaluation import answer
    from sluicegate.hashing import digest_value, write_json
    from sluicegate.line.pipeline.base_model import resolve
    from sluicegate.line.run import open_run, open_tracking
    from sluicegate.project import Project
    from sluicegate.prompts import render
    from sluicegate.records import Lineage, Release
    from sluicegate.scaffold import init

    init(root)
    project = Project(root)
    if metrics:
        chosen = re.sub(
            r"metrics: \[.*\]",
            f"metrics: [{', '.join(metrics)}]",
            project.params.read_text("utf-8"),
        )
        project.params.write_text(chosen, "utf-8")
    run = open_run(project)
    golden = rows(root / "data" / "sample" / "support_golden.jsonl", count)
    write_examples(project.golden, golden)
    base, settings = resolve(run), run.params.release.generation.settings()
    lineage = Lineage("1" * 64, "2" * 64, {}, "3" * 64, "4" * 40, False)
    older = replace(settings, max_new_tokens=64)
    stored = releasing.store_release(
        project,
        base_digest=base.digest,
        base_name="smollm2-135m-instruct",
        adapter=None,
        prompt=run.prompt,
        generation=older,
        lineage=lineage,
    )
    open_tracking(project).experiment(run.name)
    write_json(project.build / "tune.json", {"method": "none"})
    write_json(project.build / "inputs.json", {"champion": stored.digest})
    (project.build / "evidence").mkdir(parents=True)
    rendered = [(row.id, render(run.prompt, row.inputs)) for row in golden]
    for number, made in enumerate((settings, older)):
        release = Release(base.digest, None, run.prompt.digest, made.digest).digest
        answer(
            Words(10 + number),
            rendered,
            made,
            project.generations,
            digest_value([release, run.params.release.dtype]),
            batch=1000,
        )


def rows(path: Path, count: int) -> list[object]:
    """The sample's golden rows over and over, each with a number of its own in id, group and text."""
    from sluicegate.records import Example

    known = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    found: list[object] = []
    for number in range(count):
        row = known[number % len(known)]
        turns = "\n".join(f"{turn['role'].capitalize()}: {turn['text']}" for turn in row["turns"])
        found.append(
            Example(
                f"{row['id']}-{number:06}",
                f"{row['group']}-{number:06}",
                {"conversation": f"{turns}\nCustomer: this is case {number}."},
                tuple(row["summaries"]),
                "sample",
                {"industry": row["industry"]},
            )
        )
    return found


class Words:
    """A backend that answers with every n-th word of the prompt: text as long as a summary, made in
    no time.
    """

    context = 1 << 20

    def __init__(self, step: int) -> None:
        self._step = step

    def count_tokens(self, messages: Sequence[dict[str, str]]) -> int:
        """Words of the prompt."""
        return sum(len(message["content"].split()) for message in messages)

    def generate(
        self,
        prompts: Sequence[object],
        settings: object,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[object]:
        """One answer for each prompt."""
        from sluicegate.records import Generation

        found: list[object] = []
        for messages in prompts:
            words = messages[-1]["content"].split()[:: self._step]  # type: ignore[index]
            found.append(Generation(" ".join(words), 10 * len(words), len(words), 0.2, True))
        return found


if __name__ == "__main__":
    main()
