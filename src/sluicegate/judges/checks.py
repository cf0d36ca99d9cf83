"""What a judge has to show before it counts: one `Check` each, with the figures in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sluicegate.config import CalibrationParams
from sluicegate.judges.agreement import Interval
from sluicegate.judges.measuring import Sample


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a judge has to show, whether it did, and the figures in words."""

    name: str
    passed: bool
    said: str


def checks_of(
    data: Sample,
    measured: Mapping[str, Interval],
    above: Mapping[str, Interval],
    missed: Sequence[str],
    known: Mapping[str, int],
    params: CalibrationParams,
) -> tuple[Check, ...]:
    """What has to be shown, in reading order; a measure that is missing has not been shown."""
    enough = known["groups"] >= params.minimum_groups
    found = [
        Check(
            "enough rows",
            enough,
            f"{known['groups']} independent rows, {params.minimum_groups} are required",
        ),
        Check("every row judged", not known["failed"], f"{known['failed']} rows without a verdict"),
        _at_least(
            "agrees with people",
            data.headline,
            measured,
            params.accuracy if data.pairwise else params.correlation,
        ),
        *(
            Check(
                f"better than '{name}'",
                found.low > 0.0,
                f"{data.headline} {_figures(found, signed=True)} above it",
            )
            for name, found in above.items()
        ),
    ]
    if data.pairwise:
        found.append(_at_most("order of the answers", "position_bias", measured, params.position))
    found.append(_at_most("length", "length_bias", measured, params.length))
    found.append(_at_least("same answer again", "self_consistency", measured, params.consistency))
    noticed, total = known["sentinels"] - len(missed), known["sentinels"]
    share = noticed / total if total else 0.0
    said = f"{noticed} of {total} noticed, a share of {params.sentinels:g} is required"
    found.append(
        Check(
            "known-bad answers",
            share >= params.sentinels,
            said if total else "there are none to notice",
        )
    )
    return tuple(found)


def _at_least(title: str, name: str, measured: Mapping[str, Interval], threshold: float) -> Check:
    found = measured.get(name)
    if found is None:
        return Check(title, False, f"{name} could not be measured")
    return Check(
        title,
        found.low >= threshold,
        f"{name} {_figures(found)}, at least {threshold:g} is required",
    )


def _at_most(title: str, name: str, measured: Mapping[str, Interval], threshold: float) -> Check:
    found = measured.get(name)
    if found is None:
        return Check(title, False, f"{name} could not be measured")
    passed = max(abs(found.low), abs(found.high)) <= threshold
    return Check(title, passed, f"{name} {_figures(found)}, at most {threshold:g} is allowed")


def _figures(found: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{found.value:{sign}.2f} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"
