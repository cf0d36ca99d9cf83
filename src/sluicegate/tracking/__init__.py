"""MLflow as a notebook of what happened: the only module that imports it.

MLflow holds runs, curves, tables and artefacts, and a projection of releases, prompts and the
champion for people to read. It decides nothing: the ledger does. Everything here can be deleted and
projected again.
"""

from __future__ import annotations

from sluicegate.tracking.human_words import HumanWord
from sluicegate.tracking.runs import RunHandle
from sluicegate.tracking.service import Tracking
from sluicegate.tracking.traces import About, Opinion, TracedAnswer

__all__ = ["About", "HumanWord", "Opinion", "RunHandle", "TracedAnswer", "Tracking"]
