"""The model card: purpose, making and verdict of a release, from a template of the team's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.cards import wording
from sluicegate.cards.report import ReportContext
from sluicegate.cards.verdict import escaped
from sluicegate.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_CHARACTERS = 1_000_000
_GROWING = frozenset({"*", "**", "%"})
_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map"})


def render_model_card(
    template: Path,
    context: ReportContext,
    *,
    model: str,
    base: Mapping[str, Any],
    prompt: str = "",
    sources: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Fill the team's template.

    Args:
        template: `registry/model_card.md.jinja`. It runs in Jinja's sandbox, without `*`, `**`, `%`
            and padding, and may write a million characters.
        base: the model's `name`, `licence`, `notes`; of a hosted one `asked`, its address and name, and
            `answered_by`: what answered, with the number of answers.
        prompt: the prompt's text as the model gets it, variables unfilled.
        sources: for each source its `role`, `licence`, `owner`, `notes`.

    Raises:
        ConfigError: the template is missing, malformed, names an unknown value or writes too much.
    """
    from jinja2 import TemplateError, TemplateSyntaxError

    environment = _environment()
    values = {
        "model": model, "base": {"asked": "", "answered_by": {}, **base}, "prompt": prompt, "sources": dict(sources or {}),
        "context": context,
        "release": context.release, "lineage": context.lineage, "verdict": context.verdict,
        "tune": context.tune,
        "candidate": context.candidate, "champion": context.champion,
        "baselines": context.baselines,
        "drift": context.drift, "headline": wording.headline(context.verdict),
        "links": context.links,
        "rules": wording.by_weight(context.verdict.rules),
        "made_of": wording.made_of(context.release, context.lineage),
    }  # fmt: skip
    try:
        source = template.read_text("utf-8")
        pieces: list[str] = []
        length = 0
        for piece in environment.from_string(source).generate(values):
            pieces.append(piece)
            length += len(piece)
            if length > MOST_CHARACTERS:
                raise ConfigError(
                    f"{template}: the model card would be longer than {MOST_CHARACTERS:,} "
                    "characters."
                )
    except FileNotFoundError as error:
        raise ConfigError(f"{template} is missing.", hint="`sluice init` writes one.") from error
    except TemplateSyntaxError as error:
        raise ConfigError(f"{template}, line {error.lineno}: {error.message}") from error
    except (TemplateError, TypeError, ValueError, OSError) as error:
        raise ConfigError(
            f"{template}: {error}", hint="The shipped template shows every value that can be used."
        ) from error
    return "".join(pieces).encode("utf-8", "replace").decode("utf-8")


def _environment() -> Environment:
    """Jinja's sandbox without what one short line could make a gigabyte with."""
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """Refuses the operators and methods with which one short line makes a gigabyte."""

        intercepted_binops = _GROWING

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            raise SecurityError(f"the operator {operator} is not allowed in a template")

        def wrap_str_format(self, value: Any) -> None:
            """No sandboxed `str.format` either: its width is unbounded."""

        def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
            return attr not in _PADDING and super().is_safe_attribute(obj, attr, value)

    environment = Bounded(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    for name in ("center", "indent", "format", "pprint"):
        environment.filters.pop(name, None)
    environment.globals.pop("range", None)
    environment.globals.pop("lipsum", None)
    environment.filters.update(
        number=wording.number, short=wording.short, seconds=wording.seconds, spoken=wording.spoken,
        interval=wording.interval, outcome=wording.outcome, cell=lambda value: escaped(str(value)),
        fenced=fenced,
    )  # fmt: skip
    return environment


def fenced(text: str) -> str:
    """`text` as a code block whose fence it cannot close.

    Example:
        >>> print(fenced("a ``` b"))
        ````text
        a ``` b
        ````
    """
    longest = run = 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
