"""The door to OpenAI-compatible servers and Azure: the `openai` client behind our transport.

Every try starts within the budget and the rate limits, goes to an address that was checked (or
through the egress proxy), is read up to a limit, and ends at its deadline. No redirect is followed,
TLS is verified.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
import openai
from pydantic import ValidationError

from sluicegate.config import EndpointSpec
from sluicegate.environment import read_variable
from sluicegate.errors import ConfigError
from sluicegate.generating import Failure
from sluicegate.hashing import digest_value
from sluicegate.models.addresses import Unreachable, check_url, find_addresses, proxy_of, shown
from sluicegate.models.hosted import Call, HostedModel, Outcome, Send
from sluicegate.models.reading import (
    Key,
    read_answer,
    read_error,
    read_refusal,
    refused_parameter,
)

if TYPE_CHECKING:
    from sluicegate.models import Entry

MOST_BYTES = 4 << 20
"""Longest body that is read; what is longer is cut off there and counts as failed."""
LOOK_UP_SECONDS = 10.0
BEHIND_A_PROXY = 2.0
"""Seconds for looking a name up; behind a proxy it may well have no address here."""
SENT = frozenset({
    "host", "content-type", "content-length", "accept", "user-agent", "authorization", "api-key",
})  # fmt: skip
"""Headers that go out; the client would add more about this machine and its environment."""
LOGGERS = ("httpx2", *(f"httpcore2.{part}" for part in ("connection", "http11", "proxy", "socks")))
Schema = TypeVar("Schema", bound=EndpointSpec)
_CALL: ContextVar[Call | None] = ContextVar("call", default=None)


def _not_ours(record: logging.LogRecord) -> bool:
    """They log what a server says in its status line and headers: it may repeat the key."""
    del record
    return _CALL.get() is None


for _name in LOGGERS:
    logging.getLogger(_name).addFilter(_not_ours)  # others' requests are logged as before


class Unusable(Exception):
    """What came back, or did not, is of no use; not tried again. The text is fit for a person."""


class AzureSpec(EndpointSpec):
    """A deployment on Azure: `url` is https://NAME.openai.azure.com, `model` its name."""

    api_version: str


