"""`sluice adapter import`: an adapter trained elsewhere, verified, recorded and versioned."""

from __future__ import annotations

import re
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sluicegate.adapters import publish_adapter
from sluicegate.adapters.importing import Origin, convert_adapter
from sluicegate.config import Params
from sluicegate.errors import UsageError
from sluicegate.hashing import write_atomic, write_json
from sluicegate.line.pipeline.base_model import resolve
from sluicegate.line.pipeline.imported import imported_folder
from sluicegate.line.run import Run, actor
from sluicegate.versioning.dvc_calls import ensure_dvc, run_dvc
from sluicegate.yaml_file import load

_SECTION = re.compile(r"^tune:[ \t]*(?:#.*)?\n(?:(?:[ \t]+.*|[ \t]*#.*|[ \t]*)\n)*", re.M)


@dataclass(frozen=True, slots=True)
class Brought:
    """An adapter that is in the project now.

    Attributes:
        digest: of the adapter.
        folder: where it is kept, relative to the project.
        origin: where it came from.
        base: the project's base model, which it fits.
        new: False where it was there already.
    """

    digest: str
    folder: str
    origin: Origin
    base: str
    new: bool


def bring_adapter(run: Run, folder: Path, *, reason: str, tool: str = "") -> Brought:
    """Verify the adapter in `folder`, keep it under data/adapters/ and name it in params.yaml.

    A second call with the same adapter changes nothing.

    Args:
        run: the project; its base model is the one that the adapter has to fit.
        folder: as the other tool wrote it; it is only read.
        reason: why it is brought in, for the record.
        tool: what trained it, where the folder does not tell.

    Raises:
        AdapterError: it cannot be used; says why.
        UsageError: no reason is given, or params.yaml has no `tune:` section to write to.
    """
    if not reason.strip():
        raise UsageError("an import needs a reason.", hint='--reason "trained on the 2026 tickets"')
    project, base = run.project, resolve(run)
    project.state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=project.state) as scratch:
        made = Path(scratch)
        origin = convert_adapter(
            folder.resolve(), made, base_digest=base.digest, base_path=base.path
        )
        digest, kept = publish_adapter(made, project.root / "data")
    record = imported_folder(project, digest).with_name(f"{digest}.json")
    new = not record.is_file()
    if new:
        found = asdict(origin) | ({"tool": tool} if tool else {})
        when = datetime.now(UTC).isoformat(timespec="seconds")
        said = {"reason": reason, "by": actor(), "at": when, "fits": base.name}
        write_json(record, {**found, **said})
    place = str(kept.relative_to(project.root))
    ensure_dvc(project.root)
    run_dvc(project.root, "add", "--quiet", place)
    _name_it(run, digest)
    return Brought(digest, place, origin, base.name, new)


def _name_it(run: Run, digest: str) -> None:
    """`tune.method` and `tune.adapter` in params.yaml; every other byte stays."""
    path = run.project.params
    text = path.read_text("utf-8")
    section = _SECTION.search(text if text.endswith("\n") else f"{text}\n")
    wanted = run.params.tune.model_copy(update={"method": "imported", "adapter": digest})
    if section is not None:
        lines = re.sub(r"^([ \t]+)adapter:.*\n", "", section[0], flags=re.M)
        edited = re.sub(
            r"^([ \t]+)method:([ \t]*)[^\s#]+(.*)$",
            rf'\1method:\2imported\3\n\1adapter: "{digest}"',
            lines,
            count=1,
            flags=re.M,
        )
        write_atomic(path, text.replace(section[0], edited, 1).encode("utf-8"))
        if load(path, Params) == run.params.model_copy(update={"tune": wanted}):
            return
        write_atomic(path, text.encode("utf-8"))
    raise UsageError(
        "the adapter is kept, but params.yaml has no line `method:` in a section `tune:`.",
        hint=f'Write there: method: imported, and adapter: "{digest}".',
    )
