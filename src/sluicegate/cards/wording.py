"""Numbers and sentences, said the same way in Markdown, HTML and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sluicegate.gates.rules import RULES
from sluicegate.records import RELEASE_PARTS, Decision, Lineage, Release, RuleResult, Verdict

ABSENT = "-"
NO_PART = "none (the model as it is)"
"""What stands for a part that a release may lack: today only the adapter."""


def number(value: float | None, *, signed: bool = False) -> str:
    """Three digits after the point below 10, fewer above; `-` for None.

    Example:
        >>> number(0.41234), number(-0.02, signed=True), number(123456.7), number(None)
        ('0.412', '-0.020', '123,457', '-')
    """
    if value is None:
        return ABSENT
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:{'+' if signed else ''},.{digits}f}"


def short(digest: str | None, length: int = 12) -> str:
    """The first characters of a digest; `none` where there is none.

    Example:
        >>> short("0123456789abcdef"), short(None)
        ('0123456789ab', 'none')
    """
    return digest[:length] if digest else "none"


def seconds(value: float) -> str:
    """A duration for people.

    Example:
        >>> seconds(0.042), seconds(7.26), seconds(75), seconds(4000)
        ('42 ms', '7.3 s', '1 min 15 s', '1 h 6 min')
    """
    if value < 1:
        return f"{value * 1000:.0f} ms"
    whole = round(value)
    if whole < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def operation(name: str, value: float) -> str:
    """A speed or size with its unit, told from its name.

    Example:
        >>> operation("latency_p95", 1.25), operation("tokens_per_second", 210.4)
        ('1.2 s', '210.4')
    """
    return (
        seconds(value)
        if name.startswith(("latency", "first_token")) or name.endswith("seconds")
        else number(value)
    )


def spoken(name: str) -> str:
    """A name of the code as words.

    Example:
        >>> spoken("latency_p95")
        'latency p95'
    """
    return name.replace("_", " ")


def bounds_difference(rule: RuleResult) -> bool:
    """True where `low` and `high` bound the difference from the champion, not the value itself."""
    return rule.difference is not None


def interval(rule: RuleResult) -> str:
    """The rule's bounds; one-sided ones are said as such.

    Example:
        >>> rule = RuleResult("r", "at_least", "rougeL", Decision.PROMOTE, "block", "", value=0.4,
        ...     low=0.35)
        >>> interval(rule)
        '>= 0.350'
    """
    sign = bounds_difference(rule)
    if rule.low is not None and rule.high is not None:
        return f"{number(rule.low, signed=sign)} .. {number(rule.high, signed=sign)}"
    if rule.low is not None:
        return f">= {number(rule.low, signed=sign)}"
    if rule.high is not None:
        return f"<= {number(rule.high, signed=sign)}"
    return ABSENT


def outcome(rule: RuleResult) -> str:
    """`pass`, `fail`, `hold`; `warn` for a rule that only warns and did not pass.

    Example:
        >>> outcome(RuleResult("r", "at_most", "latency_p95", Decision.REJECT, "warn", "slow"))
        'warn'
    """
    if rule.decision is Decision.PROMOTE:
        return "pass"
    if rule.severity == "warn":
        return "warn"
    return "fail" if rule.decision is Decision.REJECT else "hold"


def limit(rule: RuleResult) -> str:
    """What the rule asks for: a bound on the value, or a margin on the difference.

    Example:
        >>> limit(RuleResult("r", "not_worse_than_champion", "rougeL", Decision.HOLD, "block", "",
        ...     margin=0.02))
        'loss < 0.020'
        >>> limit(RuleResult("r", "at_least", "rougeL", Decision.PROMOTE, "block", "", margin=0.2))
        '>= 0.200'
    """
    if rule.margin is None:
        return ABSENT
    return (RULES[rule.kind].asks if rule.kind in RULES else "") + number(rule.margin)


def titled(rule: RuleResult) -> str:
    """The rule's name, with the slice that its numbers are about where there is one.

    Example:
        >>> titled(RuleResult("kept", "at_least", "rougeL", Decision.HOLD, "block", "",
        ...     slice="industry=airline"))
        'kept [industry=airline]'
    """
    return f"{rule.name} [{rule.slice}]" if rule.slice else rule.name


COLUMNS = ("", "rule", "candidate", "champion", "difference", "interval", "asked for", "n")


def cells(rule: RuleResult, shown: Callable[[str], str]) -> tuple[str, ...]:
    """A rule as a row under `COLUMNS`; `shown` makes text from outside safe for the table."""
    metric = f" ({shown(rule.metric)})" if rule.metric and rule.metric != rule.name else ""
    return (
        outcome(rule),
        shown(titled(rule)) + metric,
        number(rule.value),
        shown(_beside(rule)),
        number(rule.difference, signed=True),
        shown(interval(rule)),
        shown(limit(rule)),
        str(rule.n) if rule.n else ABSENT,
    )


def _beside(rule: RuleResult) -> str:
    """The value on the other side; the champion's where nothing else is said."""
    against = RULES[rule.kind].against if rule.kind in RULES else ""
    mark = f" ({against})" if against not in ("", "champion") else ""
    return number(rule.champion_value) + (mark if rule.champion_value is not None else "")


