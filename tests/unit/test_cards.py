"""Verdicts, reports and model cards: true to the records, escaped, and readable."""

from __future__ import annotations

import dataclasses
import html.parser
import math
import subprocess
import sys
from pathlib import Path

import pytest

from sluicegate.cards import (
    ReportContext,
    render_model_card,
    report_html,
    verdict_markdown,
    verdict_text,
)
from sluicegate.cards.charts import bounds, differences, forest, loss_curve
from sluicegate.cards.examples import paired, shown_text
from sluicegate.cards.wording import headline, outcome
from sluicegate.errors import ConfigError
from sluicegate.records import (
    Decision,
    DriftReport,
    DriftScore,
    Evidence,
    Example,
    Lineage,
    Release,
    RuleResult,
    ScoredExample,
    Summary,
    TuneSummary,
    Verdict,
)  # fmt: skip

TEMPLATE = Path(__file__).parents[2] / "registry" / "model_card.md.jinja"
EVIL = "<script>alert('x')</script>"
CANDIDATE, CHAMPION = (
    Release("b" * 64, "a" * 64, "c" * 64, "d" * 64),
    Release("b" * 64, None, "c" * 64, "d" * 64),
)
LINEAGE = Lineage(
    "1" * 64, "2" * 64, {f"raw {EVIL}": "3" * 64}, "4" * 64, "5" * 40, True, CHAMPION.digest
)
PASS = RuleResult(
    "rougeL_not_worse", "not_worse_than_champion", "rougeL", Decision.PROMOTE, "block", "shown",
    0.43, 0.35, 0.08, 0.041, 0.12, 0.02, 0.0001, 60, 52.0, 0.03,
)  # fmt: skip
FAIL = RuleResult(
    "floor",
    "at_least",
    "rougeL",
    Decision.REJECT,
    "block",
    f"low {EVIL} | `x`",
    0.1,
    margin=0.2,
    n=60,
)
HOLD = dataclasses.replace(
    PASS, name="facts", metric="facts", decision=Decision.HOLD, low=-0.05, more_examples=45
)
WARN = RuleResult(
    "slow", "at_most", "latency_p95", Decision.REJECT, "warn", "2.1 s", 2.1, margin=2.0
)


def verdict(
    decision: Decision, *rules: RuleResult, champion: str | None = CHAMPION.digest
) -> Verdict:
    return Verdict(
        decision, CANDIDATE.digest, champion, "7" * 64, "2" * 64, "8" * 64, None, rules, ("noted",)
    )


def evidence(release: Release, scores: list[float], output: str) -> Evidence:
    rows = tuple(
        ScoredExample(
            f"row-{index}",
            f"g{index}",
            output,
            {"rougeL": score},
            0.5,
            100,
            20,
            finished=index != 0,
        )
        for index, score in enumerate(scores)
    )
    mean = sum(scores) / len(scores)
    summaries = {"rougeL": Summary(mean, mean - 0.1, mean + 0.1, len(rows), len(rows))}
    return Evidence(release.digest, "2" * 64, "6" * 64, rows, summaries, {"latency_p95": 0.8})


def context(**changes: object) -> ReportContext:
    examples = [
        Example(
            f"row-{index}",
            f"g{index}",
            {"conversation": f"Customer: {EVIL} order 17\nAgent: yes"},
            ("Ref",),
            "s",
        )
        for index in range(4)
    ]
    full = ReportContext(
        verdict=verdict(Decision.HOLD, PASS, HOLD, WARN),
        release=CANDIDATE,
        lineage=LINEAGE,
        candidate=evidence(CANDIDATE, [0.1, 0.5, 0.6, 0.4], f"{EVIL} order 17 costs 99"),
        champion=evidence(CHAMPION, [0.4, 0.2, 0.3, 0.4], ""),
        baselines={f"lead2{EVIL}": evidence(CHAMPION, [0.2, 0.2, 0.2, 0.2], "lead")},
        examples=examples,
        tune=TuneSummary(3, 1.0, 1.4, 1.5, 500.0, 75.0, 10, 100, 92, 2, "float32", (
            {"step": 1, "loss": 3.0}, {"step": 2, "loss": math.nan}, {"step": 3, "validation_loss": 2.0},
        )),
        drift=DriftReport("DRIFT", 120, (DriftScore(f"c{EVIL}", "hellinger", 0.3, 0.2, True),), (EVIL,)),
        timings={f"tune{EVIL}": 75.0, "gate": 0.0},
        links={"MLflow": "http://127.0.0.1:5000/#/x", EVIL: "javascript:alert(1)"},
        title=EVIL,
    )  # fmt: skip
    return dataclasses.replace(full, **changes)


