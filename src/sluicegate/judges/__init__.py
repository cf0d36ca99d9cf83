"""Judges: models that score answers by a criterion in prompts/judge_<name>.yaml.

Nothing here counts before `sluice judge calibrate` has held it against people: see `calibration`.
"""

from __future__ import annotations

from sluicegate.judges.base import Judged, JudgeRow
from sluicegate.judges.criteria import (
    METRIC,
    Criterion,
    criterion_path,
    list_criteria,
    load_criterion,
)
from sluicegate.judges.forms import FORMS
from sluicegate.judges.jury import judge_digest, judge_rows

__all__ = [
    "FORMS",
    "METRIC",
    "Criterion",
    "JudgeRow",
    "Judged",
    "criterion_path",
    "judge_digest",
    "judge_rows",
    "list_criteria",
    "load_criterion",
]
