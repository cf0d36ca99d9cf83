"""The verdict as Markdown: for a model version, a flow's artefact, a pull request's comment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from sluicegate.cards.wording import (
    COLUMNS,
    by_weight,
    cells,
    headline,
    made_of,
    outcome,
    short,
    titled,
    which_evaluation,
    why,
)
from sluicegate.records import Decision, Lineage, Release, RuleResult, Verdict

MARKS = {"pass": "✅ pass", "fail": "❌ fail", "hold": "⏸️ hold", "warn": "⚠️ warn"}
SIGNS = {Decision.PROMOTE: "✅", Decision.REJECT: "❌", Decision.HOLD: "⏸️"}
_SPECIAL = re.compile(r"([\\`*_\[\]|#~!])")
_DIGEST = re.compile(r"[0-9a-f]{32,64}")


def escaped(text: str) -> str:
    """`text` so that Markdown shows it as it is, on one line, with no HTML in it.

    Example:
        >>> escaped("a|b\\n<b>_c_</b>")
        'a\\\\|b &lt;b&gt;\\\\_c\\\\_&lt;/b&gt;'
    """
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", flat)


def verdict_markdown(
    verdict: Verdict, release: Release, lineage: Lineage, links: Mapping[str, str] | None = None
) -> str:
    """Say in Markdown what was decided, why, what the release is made of, and where to read on.

    Args:
        links: name to address (`http`, `https` or a relative path); others are shown as text.

    Returns:
        About 3000 characters for ten rules: MLflow holds 5000 in a description.
    """
    lines = [
        f"## {SIGNS[verdict.decision]} {verdict.decision.value}",
        "",
        f"**{escaped(headline(verdict))}**",
        "",
    ]
    lines += [f"- {escaped(reason)}" for reason in verdict.reasons]
    lines += [""] if verdict.reasons else []
    rules = by_weight(verdict.rules)
    lines += rules_markdown(rules, escaped)
    unsettled = [rule for rule in rules if outcome(rule) != "pass"]
    if unsettled:
        lines += [
            "",
            "### What stands in the way"
            if verdict.decision is not Decision.PROMOTE
            else "### Warnings",
            "",
        ]
        lines += [f"- **{escaped(titled(rule))}**: {escaped(why(rule))}" for rule in unsettled]
    lines += ["", "### Made of", "", "| part | identity |", "|:--|:--|"]
    lines += [
        f"| {escaped(name)} | `{_identity(value)}` |" for name, value in made_of(release, lineage)
    ]
    lines += [
        "",
        f"Judged under policy `{short(verdict.policy)}` on golden set `{short(verdict.golden)}`,",
    ]
    lines.append(
        f"against {f'champion `{short(verdict.champion)}`' if verdict.champion else 'no champion'}."
    )
    lines += [which_evaluation(verdict)] if verdict.looks else []
    if links:
        lines += ["", "### Read on", ""]
        lines += [f"- {_link(name, address)}" for name, address in links.items()]
    return "\n".join(lines) + "\n"


def rules_markdown(rules: Sequence[RuleResult], shown: Callable[[str], str]) -> list[str]:
    """The lines of the table of rules; `shown` makes text from outside safe for it."""
    rows = [cells(rule, shown) for rule in rules]
    return [
        "### Rules",
        "",
        f"|{' | '.join(COLUMNS)} |",
        "|:--|:--|--:|--:|--:|:-:|--:|--:|",
        *(f"| {' | '.join((MARKS[row[0]], *row[1:]))} |" for row in rows),
    ]


def _identity(value: str) -> str:
    """Digests in 16 characters: whole ones are in the tags and would fill MLflow's 5000."""
    return (
        _DIGEST.sub(lambda match: match[0][:16], value)
        .replace("`", "'")
        .replace("|", "/")
        .replace("\n", " ")
    )


def _link(name: str, address: str) -> str:
    scheme = address.partition(":")[0].lower() if ":" in address else ""
    if scheme not in ("", "http", "https", "models"):
        return f"{escaped(name)}: `{address.replace('`', '')}`"
    safe = (
        address.replace(" ", "%20")
        .replace("(", "%28")
        .replace(")", "%29")
        .replace("<", "%3C")
        .replace(">", "%3E")
    )
    return f"[{escaped(name)}]({safe})"
