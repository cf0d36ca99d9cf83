"""Whether an evaluation says something about today's release: the last check before a verdict,
whatever DVC thinks.
"""

from __future__ import annotations

from sluicegate.data.examples import read_examples
from sluicegate.errors import EvidenceError
from sluicegate.evaluation.judging import criteria, judged_metrics, judgement_digest, plain_metrics
from sluicegate.evaluation.scoring import configuration
from sluicegate.line.run import Run
from sluicegate.records import Evidence, judged_metric

_HINT = (
    "Run `sluice release` or `sluice gate` again. If that does not help, let the stage evaluate "
    "in dvc.yaml watch "
    "`metrics` of build/inputs.json."
)


def check_current(run: Run, release: str, evidence: Evidence, champion: Evidence) -> None:
    """Refuse an evaluation of another release than `release`, or by metrics that are not those of
    today.

    The judges' own digests are taken as the evaluation has them: DVC watches criteria and models,
    and a rule on a judge asks for the calibration of exactly that digest.

    Raises:
        ConfigError, MissingExtraError: a metric or criterion of params.yaml cannot be found.
        EvidenceError: it is stale.
    """
    if evidence.release != release:
        raise EvidenceError(
            f"the evaluation is of release {evidence.release[:12]}, but {release[:12]} is "
            "registered.",
            hint=_HINT,
        )
    times = run.params.evaluate.repeats
    if any(len(row.outputs) != times for row in (*evidence.rows, *champion.rows)):
        raise EvidenceError(f"the rows were not answered {times} times each.", hint=_HINT)
    names, project = run.params.evaluate.metrics, run.project
    wanted = judged_metrics(names)
    judged = {judged_metric(name): use.digest for name, use in evidence.judges.items()}
    current = set(wanted) == set(judged_metrics(list(judged)))
    if current:
        texts = {row.id: row.outputs for row in champion.rows}
        golden = read_examples(project.golden) if wanted else []
        against = [
            texts[example.id][repeat] if example.id in texts else ""
            for repeat in range(times)
            for example in golden
        ]
        digests = {
            one.metric: judgement_digest(one, judged[one.metric], against)
            for one in criteria(names, project.prompts)
        }
        current = evidence.metrics == configuration(plain_metrics(names), digests)
    if not current:
        raise EvidenceError("the evaluation was not made with the current metrics.", hint=_HINT)
