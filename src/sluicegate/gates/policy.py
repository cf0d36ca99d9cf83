"""registry/gates.yaml, read strictly: which rules a release must meet, and how sure the gate has to be."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, model_validator

from sluicegate.config import Strict
from sluicegate.hashing import digest_value


class Rule(Strict):
    """One line of the policy. Which fields a kind takes is in `gates.RULES`; a field that it does not take is an error.

    `direction` overrides the metric's own (higher or lower is better), `range` its smallest and largest possible score.
    `compare: bound` asks the confidence bound to clear an absolute threshold, `mean` only the mean.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    kind: str
    metric: str = ""
    threshold: FiniteFloat | None = None
    margin: Annotated[FiniteFloat, Field(ge=0)] | None = None
    fact: str = ""
    accept: tuple[str, ...] = ()
    compare: Literal["bound", "mean"] | None = None
    direction: Literal["higher", "lower"] | None = None
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    severity: Literal["block", "warn"] = "block"

    @model_validator(mode="after")
    def _range_in_order(self) -> Rule:
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("range: the smallest score must be below the largest")
        return self


class Policy(Strict):
    """The whole of gates.yaml.

    Attributes:
        alpha: one-sided error rate of every rule: a release exactly at the margin passes at most this often.
        power: chance of a pass at the number of examples that the gate recommends.
        minimum_examples: below this nothing is promoted, whatever the scores.
    """

    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    power: Annotated[float, Field(ge=0.5, le=0.99)] = 0.8
    minimum_examples: Annotated[int, Field(ge=2)] = 20
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_and_a_block(self) -> Policy:
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError("rules: two rules have the same name")
        if all(rule.severity == "warn" for rule in self.rules):
            raise ValueError("rules: at least one rule must block, or everything would pass")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the policy's meaning: comments and key order do not change it."""
        return digest_value(self.model_dump(mode="json"))
