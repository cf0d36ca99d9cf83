"""Tell people: one message to a webhook (Slack, Mattermost, anything that takes JSON with `text`), in bounded time.

The address holds a secret. It comes from an environment variable and is written nowhere, not even into a warning.
"""

from __future__ import annotations

import http.client
import json
import threading
import urllib.request
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from sluicegate.environment import read_variable

SECONDS = 10.0
"""What a message may take, all in all: looking up the name, connecting, sending, the answer."""
_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def send(text: str, variable: str, *, seconds: float = SECONDS) -> str:
    """Post `{"text": text}` to the address in the environment variable `variable`; redirects are not followed.

    `&`, `<` and `>` are written as Slack wants them, so that no text can mention a channel or hide a link.

    Args:
        text: the message.
        variable: name of the environment variable; empty: nobody is to be told.
        seconds: after this the message counts as not sent.

    Returns:
        A warning for a person, without the address, or "" where the message was taken or nobody is to be told.

    Example:
        >>> send("drift", "")
        ''
        >>> send("drift", "NO_SUCH_VARIABLE")
        'the alarm was not sent: NO_SUCH_VARIABLE is not set'
    """
    if not variable:
        return ""
    url = read_variable(variable).strip()
    if not url:
        return f"the alarm was not sent: {variable} is not set"
    if not _usable(url):
        return f"the alarm was not sent: {variable} does not hold an http or https address"
    problem = [f"no answer within {seconds:g} s"]
    body = json.dumps({"text": text.translate(_ESCAPED)}).encode()

    def post() -> None:
        problem[0] = _post(url, body, seconds)

    # The time-out of a socket counts anew with every byte, and does not cover the look-up of the name.
    thread = threading.Thread(target=post, daemon=True)
    thread.start()
    thread.join(seconds)
    return (
        f"the alarm was not sent to the address in {variable}: {problem[0]}" if problem[0] else ""
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer that points elsewhere is an error: a message goes where the operator said, or nowhere."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _post(url: str, body: bytes, seconds: float) -> str:
    """What went wrong, in words that hold nothing of the address; empty if nothing did."""
    request = urllib.request.Request(
        url, data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=seconds) as answer:
            answer.read(1024)
    except HTTPError as error:
        moved = ", a redirect, which is not followed" if 300 <= error.code < 400 else ""
        return f"it answers {error.code}{moved}"
    except URLError as error:
        return f"it cannot be reached ({type(error.reason).__name__})"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"it cannot be reached ({type(error).__name__})"
    return ""
