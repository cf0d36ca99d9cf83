"""Is the model behind the name still the one whose answers were recorded?

Each probe sends the recorded messages again, under new seeds; `recorded` keeps them and the answers.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sluicegate.budget import Budget
from sluicegate.config import ModelSpec, ProbeParams
from sluicegate.data.examples import read_examples
from sluicegate.data.lines import json_lines
from sluicegate.data.rows import read_bytes
from sluicegate.errors import (
    ConfigError,
    DataError,
    EnvironmentFailure,
    TrackingError,
    UsageError,
    did_you_mean,
)
from sluicegate.generating import Failure, Model, Reply, Request
from sluicegate.line.run import Probed, Run, actor
from sluicegate.line.watch.recorded import (
    Messages,
    Recorded,
    read_recorded,
    settings_of,
    write_recorded,
)
from sluicegate.models import open_model
from sluicegate.monitoring.probing import ALPHA, Compared, Said, compare_answers
from sluicegate.prompts import render


@dataclass(frozen=True, slots=True)
class _Asked:
    answers: Mapping[str, tuple[Said, ...]]
    names: Mapping[str, int]


def record(
    run: Run, name: str = "", *, reason: str, add: bool = False, budget: Budget | None = None
) -> Probed:
    """Ask the model and keep its answers as those that it is held to.

    Args:
        run: the project.
        name: in registry/models.yaml; the release's model by default.
        reason: why, for whoever looks later.
        add: keep what is recorded, and add to it: answers of another hour.
        budget: what it may spend.

    Raises:
        UsageError: no reason is given, or there is nothing to add to.
        BudgetError, ConfigError, DataError, EnvironmentFailure: nothing is recorded then.
    """
    if not reason.strip():
        raise UsageError("recording needs a reason.", hint="Say it with --reason.")
    name, model = _model(run, name)
    params, budget = run.params.probe, budget or Budget()
    before = read_recorded(run, name, model.identity) if add else None
    prompts = before.prompts if before else _prompts(run)
    asked = _ask(model, name, prompts, params, params.recorded, budget)
    when = {"time": _now(), "actor": actor(), "reason": reason}
    made = Recorded(
        model.identity, settings_of(params), prompts, asked.answers, (when,), asked.names
    )
    if before is not None:
        answers = {key: (*said, *asked.answers[key]) for key, said in before.answers.items()}
        names = dict(Counter(before.names) + Counter(asked.names))
        made = replace(made, answers=answers, times=(*before.times, when), names=names)
    write_recorded(run, name, made)
    number = len(next(iter(made.answers.values())))
    text = f"{name}: {number} answers to each of {len(prompts)} prompts are recorded."
    return _outcome(name, made, budget, text=text)


def probe(run: Run, name: str = "", *, budget: Budget | None = None) -> Probed:
    """Ask the recorded prompts again and say whether the same model answers.

    An unchanged model alarms on at most 2 % of days. Nothing is written but a run in MLflow.

    Args:
        run: the project.
        name: in registry/models.yaml; the release's model by default.
        budget: what it may spend.

    Raises:
        UsageError: nothing is recorded, or of another model or other settings.
        IntegrityError: what is recorded was changed by somebody else.
        EnvironmentFailure: a request got no answer.
        BudgetError: the budget is spent; nothing is concluded.
    """
    name, model = _model(run, name)
    params, budget = run.params.probe, budget or Budget()
    known = read_recorded(run, name, model.identity)
    asked = _ask(model, name, known.prompts, params, params.repeats, budget)
    found = compare_answers([*known.answers.values()], [*asked.answers.values()])
    renamed, notes = _told_apart(known.names, asked.names)
    changed = found.changed or renamed
    if changed:
        notes = (*_shown(known, asked, found), *notes)
    verdict = "another model answers" if changed else "the same model answers"
    how = f"p = {found.p:.3g}, alarm at {ALPHA:g} and below"
    text = "\n".join([f"{name}: {verdict} ({how})", *(f"- {note}" for note in notes)])
    outcome = _outcome(name, known, budget, text=text, found=found, changed=changed, notes=notes)
    try:
        return replace(outcome, run_id=_track(run, outcome))
    except TrackingError as error:
        return replace(outcome, warnings=(f"the probe was not kept in MLflow: {error}",))


def probed_model(run: Run, name: str = "") -> str:
    """The name in registry/models.yaml; the release's model by default."""
    return name or run.params.release.model


def _model(run: Run, name: str) -> tuple[str, Model]:
    name, models = probed_model(run, name), run.models.models
    if name not in models:
        raise ConfigError(
            f"registry/models.yaml has no {name}{did_you_mean(name, models)}.",
            hint=f"Known: {', '.join(models)}; add an entry there.",
        )
    spec: ModelSpec = models[name]
    return name, open_model(spec, name, root=run.project.root, dtype=run.params.release.dtype)


