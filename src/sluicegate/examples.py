"""One row on its way through an evaluation: asked, answered, scored.

`records` has all three as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

TEXT_PART = "text"
"""The name of the part of an answer that is its text."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row: `inputs` fill the prompt's variables, `reference` holds one or more right answers.

    `slices` says which parts of the whole it belongs to: column to value, e.g. `{"industry":
    "airline"}`. `expected` holds what the other parts of a right answer are, by their names and as
    canonical JSON: `contexts` (the gold documents), `tool_calls`. A `critical` row has to be right.
    """

    id: str
    group: str
    inputs: Mapping[str, str]
    reference: tuple[str, ...]
    source: str
    slices: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    critical: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """One answer.

    `seconds` is its share of wall time; `finished` is False when the length limit cut it.

    `first_token` is the part of `seconds` until its first token was there; None where the model
    cannot tell.

    `fields` holds the other parts of the answer by name, each as canonical JSON: `contexts`,
    `tool_calls`, `messages`. `failure` says why the candidate's own code gave no answer: every
    metric then has its worst score. `answered_by` is the model, with its fingerprint, that says it
    answered.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    finished: bool
    first_token: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    answered_by: str = ""

    def part(self, name: str) -> str:
        """The text, or the part called `name`; an empty list where the answer has no such part."""
        return self.text if name == TEXT_PART else self.fields.get(name, "[]")


@dataclass(frozen=True, slots=True)
class Repeat:
    """One of several answers to a row: its text, its scores, and how it failed."""

    output: str
    scores: Mapping[str, float]
    failure: str = ""


_WHERE_SET = ("slices", "reasons", "fields", "failure", "answered_by", "critical", "repeats")
"""Of a scored row: what counts in its digest only where it says something."""


@dataclass(frozen=True, slots=True)
class ScoredExample:
    """One golden row, answered: one finite score per metric, and in `reasons` a judge's words.

    Where it was answered several times, `repeats` holds every answer, the scores and the time are
    their means, and all else is the first one's; it is `finished` where all are.
    """

    id: str
    group: str
    output: str
    scores: Mapping[str, float]
    seconds: float
    prompt_tokens: int
    completion_tokens: int
    finished: bool = True
    slices: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    first_token: float | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    answered_by: str = ""
    critical: bool = False
    repeats: tuple[Repeat, ...] = ()

    def each(self, metric: str) -> list[float]:
        """The score of every answer."""
        return [one.scores[metric] for one in self.repeats] or [self.scores[metric]]

    @property
    def outputs(self) -> list[str]:
        """Every answer."""
        return [one.output for one in self.repeats] or [self.output]

    def content(self) -> dict[str, Any]:
        """As it is written and hashed; what a row has nothing of is left out."""
        found: dict[str, Any] = {}
        for name in self.__slots__:
            part = getattr(self, name)
            if part or (part is not None and name not in _WHERE_SET):
                found[name] = dict(part) if isinstance(part, Mapping) else part
        if self.repeats:
            found["repeats"] = [asdict(one) for one in self.repeats]
        return found
