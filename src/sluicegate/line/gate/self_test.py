"""What would the policy let through? The best answers there are, broken on purpose and judged.

The right answers of the golden set (or the champion's, where a row has none) stand in for the best
candidate. Each kind of damage is done to a share of them, and a rule catches it where it no longer
passes, but did for the whole answers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sluicegate.cards.self_test import KindTested, Outcome, SelfTest, self_test_html
from sluicegate.data.examples import read_examples
from sluicegate.errors import UsageError
from sluicegate.evaluation import evaluate, find_baseline, operations, read_evidence, summarise
from sluicegate.evaluation.damage import DAMAGES, damaged
from sluicegate.evaluation.judging import plain_metrics
from sluicegate.gates import Policy, Rule, decide
from sluicegate.hashing import digest_file, write_atomic, write_json
from sluicegate.line.progress import counter
from sluicegate.line.run import Run
from sluicegate.metrics import Metric, find_metric
from sluicegate.records import Decision, Evidence, Example, Generation, Verdict

SHARES = (0.05, 0.1, 0.3, 1.0)
_MOVED = 0.1
"""A metric that falls by so much of its range could catch a kind."""


def self_test(run: Run) -> SelfTest:
    """Judge every kind of damage at every share, and keep what came out for `policy_tested`.

    Writes reports/self_test.html. Rules on facts and on judges are left out: no judge is asked.

    Raises:
        UsageError: there is no golden set yet, no right answer in it, or no rule that could be
            tested.
    """
    bench, digest, left_out = _bench(run)
    told = counter("self-test")
    kinds = []
    for number, kind in enumerate(DAMAGES):
        kinds.append(bench.tested(kind))
        told(number + 1, len(DAMAGES))
    found = SelfTest(
        rows=len(bench.golden),
        shares=SHARES,
        kinds=tuple(
            sorted(
                (one for one in kinds if one.outcomes),
                key=lambda one: -(one.caught_from or 2 * SHARES[-1]),
            )
        ),
        honest=bench.honest(),
        blind=bench.blind(),
        left_out=left_out,
    )
    write_atomic(run.project.reports / "self_test.html", self_test_html(found).encode())
    write_json(
        run.project.self_test,
        {
            "policy": run.policy.digest,
            "golden": digest,
            "unseen": [one.kind for one in found.kinds if not one.caught and not one.meaning],
            "meaning": [one.kind for one in found.kinds if not one.caught and one.meaning],
        },
    )
    return found


def _bench(run: Run) -> tuple[_Bench, str, tuple[str, ...]]:
    project = run.project
    if not project.golden.is_file():
        raise UsageError(
            "there is no golden set yet to test the policy on.", hint="Run `sluice stage prepare`."
        )
    golden, digest = read_examples(project.golden), digest_file(project.golden)
    asking = run.params.evaluate.asking
    names = [name for name in plain_metrics(run.params.evaluate.metrics) if not asking.get(name)]
    metrics = {name: find_metric(name) for name in names}
    rules = tuple(rule for rule in run.policy.rules if _testable(rule, metrics))
    if all(rule.severity == "warn" for rule in rules):
        raise UsageError(
            "the policy has no rule that blocks by a computed metric: a self-test would show that "
            "everything passes.",
            hint="Give registry/gates.yaml rules on metrics of params.yaml.",
        )
    champion = project.evidence / "champion.parquet"
    served = read_evidence(champion) if champion.is_file() else None
    if served is not None and served.golden != digest:
        served = None
    kept = tuple(rule for rule in rules if rule.way != "neutral")
    policy = run.policy.model_copy(update={"rules": kept, "rewards": {}})
    answers, before, others = _best(golden, served), _answers(golden, served), _others(golden)
    if served is None:  # other right answers stand in for the champion's
        golden = [replace(row, reference=row.reference[:1]) for row in golden]
    bench = _Bench(golden, digest, asking, metrics, policy, answers, before, others)
    return bench, digest, tuple(rule.name for rule in run.policy.rules if rule not in rules)


def _testable(rule: Rule, metrics: Mapping[str, Metric]) -> bool:
    """Whether a rule is about computed metrics, or about operations that texts decide."""
    measured = {*metrics, *operations([])} | {f"corpus_{name}" for name in metrics}
    timed = ("latency", "first_token", "tokens_per_second", "cost")
    names = [name for name in (rule.metric, *rule.metrics) if name]
    return bool(names) and all(name in measured and not name.startswith(timed) for name in names)


def _best(golden: Sequence[Example], served: Evidence | None) -> list[Generation]:
    """The first right answer of each row, or what the champion answers where there is none."""
    before = {row.id: row.output for row in served.rows} if served else {}
    found = [(row.reference or (before.get(row.id, ""),))[0] for row in golden]
    if not any(found):
        raise UsageError(
            "the golden set has no reference, and nothing was evaluated yet: there is no answer "
            "to break.",
            hint="Run `sluice release` once.",
        )
    return [_generation(text, row) for text, row in zip(found, golden, strict=True)]


def _answers(golden: Sequence[Example], served: Evidence | None) -> list[Generation]:
    """The champion's answers; without one, other right answers than the first."""
    before = {row.id: row.output for row in served.rows} if served else {}
    return [
        _generation(before.get(row.id, row.reference[-1] if row.reference else ""), row)
        for row in golden
    ]


def _others(golden: Sequence[Example]) -> list[Generation]:
    """The last right answer of each row."""
    return [_generation(row.reference[-1] if row.reference else "", row) for row in golden]


