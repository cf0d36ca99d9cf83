"""Ticket triage: a label and the order number, by two prompts on one model."""

from __future__ import annotations

from typing import Any

from sluicegate import Answer


def answer(inputs: dict[str, str], app: Any) -> Answer:
    """What is done with one ticket; `sluice release` calls it for every golden row."""
    ticket = inputs["ticket"]
    label = label_of(app, ticket)
    order = ""
    if label in app.settings["with_order"]:
        order = order_of(app, ticket)
    return Answer({"label": label, "order": order})


def label_of(app: Any, ticket: str) -> str:
    """One of the labels in params.yaml; the last of them where the model names none."""
    said = app.model().ask(app.prompt("classify").render(ticket=ticket), max_tokens=10).text
    words = said.lower().replace(".", " ").split()
    labels = app.settings["labels"]
    return next((word for word in words if word in labels), labels[-1])


def order_of(app: Any, ticket: str) -> str:
    """The order number as the customer wrote it; empty where there is none."""
    said = app.model().ask(app.prompt("order_number").render(ticket=ticket), max_tokens=20).text
    found = said.strip().strip(".")
    return found if found in ticket else ""
