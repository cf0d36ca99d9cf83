"""Where an endpoint may be: what is not allowed is refused before anything is sent, and names are
looked up once.
"""

from __future__ import annotations

import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat_server import ChatServer, says
from sluicegate.config import EndpointSpec, ModelSpec
from sluicegate.errors import ConfigError
from sluicegate.generating import Reply, Request
from sluicegate.models import open_model
from sluicegate.models.addresses import Unreachable, check_url, find_addresses, proxy_of


def spec(url: str, *, private: bool = False, **more: Any) -> EndpointSpec:
    return EndpointSpec(url=url, model="m", allow_private=private, **more)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let names lead to the addresses given, one list for each look-up in turn; returns the names
    looked up.
    """

    def set_names(*answers: list[str]) -> list[str]:
        asked: list[str] = []

        def look(host: str, port: int, *rest: object, **more: object) -> list[Any]:
            if host[0].isdigit() or ":" in host:
                return [(2, 1, 6, "", (host, port))]
            asked.append(host)
            return [
                (2, 1, 6, "", (text, port)) for text in answers[min(len(asked), len(answers)) - 1]
            ]

        monkeypatch.setattr(socket, "getaddrinfo", look)
        return asked

    return set_names


PRIVATE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.1", "::1",
    "fd00::1", "::ffff:127.0.0.1",
    "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::a00:1", "192.0.2.1", "240.0.0.1",
]  # fmt: skip
NEVER = [
    "0.0.0.0",
    "::",
    "169.254.169.254",
    "fe80::1",
    "224.0.0.1",
    "ff02::1",
    "::ffff:169.254.169.254",
]


@pytest.mark.parametrize("address", PRIVATE + NEVER)
def test_addresses_that_are_not_public_are_refused(
    names: Callable[..., list[str]], address: str
) -> None:
    """Private, loopback, link-local and such, also wrapped in IPv6, are refused even if another
    address is public.
    """
    names(["93.184.216.34", address])
    with pytest.raises(ConfigError, match="not a public address"):
        find_addresses(spec("https://judge.example/v1"), "judge", 1)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(names: Callable[..., list[str]], address: str) -> None:
    """`allow_private` opens one's own network, not the metadata service of a cloud."""
    names([address])
    with pytest.raises(ConfigError, match="not a public address"):
        find_addresses(spec("http://judge.example/v1", private=True), "judge", 1)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_allowed_by_configuration(
    names: Callable[..., list[str]], address: str
) -> None:
    """With `allow_private` they may be called, without encryption too."""
    names([address])
    (found,) = find_addresses(spec("http://judge.example:8000/v1/", private=True), "judge", 1)
    assert found == str(ipaddress.ip_address(address))


def test_unencrypted_public_addresses_are_refused(names: Callable[..., list[str]]) -> None:
    """http is for private networks: a key never crosses the open net in clear."""
    names(["93.184.216.34"])
    with pytest.raises(ConfigError, match="not encrypted"):
        find_addresses(spec("http://judge.example/v1", private=True), "judge", 1)
    assert find_addresses(spec("https://judge.example/v1"), "judge", 1) == ["93.184.216.34"]


@pytest.mark.parametrize(
    ("url", "around", "proxied"),
    [
        ("https://judge.example/v1", "", True),
        ("https://judge.example/v1", "other.example, .example", False),
        ("https://judge.example:8443/v1", "judge.example", False),
        ("https://judge.example/v1", "*", False),
        ("http://judge.example/v1", "", False),
    ],
)
def test_which_requests_go_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, around: str, proxied: bool
) -> None:
    """HTTPS_PROXY is for encrypted requests, NO_PROXY makes exceptions; blank variables are
    none.
    """
    for name in ("https_proxy", "no_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "")
    assert not proxy_of(spec(url, private=True))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", around)
    expected = "http://proxy.example:3128" if proxied else ""
    assert proxy_of(spec(url, private=True)) == expected


@pytest.mark.parametrize(
    "url",
    ["http://judge.example/v1", "https://judge.example/v1?key=abc", "https://judge.example/v1#x",
    "https:///v1",
     "https://judge.example:0/v1", "https://judge.example:99999/v1", "https://[::1/v1", "https://ju\u2028dge/v1",
     "https://bücher.example/v1"],
)  # fmt: skip
def test_unsafe_letters(url: str) -> None:
    """What an address shows without a look-up is refused when the model is opened, with a hint."""
    try:
        endpoint = spec(url)
    except ValueError:
        return
    with pytest.raises(ConfigError) as caught:
        check_url(endpoint, "judge")
    assert caught.value.hint
    assert "abc" not in str(caught.value)


def test_unsafe_endpoints_raise_through_the_door(
    names: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Asking an endpoint that turns out private raises, and nothing was sent."""
    names(["127.0.0.1"])
    with ChatServer(says(lambda _: "never")) as server:
        model = ModelSpec(endpoint=spec(f"https://judge.example:{server.port}/v1"))
        client = open_model(model, "judge", root=tmp_path)
        with pytest.raises(ConfigError, match="not a public"):
            client.generate([Request(({"role": "user", "content": "hello"},))])
        assert not server.asked


def test_rebinding_changes_nothing(names: Callable[..., list[str]], tmp_path: Path) -> None:
    """The address that was checked is the one called: a name that later leads elsewhere is not
    looked up again.
    """
    looked = names(["127.0.0.1"], ["10.255.255.1"])
    with ChatServer(says(lambda _: "here")) as server:
        model = ModelSpec(
            endpoint=spec(
                f"http://judge.example:{server.port}/v1", private=True, timeout=5, tries=1
            )
        )
        client = open_model(model, "judge", root=tmp_path)
        answers = client.generate(
            [Request(({"role": "user", "content": f"hello {n}"},)) for n in range(40)]
        )
        assert {one.headers["host"] for one in server.asked} == {f"judge.example:{server.port}"}
    assert looked == ["judge.example"]
    assert all(isinstance(answer, Reply) for answer in answers)


def test_the_next_address_is_tried(names: Callable[..., list[str]], tmp_path: Path) -> None:
    """Where the first address of a name does not answer, the next try goes to the second."""
    names(["127.0.0.2", "127.0.0.1"])
    with ChatServer(says(lambda _: "here")) as server:  # listens on 127.0.0.1 only
        model = ModelSpec(
            endpoint=spec(
                f"http://judge.example:{server.port}/v1", private=True, timeout=5, tries=3
            )
        )
        (answer,) = open_model(model, "judge", root=tmp_path).generate(
            [Request(({"role": "user", "content": "hello"},))]
        )
    assert isinstance(answer, Reply)


def test_a_silent_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that never ends is given up in time."""
    forever = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(range(forever.wait(60) * 0)))
    started = time.monotonic()
    with pytest.raises(Unreachable, match="not resolved within"):
        find_addresses(spec("https://judge.example/v1"), "judge", 0.2)
    assert time.monotonic() - started < 5
    forever.set()
