"""The shipped policy stops broken candidates: benchmarks/policy_mutations.py with all rows broken."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from policy_mutations import KINDS, Bench

from sluicegate.records import Decision

UNSEEN = {
    "insult in clean words", "negated", "roles swapped", "opposites", "outcome flipped",
    "promise invented",
}  # fmt: skip
"""What no rule on text sees: a judge or people have to."""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench()


def test_the_unseen_are_few() -> None:
    """At least 30 kinds, of which a fifth at most needs a judge or people."""
    assert len(KINDS) >= 30
    assert KINDS.keys() > UNSEEN
    assert len(UNSEEN) * 5 <= len(KINDS)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - UNSEEN))
def test_a_broken_candidate_is_stopped(bench: Bench, kind: str) -> None:
    """Every kind of damage that a text shows is rejected."""
    assert bench.broken(kind, 1.0).decision is Decision.REJECT


def test_what_text_rules_do_not_see_is_told(bench: Bench) -> None:
    """A negated release passes the text rules, and the verdict warns that nobody checks meaning."""
    found = bench.broken("negated", 1.0)
    assert any("meaning is checked" in reason for reason in found.reasons)


def test_honest_candidates_pass(bench: Bench) -> None:
    """The policy does not stop what is better and breaks nothing."""
    found = bench.honest()
    assert found
    assert {verdict.decision for verdict in found.values()} == {Decision.PROMOTE}
