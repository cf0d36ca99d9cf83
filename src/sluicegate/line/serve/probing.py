"""The effect probe: before a release answers anybody, it answers as it did when it was judged.

An engine may load an adapter that changes nothing, or keep what it had under another name. So the
answers to fixed prompts are looked at: with an adapter they differ from the bare model's, and where
the evidence of the release's verdict and its golden set are here, they are the recorded ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sluicegate.data.examples import read_examples
from sluicegate.errors import ReleaseError
from sluicegate.generating import Messages, Model, Request, all_replies, request_of
from sluicegate.hashing import digest_file
from sluicegate.ledger import Ledger
from sluicegate.line.serve.loading import Opened, open_base
from sluicegate.prompts import render
from sluicegate.releasing import stored_outputs

GOLDEN = 4
"""Golden rows that are asked: those with the shortest recorded answers."""
TOKENS = 48
"""Of an answer that is compared with the bare model's."""
TEXT = "Hello, my parcel has not arrived. Customer number 4711. What can I do about it?"


def probe(opened: Opened) -> str:
    """Ask a release fixed prompts; returns in a sentence what was compared.

    Raises:
        ReleaseError: an adapter has no effect, or the answers are not those that were recorded.
        DataError, EnvironmentFailure: the model gives no answer.
    """
    recorded = _recorded(opened) if _repeatable(opened) else {}
    prompts = [row[0] for row in recorded.values()] or _fixed(opened)
    if opened.contender.adapter is not None:
        _differs(opened, prompts)
    if recorded:
        return _equals(opened, list(recorded.values()))
    request = request_of(prompts[0], opened.contender.generation)
    all_replies(opened.model.generate([_short(request)]), "the release")
    return "it answers; no recorded answer was compared"


def _repeatable(opened: Opened) -> bool:
    """Whether the same question has the same answer: greedy, on weights that are here."""
    release = opened.contender
    return release.model.base is not None and release.generation.temperature == 0


def _fixed(opened: Opened) -> list[Messages]:
    prompt = opened.contender.prompt
    texts = (TEXT, f"Customer: {TEXT}\nAgent: I will look into it.", "What is the capital of Peru?")
    return [render(prompt, dict.fromkeys(prompt.variables, text)) for text in texts]


def _recorded(opened: Opened) -> Mapping[str, tuple[Messages, str]]:
    """Messages and recorded answer of golden rows, by id; empty where evidence or set is not here."""
    project, digest = opened.run.project, opened.digest
    verdicts = Ledger(project.ledger_url).entries("verdict", digest)
    if not verdicts or not project.golden.is_file():
        return {}
    payload = verdicts[-1].payload
    if digest_file(project.golden) != payload["golden"]:
        return {}
    outputs = stored_outputs(project, payload["evidence"])
    rows = {row.id: row for row in read_examples(project.golden) if row.id in outputs}
    shortest = sorted(rows, key=lambda name: (len(outputs[name]), name))[:GOLDEN]
    return {
        name: (render(opened.contender.prompt, rows[name].inputs), outputs[name])
        for name in shortest
    }


def _equals(opened: Opened, recorded: Sequence[tuple[Messages, str]]) -> str:
    """Most answers are the recorded ones: another processor may break a tie of two words."""
    settings = opened.contender.generation
    said = _said(opened.model, [request_of(messages, settings) for messages, _ in recorded])
    equal = sum(text == then for text, (_, then) in zip(said, recorded, strict=True))
    if 2 * equal <= len(recorded):
        raise ReleaseError(
            f"{opened.digest[:12]} gives {equal} of {len(recorded)} answers that its evidence has.",
            hint="Is this the machine's dtype (release.dtype) that it was judged with?",
        )
    return f"{equal} of {len(recorded)} recorded answers are the same"


def _differs(opened: Opened, prompts: Sequence[Messages]) -> None:
    settings = opened.contender.generation
    requests = [_short(request_of(messages, settings)) for messages in prompts]
    if _said(opened.model, requests) == _said(open_base(opened), requests):
        raise ReleaseError(
            f"the adapter of {opened.digest[:12]} changes none of {len(prompts)} answers.",
            hint="Evaluate it again; an adapter without effect is not what was judged.",
        )


def _short(request: Request) -> Request:
    """The same, greedy and short."""
    return Request(
        request.messages,
        min(request.max_tokens, TOKENS),
        repetition_penalty=request.repetition_penalty,
        stop=request.stop,
    )


def _said(model: Model, requests: Sequence[Request]) -> list[str]:
    return [reply.text for reply in all_replies(model.generate(requests), "the release")]
