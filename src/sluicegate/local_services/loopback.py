"""A server on loopback for as long as the command runs that started it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from sluicegate.errors import EnvironmentFailure


def serve(app: Starlette, port: int, tell: Callable[[str], None]) -> None:
    """Listen on loopback until Ctrl-C, a signal, or the end of the process that started this one.

    Args:
        app: what answers.
        port: 0 takes a free one.
        tell: gets the address, such as `http://127.0.0.1:8089`, once it is listened on.

    Raises:
        EnvironmentFailure: the port is taken.
    """
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise EnvironmentFailure(
            f"127.0.0.1:{port} cannot be listened on: {error.strerror}.",
            hint="Is another server there? Try --port 0.",
        ) from error
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False))

    def watch(parent: int) -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        server.should_exit = True

    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
    tell(f"http://127.0.0.1:{listening.getsockname()[1]}")
    server.run(sockets=[listening])