def _generation(text: str, row: Example) -> Generation:
    return Generation(text, 100, max(1, len(text) // 4), 0.5, True, fields=row.expected)


class _Bench:
    """A golden set, answers that are right, and the rules that texts can meet or miss."""

    def __init__(
        self,
        golden: Sequence[Example],
        digest: str,
        asking: Mapping[str, bool],
        metrics: Mapping[str, Metric],
        policy: Policy,
        answers: Sequence[Generation],
        served: Sequence[Generation],
        others: Sequence[Generation],
    ) -> None:
        self.golden, self._digest, self._asking = golden, digest, asking
        self._metrics, self._policy, self._answers = metrics, policy, answers
        self._served, self._others = served, others
        self._exact = any(metric.depends_on_set for metric in metrics.values()) or any(
            rule.metric.startswith("corpus_") for rule in policy.rules
        )
        self._whole = self._scored("whole", answers)
        self._champion = self._scored("champion", served)
        names = {rule.baseline for rule in policy.rules if rule.baseline}
        self._baselines = {
            name: self._scored(name, find_baseline(name)(golden)) for name in sorted(names)
        }
        self._passing = _passing(self._verdict(self._whole))
        self._seen: set[str] = set()

    def tested(self, kind: str) -> KindTested:
        """One kind of damage at every share; without outcomes where it applies to no answer."""
        damage = DAMAGES[kind]
        broken = damaged(kind, self.golden, self._answers)
        if broken is None:
            return KindTested(kind, damage.meaning, {})
        scored = self._scored(kind, broken)
        moved = self._moved(scored)
        self._seen |= {name for name, change in moved.items() if abs(change) > 1e-9}
        order = random.Random(0).sample(range(len(self.golden)), len(self.golden))
        outcomes = {}
        for share in SHARES:
            chosen = set(order[: max(1, round(share * len(order)))])
            outcomes[share] = self._outcome(self._mixed(scored, broken, chosen))
        falls = {name: change for name, change in moved.items() if change <= -_MOVED}
        could = tuple(sorted(falls, key=lambda name: falls[name])[:2])
        return KindTested(kind, damage.meaning, outcomes, could)

    def honest(self) -> dict[str, Outcome]:
        """Answers that break nothing, and have to pass."""
        found = {"the right answers": self._outcome(self._whole)}
        others = list(self._others)
        if not all(answer.text for answer in others) or others == list(self._answers):
            return found
        scored = self._scored("others", others)
        half = set(range(0, len(others), 2))
        found["other right answers in half"] = self._outcome(self._mixed(scored, others, half))
        if others != list(self._served):
            found["other right answers"] = self._outcome(scored)
        return found

    def blind(self) -> tuple[str, ...]:
        """Metrics that no kind of damage, done to every answer, moves."""
        return tuple(name for name in self._metrics if name not in self._seen)

    def _scored(self, name: str, answers: Sequence[Generation]) -> Evidence:
        metrics = list(self._metrics)
        return evaluate(name, self.golden, self._digest, answers, metrics, asking=self._asking)

    def _mixed(self, scored: Evidence, broken: Sequence[Generation], chosen: set[int]) -> Evidence:
        """Evidence on the whole answers with those at the `chosen` places broken."""
        answers = [
            broken[place] if place in chosen else answer
            for place, answer in enumerate(self._answers)
        ]
        if self._exact:
            return self._scored("mixed", answers)
        ids = {self.golden[place].id for place in chosen}
        names = [name for name in scored.summaries if name in self._whole.summaries]
        rows = tuple(
            replace(row, scores={name: row.scores[name] for name in names})
            for row in (
                damaged_row if damaged_row.id in ids else row
                for row, damaged_row in zip(self._whole.rows, scored.rows, strict=True)
            )
        )
        groups = [row.group for row in rows]
        summaries = {
            name: summarise([row.scores[name] for row in rows], groups, self._metrics[name].range)
            for name in names
        }
        return replace(
            scored, rows=rows, summaries=summaries, operations=operations(answers), unscored={}
        )

    def _verdict(self, evidence: Evidence) -> Verdict:
        return decide(
            evidence,
            self._champion,
            self._policy,
            facts={},
            directions={name: metric.direction for name, metric in self._metrics.items()},
            ranges={name: metric.range for name, metric in self._metrics.items()},
            baselines=self._baselines,
        )

    def _outcome(self, evidence: Evidence) -> Outcome:
        verdict = self._verdict(evidence)
        caught = [
            rule.name
            for rule in verdict.rules
            if rule.name in self._passing and rule.decision is not Decision.PROMOTE
        ]
        return Outcome(verdict.decision, tuple(caught))

    def _moved(self, scored: Evidence) -> dict[str, float]:
        """By how much of its range each metric got better; one that sees nothing any more fell."""
        moved = {}
        for name, metric in self._metrics.items():
            if name not in self._whole.summaries:
                continue
            after = scored.summaries[name].mean if name in scored.summaries else metric.worst
            change = (after - self._whole.summaries[name].mean) / (
                metric.range[1] - metric.range[0]
            )
            moved[name] = change if metric.direction == "higher" else -change
        return moved


def _passing(verdict: Verdict) -> set[str]:
    """The rules that block and pass."""
    return {
        rule.name
        for rule in verdict.rules
        if rule.severity == "block" and rule.decision is Decision.PROMOTE
    }
