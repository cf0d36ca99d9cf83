"""What people read: the verdict (Markdown, terminal), the release report (one HTML file), the model
card, and what the gate leaves in CI (a comment, JUnit XML).

Pure: values in, text out. Whoever calls writes the files.
"""

from __future__ import annotations

from sluicegate.cards.comment import comment_markdown
from sluicegate.cards.gate_report import GateReport, gate_html
from sluicegate.cards.junit import junit_xml
from sluicegate.cards.model_card import render_model_card
from sluicegate.cards.report import ReportContext, report_html
from sluicegate.cards.verdict import verdict_markdown
from sluicegate.cards.verdict_text import verdict_text

__all__ = [
    "GateReport",
    "ReportContext",
    "comment_markdown",
    "gate_html",
    "junit_xml",
    "render_model_card",
    "report_html",
    "verdict_markdown",
    "verdict_text",
]
