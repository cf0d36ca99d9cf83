"""What a policy lets through, as a table for a terminal and as a page with a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluicegate.cards.page import html_page
from sluicegate.records import Decision


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy made of broken answers, and which of its rules caught them."""

    decision: Decision
    caught_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KindTested:
    """One kind of damage.

    Attributes:
        kind: its name.
        meaning: only a judge or people can see it.
        outcomes: share of the answers that were broken, to what came of it; empty where the kind
            applies to no answer.
        could: metrics that fall; a rule on one of them could catch it.
    """

    kind: str
    meaning: bool
    outcomes: Mapping[float, Outcome]
    could: tuple[str, ...] = ()

    @property
    def caught(self) -> bool:
        """Whether it is caught where every answer is broken."""
        return not self.outcomes or bool(self.outcomes[max(self.outcomes)].caught_by)

    @property
    def caught_from(self) -> float | None:
        """The smallest share from which on it is caught; None where it never is."""
        missed = [share for share, found in self.outcomes.items() if not found.caught_by]
        return min(
            (share for share in self.outcomes if share > max(missed, default=0.0)), default=None
        )

    @property
    def advice(self) -> str:
        """What would catch it; empty where a rule does."""
        if self.caught:
            return ""
        if self.meaning or not self.could:
            return "a calibrated judge, or people (approvals)"
        return f"a rule on {' or '.join(self.could)}"


@dataclass(frozen=True, slots=True)
class SelfTest:
    """The whole test.

    Attributes:
        rows: of the golden set.
        shares: of the answers that were broken, in order.
        kinds: those that apply to some answer.
        honest: answers that break nothing, by what they are.
        blind: metrics that no kind moves.
        left_out: rules that were not tested: facts, judges, times.
    """

    rows: int
    shares: tuple[float, ...]
    kinds: tuple[KindTested, ...]
    honest: Mapping[str, Outcome]
    blind: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> tuple[KindTested, ...]:
        """The kinds that no rule catches even where every answer is broken."""
        return tuple(one for one in self.kinds if not one.caught)

    def notes(self) -> list[str]:
        """What there is to know besides the table, in sentences."""
        found = []
        if self.passed:
            found.append(
                f"{len(self.passed)} of {len(self.kinds)} kinds pass with every answer broken."
            )
        for what, outcome in self.honest.items():
            if outcome.caught_by:
                found.append(f"Refused wrongly: {what}, by {', '.join(outcome.caught_by)}.")
        if self.blind:
            found.append(f"Blind on this golden set: {', '.join(self.blind)}.")
        if self.left_out:
            found.append(f"Not tested (facts, judges, times): {', '.join(self.left_out)}.")
        return found


def self_test_text(found: SelfTest) -> str:
    """For a terminal; ends with a newline."""
    width = max(len(one.kind) for one in found.kinds)
    shares = "  ".join(f"{share:>4.0%}" for share in found.shares)
    lines = [f"{found.rows} golden rows; share of the answers that were broken, and what caught it"]
    lines += ["", f"  {'':{width}}  {shares}"]
    for one in found.kinds:
        marks = "  ".join(
            f"{'stop' if one.outcomes[share].caught_by else 'PASS':>4}" for share in found.shares
        )
        rules = one.outcomes[found.shares[-1]].caught_by
        by = ", ".join(rules[:2]) if rules else f"nothing; {one.advice} would"
        lines.append(f"  {one.kind:{width}}  {marks}  {by}")
    return "\n".join([*lines, "", *(f"  {note}" for note in found.notes())]).rstrip() + "\n"


def self_test_html(found: SelfTest) -> str:
    """One page that needs nothing else."""
    return html_page("self_test.html.jinja", {}, found=found)
