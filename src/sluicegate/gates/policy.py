"""registry/gates.yaml, read strictly: which rules a release must meet, and how sure the gate has to
be.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, model_validator

from sluicegate.hashing import digest_value
from sluicegate.yaml_file import Strict


class Rule(Strict):
    """One line of the policy.

    Which fields a kind takes is in `gates.RULES`; a field that it does not take is an error.

    `at_least`: how many of the repeats of a critical row have to be right; all where it is absent.
    `direction` overrides the metric's own (higher or lower is better), `range` its smallest and
    largest possible score. `compare: bound` asks the confidence bound to clear an absolute
    threshold, `mean` only the mean. `baseline` names answers that cost nothing, such as `lead2`.
    `worst_loss`: a row's loss counts as so much at most, in the metric's unit; what is promised is
    about the mean of such differences. `way`: the rule is only for changes that are to improve
    something, or only for those that are to change nothing. `slice` names a column of the golden
    set: the rule has to hold
    in each of its values that has `minimum_slice` (default 10) rows. `pairs`: how many differing
    answers people review, all where it is absent; `reviewers`: how many people each pair needs (1);
    `no_unsafe`: one answer of the candidate that anybody marked unsafe rejects it.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    kind: str
    metric: str = ""
    metrics: tuple[str, ...] = ()
    threshold: FiniteFloat | None = None
    margin: Annotated[FiniteFloat, Field(ge=0)] | None = None
    worst_loss: Annotated[FiniteFloat, Field(gt=0)] | None = None
    fact: str = ""
    baseline: str = ""
    accept: tuple[str, ...] = ()
    compare: Literal["bound", "mean"] | None = None
    direction: Literal["higher", "lower"] | None = None
    range: tuple[FiniteFloat, FiniteFloat] | None = None
    at_least: Annotated[int, Field(ge=1)] | None = None
    slice: str = ""
    minimum_slice: Annotated[int, Field(ge=2)] | None = None
    severity: Literal["block", "warn"] = "block"
    way: Literal["improve", "neutral"] | None = None
    pairs: Annotated[int, Field(ge=1)] | None = None
    reviewers: Annotated[int, Field(ge=1)] | None = None
    no_unsafe: bool = False

    @model_validator(mode="after")
    def _range_in_order(self) -> Rule:
        if len(set(self.metrics)) != len(self.metrics) or not all(self.metrics):
            raise ValueError("metrics: every entry needs a name, and no name may occur twice")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError("range: the smallest score must be below the largest")
        return self


class Approvals(Strict):
    """Whose consent a promotion needs.

    Attributes:
        required: how many people have to approve, each another one, none of them the one who made
            the release.
        role: the role that an approver holds.
        wait_hours: how long the line waits for them before the promotion is held.
        people: name, as recorded in the ledger, to the roles that this person holds.
    """

    required: Annotated[int, Field(ge=1)]
    role: Annotated[str, Field(min_length=1)]
    wait_hours: Annotated[FiniteFloat, Field(gt=0)] = 72.0
    people: dict[str, tuple[str, ...]]

    @model_validator(mode="after")
    def _enough_people(self) -> Approvals:
        able = sum(self.role in roles for roles in self.people.values())
        if able < self.required:
            raise ValueError(
                f"approvals: {self.required} with the role {self.role!r} required, but "
                f"{able} of people have it"
            )
        return self


_LATER = ("baseline", "worst_loss", "way", "at_least", "pairs", "reviewers", "no_unsafe")
"""Fields of a rule that came later: left out where they say nothing, so that digests stay."""


class Policy(Strict):
    """The whole of gates.yaml.

    Attributes:
        alpha: one-sided error rate: the chance that any evaluation on a golden set promotes a
            release that is exactly at the margin is at most this.
        power: chance of a pass at the number of examples that the gate recommends.
        minimum_examples: below this nothing is promoted, whatever the scores.
        submissions: how many verdicts one golden set may give before its share of error is used up.
        spending: `front` gives the first of them most of alpha, `even` the same to each.
        approvals: whose consent a promotion needs besides the verdict; nobody's where absent.
        rewards: operation to the share that a candidate has to save of it against the champion, so
            that it may pass as neutral, too: `{cost_per_1000: 0.1}`.
    """

    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    power: Annotated[float, Field(ge=0.5, le=0.99)] = 0.8
    minimum_examples: Annotated[int, Field(ge=2)] = 20
    submissions: Annotated[int, Field(ge=1, le=1000)] = 20
    spending: Literal["front", "even"] = "front"
    approvals: Approvals | None = None
    rewards: dict[str, Annotated[FiniteFloat, Field(gt=0, lt=1)]] = Field(default_factory=dict)
    rules: tuple[Rule, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_and_a_block(self) -> Policy:
        names = [rule.name for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError("rules: two rules have the same name")
        if all(rule.severity == "warn" for rule in self.on("improve")):
            raise ValueError("rules: at least one rule must block, or everything would pass")
        if self.rewards and not self.neutral:
            raise ValueError("rewards: no rule has `way: neutral`, which is what they open")
        return self

    @property
    def neutral(self) -> bool:
        """Whether a change that improves nothing may pass: some rule is for such changes only."""
        return any(rule.way == "neutral" and rule.severity == "block" for rule in self.rules)

    def on(self, way: str) -> tuple[Rule, ...]:
        """The rules that hold on one way."""
        return tuple(rule for rule in self.rules if rule.way in (None, way))

    @property
    def content(self) -> dict[str, Any]:
        """What is hashed, and stored with a promotion."""
        content = self.model_dump(mode="json")
        for rule in content["rules"]:
            for later in _LATER:
                if not rule[later]:  # as before the field was there: verdicts stay in force
                    del rule[later]
        for later, unset in (("rewards", {}), ("spending", "front")):
            if content[later] == unset:
                del content[later]
        return content

    @property
    def digest(self) -> str:
        """SHA-256 of the policy's meaning: comments and key order do not change it."""
        return digest_value(self.content)
