"""Answers that cost nothing, to be shown beside every release: what a model must beat to be worth
its price.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sluicegate.errors import ConfigError
from sluicegate.evaluation.scoring import source_text
from sluicegate.records import Example, Generation

_SPEAKER = re.compile(r"^\s*(?:customer|agent|user|assistant|system)\s*:\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'\u201d\u2019)]*\s+")


def lead2(examples: Sequence[Example]) -> list[Generation]:
    """The first two sentences of each example's inputs, speaker labels removed; a line break also
    ends a sentence.

    Example:
        >>> row = Example("1", "g",
        ...     {"conversation": "Customer: Hi! My bag is lost. Help\\nAgent: Sure."}, ("-",), "s")
        >>> lead2([row])[0].text
        'Hi! My bag is lost.'
    """
    return [
        Generation(" ".join(_sentences(source_text(example.inputs))[:2]), 0, 0, 0.0, finished=True)
        for example in examples
    ]


BASELINES: dict[str, Callable[[Sequence[Example]], list[Generation]]] = {"lead2": lead2}
"""By the names that `evaluate.baselines` of params.yaml uses."""


def find_baseline(name: str) -> Callable[[Sequence[Example]], list[Generation]]:
    """The row of `BASELINES` called `name`.

    Raises:
        ConfigError: there is none.
    """
    if name not in BASELINES:
        raise ConfigError(
            f"params.yaml: evaluate.baselines: {name!r} is unknown.",
            hint=f"Baselines: {', '.join(BASELINES)}.",
        )
    return BASELINES[name]


def _sentences(text: str) -> list[str]:
    lines = (_SPEAKER.sub("", line).strip() for line in text.splitlines())
    return [
        part.strip() for line in lines if line for part in _SENTENCE_END.split(line) if part.strip()
    ]
