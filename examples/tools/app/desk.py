"""A kitchen shop's desk: one prompt chooses a tool, which code calls; another words the reply."""

from __future__ import annotations

import json
from typing import Any

from app.tools import NOTHING, use
from sluicegate import Answer


def answer(inputs: dict[str, str], app: Any) -> Answer:
    """The reply to one message, with the tool that was called and what it said."""
    message = inputs["message"]
    call = chosen(app, message)
    result = use(call, app.data("app/book.json"))
    prompt = app.prompt("reply").render(message=message, result=result)
    said = app.model().ask(prompt).text.strip()
    return Answer(said, tool_calls=[call], contexts=[{"id": call["name"], "text": result}])


def chosen(app: Any, message: str) -> dict[str, Any]:
    """The tool that the model chooses; a person where it names none that there is."""
    said = app.model().ask(app.prompt("route").render(message=message), max_tokens=60).text
    try:
        named = json.loads(said)
        tool, number = str(named["tool"]), str(named["number"])
    except (ValueError, KeyError, TypeError):
        tool, number = NOTHING, ""
    if tool not in app.settings["tools"]:
        tool = NOTHING
    return {"name": tool, "arguments": {"number": "" if tool == NOTHING else number}}
