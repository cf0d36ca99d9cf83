"""What judging is made of: who answers, what is judged, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One answer to judge.

    `other`: the champion's answer (pairwise only); `inputs`: the prompt's variables by name.
    """

    id: str
    source: str
    output: str
    references: tuple[str, ...] = ()
    other: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one judge made of one row: a `score` in [0, 1], or a `failure` and no score.

    Attributes:
        score: 0 is the low end of the criterion's scale, 1 the high end; None where the judge
            failed.
        failure: why there is no score; empty where there is one.
        weighted: whether token probabilities weighted the score; None for forms that do not ask for
            them.
        picks: pairwise only: for each order what the judge chose: `1` the answer shown first, `2`
            the second, `=` neither.
    """

    score: float | None
    reason: str = ""
    failure: str = ""
    weighted: bool | None = None
    picks: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge, or a jury, made of all rows, in their order.

    Attributes:
        scores: in [0, 1] (1 is the high end of the scale, see `Criterion.direction`); None where
            the row failed.
        calls: questions put to the judges, those of the sentinels included; answers from the cache
            count.
        prompt_tokens, completion_tokens: of all answers.
        weighted: whether token probabilities weighted every score; None where none were asked for.
        picks: pairwise only, see `Opinion.picks`; a jury's are joined. Rows settled without a call
            have none.
        uncalled: rows that were scored without a call (blank, over-long, canned).
        echoes: rows whose answer repeats the source, so that the judge was shown both apart.
    """

    scores: tuple[float | None, ...]
    reasons: tuple[str, ...]
    failures: tuple[str, ...]
    calls: int
    prompt_tokens: int
    completion_tokens: int
    weighted: bool | None
    picks: tuple[str, ...] = ()
    uncalled: int = 0
    echoes: int = 0

    @property
    def failed(self) -> int:
        """How many rows have no score."""
        return sum(bool(failure) for failure in self.failures)

    @property
    def order_dependent(self) -> int:
        """Pairwise: how many rows got another verdict when the answers changed places."""
        return sum(depends_on_order(picks) for picks in self.picks)


def depends_on_order(picks: str) -> bool:
    """Whether any judge's two verdicts on a row turn with the order; a pair of letters a judge.

    Example:
        >>> [depends_on_order(picks) for picks in ("11", "12", "==", "12=2")]
        [True, False, False, True]
    """
    return any(
        picks[place : place + 2] not in ("12", "21", "==") for place in range(0, len(picks), 2)
    )
