"""Commands that never outlive this process, whatever signal ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sluicegate.versioning import guard


@contextmanager
def child(
    arguments: Sequence[str],
    root: Path,
    *,
    variables: Mapping[str, str] | None = None,
    kept: Sequence[int] = (),
    output: int | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """Start a command in `root`, in a process group of its own, with a guard beside it.

    What still runs of it when the block ends, or when this process dies, is ended: stages as by
    Ctrl-C, and by force after `guard.WAIT` seconds. Inside the block SIGTERM raises
    KeyboardInterrupt.

    Args:
        arguments: the command.
        root: its working folder.
        variables: its environment; by default this process's.
        kept: descriptors that it inherits.
        output: where its stdout and stderr go; by default where this process's go.
    """
    watched, held = os.pipe()
    # Isolated: a folder of the project on PYTHONPATH has no say in it.
    command = [sys.executable, "-I", guard.__file__, str(watched), ",".join(map(str, kept))]
    try:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=root,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            pass_fds=(watched, *kept),
            start_new_session=True,
        )
    except BaseException:
        os.close(held)
        raise
    finally:
        os.close(watched)
    try:
        with terminable():
            yield process
    finally:
        os.close(held)
        _ended(process)


@contextmanager
def overheard(listener: Callable[[str], object] | None, last: deque[str]) -> Iterator[int | None]:
    """A descriptor for a child's `output`: its lines go on to stderr, to `listener` and to `last`;
    None where nobody listens.

    Of a line that was written over, as bars of progress are, only what stood there in the end.
    """
    if listener is None:
        yield None
        return
    read, write = os.pipe()

    def listen() -> None:
        with os.fdopen(read, "rb") as stream:
            for line in stream:
                text = line.decode("utf-8", "replace").rstrip().rpartition("\r")[2]
                if text.strip():
                    print(text, file=sys.stderr, flush=True)
                    last.append(text)
                    listener(text)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield write
    finally:
        os.close(write)
        thread.join(guard.WAIT)


def _ended(process: subprocess.Popen[str]) -> None:
    """Wait for the guard to end all; without it, or at a second Ctrl-C, end all by force."""
    try:
        process.wait(guard.WAIT + 10)
    finally:
        if process.returncode is None or process.returncode < 0:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt inside the block, so that it is tidied up as after Ctrl-C.

    Only where SIGTERM would end this process, and only in the main thread: elsewhere somebody else
    looks after it.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
