"""Choosing a base model: quality, speed and cost of each candidate, and the decision.

plan        registry/selection.yaml: candidates, needs, assumptions
measuring   response times, prompt and answer apart
cost        total cost of ownership
deciding    what rules a candidate out, and which of the rest
"""

from sluicegate.selecting.cost import endpoint_cost, local_cost
from sluicegate.selecting.deciding import Choice, Step, choose, pareto_front
from sluicegate.selecting.measuring import quantiles, throughput, timed
from sluicegate.selecting.options import Cost, Option, Speed, Timing
from sluicegate.selecting.plan import Assumptions, SelectionFile

__all__ = [
    "Assumptions",
    "Choice",
    "Cost",
    "Option",
    "SelectionFile",
    "Speed",
    "Step",
    "Timing",
    "choose",
    "endpoint_cost",
    "local_cost",
    "pareto_front",
    "quantiles",
    "throughput",
    "timed",
]
