"""The metrics that are computed: scores of each row and of the whole set, and the classes of rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sluicegate.chat import as_read
from sluicegate.errors import ConfigError
from sluicegate.evaluation.metered import RunModel
from sluicegate.examples import TEXT_PART
from sluicegate.hashing import canonical_json
from sluicegate.metrics import Metric, score_many
from sluicegate.records import Example, Generation, Summary, Unscored

MOST_CLASSES = 20


def asks_model(table: Mapping[str, Metric], asking: Mapping[str, bool]) -> dict[str, bool]:
    """Which of the metrics ask a model, by their own word or by `evaluate.own_metrics`.

    Raises:
        ConfigError: nobody says whether a metric does.
    """
    found = {name: asking.get(name, metric.asks_model) for name, metric in table.items()}
    for name, asks in found.items():
        if asks is None:
            raise ConfigError(
                f"params.yaml does not say whether the metric {name!r} asks a model.",
                hint=f"{_declare(name)} Write false if it only computes.",
            )
    return {name: bool(asks) for name, asks in found.items()}


def _declare(name: str) -> str:
    return f"Under evaluate in params.yaml: own_metrics: {{{name!r}: {{asks_model: true}}}}."


def _blind(metric: Metric, row: Example) -> str:
    if expects(metric, row) is None:
        return f"example {row.id} does not say which {metric.reads} are expected"
    if metric.reads != TEXT_PART:
        return f"no {metric.reads} are expected in example {row.id}: there is nothing to find"
    instead = f"; {metric.instead} may" if metric.instead else ""
    return f"it sees no word in the answer or in the references of example {row.id}{instead}"


def computed(
    table: Mapping[str, Metric],
    asks: Mapping[str, bool],
    golden: Sequence[Example],
    outputs: Sequence[Generation],
) -> tuple[dict[str, list[float]], dict[str, Unscored]]:
    """The scores of each metric, and those that saw nothing in some rows.

    Raises:
        ConfigError: a metric asked a model, and nobody had declared it.
        EvidenceError: a reference is missing, or a score is not finite and in range.
    """
    sources = [source_of(*pair) for pair in zip(golden, outputs, strict=True)]
    names = [f"example {example.id}" for example in golden]
    scores: dict[str, list[float]] = {}
    unscored: dict[str, Unscored] = {}
    for name, metric in table.items():
        before = RunModel.asked
        found = _scores(metric, sources, golden, outputs, names)
        if RunModel.asked > before and not asks[name]:
            message = f"metric {name!r} asked a model while it scored."
            raise ConfigError(message, hint=_declare(name))
        seen = [value for value in found if value is not None]
        if len(seen) == len(found):
            scores[name] = seen
        else:
            blind = _blind(metric, golden[found.index(None)])
            without = {row.id for row, value in zip(golden, found, strict=True) if value is None}
            unscored[name] = Unscored(len(without), blind)
    return scores, unscored


def _scores(
    metric: Metric,
    sources: Sequence[str],
    golden: Sequence[Example],
    outputs: Sequence[Generation],
    names: Sequence[str],
) -> list[float | None]:
    """The score of each row: the worst where the candidate's own code failed, None where a part of
    the answer is to be scored of which the row does not say what is right.
    """
    found: list[float | None] = [metric.worst if one.failure else None for one in outputs]
    wanted = [expects(metric, example) for example in golden]
    rows = [
        place
        for place, output in enumerate(outputs)
        if not output.failure and (wanted[place] is not None or not metric.needs_reference)
    ]
    scored = score_many(
        metric,
        [sources[place] for place in rows],
        [outputs[place].part(metric.reads) for place in rows],
        [wanted[place] or () for place in rows],
        [names[place] for place in rows],
    )
    for place, value in zip(rows, scored, strict=True):
        found[place] = value
    return found


def expects(metric: Metric, example: Example) -> tuple[str, ...] | None:
    """What is right, of the part of the answer that the metric reads; None where the row does not
    say.
    """
    if metric.reads == TEXT_PART:
        return example.reference
    return (example.expected[metric.reads],) if metric.reads in example.expected else None


def set_scores(
    table: Mapping[str, Metric], golden: Sequence[Example], outputs: Sequence[Generation]
) -> dict[str, Summary]:
    """The scores of those metrics that score the whole set, with their 95 % intervals."""
    groups = [example.group for example in golden]
    found = {}
    for name, metric in table.items():
        if metric.of_set:
            answers = ["" if one.failure else one.part(metric.reads) for one in outputs]
            wanted = [expects(metric, example) or () for example in golden]
            bounds = metric.of_set(answers, wanted, groups)
            rows = {example.id for example in golden}
            found[name] = Summary(*bounds, n=len(rows), groups=len(set(groups)))
    return found


def class_slices(table: Mapping[str, Metric], golden: Sequence[Example]) -> list[Mapping[str, str]]:
    """The slices of each row: its own, and its class as `label` where a metric tells classes apart
    and there are at most 20 of them.

    A row that has a slice `label` keeps it.
    """
    tell = next((metric.class_of for metric in table.values() if metric.class_of), None)
    own = [example.slices for example in golden]
    if tell is None or any("label" in slices for slices in own):
        return own
    classes = [tell(example.reference) for example in golden]
    if not all(classes) or not 1 < len(set(classes)) <= MOST_CLASSES:
        return own
    return [{**slices, "label": name} for slices, name in zip(own, classes, strict=True)]


def source_of(example: Example, output: Generation) -> str:
    """What was really before the model: the inputs, and the contexts that an application used.

    Example:
        >>> used = {"contexts": '[{"id": "kb-2", "text": "No fee."}]'}
        >>> source_of(Example("1", "g", {"question": "How much?"}, (), "s"),
        ...     Generation("Nothing.", 9, 3, 0.1, True, fields=used))
        'How much?\\n\\nNo fee.'
    """
    if not (used := used_contexts(output)):
        return source_text(example.inputs)
    told = {name: text for name, text in example.inputs.items() if name != "context"}
    return "\n\n".join([*filter(None, [source_text(told)]), *used])


def used_contexts(output: Generation) -> list[str]:
    """The texts of the contexts that an answer says it rests on."""
    texts = [
        one.get("text", one.get("id", one)) if isinstance(one, dict) else one
        for one in json.loads(output.part("contexts"))
    ]
    return [text if isinstance(text, str) else canonical_json(text) for text in texts]


def source_text(inputs: Mapping[str, str]) -> str:
    """What a metric sees as the source: the values of all inputs, in the order of their names, a
    line apart; turns as "Speaker: text" lines.

    Example:
        >>> source_text({"b": "second", "a": "first"})
        'first\\nsecond'
    """
    read = as_read(inputs)
    return "\n".join(read[name] for name in sorted(read))
