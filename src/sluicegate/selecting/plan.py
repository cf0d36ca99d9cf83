"""registry/selection.yaml, read strictly: candidates, what rules one out, what costs assume."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat, model_validator

from sluicegate.config import Positive
from sluicegate.yaml_file import Strict

Amount = Annotated[FiniteFloat, Field(ge=0)]


class Latency(Strict):
    """How response times are measured: one request at a time, `repeats` at three prompt lengths.

    `new_tokens` is the longest answer; the first token apart from the others is what reading the
    prompt takes. For the throughput `at_once` prompts are asked together.
    """

    repeats: Annotated[int, Field(ge=2, le=200)] = 5
    new_tokens: Annotated[int, Field(ge=2, le=4096)] = 32
    at_once: Annotated[int, Field(ge=1, le=1024)] = 32


class Needs(Strict):
    """What a candidate has to meet; what is left out rules nobody out.

    An unknown is never taken for a yes.

    Attributes:
        commercial_use: the licence has to allow it (`commercial` in models.yaml).
        residency: where data may go, e.g. `[on-premises, EU]`; empty is anywhere.
        quality_limit: the worse end of the 95 % interval of the quality metric is at least this
            good.
        latency_p95_at_most: seconds for a whole answer.
        memory_gib_at_most: of a process with the model; local models only.
        cost_per_month_at_most: in the currency of the assumptions.
    """

    commercial_use: bool = False
    residency: tuple[str, ...] = ()
    quality_limit: FiniteFloat | None = None
    latency_p95_at_most: Amount | None = None
    memory_gib_at_most: Amount | None = None
    cost_per_month_at_most: Amount | None = None


class Hours(Strict):
    """Hours of work for one kind of model: to set it up, and every month after."""

    setup: Amount
    upkeep_per_month: Amount


class Assumptions(Strict):
    """What the total cost of ownership rests on; printed with every result.

    Attributes:
        machine_hour: price of an hour of a machine like the one that measures.
        utilisation: share of a rented machine's hours in which it has work.
        always_on: machines are rented around the clock, whole ones.
        labour_hour: price of an hour of work.
    """

    currency: str = "USD"
    requests_per_month: Amount = 100_000
    months: Positive = 12
    machine_hour: Amount = 0.10
    utilisation: Annotated[float, Field(gt=0, le=1)] = 0.5
    always_on: bool = False
    labour_hour: Amount = 80
    local: Hours = Hours(setup=24, upkeep_per_month=4)
    endpoint: Hours = Hours(setup=4, upkeep_per_month=1)


class SelectionFile(Strict):
    """The whole of registry/selection.yaml.

    Attributes:
        candidates: names in registry/models.yaml.
        metrics: of registry params, scored on the golden set; `quality` is the one that decides.
        examples: how many golden rows, the first by id; 0 is all.
        close_enough: a loss of quality smaller than this counts as none.
        alpha: one-sided error rate of "as good as the best", all candidates together.
    """

    candidates: tuple[str, ...] = Field(min_length=1)
    metrics: tuple[str, ...] = Field(min_length=1)
    quality: str
    examples: Annotated[int, Field(ge=0)] = 0
    close_enough: Annotated[FiniteFloat, Field(gt=0)] = 0.05
    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    latency: Latency = Latency()
    needs: Needs = Needs()
    assumptions: Assumptions = Assumptions()

    @model_validator(mode="after")
    def _one_name_each(self) -> SelectionFile:
        if len(set(self.candidates)) != len(self.candidates):
            raise ValueError("candidates: one is named twice")
        if self.quality not in self.metrics:
            raise ValueError("quality: must be one of metrics")
        if any(metric.startswith("judge:") for metric in self.metrics):
            raise ValueError(
                "metrics: a judge cannot be asked here; it is calibrated for the gate of one "
                "project"
            )
        return self
