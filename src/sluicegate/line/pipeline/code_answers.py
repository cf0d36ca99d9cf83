"""Answers of releases whose application is code of the project, and what it asked for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sluicegate.applications.calls import Role, Stale
from sluicegate.applications.process import key_variables
from sluicegate.applications.running import Answered, Row, answer_rows
from sluicegate.budget import Budget
from sluicegate.config import MAIN
from sluicegate.generating import Call
from sluicegate.hashing import write_atomic
from sluicegate.line.pipeline.contender import Contender, open_contender
from sluicegate.line.progress import counter, say
from sluicegate.line.run import Run
from sluicegate.models import price_of
from sluicegate.project import Project
from sluicegate.records import Example, Generation

FILE = "calls.jsonl"


@dataclass(frozen=True, slots=True)
class CodeAnswers:
    """One answer per row and repeat, in their order, all rows of a repeat together.

    `priced`: all of its models have a price.
    """

    rows: Sequence[Answered]
    priced: bool

    @property
    def answers(self) -> list[Generation]:
        """Without what was asked for them."""
        return [row.generation for row in self.rows]

    @property
    def cost_per_1000(self) -> dict[str, float]:
        """That operation, where it is known: every model at its own price."""
        if not self.priced:
            return {}
        cost = sum(call.cost for row in self.rows for call in row.calls)
        return {"cost_per_1000": 1000 * cost / max(len(self.rows), 1)}


def answer_code(
    run: Run, contenders: Mapping[str, Contender], golden: Sequence[Example]
) -> dict[str, CodeAnswers]:
    """The answers of those contenders whose application is code; nothing is asked twice.

    Kept answers of a model that says of itself that it is another one now are asked again before
    anything is compared.

    Raises:
        BudgetError, ConfigError, IncompleteError: see `answer_rows`.
    """
    stale: Stale = frozenset()
    while True:
        found = {
            name: _answered(run, name, one, golden, stale)
            for name, one in contenders.items()
            if one.application is not None
        }
        fresh = _stale(found.values())
        if not fresh - stale:
            return found
        say("  what answers by a model's name has changed: kept answers are asked again")
        stale |= fresh


def _answered(
    run: Run, name: str, contender: Contender, golden: Sequence[Example], stale: Stale
) -> CodeAnswers:
    assert contender.application is not None, "the caller chose it"
    roles, priced = dict[str, Role](), True
    for role, model in contender.roles.items():
        main = role == MAIN
        price = (run.params.release.price if main else None) or price_of(model.spec)
        priced = priced and price is not None
        opened = open_contender(run, model, contender.adapter if main else None)
        money = (price.input, price.output) if price else (0.0, 0.0)
        roles[role] = Role(model.name, opened, money)
    rows = answer_rows(
        contender.application,
        [
            Row(example.id, example.inputs, repeat)
            for repeat in range(run.params.evaluate.repeats)
            for example in golden
        ],
        roles,
        contender.generation,
        cache=run.project.generations,
        budget=Budget.of_this_run(),
        hidden=key_variables(run.models),
        stale=stale,
        progress=counter(name),
    )
    return CodeAnswers(rows, priced)


def _stale(sides: Iterable[CodeAnswers]) -> Stale:
    """Kept answers of those who do not answer now; where nothing was asked now, of those who have
    not answered all releases.
    """
    said: dict[str, list[set[str]]] = {}
    now: dict[str, set[str]] = {}
    for side in sides:
        calls = [call for row in side.rows for call in row.calls]
        for model in {call.model for call in calls}:
            mine = [call for call in calls if call.model == model]
            said.setdefault(model, []).append({call.answered_by for call in mine})
            fresh = {call.answered_by for call in mine if not call.cached}
            now[model] = now.get(model, set()) | fresh
    return frozenset(
        (model, who)
        for model, every in said.items()
        for who in every[0].union(*every) - (now[model] or every[0].intersection(*every))
    )


def write_calls(project: Project, golden: Sequence[Example], code: CodeAnswers) -> None:
    """Keep what the candidate asked the first time, row by row, for traces and for people."""
    lines = [
        json.dumps({"id": example.id, "calls": [asdict(call) for call in row.calls]})
        for example, row in zip(golden, code.rows, strict=False)
    ]
    write_atomic(project.evidence / FILE, "".join(f"{line}\n" for line in lines), mode=0o600)


def read_calls(project: Project) -> dict[str, tuple[Call, ...]]:
    """What the candidate asked, by row; nothing where its application is a prompt."""
    path: Path = project.evidence / FILE
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    return {
        row["id"]: tuple(
            Call(**{**call, "messages": tuple(call["messages"])}) for call in row["calls"]
        )
        for row in rows
    }