def _prompts(run: Run) -> dict[str, Messages]:
    """Id to messages: of the project's file, else of golden rows, evenly spread."""
    params = run.params.probe
    if params.file:
        path = run.project.root / params.file
        if not path.is_file():
            raise ConfigError(f"params.yaml: probe.file: there is no {path}.")
        found = {
            str(row.get("id", number)): _messages(row, f"{path}, line {number}")
            for number, row in json_lines(path, read_bytes(path))
        }
    else:
        rows = read_examples(run.project.golden)
        step = max(1, len(rows) // params.prompts)
        chosen = rows[::step][: params.prompts]
        found = {row.id: tuple(render(run.prompt, row.inputs)) for row in chosen}
    if not found:
        raise DataError(
            "there is no prompt to probe with.",
            hint="Name a file of JSON lines with `prompt` or `messages` as probe.file.",
        )
    return found


def _messages(row: Mapping[str, Any], where: str) -> Messages:
    made = row.get("messages", [{"role": "user", "content": row.get("prompt")}])
    sound = isinstance(made, list) and made
    if not sound or not all(
        isinstance(one, dict)
        and set(one) == {"role", "content"}
        and all(isinstance(text, str) and text for text in one.values())
        for one in made
    ):
        raise DataError(f"{where}: neither `prompt` (text) nor `messages` (role and content).")
    return tuple(made)


def _ask(
    model: Model,
    name: str,
    prompts: Mapping[str, Messages],
    params: ProbeParams,
    repeats: int,
    budget: Budget,
) -> _Asked:
    """Every prompt `repeats` times, under new seeds: no request is one that was made before."""
    keys = [key for key in prompts for _ in range(repeats)]
    requests = [
        Request(
            prompts[key],
            params.max_tokens,
            params.temperature,
            secrets.randbits(31),
            params.alternatives,
        )
        for key in keys
    ]
    answers: dict[str, list[Said]] = {key: [] for key in prompts}
    names: Counter[str] = Counter()
    replies = model.generate(requests, budget=budget)
    failed = [reply.reason for reply in replies if isinstance(reply, Failure)]
    if failed:
        raise EnvironmentFailure(
            f"{name}: {len(failed)} of {len(replies)} requests got no answer: {failed[0]}",
            hint="Nothing was concluded; run again when the model works.",
        )
    for key, reply in zip(keys, replies, strict=True):
        assert isinstance(reply, Reply)
        answers[key].append(Said(reply.text, tuple(map(_rounded, reply.alternatives))))
        names[reply.answered_by] += 1
    return _Asked({key: tuple(said) for key, said in answers.items()}, dict(names))


def _rounded(place: Mapping[str, float]) -> dict[str, float]:
    return {token: round(chance, 4) for token, chance in place.items()}


def _told_apart(before: Mapping[str, int], now: Mapping[str, int]) -> tuple[bool, tuple[str, ...]]:
    """Whether replies name a model that they did not, and what there is to know of their names.

    A new fingerprint is a new version of software or hardware, which may answer alike: only a note.
    """
    models, known = ({one.partition(" ")[0] for one in names if one} for names in (now, before))
    new = sorted(models - known)
    if known and new:
        return True, (f"replies name {', '.join(new)}; before, {', '.join(sorted(known))}.",)
    prints = sorted({one.partition(" ")[2] for one in now.keys() - before.keys()} - {""})
    return False, (f"new system_fingerprint: {', '.join(prints)}.",) if prints else ()


def _shown(known: Recorded, asked: _Asked, found: Compared) -> list[str]:
    """The prompts that moved most, and the two most frequent answers to the first."""
    ranked = sorted(zip(found.prompts, known.answers, strict=True))
    moved = [f"{key} (p = {p:.2g})" for p, key in ranked[:3] if p <= 0.1]
    if not moved:
        return []
    first = ranked[0][1]
    before, now = (_usual(answers[first]) for answers in (known.answers, asked.answers))
    return [f"moved most: {', '.join(moved)}", f"recorded: {before}", f"today:    {now}"]


def _usual(answers: Sequence[Said]) -> str:
    text = " ".join(Counter(answer.text for answer in answers).most_common(1)[0][0].split())
    return text if len(text) <= 160 else f"{text[:159]}…"


def _outcome(
    name: str,
    known: Recorded,
    budget: Budget,
    *,
    text: str,
    found: Compared | None = None,
    changed: bool = False,
    notes: tuple[str, ...] = (),
) -> Probed:
    spent = budget.spent
    return Probed(
        status="CHANGED" if changed else "OK",
        model=name,
        release=known.identity,
        p=None if found is None else found.p,
        prompts=dict(zip(known.prompts, found.prompts, strict=True)) if found else {},
        recorded=known.times,
        notes=notes,
        text=text,
        calls=spent.made,
        tokens=spent.tokens,
        cost=spent.cost,
    )


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _track(run: Run, found: Probed) -> str:
    tags = {"sluice.stage": "probe", "sluice.probe": found.status}
    params = {"model": found.model, "prompts": len(found.prompts)}
    with run.tracking.start_run(run.name, "probe", params, tags) as kept:
        kept.log_metrics(
            {"p": found.p or 0.0, "calls": found.calls, "tokens": found.tokens, "cost": found.cost}
        )
        kept.log_text("probe.txt", found.text)
        return str(kept.id)
