"""A judge's calibration for people: text for a terminal, and an HTML page with a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from sluicegate.cards.charts import forest
from sluicegate.cards.page import html_page
from sluicegate.cards.svg import dot, path, svg, text
from sluicegate.cards.wording import columns, short, spoken
from sluicegate.records import Summary

Record = Mapping[str, Any]
_MEANING = {
    "accuracy": "share judged as people did (scores: on the same level; pairs: one that turns "
    "with the order counts half)",
    "spearman": "rank correlation with people",
    "kendall": "tau-b with people",
    "weighted_kappa": "agreement above chance on levels, quadratic weights",
    "krippendorff_alpha": "the same by Krippendorff: judge and people as two raters",
    "length_bias": "rank correlation with length that people's labels do not explain",
    "position_bias": "share of pairs whose verdict turns with the order",
    "always_first": "share of pairs where the answer shown first wins in both orders",
    "always_second": "share of pairs where the answer shown second wins in both orders",
    "self_consistency": "agreement with itself under another seed and other marks",
    "raters_alpha": "agreement of the people among themselves (Krippendorff's alpha): no judge "
    "can do better",
}


def calibration_text(record: Record) -> str:
    """What a calibration found, for a terminal; `record` as `judges.calibration` writes it."""
    lines = [_headline(record), *(f"  {line}" for line in _facts(record)), ""]
    checks = [
        ("pass" if one["passed"] else "FAIL", one["name"], _said(one)) for one in record["checks"]
    ]
    lines += columns(checks)
    if record["measures"]:
        lines += ["", "  measure, with its 95 % interval"]
        lines += columns(
            [(spoken(name), _figures(found), _MEANING[name]) for name, found in _measures(record)]
        )
    if record["baselines"]:
        lines += ["", f"  {record['headline']} of judges that read nothing"]
        lines += columns([(name, _figures(found)) for name, found in record["baselines"].items()])
    lines += [f"  {line}" for line in _wrong(record)]
    return "\n".join(lines) + "\n"


def calibration_html(record: Record) -> str:
    """The same as a page that needs nothing else: no script, no address, every value escaped."""
    return html_page(
        "judge_report.html.jinja",
        {"spoken": spoken, "figures": _figures, "said": _said},
        record=record,
        title=f"Judge {record['name']}: {'passed' if record['passed'] else 'refused'}{_for(record)}",
        consequence=_consequence(record),
        facts=_facts(record),
        measures=_measures(record),
        meaning=_MEANING,
        wrong=_wrong(record),
        plot=calibration_plot(record["points"]),
        beside=_beside(record) if record["points"] else "",
    )


def _wrong(record: Record) -> list[str]:
    return [f"not noticed: {name}" for name in record["missed"][:10]] + [
        f"no verdict: {reason}" for reason in record["failures"]
    ]


def calibration_plot(points: Sequence[Mapping[str, Any]]) -> Markup:
    """People's mean with its interval over the judge's score, 0 to 1; empty without points."""
    if not points:
        return Markup("")
    left, right, top, bottom = 34, 300, 12, 278

    def x(value: float) -> float:
        return round(left + (right - left) * value, 1)

    def y(value: float) -> float:
        return round(bottom - (bottom - top) * value, 1)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(path("grid", f"M{left} {y(tick)}H{right}"))
        parts.append(text(left - 6, y(tick) + 4, f"{tick:g}", "end"))
        parts.append(text(x(tick), bottom + 18, f"{tick:g}", "middle"))
    parts.append(path("zero", f"M{x(0)} {y(0)}L{x(1)} {y(1)}"))
    parts.append(text(right, bottom + 32, "judge", "end"))
    parts.append(text(left + 4, top + 2, "people"))
    for point in points:
        across, human = x(point["judge"]), point["human"]
        whisker = f"M{across} {y(human['low'])}V{y(human['high'])}"
        parts += [path("whisker candidate", whisker), dot("candidate", across, y(human["value"]))]
        anchor = "end" if point["judge"] > 0.9 else "start"
        beside = across + (-8 if anchor == "end" else 8)
        parts.append(text(beside, y(human["value"]) + 4, str(human["rows"]), anchor))
    return svg(320, 312, "People over judge", parts)


def _measures(record: Record) -> list[tuple[str, Mapping[str, Any]]]:
    """In the order of reading."""
    return [(name, record["measures"][name]) for name in _MEANING if name in record["measures"]]


def _beside(record: Record) -> Markup:
    judge = record["measures"][record["headline"]]
    rows = [
        ("this judge", "candidate", judge),
        *((n, "baseline", found) for n, found in record["baselines"].items()),
    ]
    return forest(
        [
            (
                name,
                style,
                Summary(one["value"], one["low"], one["high"], one["rows"], one["groups"]),
            )
            for name, style, one in rows
        ]
    )


def _headline(record: Record) -> str:
    return (
        f"judge {record['name']} {'passed' if record['passed'] else 'is refused'}{_for(record)}: "
        f"{_consequence(record)}"
    )


def _for(record: Record) -> str:
    uses = " and ".join(record.get("uses", ()))
    return f" for {uses} use" if uses else ""


def _consequence(record: Record) -> str:
    failed = [one for one in record["checks"] if not one["passed"]]
    names = ", ".join(one["name"] for one in failed)
    until = f"until {record['expires'][:10]}"
    if not failed:
        return f"rules of every kind may use its scores {until}."
    mores = [one.get("more") for one in failed]
    needed = [more for more in mores if more is not None]
    settled = f" About {max(needed)} more labelled rows would show it." if all(mores) else ""
    if record["passed"]:
        return (
            f"rules that compare releases may use its scores {until}; a rule with a threshold of "
            f"its own (at_least, at_most) holds. Not shown: {names}.{settled}"
        )
    return f"a rule that uses its scores holds. Not shown: {names}.{settled}"


def _facts(record: Record) -> list[str]:
    raters = record["raters"]
    people = f"{raters} {'person' if raters == 1 else 'people'}"
    facts = [
        f"{record['form']}, by {', '.join(record['judges'])}; digest {short(record['digest'])}, "
        f"made {record['made'][:16]}",
        f"{record['rows']} rows in {record['groups']} groups, labelled by {people} (labels "
        f"{short(record['labels'])})",
        f"{record['calls']} questions, {record['prompt_tokens']:,} tokens in, "
        f"{record['completion_tokens']:,} out",
    ]
    if record["uncalled"]:
        facts.append(f"{record['uncalled']} rows were settled without asking the judge")
    if record["weighted"] is False:
        facts.append("the model gives no token probabilities: scores are not weighted")
    return facts


def _said(check: Mapping[str, Any]) -> str:
    """The figures of a check; for what use it is asked, and how many labels more would show it."""
    use = " (absolute use only)" if check.get("use") == "absolute" else ""
    more = f"; about {check['more']} more labelled rows would show it" if check.get("more") else ""
    return f"{check['said']}{use}{more}"


def _figures(found: Mapping[str, Any]) -> str:
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
