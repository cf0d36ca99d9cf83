"""What every row of RULES promises: a new kind of rule is held to this before anybody uses it."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sluicegate.cards import (
    GateReport,
    ReportContext,
    comment_markdown,
    junit_xml,
    report_html,
    verdict_markdown,
    verdict_text,
)
from sluicegate.cards.charts import bounds
from sluicegate.cards.wording import limit
from sluicegate.errors import ConfigError, EvidenceError
from sluicegate.gates import RULES, Policy, decide
from sluicegate.gates.rules import check_rule
from sluicegate.hashing import canonical_json
from sluicegate.records import (
    Decision,
    Evidence,
    Lineage,
    Release,
    RuleResult,
    ScoredExample,
    Summary,
    Verdict,
)

FIELDS: dict[str, Any] = {
    "metric": "clarity",
    "metrics": ("clarity", "wit"),
    "threshold": 0.5,
    "margin": 0.1,
    "worst_loss": 0.2,
    "fact": "reviewed",
    "baseline": "lead2",
}
"""A value for each field that a kind may need."""
METRICS = ("clarity", "wit")
ROWS = 120
RELEASE = Release("b" * 64, None, "c" * 64, "d" * 64)
LINEAGE = Lineage("1" * 64, "2" * 64, {}, "4" * 64, "5" * 40, False, None)

every = pytest.mark.parametrize("kind", RULES)
measuring = pytest.mark.parametrize(
    "kind", [kind for kind, row in RULES.items() if {"metric", "metrics"} & set(row.needs)]
)
comparing = pytest.mark.parametrize("kind", [kind for kind, row in RULES.items() if row.compares])


def policy(kind: str, **more: Any) -> Policy:
    """A policy of one rule with exactly what its kind needs."""
    needed = {field: FIELDS[field] for field in RULES[kind].needs}
    return Policy.model_validate({"rules": [{"name": "held", "kind": kind, **needed, **more}]})


def evidence(level: float, *, rows: int = ROWS, metrics: tuple[str, ...] = METRICS) -> Evidence:
    """Rows with the same few scores around `level`."""
    values = [level + 0.02 * (place % 5 - 2) for place in range(rows)]
    scored = tuple(
        ScoredExample(
            f"e{n:03d}", f"g{n}", "text", dict.fromkeys(metrics, value), 0.1, 9, 5, critical=n < 9
        )
        for n, value in enumerate(values)
    )
    mean = math.fsum(values) / max(rows, 1)
    return Evidence(
        RELEASE.digest, "golden", "metrics", scored,
        {name: Summary(mean, 0.0, 1.0, rows, rows) for name in metrics}, {"latency_p95": 1.0},
    )  # fmt: skip


def judged(kind: str, level: float, before: float | None = 0.5, **more: Any) -> Verdict:
    """The verdict on a candidate at `level` against a champion at `before`, all facts on record."""
    champion = None if before is None else replace(evidence(before), release="e" * 64)
    facts = {"reviewed": more.pop("fact_value", "ok")}
    beside = {} if champion is None else {"lead2": champion}
    return decide(evidence(level), champion, policy(kind, **more), facts=facts, baselines=beside)


@every
def test_some_evidence_passes(kind: str) -> None:
    """There is evidence that the kind lets through: one that never passes decides nothing."""
    found = {judged(kind, level).decision for level in (0.05, 0.4, 0.5, 0.6, 0.95)}
    assert Decision.PROMOTE in found


@every
def test_equal_inputs_give_equal_bytes(kind: str) -> None:
    """The kind reads nothing but its arguments, and the order of the rows does not matter."""
    first, again = (judged(kind, 0.9) for _ in range(2))
    candidate, champion = evidence(0.9), replace(evidence(0.5), release="e" * 64)
    turned = replace(candidate, rows=candidate.rows[::-1])
    beside = {"lead2": champion}
    other = decide(turned, champion, policy(kind), facts={"reviewed": "ok"}, baselines=beside)
    assert canonical_json(first) == canonical_json(again) == canonical_json(other)


@measuring
@pytest.mark.parametrize("lacking", ["candidate", "both"])
def test_what_was_not_measured_holds(kind: str, lacking: str) -> None:
    """A metric that no row has is HOLD with its name, whatever else was measured."""
    bare = evidence(0.9, metrics=("other",))
    champion = replace(bare if lacking == "both" else evidence(0.5), release="e" * 64)
    beside = {"lead2": champion}
    found = decide(bare, champion, policy(kind), facts={"reviewed": "ok"}, baselines=beside)
    assert found.decision is Decision.HOLD
    assert any(name in found.rules[0].reason for name in METRICS)


@every
def test_unscored_rows_never_pass(kind: str) -> None:
    """No row, a row without a score, and a score that is no number are errors, not verdicts."""
    whole = evidence(0.9)
    rows = list(whole.rows)
    broken = [
        replace(whole, rows=()),
        replace(whole, rows=(replace(rows[0], scores={}), *rows[1:])),
        replace(
            whole, rows=(replace(rows[0], scores={"clarity": math.nan, "wit": 0.9}), *rows[1:])
        ),
        replace(
            whole, rows=(replace(rows[0], scores={"clarity": math.inf, "wit": 0.9}), *rows[1:])
        ),
    ]
    for one in broken:
        for candidate, champion in ((one, whole), (whole, one)):
            with pytest.raises(EvidenceError):
                decide(
                    candidate,
                    replace(champion, release="e" * 64),
                    policy(kind),
                    facts={"reviewed": "ok"},
                )


@every
def test_what_is_not_on_record_holds(kind: str) -> None:
    """With neither scores nor facts of its own the kind concludes nothing."""
    found = decide(evidence(0.9, metrics=("other",)), None, policy(kind), facts={})
    assert found.decision is Decision.HOLD
    assert found.rules[0].reason


@comparing
def test_a_comparison_needs_a_pair(kind: str) -> None:
    """Without a champion, or with one that answered another golden set, nothing is concluded."""
    assert judged(kind, 0.9, before=None).decision is Decision.HOLD
    other = replace(evidence(0.5), release="e" * 64, golden="another")
    found = decide(evidence(0.9), other, policy(kind), facts={}, baselines={"lead2": other})
    assert found.decision is Decision.HOLD


@every
def test_too_few_examples_hold(kind: str) -> None:
    """Below the policy's minimum nothing is concluded, for or against."""
    few = evidence(0.9, rows=3)
    found = decide(
        few,
        replace(evidence(0.5, rows=3), release="e" * 64),
        policy(kind),
        facts={"reviewed": "ok"},
    )
    assert found.decision is Decision.HOLD


