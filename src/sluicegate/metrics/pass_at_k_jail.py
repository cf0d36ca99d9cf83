"""How a process of `pass_at_k_runner` shuts itself in before it plays its role: a script, standard library only.

It uses system calls and no helper program: namespaces for users, processes, mounts, network, IPC and host name; a root
of its own with the standard library and the system's libraries, read-only, and a small folder in memory to write to;
then an empty set of capabilities, no way to gain any, resource limits, and a filter for the few system calls that would
get round these. The role is in `pass_at_k_roles.py`.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import types
from typing import Any

_UNSHARED = (
    0x20000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000
)  # mount cgroup uts ipc pid net
_NEW_USER = 0x10000000
_READ_ONLY, _NO_SUID, _NO_DEVICES = 1, 2, 4
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 1 << 18
_MOUNT_SETATTR, _HERE, _ALL_BELOW = (
    442,
    -100,
    0x8000,
)  # the system call's number is the same on every architecture
_NONE_SHARED = (("shmmni", "0"), ("msgmni", "0"), ("sem", "0 0 0 0"))
_CALLS = {  # the architecture's number; prctl; then shmget, semget, msgget, execve, execveat
    "x86_64": (0xC000003E, 157, (29, 64, 68, 59, 322)),
    "aarch64": (0xC00000B7, 167, (194, 190, 186, 221, 281)),
}
_VISIBLE = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo")


def _call(name: str, *arguments: Any) -> int:
    """A function of the C library; an OSError that names it where it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    result = int(getattr(library, name)(*arguments))
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _call("mount", texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])


def _read_only(path: str) -> None:
    """Make the mount at `path`, and those below it, read-only, without set-uid programs and devices."""
    wanted = (ctypes.c_uint64 * 4)(_READ_ONLY | _NO_SUID | _NO_DEVICES, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    number, here, below = (ctypes.c_long(value) for value in (_MOUNT_SETATTR, _HERE, _ALL_BELOW))
    _call("syscall", number, here, path.encode(), below, ctypes.byref(wanted), size)


def unshare() -> None:
    """Leave the machine's namespaces; without root by way of a user namespace.

    Raises:
        OSError: the kernel, or whoever set up this container, forbids it.
    """
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _UNSHARED | (_NEW_USER if user else 0))
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def enter_new_root(base: str, room: int) -> None:
    """Make a root of at most `room` bytes in memory at the empty folder `base`, and let the former one go.

    The candidate sees a sub-folder of it as its root: a process in such a place may not make user namespaces.

    Raises:
        OSError: a mount is refused, or the kernel is older than 5.12.
    """
    _mount("none", "/", None, _RECURSIVE | _PRIVATE)
    _mount("tmpfs", base, "tmpfs", _NO_SUID | _NO_DEVICES, f"size={room},nr_inodes=4096,mode=755")
    box = f"{base}/box"
    shown: list[str] = []
    for path in (*_VISIBLE, os.path.join(sys.base_prefix, "lib"), os.path.dirname(os.__file__)):
        if not os.path.lexists(path) or any(
            path == one or path.startswith(f"{one}/") for one in shown
        ):
            continue
        shown.append(path)
        os.makedirs(os.path.dirname(box + path), exist_ok=True)
        if os.path.islink(path):
            os.symlink(os.readlink(path), box + path)
            continue
        if os.path.isdir(path):
            os.mkdir(box + path)
        else:
            os.close(os.open(box + path, os.O_CREAT, 0o644))
        _mount(path, box + path, None, _BIND | _RECURSIVE)
        _read_only(box + path)
    os.mkdir(f"{box}/work")
    os.mkdir(f"{base}/old")
    _call("pivot_root", base.encode(), f"{base}/old".encode())
    os.chdir("/")
    _call("umount2", b"/old", 2)
    os.chroot("/box")
    os.chdir("/work")


def become_nobody(stranger: int) -> None:
    """Give up every capability for good; root becomes the user `stranger`, who owns nothing and is nobody else.

    Raises:
        OSError: it is refused.
    """
    for capability in range(64):
        try:
            _call("prctl", 24, capability, 0, 0, 0)
        except OSError:
            break  # one more than the kernel knows
    if os.geteuid() == 0:
        os.setgroups([])
        for user in (stranger, 65534):
            try:
                os.chown(".", user, user)
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                break
            except OSError:
                if user == 65534:
                    raise
    _call("prctl", 38, 1, 0, 0, 0)  # no new privileges
    nothing = (ctypes.c_uint32 * 6)()
    _call("capset", ctypes.byref((ctypes.c_uint32 * 2)(0x20080522, 0)), ctypes.byref(nothing))
    _die_with_parent()


def _die_with_parent() -> None:
    _call("prctl", 1, int(signal.SIGKILL), 0, 0, 0)