class Page(html.parser.HTMLParser):
    """Collects what a browser would load, run or follow, and checks that tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for key, value in attrs if key in ("src", "href", "data", "action")
        ]
        assert not [key for key, _ in attrs if key.startswith("on")]
        if tag not in ("meta", "link", "br", "img", "path", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("decision", "rules", "words"),
    [
        (Decision.PROMOTE, (PASS, WARN), ["rule passes", "1 warning", CHAMPION.digest[:12]]),
        (Decision.REJECT, (PASS, FAIL), ["1 of 2 rules is broken: floor"]),
        (Decision.HOLD, (PASS, HOLD, WARN), ["1 of 2 rules is undecided: facts", "45 more"]),
    ],
)
def test_headline_names_the_rules_that_decided(
    decision: Decision, rules: tuple[RuleResult, ...], words: list[str]
) -> None:
    """One sentence says why; rules that only warn are never counted among those that decide."""
    said = headline(verdict(decision, *rules))
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("rule", "word"), [(PASS, "pass"), (FAIL, "fail"), (HOLD, "hold"), (WARN, "warn")]
)
def test_terminal_and_markdown_agree_on_each_outcome(rule: RuleResult, word: str) -> None:
    """Both show a rule's outcome, value and limit."""
    given = verdict(Decision.HOLD, rule)
    assert outcome(rule) == word
    assert any(line.split()[:2] == [word, rule.name] for line in verdict_text(given).splitlines())
    assert f" {word} |" in verdict_markdown(given, CANDIDATE, LINEAGE)


def test_terminal_columns_line_up_and_carry_no_control_characters() -> None:
    """Every table line starts its rule name in the same column, and outside text cannot move the cursor."""
    evil = dataclasses.replace(FAIL, reason="\x1b[2J\r\ngone")
    plain = verdict_text(verdict(Decision.REJECT, PASS, evil, WARN))
    assert "\x1b" not in plain
    assert "\r" not in plain
    table = [
        line
        for line in plain.splitlines()
        if line.startswith(("  fail", "  warn", "  pass")) and ":" not in line
    ]
    assert {line.index(line.split()[1]) for line in table} == {8}
    coloured = verdict_text(verdict(Decision.REJECT, PASS, evil), colour=True)
    assert "\x1b[1;31mREJECT\x1b[0m" in coloured


