"""One request to an endpoint: the key goes with it unseen, the answer is read up to a limit, every end is an outcome."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import certifi
import httpcore

from sluicegate.config import EndpointSpec
from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError
from sluicegate.models.endpoint_address import Place, shown
from sluicegate.models.endpoint_answer import Key, read_answer, read_refusal
from sluicegate.models.endpoint_wire import Network
from sluicegate.models.rate_limits import retry_after
from sluicegate.records import Failure, Reply

MOST_BYTES = 4 << 20
"""Longest body that is read; what is longer is cut off there and counts as failed."""

HEADERS = (
    (b"Content-Type", b"application/json"),
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"sluicegate"),
)
_CALLING: ContextVar[bool] = ContextVar("calling", default=False)


def _not_ours(record: logging.LogRecord) -> bool:
    """httpcore logs what a server says in its status line and headers: it may repeat the key."""
    del record
    return not _CALLING.get()


for _name in ("httpcore.connection", "httpcore.http11"):
    logging.getLogger(_name).addFilter(_not_ours)  # others' requests are logged as before


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ended.

    Attributes:
        answer: the reply or the failure.
        again: another try may help.
        wait: seconds that the server asked to wait, if it did.
        down: no sign of a working endpoint.
        billed: the server may have charged for it.
    """

    answer: Reply | Failure
    again: bool = False
    wait: float | None = None
    down: bool = False
    billed: bool = False


def read_key(spec: EndpointSpec, name: str) -> Key:
    """The API key, from the environment; messages name the variable and never its value.

    Raises:
        ConfigError: the variable is not set, or holds what cannot be a key.
    """
    if not spec.key_env:
        return Key("")
    key = Key(read_variable(spec.key_env).strip())  # never a plain local: tracebacks may show those
    where = f"registry/models.yaml: {name}: the environment variable {spec.key_env}"
    if not key.text:
        raise ConfigError(
            f"{where} is not set.", hint=f"export {spec.key_env}=... before the command."
        )
    if not (key.text.isascii() and key.text.isprintable() and " " not in key.text):
        raise ConfigError(
            f"{where} holds something that cannot be an API key.", hint="Set it anew."
        )
    return key


def trusted(places: Sequence[Place]) -> ssl.SSLContext:
    """What certificates must be signed by: the list of certifi, or that in SSL_CERT_FILE or SSL_CERT_DIR.

    For plain http nothing is trusted: reading the list would take 10 ms in vain.
    """
    if not any(place.secure for place in places):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file, folder = read_variable("SSL_CERT_FILE"), read_variable("SSL_CERT_DIR") or None
    return ssl.create_default_context(
        cafile=file or (None if folder else certifi.where()), capath=folder
    )


class Caller:
    """One open connection to one endpoint; used as `async with`, by one task. It reconnects by itself."""

    def __init__(
        self, spec: EndpointSpec, key: Key, places: Sequence[Place], trusted: ssl.SSLContext
    ) -> None:
        self._spec, self._key, self._places, self._turn = spec, key, places, 0
        self._pool = httpcore.AsyncConnectionPool(
            trusted, max_connections=1, network_backend=Network()
        )

    async def __aenter__(self) -> Caller:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._pool.aclose()

    async def post(self, body: bytes, seconds: float) -> Outcome:
        """Send one request and read its answer, all within `seconds`.

        Raises:
            TimeoutError: they were not enough.
        """
        place = self._places[self._turn % len(self._places)]
        calling = _CALLING.set(True)
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(place, body)
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            self._turn += 1  # the next try goes to the next address, if there are several
            reason, again = _trouble(error)
            unsent = isinstance(error, httpcore.ConnectError)
            return Outcome(
                Failure(f"{shown(self._spec)}: {reason}"), again=again, down=True, billed=not unsent
            )
        finally:
            _CALLING.reset(calling)

    async def _exchange(self, place: Place, body: bytes) -> Outcome:
        started = time.monotonic()
        headers = [
            (b"Host", place.authority.encode("ascii")),
            *HEADERS,
            (b"Content-Length", b"%d" % len(body)),
        ]
        named = {
            "sni_hostname": place.host
        }  # TLS checks the certificate for the name, not for the number
        async with self._pool.stream(
            "POST",
            place.url,
            headers=[*headers, *self._key.header()],
            content=body,
            extensions=named,
        ) as response:
            told = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            if told.get(b"content-encoding", "identity") != "identity":
                return Outcome(Failure("the endpoint compressed its answer unasked"), billed=True)
            chunks, size = [], 0
            async for chunk in response.aiter_stream():
                size += len(chunk)
                if size > MOST_BYTES:
                    return Outcome(
                        Failure(f"the endpoint's answer is longer than {MOST_BYTES >> 20} MB"),
                        billed=True,
                    )
                chunks.append(chunk)
            status, whole = response.status, b"".join(chunks)
        if status == 200:
            return Outcome(read_answer(whole, time.monotonic() - started, self._key), billed=True)
        again = status == 429 or status >= 500
        refused = Failure(read_refusal(status, whole, self._key))
        wait = retry_after(told.get(b"retry-after")) if again else None
        return Outcome(refused, again=again, wait=wait, down=status not in (400, 413, 422))


def _trouble(error: Exception) -> tuple[str, bool]:
    """What broke in words of ours, and whether another try may help."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})", False
        if (
            isinstance(cause, OSError)
            and cause.errno is not None
            and not isinstance(cause, ssl.SSLError)
        ):
            return f"the connection failed ({os.strerror(cause.errno)})", True
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.ConnectError):
        return "no connection", True
    return "the connection was cut before the answer was complete", True
