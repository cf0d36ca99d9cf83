"""Reference pages made from the code when the documents are built: schemas, commands, errors.

`mkdocs.yml` names this file as a hook. The pages exist only in the built site, so that they cannot
grow old. `pages()` gives them as Markdown; `tests/test_docs.py` reads the same.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that MkDocs found."""
    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def pages() -> dict[str, str]:
    """Path below docs/ to Markdown, one for each generated page."""
    made = {f"reference/{name}.md": make() for name, make in PAGES.items()}
    return {**made, "adr/index.md": decisions_page()}


# ------------------------------------------------------------------ files that people edit


def params_page() -> str:
    """params.yaml: one section of the file after the other, explained by its own comments."""
    from sluicegate.config import Params

    said = _comments(ROOT / "params.yaml")
    parts = [
        "# params.yaml",
        "Every hyperparameter of the line. There is one section per stage, and `release` for what"
        " they share.\nAn unknown field is an error that names file and field.",
        "This page is made from the schema; the explanations are those of the schema and of the"
        " shipped file.",
    ]
    for section, field in Params.model_fields.items():
        parts += _schema(f"{section}", _model(field.annotation), said.get(section, {}))
    return _joined(parts)


def gates_page() -> str:
    """registry/gates.yaml: the policy, and each kind of rule with the fields that it takes."""
    from sluicegate.gates import RULES
    from sluicegate.gates.policy import Approvals, Policy, Rule

    rows = [
        (
            f"`{name}`",
            _first_paragraph(kind.check),
            ", ".join(f"`{field}`" for field in kind.needs),
            ", ".join(f"`{field}`" for field in kind.may),
        )
        for name, kind in RULES.items()
    ]
    parts = ["# registry/gates.yaml", "The policy: what a release must meet before it may serve."]
    parts += _schema("The file", Policy, _comments(ROOT / "registry/gates.yaml").get("", {}))
    parts += ["## Kinds of rules", _table(("kind", "holds when", "needs", "may have"), rows)]
    parts += _schema("A rule", Rule, {}) + _schema("approvals", Approvals, {})
    return _joined(parts)


def registry_page() -> str:
    """The other files of registry/ and prompts/."""
    from sluicegate.config import EndpointSpec, ModelSpec, PriceParams, SourceSpec
    from sluicegate.judges.criteria import Criterion, CriterionFile, SentinelFile
    from sluicegate.prompts import PromptFile
    from sluicegate.selecting.plan import Assumptions, Hours, Latency, Needs, SelectionFile

    parts = ["# Registry and prompt files", "Each file is read strictly: no unknown field."]
    for title, schema in (
        ("registry/sources.yaml: a source", SourceSpec),
        ("registry/models.yaml: a model", ModelSpec),
        ("registry/models.yaml: an endpoint", EndpointSpec),
        ("Prices", PriceParams),
        ("registry/selection.yaml", SelectionFile),
        ("selection.yaml: latency", Latency),
        ("selection.yaml: needs", Needs),
        ("selection.yaml: assumptions", Assumptions),
        ("selection.yaml: hours of work", Hours),
        ("prompts/*.yaml: a prompt", PromptFile),
    ):
        parts += _schema(title, schema, {})
    said = _attributes(Criterion)
    criterion = {**said, "criterion": said["text"]}
    parts += _schema("prompts/judge_*.yaml: a criterion", CriterionFile, criterion)
    return _joined(parts + _schema("A known-bad answer (sentinel)", SentinelFile, {}))


def _schema(title: str, schema: type[BaseModel], said: dict[str, str]) -> list[str]:
    """Heading, what the schema's docstring says, and a table of its fields."""
    said = {**said, **_attributes(schema)}
    properties = schema.model_json_schema()
    rows = []
    for name, field in schema.model_fields.items():
        shape = properties["properties"][name]
        value = field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else f"`{_value(value)}`"
        if isinstance(field.default, BaseModel):
            default = "its own defaults"
        rows.append(
            (
                f"`{name}`",
                _kind(shape, properties.get("$defs", {})),
                default,
                _prose(said.get(name, "")),
            )
        )
    parts = [
        f"## {title}",
        _about(schema),
        _table(("field", "value", "default", "meaning"), rows),
    ]
    for name, field in schema.model_fields.items():
        inner = _model(field.annotation)
        if inner is not None and title in ("release",):
            parts += [
                part.replace("## ", "### ", 1) for part in _schema(f"{title}.{name}", inner, said)
            ]
    return parts


def _model(annotation: Any) -> Any:
    """The schema in an annotation such as `Spec` or `Spec | None`; None where there is none."""
    found = [annotation, *getattr(annotation, "__args__", ())]
    models = [one for one in found if inspect.isclass(one) and issubclass(one, BaseModel)]
    return models[0] if models else None


