"""A project's own TruLens `Metric` or MLflow `Scorer` as a metric; neither is imported here.

Such an object is known by the class that it descends from. It is called row after row, and what it
returns becomes a number strictly: a truth value or yes and no (1 and 0), a finite number in the
range, or an object, a pair or a list of one that holds such a value. Anything else is an
EvidenceError that names the row: there is no partial result.

Most ask a model, as judges that nobody has held against people. Which do is declared in params.yaml
(`evaluate.own_metrics`); one that is not declared is not run.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

from sluicegate.errors import ConfigError, EvidenceError, SluiceError
from sluicegate.hashing import digest_value
from sluicegate.metrics.base import Metric

SOURCE = ["source", "input", "inputs", "prompt", "question", "query"]
OUTPUT = [
    "output", "outputs", "response", "answer", "statement", "text", "prediction", "completion",
]  # fmt: skip
REFERENCE = [
    "reference", "references", "expected", "expected_response", "expected_output", "ground_truth",
    "target",
]  # fmt: skip
_PARTS = {name: part for part, names in enumerate((SOURCE, OUTPUT, REFERENCE)) for name in names}
_SPAN_PARTS = {"ai.observability.record_root.input": 0, "ai.observability.record_root.output": 1}
_WORDS = {"yes": 1.0, "no": 0.0}


def scorer_kind(found: object) -> Literal["trulens", "mlflow"] | None:
    """Which package's scorer `found` is, by the classes that it descends from.

    Example:
        >>> scorer_kind(print) is None
        True
    """
    for base in type(found).__mro__:
        package = base.__module__.partition(".")[0]
        if (package, base.__name__) == ("trulens", "FeedbackDefinition"):
            return "trulens"
        if (package, base.__name__) == ("mlflow", "Scorer"):
            return "mlflow"
    return None


def scorer_metric(
    found: Any,
    name: str,
    *,
    direction: Literal["higher", "lower"] | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Metric:
    """`found` as the metric `name`: `module:attribute`, where the digest finds its source.

    Args:
        direction: higher unless told or, for TruLens, unless it says so itself.
        bounds: its smallest and largest value.

    Raises:
        ConfigError: it is neither, or asks for what a row does not have (a trace, a session,
            retrieved contexts).
    """
    kind = scorer_kind(found)
    if kind is None:
        raise ConfigError(f"metric {name!r} is neither a TruLens Metric nor an MLflow Scorer.")
    call, used = _trulens(found, name) if kind == "trulens" else _mlflow(found, name)

    def score(source: str, output: str, references: Sequence[str]) -> float:
        with ThreadPoolExecutor(1) as row:
            done = row.submit(call, source, output, references)
            error = done.exception()
        if isinstance(error, SluiceError):
            raise error
        if error is not None:
            raise EvidenceError(f"{name} failed: {type(error).__name__}: {error}"[:400]) from error
        return as_number(done.result(), name)

    score.__module__, _, score.__qualname__ = name.partition(":")
    lower = kind == "trulens" and getattr(found, "higher_is_better", None) is False
    return Metric(
        name,
        direction or ("lower" if lower else "higher"),
        "",
        bounds,
        score,
        needs_reference=2 in used,
        package="mlflow" if kind == "mlflow" else "trulens-core",
        identity=lambda: digest_value([kind, type(found).__qualname__, _model(found)]),
        asks_model=None,
    )


def as_number(value: Any, name: str) -> float:
    """A scorer's value as a number.

    Raises:
        EvidenceError: it is an error, nothing, several values, a word other than yes and no, or not
            finite.

    Example:
        >>> as_number(True, "polite"), as_number("no", "polite"), as_number((0.5, {"reason": "so so"}), "polite")
        (1.0, 0.0, 0.5)
    """
    if isinstance(value, (list, tuple)):
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], Mapping):
            return as_number(value[0], name)
        if isinstance(value, list) and len(value) == 1:
            return as_number(value[0], name)
        raise EvidenceError(f"{name} returned {len(value)} values where one was expected.")
    if hasattr(value, "rationale") and hasattr(value, "value"):  # an MLflow Feedback
        if getattr(value, "error", None) is not None:
            raise EvidenceError(f"{name} reports an error: {str(value.error)[:300]}")
        return as_number(value.value, name)
    if isinstance(value, str) and value.strip().lower() in _WORDS:
        return _WORDS[value.strip().lower()]
    if (
        isinstance(value, str)
        or not hasattr(value, "__float__")
        or not math.isfinite(number := float(value))
    ):
        raise EvidenceError(
            f"{name} returned {str(value)[:80]!r}, which is not a score.",
            hint="A number, or yes and no.",
        )
    return number


def _trulens(found: Any, name: str) -> tuple[Callable[..., Any], set[int]]:
    """How to call a TruLens metric, and which of source, output and reference it takes."""
    wanted: dict[str, int] = {}
    bound = set(getattr(found, "implementation_kwargs", None) or ())
    for argument, parameter in found.sig.parameters.items():
        selector = found.selectors.get(argument)
        if selector is None and (argument in bound or not _needed(parameter)):
            continue
        part = _PARTS.get(argument) if selector is None else _selected(selector)
        if part is None:
            raise _unknown(name, argument)
        wanted[argument] = part

    def call(source: str, output: str, references: Sequence[str]) -> Any:
        parts = (source, output, _first(references))
        return found(**{argument: parts[part] for argument, part in wanted.items()})

    return call, set(wanted.values())


def _selected(selector: Any) -> int | None:
    column = getattr(selector, "dataset_column", None)
    return (
        _PARTS.get(column)
        if column
        else _SPAN_PARTS.get(str(getattr(selector, "span_attribute", "")))
    )


def _mlflow(found: Any, name: str) -> tuple[Callable[..., Any], set[int]]:
    """The same for an MLflow scorer, which takes `inputs`, `outputs` and `expectations`."""
    if getattr(found, "is_session_level_scorer", False):
        raise _unknown(name, "session")
    original = getattr(found, "_original_func", None)
    parameters = inspect.signature(original or type(found).__call__).parameters
    wanted = {
        argument for argument, one in parameters.items() if argument != "self" and _needed(one)
    }
    if unknown := wanted - {"inputs", "outputs", "expectations"}:
        raise _unknown(name, min(unknown))

    def call(source: str, output: str, references: Sequence[str]) -> Any:
        expected = {"expected_response": _first(references), "references": list(references)}
        return found.run(inputs={"input": source}, outputs=output, expectations=expected)

    return call, {2} if "expectations" in wanted else set()


def _needed(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    )


def _first(references: Sequence[str]) -> str:
    return next((reference for reference in references if reference.strip()), "")


def _unknown(name: str, argument: str) -> ConfigError:
    return ConfigError(
        f"metric {name!r} asks for {argument!r}, which a row of an evaluation does not have.",
        hint=f"A row has a source ({', '.join(SOURCE)}), an output ({', '.join(OUTPUT)}) and "
        "references "
        f"({', '.join(REFERENCE)}); in TruLens select with Selector.from_column(one of these).",
    )


def _model(found: Any) -> str:
    """Whose model answers, as far as the object says."""
    provider = getattr(getattr(found, "imp", None), "__self__", None)
    for holder, field in ((provider, "identity"), (provider, "model_engine"), (found, "model")):
        value = getattr(holder, field, None)
        if isinstance(value, str):
            return value
    return ""
