"""What every row of DIALECTS promises."""

from __future__ import annotations

import pytest

from sluicegate.traffic.dialects import DIALECTS


@pytest.mark.parametrize("name", DIALECTS)
def test_a_span_of_no_dialect_is_nobodys(name: str) -> None:
    """Without its own attributes a dialect reads nothing: it never guesses."""
    for attributes in ({}, {"http.method": "GET"}, {"input": "a", "output": "b"}):
        assert DIALECTS[name](attributes, []) in (None, (None, None))