def share_nothing() -> bool:
    """Let this IPC namespace hold no System V shared memory, semaphores and messages; False where that is refused.

    These lie outside every process's address space, so that no resource limit counts them.
    """
    try:
        for name, text in _NONE_SHARED:
            with open(f"/proc/sys/kernel/{name}", "w") as file:
                file.write(text)
    except OSError:
        return False  # a container's /proc/sys is read-only, and it belongs to root
    return True


def filter_calls() -> bool:
    """Refuse System V memory, starting another program, and a change of the signal that comes when the parent dies.

    A thread that starts another program would lose that signal too. False on an architecture whose numbers are not here.

    Raises:
        OSError: the kernel takes no filter.
    """
    machine = os.uname().machine
    if machine not in _CALLS or sys.maxsize < 2**32:
        return False
    architecture, prctl, refused = _CALLS[machine]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    refuse, allow, on = -1, -2, 0
    steps = [  # of the kernel's filter: what to do, with which value, where to go on if true and if false
        (load, 4, on, on),
        (equal, architecture, on, refuse),  # other calling conventions have other numbers
        (load, 0, on, on),
        (at_least, 1 << 30, refuse, on),
        *((equal, number, refuse, on) for number in refused),
        (equal, prctl, on, allow),
        (load, 16, on, on),  # its first argument, PR_SET_PDEATHSIG
        (equal, 1, refuse, on),
        (give, 0x7FFF0000, on, on),
        (give, 0x50001, on, on),
    ]
    code = b""
    for left, (what, value, *ways) in zip(range(len(steps) - 1, -1, -1), steps, strict=True):
        code += struct.pack("=HBBI", what, *(way and left + way for way in ways), value)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(steps), ctypes.addressof(held))
    _call("prctl", 38, 1, 0, 0, 0)
    _call("prctl", 22, 2, program, 0, 0)
    return True


def limit(seconds: int, memory: int, file_bytes: int, processes: int) -> None:
    """Set the resource limits: CPU seconds, bytes of address space, bytes of one file, processes and threads."""
    for what, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def shut_in(job: dict[str, Any], line: int, status: int) -> None:
    """Confine this process as `job["limits"]` says. Returns only inside; the process outside waits until it is told.

    Raises:
        OSError: a step is refused; nothing of the candidate has run.
    """
    limits = job["limits"]
    _die_with_parent()
    nothing_shared = False
    if limits["confinement"] == "namespaces":
        unshare()
        _go_inside(line, status)
        nothing_shared = share_nothing()
        enter_new_root(job["base"], limits["room"])
        become_nobody(job["stranger"])
        processes = limits["processes"]
    else:
        if os.geteuid() == 0:
            raise OSError(1, "limits alone do not hold root")
        os.chdir(job["base"])
        processes = 0
    limit(limits["seconds"], limits["memory"], limits["file_bytes"], processes)
    if not filter_calls() and not nothing_shared:
        raise OSError(1, f"System V shared memory cannot be forbidden on {os.uname().machine}")


def _go_inside(line: int, status: int) -> None:
    """Go on as a new process, the first of its namespace; this one says its number on `status` before that one goes on.

    This one takes no notice of that one's end before SIGTERM, so that the number stays its own and can be killed by it.
    """
    told, tell = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    inner = os.fork()
    if inner:
        os.write(status, json.dumps({"inner": inner}).encode() + b"\n")
        os.write(tell, b"go")
        for one in (line, status):
            os.close(one)
        signal.sigwait({signal.SIGTERM})
        os.waitpid(inner, 0)
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    os.setsid()
    _die_with_parent()
    os.close(tell)
    if os.read(told, 2) != b"go":
        os._exit(3)  # the process outside ended before its death could be a signal here
    os.close(told)


def main() -> None:
    """Read the job from stdin, shut in, say "ready" on the status pipe, play the role, say the verdict."""
    line_number, status_number = int(sys.argv[1]), int(sys.argv[2])
    with open(0, "rb", closefd=False) as file:
        job = json.loads(file.read())
    roles = _roles()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.close(nothing)
    try:
        shut_in(job, line_number, status_number)
    except OSError as error:
        os.write(status_number, json.dumps({"refused": str(error)}).encode() + b"\n")
        os._exit(3)
    os.environ.clear()
    sys.argv[:] = ["candidate"]
    os.write(status_number, b'{"ready": true}\n')
    line = socket.socket(fileno=line_number)
    if job["role"] == "program":
        os.close(status_number)
        roles.program(job, line)
    else:
        os.write(status_number, json.dumps(roles.judge(job, line)).encode() + b"\n")
    os._exit(0)


def _roles() -> Any:
    """The module beside this file, which no search path leads to."""
    path = os.path.join(os.path.dirname(__file__), "pass_at_k_roles.py")
    module = types.ModuleType("roles")
    sys.modules["roles"] = module
    with open(path, "rb") as file:
        exec(compile(file.read(), path, "exec"), module.__dict__)
    return module


if __name__ == "__main__":
    main()
