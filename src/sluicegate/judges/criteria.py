"""Criteria: prompts/judge_<name>.yaml, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sluicegate.config import Positive
from sluicegate.errors import ConfigError
from sluicegate.hashing import digest_value
from sluicegate.judges.base import JudgeRow
from sluicegate.judges.forms import FORMS
from sluicegate.yaml_file import Strict, load

PREFIX = "judge_"
METRIC = "judge:"
PARTS = ("source", "output", "reference")
DIGITS = (0, 9)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class SentinelFile(Strict):
    """A known-bad answer with all that the judge sees of its row.

    `other`: a good answer (pairwise only).
    """

    output: str = ""
    source: str = ""
    reference: str = ""
    other: str = ""
    inputs: dict[str, str] = Field(default_factory=dict)


class CriterionFile(Strict):
    """The schema of prompts/judge_*.yaml; see `Criterion` for the meaning of the fields."""

    name: str
    form: str
    criterion: Annotated[str, Field(min_length=1, max_length=20_000)]
    judges: tuple[str, ...] = Field(min_length=1)
    scale: tuple[int, int] | None = None
    steps: tuple[str, ...] = ()
    levels: dict[int, str] = Field(default_factory=dict)
    direction: Literal["higher", "lower"] = "higher"
    needs_reference: bool = False
    shows: tuple[str, ...] = ("source", "output")
    answer: Literal["json", "token"] = "json"
    max_tokens: Positive = 512
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    repeats: Literal["worst", "judged"] = "worst"
    min_words: Annotated[int, Field(ge=0)] = 0
    max_characters: Positive = 20_000
    sentinels: tuple[SentinelFile, ...] = ()
    owner: str = ""
    notes: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> CriterionFile:
        problem = _problem(self)
        if problem:
            raise ValueError(problem)
        return self


@dataclass(frozen=True, slots=True)
class Criterion:
    """A validated criterion.

    Attributes:
        name: as in the metric `judge:<name>`.
        form: a row of `FORMS`.
        text: what is asked for, in words.
        judges: names in registry/models.yaml; several are a jury.
        scale: lowest and highest integer that a judge may give; (0, 1) where the form has none.
        steps: how to go about it (geval); the judge is asked for them where there are none.
        levels: score to description (rubric).
        direction: whether the high end of the scale is good (`higher`) or bad (`lower`).
        needs_reference: whether the judge is shown a right answer.
        shows: what the judge sees: source, output, reference or names of the prompt's variables, in
            this order.
        answer: `json`, or `token` for models too small to write JSON: the first token of an opened
            answer is the score; of a pair, the likelier of the two tokens is the choice.
        max_tokens, temperature: of one answer.
        repeats: `worst`: one answer to many different sources scores the worst without a call;
            `judged`: it is judged.
        min_words, max_characters: shorter or longer answers score the worst without a call.
        sentinels: known-bad answers; a judge that praises one has failed.
    """

    name: str
    form: str
    text: str
    judges: tuple[str, ...]
    scale: tuple[int, int]
    steps: tuple[str, ...] = ()
    levels: tuple[tuple[int, str], ...] = ()
    direction: Literal["higher", "lower"] = "higher"
    needs_reference: bool = False
    shows: tuple[str, ...] = ("source", "output")
    answer: Literal["json", "token"] = "json"
    max_tokens: int = 512
    temperature: float = 0.0
    repeats: Literal["worst", "judged"] = "worst"
    min_words: int = 0
    max_characters: int = 20_000
    sentinels: tuple[JudgeRow, ...] = ()
    owner: str = ""
    notes: str = ""

    @property
    def metric(self) -> str:
        """The name of its scores in evidence and policy."""
        return f"{METRIC}{self.name}"

    @property
    def compares(self) -> bool:
        """Whether two answers are compared, rather than one scored."""
        return FORMS[self.form].compares

    @property
    def worst(self) -> float:
        """The score of an answer that says nothing: the bad end of [0, 1]."""
        return 0.0 if self.direction == "higher" else 1.0

    @property
    def digest(self) -> str:
        """SHA-256 of all but owner, notes and the judges (whose identities are their own)."""
        left_out = ("owner", "notes", "judges", "sentinels")
        said = {
            name: getattr(self, name) for name in sorted(self.__slots__) if name not in left_out
        }
        rows = [
            [bad.source, bad.output, bad.references, bad.other, dict(bad.inputs)]
            for bad in self.sentinels
        ]
        return digest_value({**said, "sentinels": rows})


def load_criterion(path: Path) -> Criterion:
    """Read one criterion file.

    Raises:
        ConfigError: missing, malformed, a field that its form does not take, or a name that is not
            the file's.
    """
    file = load(path, CriterionFile)
    if path.stem != f"{PREFIX}{file.name}" or not _NAME.fullmatch(file.name):
        raise ConfigError(
            f"{path}: name: {file.name!r} must be the file's name without `{PREFIX}` and hold "
            "only a-z, 0-9, _ and -.",
            hint=f"Name the file {PREFIX}{file.name}.yaml, or change `name`.",
        )
    scale = file.scale or ((min(file.levels), max(file.levels)) if file.levels else (0, 1))
    values = file.model_dump(exclude={"criterion", "scale", "levels", "sentinels"})
    levels = tuple(sorted(file.levels.items()))
    return Criterion(
        **values, text=file.criterion, scale=scale, levels=levels, sentinels=_sentinels(file)
    )


def list_criteria(folder: Path) -> list[Criterion]:
    """All criteria of a project's prompts folder, by name.

    Raises:
        ConfigError: see `load_criterion`.
    """
    return [load_criterion(path) for path in sorted(folder.glob(f"{PREFIX}*.yaml"))]


def criterion_path(folder: Path, metric: str) -> Path:
    """Where the criterion of `judge:<name>` (or of a bare name) is; the file may be absent.

    Raises:
        ConfigError: the name has characters that no criterion's has.

    Example:
        >>> criterion_path(Path("prompts"), "judge:coherence").as_posix()
        'prompts/judge_coherence.yaml'
    """
    name = metric.removeprefix(METRIC)
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{metric!r} is not the metric of a criterion.",
            hint="Write judge:<name> for prompts/judge_<name>.yaml.",
        )
    return folder / f"{PREFIX}{name}.yaml"


def _sentinels(file: CriterionFile) -> tuple[JudgeRow, ...]:
    return tuple(
        JudgeRow(
            f"sentinel-{place}",
            bad.source,
            bad.output,
            (bad.reference,) * bool(bad.reference),
            bad.other,
            bad.inputs,
        )
        for place, bad in enumerate(file.sentinels, start=1)
    )


def _problem(file: CriterionFile) -> str:
    """What is wrong between the fields, or nothing."""
    if file.form not in FORMS:
        return f"form: {file.form!r} is unknown; forms: {', '.join(FORMS)}"
    return _scale_problem(file) or _parts_problem(file) or _sentinel_problem(file)


def _scale_problem(file: CriterionFile) -> str:
    form = FORMS[file.form]
    takes_scale = form.scale == "given"
    if takes_scale != (file.scale is not None):
        wanted = "needs one, e.g. [1, 5]" if takes_scale else "has none"
        return f"scale: a {file.form} criterion {wanted}"
    if file.scale and not -1000 <= file.scale[0] < file.scale[1] <= 1000:
        return "scale: two integers between -1000 and 1000, the lower first"
    if (form.scale == "levels") != bool(file.levels):
        return (
            f"levels: a {file.form} criterion "
            f"{'has none' if file.levels else 'describes each score'}"
        )
    if file.levels and (
        len(file.levels) < 2 or max(file.levels) - min(file.levels) != len(file.levels) - 1
    ):
        return "levels: two scores or more, without a gap"
    if file.steps and not form.steps:
        able = " or ".join(name for name, row in FORMS.items() if row.steps)
        return f"steps: only a {able} criterion has steps"
    if file.answer == "token" and not form.token:
        return f"answer: a {file.form} criterion needs json"
    low, high = file.scale or (min(file.levels, default=0), max(file.levels, default=1))
    read = form.digits or file.answer == "token"
    if read and not DIGITS[0] <= low < high <= DIGITS[1]:
        return (
            "scale: scores that are read from token probabilities lie between 0 and 9, "
            "one token each"
        )
    return ""


def _parts_problem(file: CriterionFile) -> str:
    if not file.criterion.strip() or not all(
        step.strip() for step in (*file.steps, *file.levels.values())
    ):
        return "criterion, steps and levels must say something"
    if len(set(file.shows)) != len(file.shows) or not all(
        _PART.fullmatch(part) for part in file.shows
    ):
        return "shows: source, output, reference or names of inputs, none of them twice"
    if ("reference" in file.shows) != file.needs_reference:
        return (
            "shows: a criterion shows the reference if, and only if, it needs one (needs_reference)"
        )
    form = FORMS[file.form]
    if form.scale == "unit" and "output" not in file.shows:
        return f"shows: a {file.form} criterion shows the output"
    if len(file.shows) < form.shown:
        return "shows: the output is held against something besides itself"
    if form.scale == "unit" and file.direction != "higher":
        return f"direction: a {file.form} criterion is better when higher"
    if len(set(file.judges)) != len(file.judges):
        return "judges: none may be named twice"
    return ""


def _sentinel_problem(file: CriterionFile) -> str:
    for number, bad in enumerate(file.sentinels, start=1):
        given = {
            "source": bad.source,
            "output": bad.output,
            "reference": bad.reference,
            **bad.inputs,
        }
        lacking = [part for part in file.shows if not given.get(part, "").strip()]
        if lacking:
            return f"sentinels: number {number} has no {', '.join(lacking)}"
        if FORMS[file.form].compares != bool(bad.other.strip()):
            return (
                f"sentinels: number {number}: `other` (a good answer) belongs to a criterion "
                "that compares two answers, and only there"
            )
    return ""
