"""What the router costs: requests a second, p50 and p99, beside the bare endpoint in one run.

    python benchmarks/serving.py [--clients 32] [--seconds 8] [--wait 0.1]

A fake endpoint answers each request after `--wait` seconds. Both sides are asked by the same
clients in turn, three times each; router and endpoint are processes of their own. Printed are the
medians of the three, and the load of the machine before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
BODY = {"model": "one", "messages": [{"role": "user", "content": "word " * 200}]}
ENDPOINT = """
import sys, threading
sys.path.insert(0, {tests!r})
from chat_server import ChatServer, says
server = ChatServer(says(lambda asked: "word " * 40, {wait}))
server.__enter__()
print(server.url, flush=True)
threading.Event().wait()
"""


async def asked(url: str, clients: int, seconds: float) -> tuple[float, float, float, int]:
    """Requests a second, p50 and p99 in milliseconds, and how many failed."""
    times: list[float] = []
    failed, until = 0, time.perf_counter() + seconds

    async def client(session: httpx.AsyncClient) -> None:
        nonlocal failed
        while time.perf_counter() < until:
            started = time.perf_counter()
            answer = await session.post(f"{url}/chat/completions", json=BODY)
            times.append(time.perf_counter() - started)
            failed += answer.status_code != 200

    started = time.perf_counter()
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    options = {"trust_env": False, "timeout": 30, "limits": limits, "verify": False}
    async with httpx.AsyncClient(**options) as session:  # type: ignore[arg-type]
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(session) for _ in range(clients)))
    taken, cuts = time.perf_counter() - started, statistics.quantiles(times, n=100)
    return len(times) / taken, 1000 * cuts[49], 1000 * cuts[98], failed


def router(url: str, root: Path) -> tuple[subprocess.Popen[bytes], str]:
    """`sluice serve` on a project whose champion is at the endpoint."""
    from served_project import hosted_project, hosted_release, promoted

    project = hosted_project(root / "p", url)
    promoted(project, hosted_release(project, url, "one", 1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sluicegate", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=project.root)
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).raise_for_status()
            return process, f"http://127.0.0.1:{port}/v1"
        except httpx.HTTPError:
            time.sleep(0.1)
    process.kill()
    raise SystemExit("the router did not start")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--wait", type=float, default=0.1)
    options = parser.parse_args()
    code = ENDPOINT.format(tests=str(ROOT / "tests"), wait=options.wait)
    endpoint = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert endpoint.stdout is not None
    bare = endpoint.stdout.readline().decode().strip()
    print("load before:", *(f"{one:.1f}" for one in os.getloadavg()))
    with tempfile.TemporaryDirectory() as folder:
        process, routed = router(bare, Path(folder))
        try:
            sides: dict[str, list[tuple[float, float, float, int]]] = {"bare": [], "router": []}
            for _ in range(3):
                for name, url in (("bare", bare), ("router", routed)):
                    measured = asyncio.run(_asked(name, url, options))
                    sides[name].append(measured)
        finally:
            process.terminate()
            process.wait()
            endpoint.kill()
    _show(sides)


async def _asked(
    name: str, url: str, options: argparse.Namespace
) -> tuple[float, float, float, int]:
    BODY["model"] = "one" if name == "bare" else "champion"
    return await asked(url, options.clients, options.seconds)


def _show(sides: dict[str, list[tuple[float, float, float, int]]]) -> None:
    middle = {
        name: [statistics.median(one[place] for one in runs) for place in range(3)]
        for name, runs in sides.items()
    }
    for name, (rate, p50, p99) in middle.items():
        failed = sum(one[3] for one in sides[name])
        print(
            f"{name:7} {rate:7.1f} requests/s  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  {failed} failed"
        )
    print(f"router / bare: {middle['router'][0] / middle['bare'][0]:.2f}")
    print("load after:", *(f"{one:.1f}" for one in os.getloadavg()))


if __name__ == "__main__":
    main()
