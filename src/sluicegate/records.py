"""The values that travel through the line; the words are those of the README's glossary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from sluicegate.examples import Example as Example
from sluicegate.examples import Generation as Generation
from sluicegate.examples import Repeat as Repeat
from sluicegate.examples import ScoredExample as ScoredExample
from sluicegate.hashing import digest_value, digest_with_rows


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """How text is sampled. `temperature` 0 is greedy; lengths are in tokens."""

    max_new_tokens: int = 96
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return digest_value(self)


@dataclass(frozen=True, slots=True)
class Release:
    """What ships, as digests.

    `base` is of the weights, or of what a hosted model is asked by (address, name, settings that
    change answers); `adapter` is None without one; `application` is of its code and data, None
    where the application is a prompt.
    """

    base: str
    adapter: str | None
    prompt: str
    generation: str
    application: str | None = None

    def content(self) -> dict[str, str | None]:
        """As it is written and hashed; without the application where there is none."""
        fields = asdict(self)
        if self.application is None:
            del fields["application"]
        return fields

    @property
    def digest(self) -> str:
        return digest_value(self.content())


RELEASE_PARTS = {
    "base": "model",
    "adapter": "adapter",
    "prompt": "prompt",
    "generation": "generation settings",
    "application": "application",
}
"""The fields of `Release`, by their names for people: cards, change detection and serving say them
alike.
"""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a release came from.

    `sources`: name to digest of the bytes; `parent`: a release digest.
    """

    data: str
    golden: str
    sources: Mapping[str, str]
    code: str
    commit: str
    dirty: bool
    parent: str | None = None


MOST_UNUSABLE = 0.1  # share of rows without a usable answer of a judge; above, no score counts


@dataclass(frozen=True, slots=True)
class JudgeUse:
    """How one judge did: `digest` of judge, prompt and settings; rows scored, and failed.

    A failed row counts at its worst for the candidate (the champion's answer as good); above
    `MOST_UNUSABLE`, in evidence of 0.1.0 in any case, the judge has no scores in the evidence.
    """

    digest: str
    scored: int
    failed: int
    reasons: tuple[str, ...] = ()


def judged_metric(name: str) -> str:
    """The metric whose scores come from the entry `name` of `Evidence.judges`.

    A name with a colon is a `module:attribute` that asks a model; nobody can calibrate that.

    Example:
        >>> judged_metric("coherence"), judged_metric("my_metrics:relevance")
        ('judge:coherence', 'my_metrics:relevance')
    """
    return name if ":" in name else f"judge:{name}"


@dataclass(frozen=True, slots=True)
class Summary:
    """Mean of one metric over the golden set with its 95 % interval; `groups`: independent ones."""

    mean: float
    low: float
    high: float
    n: int
    groups: int


@dataclass(frozen=True, slots=True)
class Unscored:
    """A metric that saw nothing in `rows` of the rows, and why.

    It has no scores in the evidence at all: a mean over the rest would be another set's mean.
    """

    rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """An evaluation of one release on one golden set by one metric configuration, row by row.

    `set_scores` are of metrics that only the whole set has: no rule can decide by them.
    """

    release: str
    golden: str
    metrics: str
    rows: tuple[ScoredExample, ...]
    summaries: Mapping[str, Summary]
    operations: Mapping[str, float] = field(default_factory=dict)
    judges: Mapping[str, JudgeUse] = field(default_factory=dict)
    unscored: Mapping[str, Unscored] = field(default_factory=dict)
    set_scores: Mapping[str, Summary] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        """How many answers were scored, every repeat counted."""
        return sum(len(row.outputs) for row in self.rows)

    def content(self) -> dict[str, Any]:
        """As it is written and hashed; what is empty and came later is left out."""
        return {**self.head(), "rows": [row.content() for row in self.rows]}

    def head(self) -> dict[str, Any]:
        """`plain()` without the rows."""
        value: dict[str, Any] = {
            name: getattr(self, name) for name in self.__slots__ if name != "rows"
        }
        for name in ("summaries", "judges", "unscored", "set_scores"):
            value[name] = {key: asdict(part) for key, part in value[name].items()}
        value["operations"] = dict(self.operations)
        later = ("judges", "unscored", "set_scores")
        return {name: part for name, part in value.items() if part or name not in later}

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON of `plain()`, made row by row: 100,000 rows are never one
        text.
        """
        return digest_with_rows(self.head(), "rows", (row.content() for row in self.rows))


class Decision(StrEnum):
    """PROMOTE, REJECT, or HOLD (not enough evidence).

    Anything broken is an error, never a decision.
    """

    PROMOTE = "PROMOTE"
    REJECT = "REJECT"
    HOLD = "HOLD"


@dataclass(frozen=True, slots=True)
class RuleResult:
    """What one policy rule found.

    `low`/`high` bound `value` at the rule's confidence; None where it has no meaning. `slice` is
    `column=value`, or empty for a rule on all rows.
    """

    name: str
    kind: str
    metric: str
    decision: Decision
    severity: str
    reason: str
    value: float | None = None
    champion_value: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None
    p: float | None = None
    n: int = 0
    effective_n: float = 0.0
    detectable: float | None = None
    more_examples: int | None = None
    slice: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one candidate, bound to the exact digests it was made from.

    It was evaluation `look` of the `looks` allowed on this golden set, at error rate `alpha`.

    `way` is `neutral` where the rules for changes that are to improve nothing decided.
    """

    decision: Decision
    candidate: str
    champion: str | None
    policy: str
    golden: str
    evidence: str
    champion_evidence: str | None
    rules: tuple[RuleResult, ...]
    reasons: tuple[str, ...] = ()
    alpha: float = 0.0
    look: int = 1
    looks: int = 0
    way: str = ""

    @property
    def digest(self) -> str:
        """SHA-256; an empty `way` is left out, as in verdicts before it was there."""
        fields = asdict(self)
        return digest_value(fields if self.way else {k: fields[k] for k in fields if k != "way"})


@dataclass(frozen=True, slots=True)
class TuneSummary:
    """One training run. Losses are mean negative log-likelihood per completion token (nats)."""

    steps: int
    epochs: float
    train_loss: float
    validation_loss: float
    useful_tokens_per_second: float
    seconds: float
    trainable_parameters: int
    total_parameters: int
    examples: int
    skipped_over_length: int
    dtype: str
    curve: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class DriftScore:
    """One column's distance between reference and window; `alarm` when over `threshold`.

    `before` and `after` are the column's means, `change` their difference in standard deviations of
    the reference; `p` is the chance of such a distance without drift, adjusted for all columns.
    None where it has no meaning.
    """

    column: str
    statistic: str
    value: float
    threshold: float
    alarm: bool
    before: float | None = None
    after: float | None = None
    change: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class DriftReport:
    """Traffic against the reference profile. `status`: OK, DRIFT or NO_DATA (an alarm as well)."""

    status: str
    rows: int
    scores: tuple[DriftScore, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One row of the ledger; `hash` covers the row and `previous`, the hash of the row before."""

    sequence: int
    time: str
    actor: str
    kind: str
    release: str
    epoch: int
    payload: Mapping[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True, slots=True)
class Champion:
    """The pointer: which release serves, since which `epoch` (grows by one at every move)."""

    release: str
    epoch: int
    version: int
