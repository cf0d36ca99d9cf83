"""Tell people: one message to Slack, Teams, e-mail or any webhook, in bounded time, by apprise.

The address holds a secret. It comes from an environment variable and is written nowhere, not even
into a warning.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from sluicegate.environment import read_variable

SECONDS = 10.0
"""What a message may take, all in all: looking up names, connecting, sending, the answers."""
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_INERT = str.maketrans({"<": "\u2039", ">": "\u203a"})
_OWN_FIELDS = ":message=text&:title=&:version=&:type=&:attachments="


def send(text: str, variable: str, *, seconds: float = SECONDS) -> str:
    """Send `text` to the addresses in the environment variable `variable`; no redirect is followed.

    An address is one of apprise's (`mailtos://`, `slack://`, `msteams://`, ...) or a web address:
    those of Slack, Teams, Discord and Mattermost are known for what they are, any other gets JSON,
    `{"text": text}`. Several are parted by white space. No text can mention a channel or hide a
    link: `<` and `>` are replaced.

    Args:
        text: the message.
        variable: name of the environment variable; empty: nobody is to be told.
        seconds: after this the message counts as not sent.

    Returns:
        A warning for a person, without an address, or "" where the message was taken or nobody is
        to be told.

    Example:
        >>> send("drift", "")
        ''
        >>> send("drift", "NO_SUCH_VARIABLE")
        'the alarm was not sent: NO_SUCH_VARIABLE is not set'
    """
    if not variable:
        return ""
    addresses = read_variable(variable).split()
    if not addresses:
        return f"the alarm was not sent: {variable} is not set"
    services = [_service(address) for address in addresses]
    if None in services:
        which = f" (number {services.index(None) + 1} of {len(services)})" if services[1:] else ""
        return f"the alarm was not sent: {variable} does not hold an address of a service{which}"
    told = "; ".join(dict.fromkeys(_told(services, text, seconds)))
    return f"the alarm was not sent to the address in {variable}: {told}" if told else ""


def _told(services: list[Any], text: str, seconds: float) -> list[str]:
    """What went wrong, in words that hold nothing of an address; empty if nothing did."""
    import apprise

    taken: list[bool | None] = [None] * len(services)

    def post(place: int) -> None:
        taken[place] = _taken(services[place], text)

    # The time-out of a socket counts anew with every byte, and does not cover the look-up of names.
    threads = [
        threading.Thread(target=post, args=(place,), daemon=True) for place in range(len(services))
    ]
    with apprise.LogCapture(level=logging.WARNING) as log:  # type: ignore[no-untyped-call]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        problems = [
            f"it answers {status}" for status in re.findall(r"error=(\d{3})", log.getvalue())
        ]
    problems = [
        f"{problem}, a redirect, which is not followed" if " 3" in problem else problem
        for problem in problems
    ]
    silent = taken.count(False) - len(problems)
    late = taken.count(None)
    return [
        *problems,
        *["it cannot be reached"] * silent,
        *[f"no answer within {seconds:g} s"] * late,
    ]


def _service(address: str) -> Any:
    """Apprise's service for an address, or None."""
    import apprise

    log = logging.getLogger("apprise")  # what it warns of may quote an address: for `_told` only
    log.propagate = False
    log.setLevel(logging.CRITICAL)
    asset = apprise.AppriseAsset(http_redirects=False, async_mode=False)
    found = apprise.Apprise.instantiate(address, asset=asset, suppress_exceptions=True)
    if found is not None or not _is_web(address):
        return found
    parts = urlsplit(address)
    kept = "".join(f"-{quote(key)}={quote(value)}&" for key, value in parse_qsl(parts.query, True))
    scheme = "jsons" if parts.scheme == "https" else "json"
    own = f"{scheme}://{parts.netloc}{parts.path}?{kept}{_OWN_FIELDS}"
    return apprise.Apprise.instantiate(own, asset=asset, suppress_exceptions=True)


def _is_web(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _taken(service: Any, text: str) -> bool:
    shown = text.translate(_ESCAPED if service.schema in ("json", "jsons") else _INERT)
    return bool(service.notify(body=shown, title=""))
