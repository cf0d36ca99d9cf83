"""What every row of KINDS of personal data promises."""

from __future__ import annotations

import pytest

from sluicegate.personal_data import KINDS


@pytest.mark.parametrize("name", KINDS)
def test_plain_text_holds_none(name: str) -> None:
    """Nothing is found in an empty text, in blanks or in a sentence without any."""
    for text in ("", " \n\t", "The order came two days late and the customer was content."):
        assert list(KINDS[name](text)) == []
