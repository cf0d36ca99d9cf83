"""Sluicegate: a release line for LLM applications.

    >>> import sluicegate
    >>> sluicegate.Decision.HOLD.value
    'HOLD'

The names in `__all__` are the public API; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_WHERE = {
    "Answer": "applications.answers",
    "Champion": "records",
    "Decision": "records",
    "Evidence": "records",
    "Example": "records",
    "Feedback": "traffic",
    "Generation": "records",
    "GenerationSettings": "records",
    "Ledger": "ledger",
    "Lineage": "records",
    "Policy": "gates",
    "Project": "project",
    "Prompt": "prompts",
    "Release": "records",
    "SluiceError": "errors",
    "TrafficLog": "traffic",
    "TrafficRow": "traffic",
    "Verdict": "records",
    "decide": "gates",
    "evaluate": "evaluation",
    "find_project": "project",
    "history": "releasing",
    "load_policy": "gates",
    "load_prompt": "prompts",
    "load_stored": "releasing",
    "promote": "releasing",
    "render": "prompts",
    "rollback": "releasing",
    "verify": "releasing",
}
__all__ = [
    "Answer",
    "Champion",
    "Decision",
    "Evidence",
    "Example",
    "Feedback",
    "Generation",
    "GenerationSettings",
    "Ledger",
    "Lineage",
    "Policy",
    "Project",
    "Prompt",
    "Release",
    "SluiceError",
    "TrafficLog",
    "TrafficRow",
    "Verdict",
    "decide",
    "evaluate",
    "find_project",
    "history",
    "load_policy",
    "load_prompt",
    "load_stored",
    "promote",
    "render",
    "rollback",
    "verify",
]

if TYPE_CHECKING:
    from sluicegate.applications.answers import Answer
    from sluicegate.errors import SluiceError
    from sluicegate.evaluation import evaluate
    from sluicegate.gates import Policy, decide, load_policy
    from sluicegate.ledger import Ledger
    from sluicegate.project import Project, find_project
    from sluicegate.prompts import Prompt, load_prompt, render
    from sluicegate.records import (
        Champion,
        Decision,
        Evidence,
        Example,
        Generation,
        GenerationSettings,
        Lineage,
        Release,
        Verdict,
    )
    from sluicegate.releasing.history import history, verify
    from sluicegate.releasing.moving import promote, rollback
    from sluicegate.releasing.storing import load_stored
    from sluicegate.traffic import Feedback, TrafficLog, TrafficRow


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'sluicegate' has no attribute {name!r}")
    return getattr(import_module(f"sluicegate.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
