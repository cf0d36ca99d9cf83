"""The forms of judging: a row says where a form is and what a criterion in it may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sluicegate.generating import Reply, Request
    from sluicegate.judges.base import JudgeRow, Opinion
    from sluicegate.judges.criteria import Criterion


@dataclass(frozen=True, slots=True)
class Form:
    """A form of judging.

    Attributes:
        module: holds `questions(criterion, row, seed)` and `opinion(criterion, row, replies)`; with
            `steps` also `ask_steps(criterion, model)`.
        scale: `given` by the file, described by its `levels`, or `unit`: 0 to 1, where 1 is good.
        token: a judge may answer with one token instead of JSON.
        digits: every score is one token, so that the scale lies between 0 and 9.
        steps: a criterion may name the steps to judge by; the judge writes them where it does not.
        compares: two answers are compared, and a score above 0.5 says that the first is better.
        shown: how many texts a judge has to see at least.
        levels: to how many levels scores are rounded against people's; 0 for those of the scale.
    """

    module: str
    scale: Literal["given", "levels", "unit"]
    token: bool = True
    digits: bool = False
    steps: bool = False
    compares: bool = False
    shown: int = 1
    levels: int = 0

    @property
    def code(self) -> ModuleType:
        """The module, imported when it is first used."""
        return import_module(self.module)

    def questions(self, criterion: Criterion, row: JudgeRow, seed: int) -> tuple[Request, ...]:
        """What the judge is asked about `row`.

        Raises:
            Unjudgeable: the row lacks what the criterion shows.
        """
        asked: tuple[Request, ...] = self.code.questions(criterion, row, seed)
        return asked

    def opinion(self, criterion: Criterion, row: JudgeRow, replies: Sequence[Reply]) -> Opinion:
        """What the replies to all of these questions make.

        Raises:
            Unreadable: a reply is not what was asked for.
        """
        found: Opinion = self.code.opinion(criterion, row, replies)
        return found


FORMS: dict[str, Form] = {
    "direct": Form("sluicegate.judges.direct", "given"),
    "geval": Form("sluicegate.judges.geval", "given", token=False, digits=True, steps=True),
    "rubric": Form("sluicegate.judges.rubric", "levels"),
    "pairwise": Form("sluicegate.judges.pairwise", "unit", compares=True, levels=3),
    "claims": Form("sluicegate.judges.claims", "unit", token=False, shown=2, levels=5),
}
