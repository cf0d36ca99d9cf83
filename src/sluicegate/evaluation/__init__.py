"""A release and a golden set become Evidence: cached answers, scores per example, means with
intervals.

answer(...)      prompts -> generations, each kept as it arrives
evaluate(...)    generations -> Evidence
find_baseline    answers that cost nothing, to be compared with: `BASELINES`
write_evidence / read_evidence
"""

from sluicegate.evaluation.answers import answer
from sluicegate.evaluation.baselines import find_baseline, lead2
from sluicegate.evaluation.files import read_evidence, write_evidence
from sluicegate.evaluation.operations import operations
from sluicegate.evaluation.scoring import evaluate, source_text, summarise

__all__ = [
    "answer",
    "evaluate",
    "find_baseline",
    "lead2",
    "operations",
    "read_evidence",
    "source_text",
    "summarise",
    "write_evidence",
]