class GuardedTransport(httpx2.AsyncBaseTransport):
    """See the module. `addresses` are tried in turn; with none, the proxy finds the way."""

    def __init__(
        self, spec: EndpointSpec, key: Key, addresses: Sequence[str], proxy: str, connections: int
    ) -> None:
        self._spec, self._key, self._addresses, self._turn = spec, key, addresses, 0
        self._urls: dict[str, httpx2.URL] = {}
        limits = httpx2.Limits(max_connections=connections, max_keepalive_connections=connections)
        verify: ssl.SSLContext | bool = True
        if not spec.url.startswith("https:"):  # reading the trusted list takes 10 ms in vain
            verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._inner = httpx2.AsyncHTTPTransport(
            verify=verify, trust_env=True, limits=limits, proxy=proxy or None
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One try. A refusal in a body of status 200 comes back as 503, so that the client tries
        again.
        """
        call = _CALL.get()
        assert call is not None, "the transport serves `OpenAIDoor` only"
        await call.run.start(call.size)
        used, status, told = call.size, 0, 0
        try:
            async with asyncio.timeout(self._spec.timeout):
                response = await self._inner.handle_async_request(self._pinned(request))
                try:
                    body = await self._read(response)
                finally:
                    await response.aclose()
            status = told = response.status_code
            if status == 200 and b'"error"' in body and read_error(body) is not None:
                status = 503
            used = used if status == 200 else (0, 0)
        except TimeoutError:
            raise Unusable(f"no complete answer within {self._spec.timeout:g} s") from None
        except httpx2.ConnectError:
            used, self._turn = (0, 0), self._turn + 1
            raise
        except httpx2.TransportError:
            self._turn += 1  # the next try goes to the next address, if there are several
            raise
        finally:
            if status != 200:
                call.run.end(call.size, used)
        kept = {"retry-after": response.headers.get("retry-after", "")} if status != 200 else {}
        return httpx2.Response(status, headers=kept, content=body, extensions={"told": told})

    async def aclose(self) -> None:
        """Close all connections."""
        await self._inner.aclose()

    def _pinned(self, request: httpx2.Request) -> httpx2.Request:
        """The request to the number that was checked; TLS checks the certificate for the name."""
        headers = [(name, value) for name, value in request.headers.items() if name in SENT]
        if not self._key.text:
            headers = [one for one in headers if one[0] not in ("authorization", "api-key")]
        url, extensions = request.url, dict[str, Any]()
        if self._addresses:
            extensions["sni_hostname"] = url.host
            address = self._addresses[self._turn % len(self._addresses)]
            if address not in self._urls:  # one path is called, again and again
                self._urls[address] = url.copy_with(host=address)
            url = self._urls[address]
        return httpx2.Request(
            request.method,
            url,
            headers=[*headers, ("accept-encoding", "identity")],
            content=request.content,
            extensions=extensions,
        )

    async def _read(self, response: httpx2.Response) -> bytes:
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unusable("the endpoint compressed its answer unasked")
        chunks, size = [], 0
        async for chunk in response.aiter_raw():
            size += len(chunk)
            if size > MOST_BYTES:
                raise Unusable(f"the endpoint's answer is longer than {MOST_BYTES >> 20} MB")
            chunks.append(chunk)
        return b"".join(chunks)


class OpenAIDoor:
    """See `hosted.Door`."""

    def __init__(self, spec: EndpointSpec, name: str, api_version: str = "") -> None:
        """Check what can be checked without a network.

        Raises:
            ConfigError: unsafe address, or no key in the environment.
        """
        check_url(spec, name)
        self._spec, self._name, self._api_version = spec, name, api_version
        self._key = read_key(spec, name)

    @property
    def identity(self) -> str:
        """See `hosted.Door.identity`."""
        return digest_value({"endpoint": self._spec.url.rstrip("/"), "model": self._spec.model})

    @asynccontextmanager
    async def opened(self, connections: int) -> AsyncIterator[Send]:
        """See `hosted.Door.opened`."""
        spec, proxy = self._spec, proxy_of(self._spec)
        addresses: Sequence[str] = ()
        seconds = BEHIND_A_PROXY if proxy else min(spec.timeout, LOOK_UP_SECONDS)
        try:
            addresses = find_addresses(spec, self._name, seconds)
        except Unreachable:
            if not proxy:
                raise
        transport = GuardedTransport(
            spec, self._key, () if proxy else addresses, proxy, connections
        )
        options: dict[str, Any] = {
            "api_key": self._key.text or "none",
            "max_retries": spec.tries - 1,
            "timeout": None,
            "http_client": httpx2.AsyncClient(transport=transport, timeout=None),
        }
        client: openai.AsyncOpenAI
        if self._api_version:
            client = openai.AsyncAzureOpenAI(
                azure_endpoint=spec.url, api_version=self._api_version, **options
            )
        else:
            client = openai.AsyncOpenAI(base_url=spec.url, **options)
        async with client:
            yield partial(self._send, client)

    async def _send(self, client: openai.AsyncOpenAI, body: dict[str, Any], call: Call) -> Outcome:
        started, token = time.monotonic(), _CALL.set(call)
        try:
            response = await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
        except openai.APIStatusError as error:
            told = error.response.extensions["told"]
            return self._refusal(told, error.response.content)
        except openai.APIConnectionError as error:
            reason = _trouble(error)
            return Outcome(Failure(f"{shown(self._spec)}: {reason}"), down=True)
        except Unusable as error:
            return Outcome(Failure(str(error)), down=True)
        finally:
            _CALL.reset(token)
        seconds = time.monotonic() - started
        answer = read_answer(response.content, seconds, self._key, call.max_tokens)
        if isinstance(answer, Failure):
            call.run.end(call.size, call.size)
        return Outcome(answer)

    def _refusal(self, status: int, body: bytes) -> Outcome:
        error = read_error(body)
        return Outcome(
            read_refusal(status, error, self._key),
            down=status not in (400, 413, 422),
            refused=refused_parameter(status, error),
        )


def read_key(spec: EndpointSpec, name: str) -> Key:
    """The API key, from the environment; messages name the variable and never its value.

    Raises:
        ConfigError: the variable is not set, or holds what cannot be a key.
    """
    if not spec.key_env:
        return Key("")
    # never a plain local: tracebacks may show those
    key = Key(read_variable(spec.key_env).strip())
    where = f"registry/models.yaml: {name}: the environment variable {spec.key_env}"
    if not key.text:
        raise ConfigError(
            f"{where} is not set.", hint=f"export {spec.key_env}=... before the command."
        )
    if not (key.text.isascii() and key.text.isprintable() and " " not in key.text):
        raise ConfigError(
            f"{where} contains something that cannot be an API key.", hint="Set it again."
        )
    return key


def _trouble(error: BaseException) -> str:
    """What broke, in words of ours."""
    cause: BaseException | None = error.__cause__
    kind = cause
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted ({cause.verify_message})"
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            return f"the connection failed ({os.strerror(cause.errno)})"
        cause = cause.__cause__ or cause.__context__
    if isinstance(kind, httpx2.ProxyError):
        return "the proxy that HTTPS_PROXY names refused it: ask its operator, or set NO_PROXY"
    if isinstance(kind, httpx2.ConnectError):
        return "no connection"
    return "the connection was cut before the answer was complete"


def open_endpoint(entry: Entry) -> HostedModel:
    """Row of `MODELS`: `endpoint` in registry/models.yaml.

    Raises:
        ConfigError: unsafe address, or no key in the environment.
    """
    spec = entry.spec.endpoint
    assert spec is not None, "ModelSpec checks it"
    return HostedModel(OpenAIDoor(spec, entry.name), spec, entry.name, entry.spec.context)


def open_azure(entry: Entry) -> HostedModel:
    """Row of `MODELS`: `azure: {url, model, api_version, key_env, ...}`, otherwise as `endpoint`.

    Raises:
        ConfigError: a setting is wrong or missing, the address is unsafe, or there is no key in the
            environment.
    """
    spec = read_settings(entry, AzureSpec)
    door = OpenAIDoor(spec, entry.name, spec.api_version)
    return HostedModel(door, spec, entry.name, entry.spec.context)


def read_settings(entry: Entry, schema: type[Schema]) -> Schema:
    """The settings under the key that names a model's kind.

    Raises:
        ConfigError: one is wrong or missing.
    """
    try:
        return schema.model_validate(entry.settings)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "its settings"
        known = ", ".join(schema.model_fields)
        where = f"registry/models.yaml: {entry.name}: {entry.spec.kind}: {field}"
        raise ConfigError(f"{where}: {first['msg']}", hint=f"Fields: {known}.") from error