def which_evaluation(verdict: Verdict) -> str:
    """Which evaluation on this golden set it was, at what error rate; empty where not recorded.

    Example:
        >>> rest = ("1" * 64, None, "2" * 64, "3" * 64, "4" * 64, None, ())
        >>> which_evaluation(Verdict(Decision.HOLD, *rest, alpha=0.00783, look=2, looks=20))
        'Evaluation 2 of 20 on this golden set, alpha 0.0078.'
        >>> which_evaluation(Verdict(Decision.HOLD, *rest, alpha=0.0, look=21, looks=20))
        'This golden set has given its 20 verdicts and decides nothing more.'
    """
    if not verdict.looks:
        return ""
    if not verdict.alpha:
        return f"This golden set has given its {verdict.looks} verdicts and decides nothing more."
    which = f"Evaluation {verdict.look} of {verdict.looks} on this golden set"
    way = " Judged as a neutral change: it need improve nothing." if verdict.way else ""
    return f"{which}, alpha {verdict.alpha:.2g}.{way}"


def why(rule: RuleResult) -> str:
    """The rule's reason, with the examples that would settle it where it does not say so itself.

    Example:
        >>> why(RuleResult("r", "k", "m", Decision.HOLD, "block", "Too close.", more_examples=40))
        'Too close. About 40 more examples would settle it.'
    """
    reason = rule.reason or outcome(rule)
    if not rule.more_examples or "more examples" in reason:
        return reason
    return f"{reason.rstrip('.')}. About {rule.more_examples} more examples would settle it."


def by_weight(rules: tuple[RuleResult, ...]) -> list[RuleResult]:
    """What decided first: fails, holds, warnings, then passes in the policy's order."""
    order = ("fail", "hold", "warn", "pass")
    return sorted(rules, key=lambda rule: order.index(outcome(rule)))


def headline(verdict: Verdict) -> str:
    """One sentence: what was decided, and because of which rules."""
    outcomes = [outcome(rule) for rule in verdict.rules]
    deciding = len(outcomes) - outcomes.count("warn")
    broken = [rule.name for rule in verdict.rules if outcome(rule) == "fail"]
    open_ = [rule.name for rule in verdict.rules if outcome(rule) == "hold"]
    if verdict.decision is Decision.PROMOTE:
        passes = "The one rule passes" if deciding == 1 else f"All {deciding} rules pass"
        warned = f", with {outcomes.count('warn')} warning(s)" if "warn" in outcomes else ""
        onto = (
            f"it may replace champion {short(verdict.champion)}"
            if verdict.champion
            else "there is no champion yet"
        )
        return f"{passes}{warned}: {onto}."
    if verdict.decision is Decision.REJECT:
        return f"{_of(len(broken), deciding)} broken: {', '.join(broken) or 'see the reasons'}."
    named = ", ".join(open_) or "see the reasons"
    wanted = _examples_wanted([rule for rule in verdict.rules if outcome(rule) == "hold"])
    return f"Not enough evidence, {_of(len(open_), deciding)} undecided: {named}.{wanted}"


def _examples_wanted(open_: Sequence[RuleResult]) -> str:
    """How many golden examples would settle all of the undecided rules, or which none would."""
    counts = [rule.more_examples for rule in open_ if rule.more_examples]
    never = [rule.name for rule in open_ if not rule.more_examples]
    if counts and not never:
        return f" About {max(counts)} more golden examples would settle it."
    if any(rule.p is not None for rule in open_ if not rule.more_examples):
        names = [rule.name for rule in open_ if not rule.more_examples and rule.p is not None]
        return (
            f" No number of golden examples would settle {', '.join(names)}: what was measured "
            "is on the wrong side of what is asked for."
        )
    return f" Golden examples alone would not settle it: see {', '.join(never)}." if counts else ""


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole} rules {'is' if part == 1 else 'are'}"


def made_of(release: Release, lineage: Lineage) -> list[tuple[str, str]]:
    """Name and whole digest of all that a release is made of and came from, in reading order."""
    parts = [
        ("release", release.digest),
        *((RELEASE_PARTS[part], digest or NO_PART) for part, digest in release.content().items()),
        ("training data", lineage.data),
        ("golden set", lineage.golden),
        *((f"source {name}", digest) for name, digest in sorted(lineage.sources.items())),
        ("code", lineage.code),
        ("git commit", lineage.commit + (" + uncommitted changes" if lineage.dirty else "")),
        ("parent release", lineage.parent or "none"),
    ]
    return [(name, value or "not recorded") for name, value in parts]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
