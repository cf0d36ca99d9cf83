"""What one judge made of one release's answers, as evaluation passes it on."""

from __future__ import annotations

from dataclasses import dataclass

from sluicegate.records import JudgeUse


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judge made of one release's answers.

    Attributes:
        metric: `judge:<name>`.
        digest: of judge, prompt and settings; for a pairwise judge also of the answers compared
            with.
        scores: one in [0, 1] for each row, in the order asked, the worst for the candidate where
            the judge failed; empty where too many rows did.
        reasons: the judge's words, likewise.
        use: how many rows were scored, how many failed and why.
        calls, prompt_tokens, completion_tokens: what it took; answers from the cache count.
    """

    metric: str
    digest: str
    scores: tuple[float, ...]
    reasons: tuple[str, ...]
    use: JudgeUse
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
