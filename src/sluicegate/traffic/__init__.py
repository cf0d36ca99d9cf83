"""Traffic: what was asked and answered in production, and what people said about it.

    rows, log          `TrafficRow`, `Feedback`, `TrafficLog`: durable when `write` returns
    tables, reading    the tables, and reading them a page at a time
    group_commit       many writers share one transaction
    people             names as keyed hashes
    erasing, parquet   retention, export
    intake, serving    FastAPI: POST rows and feedback; a server for it
    otel, dialects, messages, jsonl, importing    rows from files and from other tools

The text of a row is never run, rendered or put into a template: whatever it says, it is data.
"""

from __future__ import annotations

from sluicegate.traffic.log import TrafficLog
from sluicegate.traffic.rows import Feedback, TrafficRow, feedback_from, row_from

__all__ = ["Feedback", "TrafficLog", "TrafficRow", "feedback_from", "row_from"]
