"""What is known of one candidate, as measured, read and assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluicegate.records import Evidence


@dataclass(frozen=True, slots=True)
class Timing:
    """Response times at one prompt and answer length (tokens): seconds, p50 and p95 of `n`."""

    prompt_tokens: int
    answer_tokens: int
    p50: float
    p95: float
    n: int


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a candidate answers.

    Attributes:
        timings: one request at a time, three prompt lengths, the first token and a longer answer.
        decode: seconds for each token after the first, median; None where no answer was longer than
            one.
        p50, p95: seconds for the whole answers to golden prompts, one at a time.
        throughput: new tokens a second with many requests at once.
        memory_gib: peak resident memory of a process with this model only; None for an endpoint.
    """

    timings: tuple[Timing, ...]
    decode: float | None
    p50: float
    p95: float
    throughput: float
    memory_gib: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """Money in the currency of the assumptions; `parts` names what it is made of, per month."""

    per_month: float
    per_1000: float
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Option:
    """One candidate.

    `local`: its weights are here; `cost` is None where there is no price; `failed` says why not
    measured.
    """

    name: str
    local: bool
    licence: str
    commercial: bool | None
    residency: str
    evidence: Evidence | None = None
    speed: Speed | None = None
    cost: Cost | None = None
    failed: str = ""
    notes: tuple[str, ...] = field(default=())
