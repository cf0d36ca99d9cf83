"""The two roles inside the sandbox of `pass_at_k_runner`, one process each; standard library only.

The *program* process holds the candidate's code only: it answers calls. The *tests* process holds
the tests and the only way to report. Between them go plain values over a socket: the candidate can
return wrong values but reaches no assertion, exit code or verdict.

This file is a script: nothing imports it, and it runs where the package is not in sight.
"""

from __future__ import annotations

import builtins
import json
import os
import random
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

LARGEST_MESSAGE = 8 * 2**20


class CandidateError(Exception):
    """The candidate raised, died, or returned something that is not a plain value."""


class BrokenTests(Exception):
    """The tests ask for what cannot be done; no candidate is to blame."""


_Container = type[list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]]
_TAGS: dict[str, _Container] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


def encode(value: Any) -> Any:
    """A plain value (None, numbers, texts, bytes, containers) as JSON that keeps its type.

    Raises:
        TypeError: anything else, such as a function, a generator or an object.

    Example:
        >>> decode(encode({(1, 2.5): [True, {"a"}, b"x", 10**30]})) == {(1, 2.5): [True, {"a"}, b"x", 10**30]}
        True
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value) if abs(value) < 2**62 else {"int": hex(value)}
    if isinstance(value, float):
        return float(value)
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(item)] for key, item in value.items()]}
    for tag, kind in _TAGS.items():
        if isinstance(value, kind):
            return {tag: [encode(item) for item in value]}
    raise TypeError(f"a {type(value).__name__} is not a plain value")


def decode(value: Any) -> Any:
    """What `encode` was given. Builds plain values only, whatever it reads.

    Raises:
        ValueError, TypeError, RecursionError: not the output of `encode`.
    """
    if not isinstance(value, (dict, list)):
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise ValueError("not a plain value")
    ((tag, inner),) = value.items()
    if tag == "dict":
        return {decode(key): decode(item) for key, item in inner}
    if tag == "int":
        return int(inner, 16)
    if tag == "complex":
        return complex(*inner)
    if tag == "bytes":
        return bytes.fromhex(inner)
    if tag not in _TAGS:
        raise ValueError("not a plain value")
    return _TAGS[tag]([decode(item) for item in inner])


def _send(line: socket.socket, value: Any) -> None:
    data = json.dumps(value).encode()
    line.sendall(len(data).to_bytes(4, "big") + data)


def _receive(line: socket.socket) -> Any:
    """The next message.

    Raises:
        ValueError, RecursionError: it is too long, or no JSON.
        EOFError: there is none: the other side has ended.
    """
    size = int.from_bytes(_exactly(line, 4), "big")
    if size > LARGEST_MESSAGE:
        raise ValueError("the message is too long")
    return json.loads(_exactly(line, size))


def _exactly(line: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = line.recv(min(size - len(parts), 2**20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def program(job: dict[str, Any], line: socket.socket) -> None:
    """Run the candidate's code, then answer calls of its function until the tests hang up."""
    try:
        function = _function(job["programs"], job["entry_point"])
    except BaseException as error:  # a candidate may raise anything, SystemExit included
        _send(line, _error(error))
        return
    _send(line, {"ready": True})
    while True:
        try:
            arguments, named = (decode(part) for part in _receive(line)["call"])
        except (OSError, EOFError):
            return
        reply: dict[str, Any]
        try:
            value = function(*arguments, **named)
            changed = [
                encode(item) if isinstance(item, (list, dict, set)) else None for item in arguments
            ]
            reply = {"value": encode(value), "arguments": changed}
        except BaseException as error:
            reply = _error(error)
        _send(line, reply)


def _function(programs: list[str], name: str) -> Callable[..., Any]:
    """The candidate's function, from the first of the `programs` that is Python at all."""
    for number, text in enumerate(programs, start=1):
        try:
            code = compile(text, "candidate.py", "exec")
            break
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            if number == len(programs):
                raise
    space: dict[str, Any] = {"__name__": "candidate"}
    exec(code, space)
    function = space[name]
    if not callable(function):
        raise TypeError(f"{name} is not a function")
    return function  # type: ignore[no-any-return]


