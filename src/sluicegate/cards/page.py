"""One page of HTML from a template: needs no file beside it and no network, and escapes all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def html_page(template: str, filters: Mapping[str, Callable[..., Any]], **values: Any) -> str:
    """Render a template of this folder.

    No script, no address is loaded; values are escaped, and text that is not Unicode is replaced.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters, safe_link=safe_link)
    page = environment.get_template(template).render(**values)
    return page.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")


def safe_link(address: str) -> str:
    """`address` where it is http, https or a relative path; else `#`, so that no `javascript:` is
    ever clickable.

    Example:
        >>> safe_link("http://127.0.0.1:5000/#/runs"), safe_link(" JavaScript:alert(1)")
        ('http://127.0.0.1:5000/#/runs', '#')
        >>> safe_link("verdict.md")
        'verdict.md'
    """
    start = address.strip().partition("/")[0]
    return address if ":" not in start or start.lower() in ("http:", "https:", "file:") else "#"
