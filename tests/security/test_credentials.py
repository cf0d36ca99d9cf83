"""Passwords and tokens in addresses are neither printed nor stored; texts of people are the owner's
alone.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sluicegate.errors import SluiceError, TrackingError, without_credentials
from sluicegate.ledger import Ledger
from sluicegate.models.cache import open_cache
from sluicegate.scaffold import init
from sluicegate.tracking import Tracking
from sluicegate.traffic.log import TrafficLog

SECRET = "hunter2"


def closed_port() -> int:
    """A port at which nothing answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("http://user:hunter2@host:5000/a is down", "http://host:5000/a is down"),
        ("postgresql+psycopg://u:hun/ter2@host/db", "postgresql+psycopg://host/db"),
        ("see 'https://hunter2@host'", "see 'https://host'"),
        ("mysql://u:p@hunter2@host/db", "mysql://host/db"),
        ("https://host/a?api_key=hunter2&b=1", "https://host/a?api_key=***&b=1"),
        (
            "postgresql://host/db?user=u&password=hunter2",
            "postgresql://host/db?user=u&password=***",
        ),
        ("http://host:5000/model@digest", "http://host:5000/model@digest"),
        ("http://host:5000 for a@b.example", "http://host:5000 for a@b.example"),
        ("sqlite:////data/a@b/ledger.db", "sqlite:////data/a@b/ledger.db"),
    ],
)
def test_what_is_left_out(said: str, shown: str) -> None:
    """User names, passwords and tokens of an address go; all else stays, also in errors' hints."""
    assert without_credentials(said) == shown
    error = SluiceError(said, hint=said)
    assert (str(error), error.hint) == (shown, shown)


@pytest.mark.parametrize("name", ["ledger", "traffic", "tracking"])
def test_errors_of_servers_that_are_down(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No error of a store that is out of reach holds its password."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    port = closed_port()
    database = f"postgresql://user:{SECRET}@127.0.0.1:{port}/db"
    server = f"http://user:{SECRET}@127.0.0.1:{port}"
    ask = {
        "ledger": lambda: Ledger(database).entries(),
        "traffic": lambda: TrafficLog(database).count(),
        "tracking": lambda: Tracking(server, tmp_path).experiment("x"),
    }[name]
    with pytest.raises(SluiceError) as caught:
        ask()
    assert SECRET not in f"{caught.value} {caught.value.hint}"


def test_an_address_that_mlflow_does_not_know(tmp_path: Path) -> None:
    """What MLflow quotes of a wrong address comes without its password."""
    with pytest.raises(TrackingError) as caught:
        Tracking(f"nonsense://user:{SECRET}@127.0.0.1/db", tmp_path).experiment("x")
    assert SECRET not in f"{caught.value} {caught.value.hint}"


def test_links_that_are_stored() -> None:
    """Links in reports, comments and the ledger name the server, and nobody's password."""
    link = Tracking(f"https://user:{SECRET}@mlflow.example", Path("a")).ui_link(model="m")
    assert link == "https://mlflow.example/#/models/m"


@pytest.mark.parametrize(
    ("variable", "command"),
    [
        ("SLUICE_LEDGER_URL", ("history",)),
        ("SLUICE_TRAFFIC_URL", ("traffic", "show", "x")),
        ("MLFLOW_TRACKING_URI", ("doctor",)),
    ],
)
def test_commands_print_no_password(
    variable: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    """Whatever a command prints when its server is down, the password is not in it."""
    root = tmp_path / "project"
    init(root)
    scheme = "http" if variable == "MLFLOW_TRACKING_URI" else "postgresql"
    address = f"{scheme}://user:{SECRET}@127.0.0.1:{closed_port()}/db"
    done = subprocess.run(
        [sys.executable, "-m", "sluicegate", *command],
        cwd=root,
        env=os.environ | {variable: address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_a_cache_is_its_owners_alone(tmp_path: Path) -> None:
    """A new cache of answers can be read by its owner only, and so can one that was open before."""
    old = tmp_path / "old.db"
    old.touch(0o644)
    for path in (tmp_path / "new.db", old):
        with open_cache(path, "replies") as cache:
            cache.store("key", {"text": "what a person wrote"})
            modes = {found.stat().st_mode & 0o777 for found in tmp_path.glob(f"{path.name}*")}
        assert modes == {0o600}
