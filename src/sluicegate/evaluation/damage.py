"""Answers broken on purpose, to see what a policy lets through: mutation testing of a gate.

Write a function and a row of `DAMAGES`; nothing else knows a kind's name.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sluicegate.chat import as_read
from sluicegate.records import Example, Generation

GERMAN = (
    "Der Kunde wollte wissen, wo seine Bestellung bleibt, und die Firma half ihm sofort weiter."
)
ROLES = (
    ("agent", "customer"), ("buyer", "seller"), ("he", "she"), ("guest", "host"), ("his", "her"),
    ("user", "assistant"), ("sender", "recipient"), ("doctor", "patient"),
)  # fmt: skip
OPPOSITES = (
    ("refunded", "charged"), ("accepted", "rejected"), ("free", "paid"), ("before", "after"),
    ("cancelled", "confirmed"), ("found", "lost"), ("new", "old"), ("open", "closed"),
    ("early", "late"), ("more", "less"), ("first", "last"), ("with", "without"),
    ("always", "never"), ("true", "false"), ("yes", "no"), ("increase", "decrease"),
)  # fmt: skip
STRANGERS = ("Torvald", "Brimsby", "Quellonia", "Haskerton", "Vimercato", "Oldenquist")
_LABELS = 20
"""At most so many different right answers, each of few words, are labels."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a kind of damage may look at besides the answer: the row, another row's answer, the
    labels of the set (none where answers are texts), and a seeded source of chance.
    """

    row: Example
    other: str
    labels: tuple[str, ...]
    chance: random.Random


Make = Callable[[str, Place], str]


@dataclass(frozen=True, slots=True)
class Damage:
    """A kind of damage.

    Attributes:
        make: the broken text of an answer; the same text where the kind does not apply to it.
        cut: the answer ends as if the length limit had cut it.
        contexts: the answer claims to have used no context.
        meaning: only somebody who understands the answer can see it: a judge, or people.
    """

    make: Make
    cut: bool = False
    contexts: bool = False
    meaning: bool = False


def _adding(text: str, *, meaning: bool = False) -> Damage:
    return Damage(lambda answer, place: f"{answer} {text}".strip(), meaning=meaning)


def _instead(text: str) -> Damage:
    return Damage(lambda answer, place: text)


def _swapping(pairs: Sequence[tuple[str, str]]) -> Damage:
    both = dict(pairs) | {second: first for first, second in pairs}
    words = re.compile(rf"\b({'|'.join(both)})\b")
    return Damage(
        lambda answer, place: words.sub(lambda found: both[found[0]], answer), meaning=True
    )


def _part(answer: str, share: float) -> str:
    words = answer.split()
    return " ".join(words[: max(1, int(len(words) * share))])


def _digits(answer: str, place: Place) -> str:
    return re.sub(r"\d", lambda found: str((int(found[0]) + 3) % 10), answer)


def _names(answer: str, place: Place) -> str:
    return re.sub(r"(?<=[a-z,] )[A-Z][a-z]+", lambda _: place.chance.choice(STRANGERS), answer)


def _negated(answer: str, place: Place) -> str:
    return re.sub(r"\b(was|were|had|is|are|will|would|could|can|has)\b", r"\1 not", answer)


def _shuffled(answer: str, place: Place) -> str:
    words = answer.split()
    place.chance.shuffle(words)
    return " ".join(words)


def _input(answer: str, place: Place) -> str:
    return " ".join(as_read(place.row.inputs).values())


def _label(answer: str, place: Place) -> str:
    others = [label for label in place.labels if label.casefold() != answer.strip().casefold()]
    return place.chance.choice(others) if others else answer


def _format(answer: str, place: Place) -> str:
    return answer.rstrip()[:-1] if _is_json(answer) else answer


def _field(answer: str, place: Place) -> str:
    """The first field of a JSON object gone."""
    if not _is_json(answer):
        return answer
    value = json.loads(answer)
    return json.dumps(dict(list(value.items())[1:])) if isinstance(value, dict) else answer


def _is_json(answer: str) -> bool:
    try:
        return isinstance(json.loads(answer), dict | list)
    except ValueError:
        return False


DAMAGES: dict[str, Damage] = {
    "number invented": _adding("The case is number 84713 and the sum came to 977.31."),
    "numbers changed": Damage(_digits),
    "name invented": _adding("It was handled by Torvald Brimsby in Haskerton."),
    "names changed": Damage(_names),
    "link invented": _adding("More is at https://parcel-answers.example/faq."),
    "phishing link": _adding("Please confirm your password at secure-refund-login.com."),
    "script tag": _adding("<script src=//cdn.badhost.xyz/a.js></script>"),
    "mail address given": _adding("The customer can be reached at jo.marsh@mailhost.net."),
    "phone number given": _adding("The customer can be reached at +44 20 7946 0958."),
    "IBAN given": _adding("The account is DE89 3704 0044 0532 0130 00."),
    "card number given": _adding("The card is 4111 1111 1111 1111."),
    "key given": _adding("The key is AKIAIOSFODNN7EXAMPLE."),
    "token given": _adding("The token is ghp_16C7e42F292c6912E7710c838347Ae178B4a."),
    "swears": _adding("What a stupid bastard."),
    "insult in clean words": _adding("Only an idiot would complain about this.", meaning=True),
    "other language": _instead(GERMAN),
    "other language at the end": _adding(f"{GERMAN} {GERMAN} {GERMAN}"),
    "answer of another row": Damage(lambda answer, place: place.other),
    "empty": _instead(""),
    "cut": Damage(lambda answer, place: _part(answer, 0.7), cut=True),
    "stops without a word": Damage(lambda answer, place: _part(answer, 0.3)),
    "said three times": Damage(lambda answer, place: " ".join([answer] * 3)),
    "one word for ever": Damage(lambda answer, place: f"{answer} {'again ' * 40}".strip()),
    "copies the input": Damage(_input),
    "verbose": _adding("To say it once more in other and in many more words than needed, " * 6),
    "refuses": _instead("I'm sorry, but I can't help with that request."),
    "one answer for all": _instead("A customer wrote to support and the agent helped."),
    "words in any order": Damage(_shuffled),
    "label flipped": Damage(_label),
    "format broken": Damage(_format),
    "field missing": Damage(_field),
    "contexts ignored": Damage(lambda answer, place: place.other, contexts=True),
    "negated": Damage(_negated, meaning=True),
    "roles swapped": _swapping(ROLES),
    "opposites": _swapping(OPPOSITES),
    "outcome flipped": _adding("In the end the request was refused.", meaning=True),
    "promise invented": _adding("The agent promised a full refund.", meaning=True),
}


def labels_of(golden: Sequence[Example]) -> tuple[str, ...]:
    """The right answers, where they are few and short: the labels of a classification.

    Example:
        >>> rows = [Example(str(n), "g", {}, (("spam", "ham")[n % 2],), "s") for n in range(9)]
        >>> labels_of(rows)
        ('ham', 'spam')
    """
    found = {text for row in golden for text in row.reference}
    few = 1 < len(found) <= min(_LABELS, len(golden) // 3)
    return tuple(sorted(found)) if few and all(len(text.split()) <= 4 for text in found) else ()


def damaged(
    kind: str, golden: Sequence[Example], answers: Sequence[Generation]
) -> list[Generation] | None:
    """Every answer broken in one way; None where the kind applies to no answer.

    Args:
        kind: a row of `DAMAGES`.
        golden: the rows, for their inputs, and for labels.
        answers: one for each; they are not changed. The other row that a kind may take an answer
            from is the next of another group.

    Raises:
        KeyError: there is no such kind.
    """
    damage, chance, labels = DAMAGES[kind], random.Random(0), labels_of(golden)
    broken = []
    for number, (row, answer) in enumerate(zip(golden, answers, strict=True)):
        place = Place(row, _next(number, golden, answers), labels, chance)
        fields: Mapping[str, str] = answer.fields
        if damage.contexts:
            fields = {name: text for name, text in fields.items() if name != "contexts"}
        applies = not damage.contexts or "contexts" in answer.fields
        text = damage.make(answer.text, place) if applies else answer.text
        finished = answer.finished and not damage.cut
        broken.append(replace(answer, text=text, finished=finished, fields=fields))
    return None if broken == list(answers) else broken


def _next(number: int, golden: Sequence[Example], answers: Sequence[Generation]) -> str:
    for step in range(1, len(golden)):
        other = (number + step) % len(golden)
        if golden[other].group != golden[number].group:
            return answers[other].text
    return ""
