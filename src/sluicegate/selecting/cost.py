"""Total cost of ownership: tokens at list price against machine hours, with set-up and upkeep."""

from __future__ import annotations

import math

from sluicegate.config import PriceParams
from sluicegate.selecting.options import Cost
from sluicegate.selecting.plan import Assumptions

MONTH = 730.0
"""Hours in a month."""


def endpoint_cost(
    prompt_tokens: float, answer_tokens: float, price: PriceParams, assumed: Assumptions
) -> Cost:
    """Cost of an endpoint: tokens of a mean request at list price, set-up and upkeep.

    Args:
        prompt_tokens, answer_tokens: of a mean request.
        price: money per million tokens.

    Example:
        >>> endpoint_cost(300, 60, PriceParams(input=1.0, output=5.0),
        ...     Assumptions(labour_hour=0)).per_1000
        0.6
    """
    tokens = (
        assumed.requests_per_month
        * (prompt_tokens * price.input + answer_tokens * price.output)
        / 1e6
    )
    return _total(
        {"tokens at list price": tokens},
        assumed.endpoint.setup,
        assumed.endpoint.upkeep_per_month,
        assumed,
    )


def local_cost(answer_tokens: float, throughput: float, assumed: Assumptions) -> Cost:
    """Cost of a model on such machines: hours at the throughput found, set-up and upkeep.

    Args:
        answer_tokens: new tokens of a mean request.
        throughput: new tokens a second, measured with many requests at once.

    Raises:
        ValueError: the throughput is not positive.

    Example:
        >>> assumed = Assumptions(labour_hour=0, machine_hour=1.0, utilisation=0.5,
        ...     requests_per_month=36_000)
        >>> local_cost(100, 100.0, assumed).per_month
        20.0
        >>> local_cost(100, 100.0, assumed.model_copy(update={"always_on": True})).parts["machines"]
        730.0
    """
    if throughput <= 0:
        raise ValueError(f"a throughput of {throughput} means that nothing is answered")
    hours = assumed.requests_per_month * answer_tokens / throughput / 3600 / assumed.utilisation
    if assumed.always_on:
        hours = MONTH * max(1, math.ceil(hours / MONTH))
    machines = {"machines": hours * assumed.machine_hour}
    return _total(machines, assumed.local.setup, assumed.local.upkeep_per_month, assumed)


def _total(parts: dict[str, float], setup: float, upkeep: float, assumed: Assumptions) -> Cost:
    parts = {
        **parts,
        f"set-up, spread over {assumed.months} months": setup
        * assumed.labour_hour
        / assumed.months,
        "upkeep": upkeep * assumed.labour_hour,
    }
    month = math.fsum(parts.values())
    requests = assumed.requests_per_month
    return Cost(month, month / requests * 1000 if requests else 0.0, parts)