def _error(error: BaseException) -> dict[str, str]:
    return {"error": type(error).__name__, "text": str(error)[:200]}


class Remote:
    """The candidate's function as the tests see it: calls go to the other process."""

    def __init__(self, line: socket.socket, name: str) -> None:
        self._line, self.__name__, self.calls = line, name, 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        try:
            message = {"call": [encode(list(arguments)), encode(named)]}
        except (TypeError, RecursionError) as error:
            raise BrokenTests(f"an argument cannot be handed over: {error}") from error
        reply = _talk(lambda: _ask(self._line, message))
        if "error" in reply:
            raise _raised(str(reply["error"]), str(reply.get("text", "")))
        value, after = _talk(
            lambda: (decode(reply["value"]), [decode(item) for item in reply["arguments"]])
        )
        for given, changed in zip(arguments, after, strict=False):
            _take_over(given, changed)
        return value


def _ask(line: socket.socket, message: Any) -> Any:
    _send(line, message)
    return _receive(line)


def _take_over(given: Any, changed: Any) -> None:
    """Let an argument that the candidate may have changed in place be what it is there."""
    if isinstance(given, list) and isinstance(changed, list):
        given[:] = changed
    elif isinstance(given, (dict, set)) and type(changed) in (dict, set):
        given.clear()
        given.update(changed)


def _talk(step: Callable[[], Any]) -> Any:
    try:
        return step()
    except (OSError, EOFError) as error:
        raise CandidateError("the program ended") from error
    except (ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise CandidateError(f"the program's reply is not a plain value: {error}"[:300]) from error


def _raised(name: str, text: str) -> Exception:
    """The exception that the candidate raised, as a test may expect it; none that steers a loop."""
    kind = getattr(builtins, name, None)
    if (
        isinstance(kind, type)
        and issubclass(kind, Exception)
        and kind not in (StopIteration, StopAsyncIteration)
    ):
        try:
            return kind(text)
        except TypeError:
            pass  # one that takes more than a text, such as UnicodeDecodeError
    return CandidateError(f"{name}: {text}")


def judge(job: dict[str, Any], line: socket.socket) -> dict[str, str]:
    """Run the tests against the program behind `line`: the verdict, as a kind and a reason."""
    remote = Remote(line, job["entry_point"])
    space: dict[str, Any] = {"__name__": "tests"}
    random.seed(0)
    try:
        exec(compile(job["helpers"], "prompt.py", "exec"), space)
        space[job["entry_point"]] = remote
        hello = _talk(lambda: _receive(line))
        if hello != {"ready": True}:
            raise CandidateError(f"the program did not start: {hello}"[:300])
        exec(compile(job["test"], "tests.py", "exec"), space)
        if callable(space.get("check")):
            space["check"](remote)
    except BrokenTests as error:
        return {"broken": str(error)}
    except BaseException as error:  # tests may raise anything
        kind = "failed" if remote.calls or isinstance(error, CandidateError) else "broken"
        return {kind: f"{type(error).__name__}: {error}"[:300]}
    return {"passed": ""} if remote.calls else {"broken": "the tests never call the function"}


def limit(limits: dict[str, int]) -> None:
    """Bound this process, and what it starts, for good: see `pass_at_k_runner.Limits`."""
    for what, most in (
        (resource.RLIMIT_CPU, limits["seconds"]),
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NPROC, limits["processes"] + 1),  # bwrap keeps one of its own inside
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def main() -> None:
    """Read the job, bound this process, say "ready", play the role, say the verdict."""
    with open("/job.json", "rb") as file:
        job = json.load(file)
    nowhere, line, status = int(sys.argv[1]), socket.socket(fileno=os.dup(0)), os.dup(1)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    limit(job["limits"])
    os.environ.clear()
    sys.argv[:] = ["candidate"]
    os.write(status, b'{"ready": true}\n')
    if job["role"] == "program":
        os.close(status)
        program(job, line)
    else:
        os.write(status, json.dumps(judge(job, line)).encode() + b"\n")
    os._exit(0)


if __name__ == "__main__":
    main()
