"""A window of traffic against the reference profile: is it the same traffic, and what moved?"""

from __future__ import annotations

from sluicegate.monitoring.checking import MINIMUM_ROWS, check_profile, check_rows
from sluicegate.monitoring.embedding import AUTO, text_encoder
from sluicegate.monitoring.explaining import likely_cause, moved_columns
from sluicegate.monitoring.meaning import Finding, findings
from sluicegate.monitoring.representing import golden_represents_traffic
from sluicegate.monitoring.rows import Row
from sluicegate.monitoring.samples import samples
from sluicegate.monitoring.windows import profile_reference, profile_traffic, read_window

__all__ = [
    "AUTO", "MINIMUM_ROWS", "Finding", "Row",
    "check_profile", "check_rows", "findings", "golden_represents_traffic", "likely_cause",
    "moved_columns",
    "profile_reference", "profile_traffic", "read_window", "samples", "text_encoder",
]  # fmt: skip