def _kind(shape: dict[str, Any], defs: dict[str, Any]) -> str:
    """A JSON schema in words: `whole number > 0`, `one of a, b`, `list of text`."""
    if "$ref" in shape:
        return "a section of its own"
    if "enum" in shape:
        return "one of " + ", ".join(f"`{_value(one)}`" for one in shape["enum"])
    if "const" in shape:
        return f"`{_value(shape['const'])}`"
    if "anyOf" in shape:
        kinds = [_kind(one, defs) for one in shape["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if shape.get("type") == "array":
        inner = _kind(shape["items"], defs) if "items" in shape else ""
        return f"list of {inner or 'values'}" if "prefixItems" not in shape else "a pair"
    if shape.get("type") == "object":
        return "a mapping"
    names = {"integer": "whole number", "number": "number", "boolean": "true or false"}
    said = names.get(shape.get("type", ""), "text")
    signs = (("exclusiveMinimum", ">"), ("minimum", "at least"), ("exclusiveMaximum", "<"))
    limits = [
        f"{sign} {shape[key]:g}" for key, sign in (*signs, ("maximum", "at most")) if key in shape
    ]
    return f"{said} {', '.join(limits)}".strip()


def _value(value: Any) -> str:
    """A default as one would write it in YAML."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_value, value))}]"
    return {"": '""'}.get(value, str(value)) if isinstance(value, str) else str(value)


def _comments(path: Path) -> dict[str, dict[str, str]]:
    """Section to field to the comment on the field's line; fields at the top are in section ""."""
    found: dict[str, dict[str, str]] = {"": {}}
    section = ""
    for line in path.read_text("utf-8").splitlines():
        if top := re.match(r"([a-z_]+):", line):
            section = top[1] if not line.split("#")[0].split(":", 1)[1].strip() else ""
            found.setdefault(section, {})
        if field := re.match(r"\s*([a-z_]+):[^#]*# (.+)", line):
            found[section][field[1]] = field[2]
    return found


def _attributes(of: type) -> dict[str, str]:
    """The section "Attributes:" of a docstring, name to text; `a, b: text` counts for both."""
    _, _, section = (inspect.getdoc(of) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \w)", "\n" + section.split("\n\n")[0]):
        names, colon, text = entry.partition(": ")
        if colon:
            found |= {name.strip(): " ".join(text.split()) for name in names.split(",")}
    return found


# ------------------------------------------------------------------------------- commands


def commands_page() -> str:
    """Every command with its options, as `--help` says it."""
    from sluicegate.cli import sluice

    context = click.Context(sluice, info_name="sluice")
    parts = ["# Commands", "What `sluice COMMAND --help` says, on one page."]
    names = sluice.list_commands(context)
    rows = [
        (f"[`sluice {name}`](#sluice-{name})", _summary(sluice, context, name)) for name in names
    ]
    parts += [_table(("command", "what it does"), rows)]
    for name in names:
        command = sluice.get_command(context, name)
        assert command is not None
        parts += _command(command, context, name, level=2)
    return _joined(parts)


def _summary(group: click.Group, context: click.Context, name: str) -> str:
    command = group.get_command(context, name)
    assert command is not None
    return _prose(command.get_short_help_str(300))


def _command(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    """Heading, usage, help and options; then the same for each command of a group."""
    context = click.Context(command, info_name=name, parent=parent)
    yield f"{'#' * level} {context.command_path}"
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield _kept(paragraph) if paragraph.startswith("\b") else _prose(paragraph)
    records = [one.get_help_record(context) for one in command.params]
    rows = [(f"`{names}`", _prose(text)) for names, text in filter(None, records)]
    if rows:
        yield _table(("option", "meaning"), rows)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _command(found, context, inner, level + 1)


def _kept(paragraph: str) -> str:
    """A paragraph whose lines are kept as they are."""
    return "```text\n" + paragraph.removeprefix("\b").strip("\n") + "\n```"


# --------------------------------------------------------------------------------- errors


def errors_page() -> str:
    """The tree of errors with exit codes, from `sluicegate.errors`."""
    from sluicegate import errors

    tree = (inspect.getdoc(errors) or "").split("\n\n", 1)[1]
    found = [one for one in vars(errors).values() if inspect.isclass(one)]
    classes = [one for one in found if issubclass(one, errors.SluiceError)]
    rows = [(f"`{one.__name__}`", str(one.exit_code), _first_paragraph(one)) for one in classes]
    return _joined(
        [
            "# Errors",
            "Every error that Sluicegate raises on purpose is a `sluicegate.SluiceError`.\n"
            "It has a `hint`, which says what to do next, and an `exit_code`, which is what the"
            " [command returns](exit-codes.md).\nThere is one class per reaction of the caller.",
            f"```text\n{tree}\n```",
            _table(("class", "exit code", "meaning"), rows),
        ]
    )


# ------------------------------------------------------------------------------ decisions


def decisions_page() -> str:
    """The list of docs/adr, read from the files."""
    rows = []
    for path in sorted((ROOT / "docs" / "adr").glob("0*.md")):
        text = path.read_text("utf-8")
        title = re.search(r"^# (?:ADR )?(?:\d+[.:] )?(.+)", text, re.M)
        status = re.search(r"^\W*Status\W+(.+)", text, re.M)
        assert title is not None, f"{path}: a title `# N. ...` is needed"
        rows.append(
            (path.stem[:4], f"[{title[1]}]({path.name})", status[1].rstrip(".*") if status else "")
        )
    said = "What was decided, what was measured for it, and what was rejected."
    return _joined(["# Decisions", said, _table(("", "decision", "status"), rows)])


# -------------------------------------------------------------------------------- Markdown


def _first_paragraph(of: Any) -> str:
    return _prose((inspect.getdoc(of) or "").split("\n\n")[0])


def _about(of: Any) -> str:
    """The docstring up to its list of attributes."""
    text = (inspect.getdoc(of) or "").partition("Attributes:\n")[0]
    return _joined([_prose(part) for part in text.split("\n\n")]).strip()


def _prose(text: str) -> str:
    """Plain text as Markdown: one line, and `<name>` outside of code is no tag."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    used = [at for at in range(len(head)) if any(row[at] for row in rows)]
    lines = [[head[at] for at in used], ["---"] * len(used)]
    lines += [[row[at].replace("|", "\\|") for at in used] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "params": params_page,
    "gates": gates_page,
    "registry": registry_page,
    "commands": commands_page,
    "errors": errors_page,
}