def test_markdown_holds_every_rule_digest_and_link_and_no_html() -> None:
    """What came from outside is escaped; table rows keep their number of cells; unsafe links are plain text."""
    text = verdict_markdown(
        verdict(Decision.REJECT, PASS, FAIL),
        CANDIDATE,
        LINEAGE,
        {"run": "http://h/(a b)", "bad": "javascript:x"},
    )
    assert "<script" not in text
    assert "[run](http://h/%28a%20b%29)" in text
    assert "](javascript" not in text
    assert all(
        part[:16] in text for part in (CANDIDATE.digest, "a" * 64, LINEAGE.code, LINEAGE.commit)
    )
    assert "uncommitted changes" in text
    rows = [line.replace("\\|", "") for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {9, 3}
    assert text.index("floor") < text.index("rougeL\\_not\\_worse")


def test_markdown_of_ten_rules_fits_an_mlflow_description() -> None:
    """A long policy still fits into 5000 characters."""
    rules = [
        dataclasses.replace(HOLD if i % 2 else PASS, name=f"rule_number_{i}") for i in range(10)
    ]
    assert (
        len(
            verdict_markdown(
                verdict(Decision.HOLD, *rules), CANDIDATE, LINEAGE, {"run": "http://x"}
            )
        )
        < 5000
    )


def test_report_is_self_contained_and_escaped() -> None:
    """No script, nothing loaded, no unsafe link, balanced tags, with hostile text in every field."""
    text = report_html(context())
    page = Page(text)
    assert page.open == []
    assert not {"script", "img", "link", "iframe", "object"} & set(page.tags)
    assert page.addresses == ["http://127.0.0.1:5000/#/x", "#"]
    assert EVIL not in text
    assert "url(" not in text
    assert "@import" not in text


def test_report_shows_what_the_records_say() -> None:
    """Decision, interval, counts, whole digests, unsupported numbers and cut answers are on the page."""
    text = report_html(context())
    wanted = [
        "+0.041 .. +0.120", "loss &lt; 0.020", CANDIDATE.digest, LINEAGE.code, "1 min 15 s", "<mark>99</mark>",
        "better on 2, worse on 1 and equal on 1 of 4", "cut at the length limit", "empty answer",
    ]  # fmt: skip
    for shown in wanted:
        assert shown in text, shown
    assert "<mark>17</mark>" not in text
    assert text.index("row-0") < text.index("row-2") < text.index("row-1")


def test_report_of_a_first_release_leaves_out_what_is_absent() -> None:
    """Without champion, training, drift, timings, examples and rules there is still a whole page."""
    bare = context(
        verdict=verdict(Decision.PROMOTE, champion=None), champion=None, baselines={}, examples=[], tune=None,
        drift=None, timings={}, links={},
    )  # fmt: skip
    text = report_html(bare)
    assert Page(text).open == []
    assert "none yet" in text
    assert 'id="training"' not in text
    assert 'id="drift"' not in text
    assert "there is no champion yet" in text


def test_report_can_always_be_written_as_utf8() -> None:
    """Half a surrogate pair or a null byte in an answer does not break the file."""
    broken = evidence(CANDIDATE, [0.1, 0.2], "half \ud83d and null \x00")
    text = report_html(context(candidate=broken))
    assert "\x00" not in text
    assert "half ?" in text.encode("utf-8").decode("utf-8")


def test_lower_is_better_turns_the_examples_round() -> None:
    """Where lower is better, a fall of the score is a gain and is listed last."""
    candidate, champion = evidence(CANDIDATE, [0.1, 0.5], ""), evidence(CHAMPION, [0.4, 0.2], "")
    pairs = paired(candidate, champion, [], "rougeL", higher=False)
    assert [(pair.id, round(pair.gain, 3)) for pair in pairs] == [("row-1", -0.3), ("row-0", 0.3)]


def test_rows_the_champion_did_not_answer_are_not_compared() -> None:
    """A pair needs both answers."""
    pairs = paired(
        evidence(CANDIDATE, [0.1, 0.5], ""),
        evidence(CHAMPION, [0.4], ""),
        [],
        "rougeL",
        higher=True,
    )
    assert [pair.id for pair in pairs] == ["row-0"]


def test_long_text_is_cut_and_says_so() -> None:
    """An input of a megabyte adds 6000 characters to the page."""
    assert "994,000 more characters" in shown_text("x" * 1_000_000)
    assert len(shown_text("x" * 1_000_000)) < 6100


def test_charts_of_nothing_or_one_value() -> None:
    """Empty and constant data draw nothing or something finite, never an error or NaN."""
    assert loss_curve([]) == ""
    assert loss_curve([{"step": 1, "loss": 2.0}]) == ""
    assert differences([]) == ""
    assert bounds(FAIL) == ""
    flat = [
        loss_curve([{"step": 1, "loss": 2.0}] * 2),
        differences([0.0, 0.0]),
        bounds(dataclasses.replace(PASS, margin=0)),
        forest([("a", "candidate", Summary(0, 0, 0, 1, 1))]),
    ]
    assert all("<svg" in chart and "nan" not in chart and "inf" not in chart for chart in flat)


def test_long_curve_is_thinned_and_keeps_its_end() -> None:
    """A curve of 10,000 steps draws about 400 points, the last one among them."""
    chart = loss_curve([{"step": step, "loss": 1 / step} for step in range(1, 10_001)])
    assert chart.count(",") <= 402
    assert "700.0," in chart


def test_model_card_says_what_the_records_say() -> None:
    """The shipped template fills for a tuned release and for the bare base model, with nothing left unfilled."""
    base = {"name": "tiny", "licence": "Apache-2.0", "notes": ""}
    prompt = "Sum up: {{ conversation }} ```"
    sources = {"support": {"role": "train", "licence": "CC0", "owner": "us"}}
    card = render_model_card(
        TEMPLATE, context(), model="support", base=base, prompt=prompt, sources=sources
    )
    for shown in (
        "# support",
        "**HOLD**",
        "0.400 (0.300 .. 0.500)",
        "````text",
        "{{ conversation }}",
        "CC0",
        "a" * 64,
    ):
        assert shown in card, shown
    assert "<script" not in card
    bare = context(release=CHAMPION, champion=None, tune=None, drift=None, baselines={})
    assert "without an adapter" in render_model_card(TEMPLATE, bare, model="support", base=base)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("line\n{% if %}", "line 2"),
        ("{{ nobody }}", "nobody"),
        ("{{ 'x' * 900000000 }}", "not allowed"),
        ("{{ '%900000000d' % 1 }}", "not allowed"),
        ("{{ 'x'|center(900000000) }}", "center"),
        ("{{ 'x'.ljust(900000000) }}", "ljust"),
        ("{{ '{:900000000}'.format(1) }}", "format"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% for a in made_of %}{% for b in made_of %}{% for c in made_of %}{% for d in made_of %}{{ made_of }}"
         "{% endfor %}{% endfor %}{% endfor %}{% endfor %}", "would be longer than"),
    ],
)  # fmt: skip
def test_broken_or_hostile_template_is_a_configuration_error(
    tmp_path: Path, text: str, message: str
) -> None:
    """A template that is malformed, names an unknown value or tries to fill the memory is refused, saying why."""
    template = tmp_path / "card.md.jinja"
    template.write_text(text)
    with pytest.raises(ConfigError, match=message):
        render_model_card(template, context(), model="m", base={})


def test_missing_template_is_a_configuration_error(tmp_path: Path) -> None:
    """An absent template is named, with the command that writes one."""
    with pytest.raises(ConfigError, match="missing") as caught:
        render_model_card(tmp_path / "none.jinja", context(), model="m", base={})
    assert "sluice init" in caught.value.hint


def test_import_is_light() -> None:
    """Importing the cards imports no jinja2, matplotlib, pandas or mlflow."""
    heavy = {"jinja2", "matplotlib", "pandas", "mlflow"}
    code = f"import sys, sluicegate.cards; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
