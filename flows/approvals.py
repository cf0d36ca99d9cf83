"""Approvals on Prefect: picks up those given in MLflow, and lets release runs that waited for them
go on.

Which releases wait is Prefect's own record: a suspended run of the release flow carries the tag
`release:<digest>`.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.states import Completed

from sluicegate.hashing import as_json
from sluicegate.line.release.approve import collect, settled, waited_for
from sluicegate.line.run import Run, open_run

PLAIN = {"cache_policy": NO_CACHE, "persist_result": False}


@flow(name="approvals", persist_result=False)
def approvals(root: str = ".") -> Any:
    """Collect approvals, then resume what has nothing left to wait for; the state's message says
    what happened.

    A run whose wait is over is resumed as well: it ends by itself, held.

    Args:
        root: the project's folder.
    """
    run = open_run(root)
    found = task(collect, name="collect approvals", **PLAIN)(run)
    resumed = resume_settled(run)
    told = [*found.recorded, *found.refused, *(f"{name} goes on" for name in resumed)]
    data = {**as_json(found), "resumed": resumed}
    return Completed(message="; ".join(told) or "Nothing new.", data=data)


def resume_settled(project: Run) -> list[str]:
    """Resume every suspended release run that has nothing left to wait for; their names."""
    paused = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=["PAUSED"]))
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_runs(
            flow_filter=filters.FlowFilter(name=filters.FlowFilterName(any_=["release"])),
            flow_run_filter=filters.FlowRunFilter(state=paused),
        )
        resumed = []
        for run in waiting:
            releases = waited_for(run.tags)
            if releases and all(settled(project, release) for release in releases):
                client.resume_flow_run(run.id)
                resumed.append(run.name)
    return resumed


if __name__ == "__main__":
    approvals()
