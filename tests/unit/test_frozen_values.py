"""What gates and releasing pass around: values that nobody can change afterwards."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import FrozenInstanceError, fields, is_dataclass

import pytest

from sluicegate import gates, releasing


def values() -> list[type]:
    """Every dataclass that a module of the two packages defines."""
    found: set[type] = set()
    for package in (gates, releasing):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            known = vars(importlib.import_module(module.name)).values()
            found |= {
                value
                for value in known
                if isinstance(value, type) and value.__module__ == module.name
            }
    return sorted(
        (value for value in found if is_dataclass(value)), key=lambda value: value.__qualname__
    )


def test_the_values_are_found() -> None:
    """The cases of the next test are those that the packages hold: none is lost with its decorator."""
    assert [value.__qualname__ for value in values()] == [
        *("Anchor", "Answer", "Assumed", "Case", "Clusters", "Collection", "Event", "Health"),
        *("Judgement", "Kind", "Known", "Move", "Need", "Noise", "Pair", "Plan", "Question"),
        *("Reconciliation", "Registration", "Review", "Setup", "Soundness", "Standing"),
        *("StoredRelease", "_Found"),
    ]


@pytest.mark.parametrize("value", values(), ids=lambda value: value.__qualname__)
def test_a_value_stays_as_it_was_made(value: type) -> None:
    """A field cannot be set again, and there is no place for one that was not declared."""
    made = object.__new__(value)
    with pytest.raises(FrozenInstanceError):
        setattr(made, fields(value)[0].name, None)
    assert not hasattr(made, "__dict__")