@every
def test_fields_are_checked(kind: str) -> None:
    """A field that is needed and missing, and one that the kind does not take, are named."""
    row = RULES[kind]
    assert set(row.needs) <= FIELDS.keys()
    check_rule(policy(kind).rules[0], "policy")
    for field in row.needs:
        left = {name: FIELDS[name] for name in row.needs if name != field}
        rule = Policy.model_validate({"rules": [{"name": "held", "kind": kind, **left}]}).rules[0]
        with pytest.raises(ConfigError, match=rf"held.*{field} is missing"):
            check_rule(rule, "policy")
    foreign = next(name for name in ("fact", "threshold", "metric") if name not in row.needs)
    with pytest.raises(ConfigError, match=rf"{kind} takes no {foreign}"):
        check_rule(policy(kind, **{foreign: FIELDS[foreign]}).rules[0], "policy")


def renderings(verdict: Verdict) -> dict[str, str]:
    """The verdict as people and machines read it."""
    candidate, champion = evidence(0.9), replace(evidence(0.5), release="e" * 64)
    report = GateReport("model", verdict.decision, verdict=verdict)
    return {
        "text": verdict_text(verdict),
        "markdown": verdict_markdown(verdict, RELEASE, LINEAGE),
        "comment": comment_markdown(report),
        "junit": junit_xml(report, moment=datetime(2026, 1, 1, tzinfo=UTC)).decode(),
        "html": report_html(ReportContext(verdict, RELEASE, LINEAGE, candidate, champion)),
    }


@every
@pytest.mark.parametrize("level", [0.95, 0.05])
def test_every_rendering_says_what_was_asked(kind: str, level: float) -> None:
    """Terminal, Markdown, comment, JUnit and page name rule, subject, rows and the limit."""
    verdict = judged(kind, level, fact_value="ok" if level > 0.5 else "no")
    (rule,) = verdict.rules
    shown = limit(rule)
    assert (shown == "-") == (rule.margin is None)
    for name, text in renderings(verdict).items():
        plain = (
            text.replace("&gt;", ">").replace("&lt;", "<").replace("\\", "").replace("<wbr>", "")
        )
        assert "held" in plain, name
        assert rule.metric in plain, name
        assert shown in plain, name
        assert not rule.n or str(rule.n) in plain, name


@every
def test_the_row_says_how_it_is_shown(kind: str) -> None:
    """A kind with a threshold or margin says what stands before it; a comparison can be drawn."""
    row = RULES[kind]
    assert bool(row.asks) == bool({"threshold", "margin"} & {*row.needs, *row.may})
    assert not row.allows_loss or ("margin" in row.needs and row.compares)
    (rule,) = judged(kind, 0.95).rules
    assert isinstance(rule, RuleResult)
    assert bool(bounds(rule)) == (row.compares and not row.limits_losses)
    assert ('class="margin"' in bounds(rule)) == row.allows_loss
