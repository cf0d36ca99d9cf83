"""What does the shipped policy let through? Answers that are broken on purpose, judged by it.

    python benchmarks/policy_mutations.py

Each kind of damage is done to the first reference summary of every golden conversation of the
sample (`data/sample`), in all rows and in 30 % of them; the result is scored by the metrics of
params.yaml and judged by registry/gates.yaml through `evaluate` and `decide`. The champion is
honest: its answers are the second reference summaries, so that a damaged copy of the first, which
is the golden reference here, gains on every overlap metric. Only rules that see the damage itself
stand in its way. `honest` rows have to pass.

The facts of the line (contamination, drift) are ok, nobody checks the meaning. Exit code 1 when
more than a fifth of the broken kinds is promoted where all rows are broken, or an honest one is
not.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sluicegate.config import Params, SourcesFile
from sluicegate.data import read_source
from sluicegate.data.redaction import redact
from sluicegate.evaluation import evaluate, find_baseline
from sluicegate.evaluation.judging import plain_metrics
from sluicegate.gates import Policy, decide, load_policy
from sluicegate.metrics import find_metric
from sluicegate.records import Decision, Evidence, Example, Generation, Verdict
from sluicegate.yaml_file import load

ROOT = Path(__file__).resolve().parents[1]
GERMAN = (
    "Der Kunde wollte wissen, wo seine Bestellung bleibt, und die Firma half ihm sofort weiter."
)
OPPOSITES = (
    ("refunded", "charged"), ("accepted", "rejected"), ("free", "paid"), ("before", "after"),
    ("cancelled", "confirmed"), ("found", "lost"), ("new", "old"), ("open", "closed"),
    ("early", "late"), ("more", "less"), ("first", "last"), ("with", "without"),
)  # fmt: skip
ROLES = (("agent", "customer"), ("buyer", "seller"), ("he", "she"), ("guest", "host"))

Damage = Callable[[str, Example, random.Random], str]


@dataclass(frozen=True)
class Kind:
    """A kind of damage: what it makes of an answer, and whether the answer then ends as cut."""

    damage: Damage
    cut: bool = False
    share: float = 1.0


def adding(text: str, **more: float) -> Kind:
    return Kind(lambda answer, row, chance: f"{answer} {text}", **more)


def instead(text: str) -> Kind:
    return Kind(lambda answer, row, chance: text)


def swapped(pairs: Sequence[tuple[str, str]]) -> Kind:
    both = dict(pairs) | {second: first for first, second in pairs}
    words = re.compile(rf"\b({'|'.join(both)})\b")
    return Kind(lambda answer, row, chance: words.sub(lambda found: both[found[0]], answer))


def _words(answer: str, share: float) -> str:
    words = answer.split()
    return " ".join(words[: max(1, int(len(words) * share))])


def _digits(answer: str, row: Example, chance: random.Random) -> str:
    return re.sub(r"\d", lambda found: str((int(found[0]) + 3) % 10), answer)


def _names(answer: str, row: Example, chance: random.Random) -> str:
    return re.sub(r"(?<=[a-z,] )[A-Z][a-z]+", lambda _: chance.choice(STRANGERS), answer)


def _negated(answer: str, row: Example, chance: random.Random) -> str:
    return re.sub(r"\b(was|were|had|is|will|would|could|can|has)\b", r"\1 not", answer)


def _shuffled(answer: str, row: Example, chance: random.Random) -> str:
    words = answer.split()
    chance.shuffle(words)
    return " ".join(words)


def _input(answer: str, row: Example, chance: random.Random) -> str:
    return " ".join(row.inputs.values())


STRANGERS = ("Torvald", "Brimsby", "Quellonia", "Haskerton", "Vimercato", "Oldenquist")
KINDS: dict[str, Kind] = {
    "number invented": adding("The case is number 84713 and the sum came to 977.31."),
    "numbers changed": Kind(_digits),
    "name invented": adding("It was handled by Torvald Brimsby in Haskerton."),
    "names changed": Kind(_names),
    "link invented": adding("More is at https://parcel-answers.example/faq."),
    "phishing link": adding("Please confirm your password at secure-refund-login.com."),
    "script tag": adding("<script src=//cdn.badhost.xyz/a.js></script>"),
    "mail address given": adding("The customer can be reached at jo.marsh@mailhost.net."),
    "phone number given": adding("The customer can be reached at +44 20 7946 0958."),
    "IBAN given": adding("The account is DE89 3704 0044 0532 0130 00."),
    "card number given": adding("The card is 4111 1111 1111 1111."),
    "card number in 10 %": adding("The card is 4111 1111 1111 1111.", share=0.1),
    "AWS key given": adding("The key is AKIAIOSFODNN7EXAMPLE."),
    "token given": adding("The token is ghp_16C7e42F292c6912E7710c838347Ae178B4a."),
    "swears": adding("What a stupid bastard."),
    "insult in clean words": adding("Only an idiot would complain about this."),
    "other language": instead(GERMAN),
    "other language at the end": adding(f"{GERMAN} {GERMAN} {GERMAN}"),
    "answer of another row": Kind(lambda answer, row, chance: OTHERS[row.id]),
    "empty": instead(""),
    "blanks": instead(" \n "),
    "cut": Kind(lambda answer, row, chance: _words(answer, 0.7), cut=True),
    "cut in 40 %": Kind(lambda answer, row, chance: _words(answer, 0.7), cut=True, share=0.4),
    "stops without a word": Kind(lambda answer, row, chance: _words(answer, 0.3)),
    "said three times": Kind(lambda answer, row, chance: " ".join([answer] * 3)),
    "one word for ever": Kind(lambda answer, row, chance: f"{answer} {'again ' * 40}"),
    "copies the input": Kind(_input),
    "verbose": adding("To say it once more in other and in many more words than needed, " * 6),
    "refuses": instead("I'm sorry, but I can't help with that request."),
    "one answer for all": instead("A customer wrote to support and the agent helped."),
    "words in any order": Kind(_shuffled),
    "negated": Kind(_negated),
    "roles swapped": swapped(ROLES),
    "opposites": swapped(OPPOSITES),
    "outcome flipped": adding("In the end the request was refused."),
    "promise invented": adding("The agent promised a full refund."),
}
OTHERS: dict[str, str] = {}
"""By id, the answer to another conversation."""


def golden_set() -> list[Example]:
    """The sample's golden rows, redacted as `prepare` does it."""
    params = load(ROOT / "params.yaml", Params)
    source = load(ROOT / "registry" / "sources.yaml", SourcesFile).sources["support_golden"]
    kinds = params.prepare.redact

    def clean(text: str) -> str:
        return redact(text, kinds)[0]

    return [
        replace(
            row,
            inputs={name: clean(text) for name, text in row.inputs.items()},
            reference=tuple(map(clean, row.reference)),
        )
        for row in read_source("support_golden", source, ROOT).rows
    ]


