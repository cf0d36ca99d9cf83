"""The few pieces of SVG that charts are made of; the page's style sheet colours them."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape


def svg(width: int, height: int, label: str, parts: Iterable[str], kind: str = "chart") -> Markup:
    """A chart of `parts`, on a canvas of this size; `label` says what it shows."""
    opened = f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img"'
    return Markup(f'{opened} aria-label="{escape(label)}">{"".join(parts)}</svg>')


def text(x: float, y: float, said: str, anchor: str = "", kind: str = "tick") -> str:
    """Words at a place; `anchor` is `start`, `middle` or `end`."""
    anchored = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text class="{kind}" x="{x}" y="{y}"{anchored}>{escape(said)}</text>'


def path(kind: str, line: str) -> str:
    """A line in SVG's own words, such as `M0 60H720`."""
    return f'<path class="{kind}" d="{line}"/>'


def dot(kind: str, x: float, y: float, radius: float = 4.5) -> str:
    """A filled circle."""
    return f'<circle class="dot {kind}" cx="{x}" cy="{y}" r="{radius}"/>'


def box(kind: str, x: object, y: object, width: object, height: object) -> str:
    """A filled rectangle."""
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>'
