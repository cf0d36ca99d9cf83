"""Tool calls: were the right tools called, with the right arguments?

A call is `{"name": ..., "arguments": {...}}`, or one of OpenAI's, `{"function": {"name": ...,
"arguments": "{...}"}}`; its id does not count. Arguments that are JSON in a text are read; they are
the same where their values are, in whatever order their names come. A call that is expected without
`arguments` matches any. This is what MLflow's `ToolCallCorrectness` compares exactly, call by call:
a call made twice is two calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sluicegate.errors import EvidenceError
from sluicegate.metrics.base import Metric
from sluicegate.metrics.json_answers import NOT_JSON, listed, parsed

Call = tuple[str, Any]
"""Name and arguments; None where none are given."""


def tool_name_match(source: str, output: str, references: Sequence[str]) -> float:
    """1 when the tools called are those expected, each as often, in any order; else 0.

    Example:
        >>> tool_name_match("", '[{"name": "find"}]', ['[{"name": "find", "arguments": {"id": 1}}]'])
        1.0
    """
    found, wanted = calls(output), expected(references)
    return float(sorted(name for name, _ in found) == sorted(name for name, _ in wanted))


def tool_call_match(source: str, output: str, references: Sequence[str]) -> float:
    """1 when the calls are those expected, names and arguments, in any order; else 0.

    Example:
        >>> tool_call_match("", '[{"name": "find", "arguments": "{\\\\"id\\\\": 1.0}"}]',
        ...     ['[{"name": "find", "arguments": {"id": 1}}]'])
        1.0
    """
    left, wanted = calls(output), expected(references)
    for call in sorted(wanted, key=lambda one: one[1] is None):  # those that take any come last
        match = next((one for one in left if _same(one, call)), None)
        if match is None:
            return 0.0
        left.remove(match)
    return float(not left)


def tool_call_sequence(source: str, output: str, references: Sequence[str]) -> float:
    """1 when the calls are those expected, names and arguments, in the same order; else 0.

    Example:
        >>> tool_call_sequence("", '[{"name": "b"}, {"name": "a"}]',
        ...     ['[{"name": "a"}, {"name": "b"}]'])
        0.0
    """
    found, wanted = calls(output), expected(references)
    return float(len(found) == len(wanted) and all(map(_same, found, wanted)))


def calls(text: str) -> list[Call]:
    """The calls in a JSON list; what is no call has no name.

    Example:
        >>> calls('[{"function": {"name": "find", "arguments": "{}"}, "id": "c1"}]')
        [('find', {})]
    """
    return [_call(one) for one in listed(text)]


def expected(references: Sequence[str]) -> list[Call]:
    """The calls that a row expects.

    Raises:
        EvidenceError: something there is no call.
    """
    found = calls(references[0])
    if any(not name for name, _ in found):
        raise EvidenceError(
            f"expected are tool calls, but one has no name: {references[0]:.80}",
            hint='A call is {"name": ..., "arguments": {...}}.',
        )
    return found


def _call(one: Any) -> Call:
    held = one.get("function", one) if isinstance(one, dict) else {}
    if not isinstance(held, dict):
        return "", None
    name, arguments = held.get("name"), held.get("arguments")
    if isinstance(arguments, str):
        value = parsed(arguments or "{}")
        arguments = arguments if value is NOT_JSON else value
    return name if isinstance(name, str) else "", arguments


def _same(found: Call, wanted: Call) -> bool:
    return found[0] == wanted[0] and (wanted[1] is None or (found[1] or {}) == wanted[1])


def _metric(name: str, score: Callable[[str, str, Sequence[str]], float]) -> Metric:
    best = '[{"name":"find","arguments":{"id":1}}]'
    return Metric(
        name, "higher", "0 or 1", (0.0, 1.0), score, reads="tool_calls", best=("", best, best)
    )


TOOL_CALLS = (
    _metric("tool_name_match", tool_name_match),
    _metric("tool_call_match", tool_call_match),
    _metric("tool_call_sequence", tool_call_sequence),
)
