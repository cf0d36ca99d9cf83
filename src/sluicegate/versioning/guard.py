"""A process beside a command: it ends the command, and all that it started, when its own parent has
gone.

Run as a script: `guard.py PIPE KEPT COMMAND ...`. PIPE is the reading end of a pipe that only the
parent can write to: however the parent ends, SIGKILL included, the pipe ends with it. KEPT names
descriptors (by commas) that the command inherits. The exit code is the command's.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

WAIT = 20.0
"""Seconds that stages have to end by themselves, as after Ctrl-C."""


def main(pipe: int, kept: list[int], command: list[str]) -> int:
    """Run `command` until it ends, or until nobody holds the other end of `pipe`."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    os.set_inheritable(pipe, False)
    signal.set_wakeup_fd(wake)
    # Handlers, since an ignored signal would be ignored by the command, too.
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(command, pass_fds=kept, stdin=subprocess.DEVNULL)
    while child.poll() is None:
        ready, _, _ = select.select([pipe, woken], [], [])
        if woken in ready and {signal.SIGINT, signal.SIGTERM} & set(os.read(woken, 4096)):
            ready.append(pipe)
        if pipe in ready:
            _end()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _end() -> None:
    """End every descendant: stages as Ctrl-C would, DVC by SIGTERM, late ones and this process by
    force.
    """
    import psutil

    me = psutil.Process()
    family = me.children(recursive=True)
    for member in family:
        try:
            # DVC itself would print a traceback for SIGINT; what it leaves when it ends is settled
            # at the next start.
            working = "stage" in member.cmdline()[:-1]
            member.send_signal(signal.SIGINT if working else signal.SIGTERM)
        except psutil.Error:
            continue
    psutil.wait_procs(family, timeout=WAIT)
    # A sandbox has a group of its own; what was orphaned meanwhile is still in this one.
    for member in {*family, *me.children(recursive=True)}:
        try:
            member.kill()
        except psutil.Error:
            continue
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(
        main(
            int(sys.argv[1]),
            [int(part) for part in filter(None, sys.argv[2].split(","))],
            sys.argv[3:],
        )
    )
