"""Where an endpoint really is: every address checked, and the one that is called pinned."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from sluicegate.config import EndpointSpec
from sluicegate.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Unreachable(Exception):
    """The name of the endpoint has no address now; its text is fit for a person."""


def shown(spec: EndpointSpec) -> str:
    """Scheme, host and port of an endpoint, for messages."""
    parts = urlsplit(spec.url)
    return f"{parts.scheme}://{parts.netloc}"


def check_url(spec: EndpointSpec, name: str) -> None:
    """Refuse an address that is unsafe by its letters alone.

    Raises:
        ConfigError: plain http where no private network is meant, a query, a user name, or no host.
    """
    where = f"registry/models.yaml: {name}: endpoint.url"
    try:
        parts = urlsplit(spec.url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{where}: not an address.", hint="Example: https://host/v1") from error
    if not host or port == 0 or not host.isascii():
        raise ConfigError(f"{where}: no host that can be called.", hint="Example: https://host/v1")
    if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"{where}: a query, a fragment or a user name is not allowed here.",
            hint="A key comes from the environment variable that `key_env` names.",
        )
    if parts.scheme != "https" and not spec.allow_private:
        raise ConfigError(
            f"{where}: {shown(spec)} is not encrypted.",
            hint="Use https; http only with `allow_private: true`, for a server of your own.",
        )


def find_addresses(spec: EndpointSpec, name: str, seconds: float) -> list[str]:
    """Look the endpoint's host up once; all addresses must be allowed, and only they are called.

    A second look-up, which could give another answer (DNS rebinding), never happens.

    Args:
        seconds: longest wait for the look-up.

    Raises:
        ConfigError: one of the addresses is not allowed.
        Unreachable: there is no address.
    """
    parts = urlsplit(spec.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = _look_up(parts.hostname or "", port, seconds)
    for address in found:
        _check(address, spec, name)
    return [str(address) for address in found]


def proxy_of(spec: EndpointSpec) -> str:
    """The egress proxy that HTTPS_PROXY and NO_PROXY name for this endpoint; empty for none.

    Only encrypted requests go through a proxy: it would read the key of others.
    """
    parts = urlsplit(spec.url)
    if parts.scheme != "https" or proxy_bypass(parts.netloc):
        return ""
    return getproxies().get("https", "")


def _look_up(host: str, port: int, seconds: float) -> list[Address]:
    """Addresses of `host`, in order; in a thread, which a silent name server may keep."""
    found: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()

    def look() -> None:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put([str(row[4][0]) for row in rows])
        except (OSError, UnicodeError):
            found.put(None)

    threading.Thread(target=look, daemon=True).start()
    try:
        texts = found.get(timeout=seconds)
    except queue.Empty:
        raise Unreachable(f"the name {host} was not resolved within {seconds:g} s") from None
    if not texts:
        raise Unreachable(f"the name {host} has no address")
    return [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]


def _check(address: Address, spec: EndpointSpec, name: str) -> None:
    """Refuse what is not public, unless private networks are allowed; some never are."""
    inner = _inside(address)
    never = inner.is_multicast or inner.is_unspecified or inner.is_link_local
    public = inner.is_global and not never
    where = f"registry/models.yaml: {name}: endpoint.url"
    if never or (not public and not spec.allow_private):
        raise ConfigError(
            f"{where}: {shown(spec)} is at {address}, which is not a public address.",
            hint="Link-local, multicast and empty addresses are never called."
            if never
            else "Set `allow_private: true` if this server is in your own network.",
        )
    if public and not spec.url.startswith("https:"):
        raise ConfigError(
            f"{where}: {shown(spec)} is at the public address {address} and not encrypted.",
            hint="Use https; http is for private networks only.",
        )


def _inside(address: Address) -> Address:
    """The IPv4 address that an IPv6 one wraps (mapped, 6to4, NAT64), else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    nat64 = ipaddress.IPv6Network("64:ff9b::/96")
    if address in nat64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
