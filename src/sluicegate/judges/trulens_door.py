"""The one door to TruLens (trulens-core, trulens-feedback 2.16): its feedback over our judges.

`open_provider(model)` is a TruLens provider: `provider.relevance(prompt, response)` and all its
other functions put TruLens' own prompts to the `Model`, whose cache and limits count. Nobody held
such scores against people: a gate rule on one is HOLD. TruLens takes the smallest number in an
answer, asks to mend what it cannot read, waits for its own pace and tries again; here an answer is
the score asked for and nothing else, or an EvidenceError, and the only pace is the model's.
Importing TruLens takes about 10 s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from sluicegate.errors import EvidenceError, MissingExtraError
from sluicegate.generating import Failure, Model, Request
from sluicegate.judges.parsing import Unreadable, answer_of, read_object, read_score, readable

try:
    from trulens.core.feedback.endpoint import Endpoint
    from trulens.core.metric.metric import GroundednessConfigs
    from trulens.feedback.llm_provider import LLMProvider
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "trulens":
        raise
    raise MissingExtraError("trulens-feedback", "trulens") from error

if TYPE_CHECKING:
    from pydantic import BaseModel

_NUMBER = re.compile(r"-?[0-9]{1,6}")
_REASONED = {"criteria": str, "supporting_evidence": str, "score": int}


class _Unpaced(Endpoint):  # type: ignore[misc, unused-ignore]
    """TruLens' pacing, taken out: the model has its own."""

    def run_in_pace(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `func` once."""
        return func(*args, **kwargs)


class ModelProvider(LLMProvider):  # type: ignore[misc, unused-ignore]
    """A TruLens provider whose model is a `Model`; see `open_provider`."""

    _model: Any = PrivateAttr()
    _max_tokens: int = PrivateAttr()

    def __init__(self, model: Model, max_tokens: int = 512) -> None:
        super().__init__(
            model_engine=f"sluicegate-{model.identity[:12]}", endpoint=_Unpaced(name="sluicegate")
        )
        self._model, self._max_tokens = model, max_tokens

    @property
    def identity(self) -> str:
        """Of the model; part of the digest of evidence that rests on this provider."""
        return str(self._model.identity)

    def _create_chat_completion(
        self,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, str]] | None = None,
        response_format: type[BaseModel] | None = None,
        temperature: float = 0.0,
        **kwargs: Any,
    ) -> str:
        """One question, one answer.

        `response_format` is not sent on: the prompt already asks for it in words.

        Raises:
            EvidenceError: there is no answer, or one that was cut short.
        """
        asked = messages if messages is not None else [{"role": "user", "content": prompt or ""}]
        request = Request(
            tuple(dict(message) for message in asked), self._max_tokens, float(temperature)
        )
        reply = self._model.generate([request])[0]
        if isinstance(reply, Failure):
            raise EvidenceError(f"the judge did not answer: {reply.reason}")
        if not reply.finished:
            raise EvidenceError(
                f"the judge's answer was cut short after {reply.completion_tokens} tokens."
            )
        return str(reply.text)

    def generate_score(self, *given: Any, **named: Any) -> float:
        """The score of `generate_score_and_reasons`."""
        return self.generate_score_and_reasons(*given, **named)[0]

    def generate_score_and_reasons(
        self,
        system_prompt: str,
        user_prompt: str | None = None,
        min_score_val: int = 0,
        max_score_val: int = 10,
        temperature: float = 0.0,
    ) -> tuple[float, dict[str, str]]:
        """The score, in [0, 1], and under `reason` the judge's reason; empty where it gave none.

        Raises:
            EvidenceError: no answer, or one that is not exactly a score of the scale.
        """
        messages = [{"role": "system", "content": system_prompt}]
        if user_prompt is not None:
            messages.append({"role": "user", "content": user_prompt})
        text = self._create_chat_completion(messages=messages, temperature=temperature)
        try:
            score, reason = read_feedback(text, min_score_val, max_score_val)
        except Unreadable as error:
            raise EvidenceError(f"the judge's answer cannot be read: {error}") from error
        share = (score - min_score_val) / (max_score_val - min_score_val)
        return share, {"reason": reason} if reason else {}

    def groundedness_measure_with_cot_reasons(
        self, source: str, statement: str, **options: Any
    ) -> Any:
        """As TruLens', but the model splits sentences: NLTK's splitter is a download a call.

        Raises:
            EvidenceError: NLTK's splitter is asked for, or an answer cannot be read.
        """
        config = options.pop("groundedness_configs", None) or GroundednessConfigs(
            use_sent_tokenize=False, filter_trivial_statements=False
        )
        if config.use_sent_tokenize:
            raise EvidenceError(
                "TruLens downloads NLTK's sentence splitter at every call, which is not done here.",
                hint="Give GroundednessConfigs(use_sent_tokenize=False, ...), or name the metric "
                "judge:groundedness.",
            )
        return super().groundedness_measure_with_cot_reasons(
            source, statement, groundedness_configs=config, **options
        )


def open_provider(model: Model, max_tokens: int = 512) -> ModelProvider:
    """A TruLens provider over `model`; answers have at most `max_tokens` tokens.

    Its functions raise EvidenceError where an answer is none or no score, and BudgetError when the
    model's budget is spent.
    """
    return ModelProvider(model, max_tokens)


def read_feedback(text: str, low: int, high: int) -> tuple[int, str]:
    """The score and the reason (or none) in an answer to one of TruLens' prompts.

    It is a JSON object with `score`, or with `criteria`, `supporting_evidence` and `score`; or the
    three as lines of TruLens' template, the score last; or the bare number. The score is an integer
    of the scale.

    Raises:
        Unreadable: anything else.

    Example:
        >>> read_feedback('{"criteria": "short", "supporting_evidence": "3 words", "score": 2}', 0,
        ...     3)
        (2, 'Criteria: short\\nSupporting Evidence: 3 words')
        >>> read_feedback("<think>maybe 0 or 1</think> 3", 0, 3)
        (3, '')
        >>> read_feedback("I give it 3 of 3", 0, 3)
        Traceback (most recent call last):
        sluicegate.judges.parsing.Unreadable: the answer is not a score: 'I give it 3 of 3'
    """
    answer = answer_of(text)
    if answer.startswith("{"):
        try:
            found = read_object(answer, {"score": int})
        except Unreadable:
            found = read_object(answer, _REASONED)
        criteria, evidence, number = (
            found.get("criteria", ""),
            found.get("supporting_evidence", ""),
            found["score"],
        )
    elif parts := _template(answer):
        criteria, evidence, number = parts
    else:
        criteria, evidence, number = "", "", answer
    if isinstance(number, str):
        if not _NUMBER.fullmatch(number):
            raise Unreadable(f"the answer is not a score: {readable(number, 40)!r}")
        number = int(number)
    reason = (
        f"Criteria: {readable(criteria)}\nSupporting Evidence: {readable(evidence)}"
        if criteria or evidence
        else ""
    )
    return read_score(number, low, high), reason


def _template(answer: str) -> tuple[str, str, str] | None:
    """Criteria, evidence and score of TruLens' template, if `answer` is nothing else."""
    lines = answer.strip().removeprefix("TEMPLATE:").lstrip().split("\n")
    begins = [line.lstrip() for line in lines]
    if not begins[0].startswith("Criteria:"):
        return None
    second = next(
        (place for place, line in enumerate(begins) if line.startswith("Supporting Evidence:")), 0
    )
    last = max((place for place, line in enumerate(begins) if line.startswith("Score:")), default=0)
    if not 0 < second < last:
        return None
    score = "\n".join(begins[last:]).removeprefix("Score:").strip()
    if len(score.split()) != 1:
        return None
    criteria, evidence = (
        "\n".join(lines[:second]),
        "\n".join([begins[second], *lines[second + 1 : last]]),
    )
    return (
        criteria.removeprefix("Criteria:").strip(),
        evidence.removeprefix("Supporting Evidence:").strip(),
        score,
    )
