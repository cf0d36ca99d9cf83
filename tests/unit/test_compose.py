"""deploy/compose.yaml: the same servers with the same settings as `sluice up`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sluicegate.local_services import launches
from sluicegate.local_services.processes import HOST
from sluicegate.project import Project
from sluicegate.yaml_file import read_yaml

COMPOSE: dict[str, Any] = read_yaml(Path(__file__).parents[2] / "deploy" / "compose.yaml")
OURS = ("prefect", "worker", "mlflow")


@pytest.mark.parametrize("name", OURS)
def test_settings_are_those_of_sluice_up(name: str) -> None:
    """A setting that was learnt the hard way holds in both places."""
    assert launches.SETTINGS
    assert launches.SETTINGS.items() <= COMPOSE["services"][name]["environment"].items()


def test_nothing_listens_beyond_this_machine() -> None:
    """No server asks who one is: published ports are on loopback."""
    ports = [port for name in OURS for port in COMPOSE["services"][name].get("ports", ())]
    assert len(ports) == 2
    assert all(port.startswith(f"{HOST}:") for port in ports)
    assert "ports" not in COMPOSE["services"]["database"]


def test_mlflow_is_started_as_by_sluice_up(tmp_path: Path) -> None:
    """The options differ only in addresses and places."""
    (tmp_path / "params.yaml").write_text("{}\n", "utf-8")
    ours = launches.mlflow(Project(tmp_path), launches.silent).command
    command = COMPOSE["services"]["mlflow"]["command"]
    options = {option for option in ours if option.startswith("--")}
    assert options | {"--allowed-hosts"} == {one for one in command if one.startswith("--")}
    assert command[command.index("--workers") + 1] == ours[ours.index("--workers") + 1] == "1"
