"""The answers that a model is held to: `.sluice/probes/`, one file a model, sealed.

They name the messages that were sent, the settings, and what the replies said of who made them.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sluicegate.config import ProbeParams
from sluicegate.errors import IntegrityError, UsageError
from sluicegate.evidence_key import evidence_key, mac
from sluicegate.hashing import atomic_file, canonical_json, digest_value, read_json
from sluicegate.line.run import Run
from sluicegate.monitoring.probing import Said

AGAIN = "Look why, then `sluice probe --record --reason ...`."
Messages = tuple[Mapping[str, str], ...]


@dataclass(frozen=True, slots=True)
class Recorded:
    """The answers that a model is held to.

    Attributes:
        identity: of the model that was asked.
        settings: those that its answers depend on.
        prompts: id to messages.
        answers: for each prompt.
        times: when, by whom and why they were recorded.
        names: what replies said of who made them, with their number.
    """

    identity: str
    settings: Mapping[str, Any]
    prompts: Mapping[str, Messages]
    answers: Mapping[str, tuple[Said, ...]]
    times: tuple[Mapping[str, str], ...]
    names: Mapping[str, int]


def recorded_path(run: Run, name: str) -> Path:
    """Where the recorded answers of a model are, or would be."""
    return run.project.state / "probes" / f"{digest_value(name)[:16]}.json"


def read_recorded(run: Run, name: str, identity: str) -> Recorded:
    """The recorded answers, checked to be ours, of this model and of these settings."""
    path = recorded_path(run, name)
    if not path.is_file():
        raise UsageError(
            f"no answers of {name} are recorded.",
            hint='Record them: `sluice probe --record --reason "first"`.',
        )
    found = read_json(path)
    given = str(found.pop("mac", ""))
    if not hmac.compare_digest(given.encode(), _mac(run, found).encode()):
        raise IntegrityError(f"{path} was not written by this project.", hint=AGAIN)
    answers = {
        key: tuple(Said(text, tuple(places)) for text, places in said)
        for key, said in found["answers"].items()
    }
    prompts = {key: tuple(messages) for key, messages in found["prompts"].items()}
    known = Recorded(**(found | {"answers": answers, "prompts": prompts}))
    if (known.identity, known.settings) != (identity, settings_of(run.params.probe)):
        raise UsageError(
            f"the recorded answers are of another entry {name} of registry/models.yaml, or of "
            "other settings (params.yaml, probe).",
            hint="`sluice probe --record --reason ...` starts anew.",
        )
    return known


def write_recorded(run: Run, name: str, made: Recorded) -> None:
    """Replace what is recorded of a model."""
    path = recorded_path(run, name)
    answers = {
        key: [[said.text, [dict(place) for place in said.places]] for said in all_said]
        for key, all_said in made.answers.items()
    }
    content = asdict(made) | {"answers": answers}
    text = canonical_json(content | {"mac": _mac(run, content)})
    with atomic_file(path, mode=0o600) as stream:  # answers are nobody else's business
        stream.write(text.encode("utf-8"))


def _mac(run: Run, content: Mapping[str, Any]) -> str:
    return mac(evidence_key(run.project.state), digest_value(content))


def settings_of(params: ProbeParams) -> dict[str, Any]:
    """What answers depend on."""
    return params.model_dump(include={"temperature", "max_tokens", "alternatives"})
