"""Jinja templates of prompts: a small part of the language, every step paid for before it is taken.

What a template may do is listed here (`FILTERS`, `METHODS`, `_REFUSED`); the syntax tree is read,
never the text. Whatever makes new text or a new list pays from the `Allowance` of this one
rendering; what could make much out of little is priced first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2 import pass_context as with_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from sluicegate.errors import PromptError

MAX_RENDERED = 1_000_000
MAX_WORK = 10 * MAX_RENDERED
"""Characters and list items that one rendering may make on the way."""
MAX_STEPS = 10_000
"""Turns of all loops together."""
MAX_NODES = 5_000
"""Parts of expressions in one template."""
FILTERS = (
    "abs", "capitalize", "center", "count", "d", "default", "dictsort", "e", "escape", "first",
    "float", "format",
    "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min",
    "reject", "rejectattr",
    "replace", "reverse", "round", "select", "selectattr", "sort", "string", "striptags", "sum",
    "title", "tojson",
    "trim", "truncate", "unique", "upper", "wordcount", "wordwrap",
)  # fmt: skip
METHODS = frozenset({
    "capitalize", "count", "endswith", "find", "get", "isalnum", "isalpha", "isdigit", "islower",
    "isspace", "isupper",
    "items", "keys", "lower", "lstrip", "removeprefix", "removesuffix", "rstrip", "split", "splitlines", "startswith",
    "strip", "title", "upper", "values",
})  # fmt: skip
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Macro: "macros",
    nodes.CallBlock: "macros",
    nodes.Import: "imports",
    nodes.FromImport: "imports",
    nodes.Include: "includes",
    nodes.Extends: "inheritance",
    nodes.Block: "blocks",
    nodes.FilterBlock: "filter blocks",
    nodes.AssignBlock: "set blocks",
}
_ALLOWANCE = " allowance"  # no name that a template could write
_WIDTH = re.compile(r"%[^a-zA-Z%]*?(\d{4,}|\*)")
_MARK = re.compile(r"\{\{|\{%|\{#")
_BROKEN = (
    TemplateError, ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError,
    SyntaxError, TypeError,
    ValueError,
)  # fmt: skip


class TooMuch(PromptError):
    """A rendering would make more than it may."""


class Allowance:
    """What one rendering may still make."""

    def __init__(self) -> None:
        self.work, self.steps = MAX_WORK, MAX_STEPS

    def pay(self, size: int) -> None:
        """Raises `TooMuch` where the rendering would make more than is left."""
        self.work -= size
        if self.work < 0:
            raise TooMuch(f"it makes more than {MAX_WORK:,} characters on the way.")

    def counted(self, items: Any) -> Iterator[Any]:
        """The items, one step of the loops each."""
        for item in items:
            self.steps -= 1
            if self.steps < 0:
                raise TooMuch(f"its loops take more than {MAX_STEPS:,} turns.")
            yield item


def is_template(text: str) -> bool:
    """Does `text` hold any template syntax?"""
    return bool(_MARK.search(text))


def variables(text: str) -> set[str]:
    """The variables that a template uses.

    Raises:
        PromptError: it is malformed, does what a prompt may not do, or makes too much of little.
    """
    found = meta.find_undeclared_variables(_tree(text))
    try:
        render(text, dict.fromkeys(found, "text"))
    except TooMuch:
        raise
    except PromptError:
        pass  # it wants other values than a word
    return found


def render(text: str, values: Mapping[str, Any]) -> str:
    """The template with `values` in the place of its variables.

    Raises:
        PromptError: it fails, makes too much, or the text exceeds 1,000,000 characters.
    """
    pieces: list[str] = []
    size = 0
    template = _compiled(text)
    try:
        for piece in template.generate({**values, _ALLOWANCE: Allowance()}):
            size += len(piece)
            if size > MAX_RENDERED:
                raise PromptError(f"the rendered text exceeds {MAX_RENDERED:,} characters.")
            pieces.append(piece)
    except _BROKEN as error:
        raise PromptError(str(error) or type(error).__name__) from error
    return "".join(pieces)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which whatever makes something is paid for."""

    intercepted_binops = frozenset({"+", "*", "**", "%", "//", "/", "-"})

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            autoescape=False,
            optimized=False,
        )
        self.globals.clear()
        plain = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        self.filters = {name: _paid(plain, name) for name in FILTERS}
        self.filters |= {"counted": _counted, "concatenated": _concatenated, "cut": _cut}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        pay = _allowance(context).pay
        whole = isinstance(left, int) and isinstance(right, int)
        if operator == "**":
            power = abs(right) if isinstance(right, int) else 1
            pay(left.bit_length() * power if whole else 1)
        elif operator == "*":
            pay(8 if whole and max(abs(left), abs(right)) < 2**64 else _product(left, right))
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
            pay(_size(left) + _size(right))
        else:
            pay(_size(left) + _size(right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        name = getattr(__obj, "__name__", "")
        owner = getattr(__obj, "__self__", None)
        if name not in METHODS or not isinstance(owner, (str, Mapping, list, tuple)):
            raise PromptError(f"{name or 'this'}() may not be called in a prompt.")
        _allowance(__context).pay(_size(owner))
        return super().call(__context, __obj, *args, **kwargs)


class _Priced(NodeTransformer):
    """Concatenation, slices and loops become filters, which are paid for."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filter(nodes.List(node.nodes), "concatenated", [], node.lineno)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        return _filter(node.node, "cut", [end or nodes.Const(None) for end in ends], node.lineno)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.iter = _filter(node.iter, "counted", [], node.lineno)
        return node


def _filter(node: nodes.Node, name: str, args: list[nodes.Expr], line: int) -> nodes.Filter:
    return nodes.Filter(node, name, args, [], None, None, lineno=line)


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    return _Environment()


@lru_cache(maxsize=64)
def _compiled(text: str) -> Template:
    """The template, ready to render; making it anew for each example would cost most."""
    environment = _environment()
    try:
        tree = _Priced().visit(_tree(text))
        tree.set_environment(environment)
        code = environment.compile(tree)
        return Template.from_code(environment, code, environment.make_globals(None))
    except _BROKEN as error:
        raise PromptError(str(error) or type(error).__name__) from error


def _tree(text: str) -> nodes.Template:
    environment = _environment()
    try:
        tree = environment.parse(text)
        parts = 0
        for node in tree.find_all(nodes.Node):
            parts += not isinstance(node, nodes.TemplateData)
            _check(node)
            if parts > MAX_NODES:
                raise PromptError(f"it has more than {MAX_NODES:,} parts.")
    except TemplateSyntaxError as error:
        raise PromptError(f"line {error.lineno}: {error.message}") from error
    except _BROKEN as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        raise PromptError(reason or type(error).__name__) from error
    return tree


def _check(node: nodes.Node) -> None:
    where = f"line {node.lineno}: "
    if type(node) in _REFUSED:
        raise PromptError(f"{where}{_REFUSED[type(node)]} are not allowed in a prompt.")
    if isinstance(node, nodes.For) and node.recursive:
        raise PromptError(f"{where}recursive loops are not allowed in a prompt.")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise PromptError(
            f"{where}the filter {node.name} is not allowed in a prompt.",
            hint=f"Allowed are {', '.join(FILTERS)}.",
        )
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
        raise PromptError(f"{where}{node.node.name}() is not allowed in a prompt.")


def _allowance(context: Context) -> Allowance:
    found = context.resolve(_ALLOWANCE)
    assert isinstance(found, Allowance)
    return found


def _size(value: Any) -> int:
    if isinstance(value, int):
        return 1 + value.bit_length() // 8
    return len(value) if isinstance(value, (str, list, tuple, Mapping)) else 1


def _product(left: Any, right: Any) -> int:
    """The size of `left * right`."""
    sizes = [(value if isinstance(value, int) else _size(value)) for value in (left, right)]
    if isinstance(left, int) and isinstance(right, int):
        return left.bit_length() + right.bit_length()
    return abs(sizes[0] * sizes[1]) if all(isinstance(size, int) for size in sizes) else 1


def _check_format(text: str) -> None:
    if _WIDTH.search(text):
        raise TooMuch("a width in a format has at most three digits.")


def _number(value: Any) -> int:
    return abs(value) if isinstance(value, int) else 0


def _longest(values: tuple[Any, ...]) -> int:
    return max((_size(value) for value in values), default=0)


def _price(name: str, value: Any, given: tuple[Any, ...]) -> int:
    """The size of what a filter makes, before it makes it."""
    size, numbers = _size(value), sum(_number(each) for each in given)
    if name == "replace":
        old, new = str(given[0]) if given else "", str(given[1]) if len(given) > 1 else ""
        return size + (str(value).count(old) if old else size + 1) * len(new)
    if name in ("join", "wordwrap"):
        return size * (1 + _longest(tuple(each for each in given if isinstance(each, str))))
    if name in ("indent", "tojson"):
        lines = str(value).count("\n") + 1 if name == "indent" else size * 2
        return size + lines * (numbers + _longest(given))
    if name == "round" and numbers > 100:
        return MAX_WORK + 1
    if name == "format":
        _check_format(str(value))
        return size + sum(_size(each) for each in given) + 1000 * str(value).count("%")
    return size + (numbers if name == "center" else 0)


def _paid(plain: ImmutableSandboxedEnvironment, name: str) -> Callable[..., Any]:
    """The filter `name` of Jinja, paid for before and after."""

    @with_context
    def filtered(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        allowance = _allowance(context)
        allowance.pay(_price(name, value, (*args, *kwargs.values())))
        if name in ("join", "list", "sort", "sum", "unique", "max", "min") and not isinstance(
            value, (str, Mapping)
        ):
            value = list(_paid_items(allowance, value))
        found = plain.call_filter(name, value, args, kwargs, context=context)
        allowance.pay(_size(found))
        return found

    return filtered


def _paid_items(allowance: Allowance, items: Any) -> Iterator[Any]:
    for item in items:
        allowance.pay(_size(item))
        yield item


@with_context
def _counted(context: Context, items: Any) -> Iterator[Any]:
    if not isinstance(items, (str, Mapping, list, tuple, Iterator)) and not hasattr(
        items, "__iter__"
    ):
        raise PromptError(f"a loop goes over a list, not over {type(items).__name__}.")
    return _allowance(context).counted(items)


@with_context
def _concatenated(context: Context, parts: list[Any]) -> str:
    texts = [str(part) for part in parts]
    _allowance(context).pay(sum(map(len, texts)))
    return "".join(texts)


@with_context
def _cut(context: Context, value: Any, start: Any, stop: Any, step: Any) -> Any:
    _allowance(context).pay(_size(value))
    return value[start:stop:step]