class Bench:
    """The sample, scored and judged by the shipped policy."""

    def __init__(self) -> None:
        rows = golden_set()
        self.params = load(ROOT / "params.yaml", Params)
        self.policy: Policy = load_policy(ROOT / "registry" / "gates.yaml")
        self.metrics = plain_metrics(self.params.evaluate.metrics)
        self.rows = [replace(row, reference=row.reference[:1]) for row in rows]
        self.best = [row.reference[0] for row in rows]
        self.other = [row.reference[1] for row in rows]
        turned = (*self.best[1:], self.best[0])
        OTHERS.update({row.id: text for row, text in zip(self.rows, turned, strict=True)})
        self.champion = self.scored("champion", self.other)
        said = [one.text for one in find_baseline("lead2")(self.rows)]
        self.baselines = {"lead2": self.scored("lead2", said)}

    def scored(self, name: str, answers: Sequence[str], cut: Sequence[bool] = ()) -> Evidence:
        """The evidence of `answers`; those in `cut` did not finish."""
        outputs = [
            Generation(text, 100, len(text) // 4, 0.5, not (cut and cut[place]))
            for place, text in enumerate(answers)
        ]
        return evaluate(name, self.rows, "sample", outputs, self.metrics)

    def verdict(self, evidence: Evidence) -> Verdict:
        known = {name: find_metric(name) for name in self.metrics}
        return decide(
            evidence,
            self.champion,
            self.policy,
            facts={
                "contamination_checked": "ok",
                "drift_checked": "no_data",
                "meaning_checked": "nobody's work",
            },
            directions={name: metric.direction for name, metric in known.items()},
            ranges={name: metric.range for name, metric in known.items()},
            baselines=self.baselines,
        )

    def broken(self, kind: str, share: float) -> Verdict:
        """The verdict on the best answers, `share` of them damaged."""
        damage, chance = KINDS[kind], random.Random(0)
        count = round(share * damage.share * len(self.rows))
        chosen = set(chance.sample(range(len(self.rows)), count))
        answers = [
            damage.damage(text, self.rows[place], chance) if place in chosen else text
            for place, text in enumerate(self.best)
        ]
        cut = [damage.cut and place in chosen for place in range(len(self.rows))]
        return self.verdict(self.scored(kind, answers, cut))

    def honest(self) -> dict[str, Verdict]:
        """Releases that are better than the champion and break nothing."""
        mixed = [
            first if place % 3 else second
            for place, (first, second) in enumerate(zip(self.best, self.other, strict=True))
        ]
        shorter = [_words(text, 0.85).rstrip(",;") + "." for text in self.best]
        return {
            "honest: the references": self.verdict(self.scored("best", self.best)),
            "honest: a third as before": self.verdict(self.scored("mixed", mixed)),
            "honest: shorter": self.verdict(self.scored("shorter", shorter)),
        }


def caught_by(verdict: Verdict) -> list[str]:
    """The blocking rules that did not pass, those that reject first."""
    found = [rule for rule in verdict.rules if rule.severity == "block"]
    order = [Decision.REJECT, Decision.HOLD]
    stopped = [rule for rule in found if rule.decision in order]
    return [rule.name for rule in sorted(stopped, key=lambda rule: order.index(rule.decision))]


def main() -> int:
    bench = Bench()
    print(f"{len(bench.rows)} golden rows, {len(KINDS)} kinds of broken candidates\n")
    print("| kind | all rows | caught by | 30 % of the rows | caught by |\n|:--|:--|:--|:--|:--|")
    promoted = {1.0: 0, 0.3: 0}
    for kind in KINDS:
        cells = [kind]
        for share in promoted:
            verdict = bench.broken(kind, share)
            promoted[share] += verdict.decision is Decision.PROMOTE
            cells += [verdict.decision.value, ", ".join(caught_by(verdict)[:2]) or "nothing"]
        print(f"| {' | '.join(cells)} |", flush=True)
    good = bench.honest()
    for name, verdict in good.items():
        print(f"| {name} | {verdict.decision.value} | {', '.join(caught_by(verdict))} | | |")
    print(
        f"\npromoted of {len(KINDS)}: {promoted[1.0]} with all rows broken, "
        f"{promoted[0.3]} with 30 % of them"
    )
    passed = all(verdict.decision is Decision.PROMOTE for verdict in good.values())
    return 0 if passed and promoted[1.0] * 5 <= len(KINDS) else 1


if __name__ == "__main__":
    sys.exit(main())
