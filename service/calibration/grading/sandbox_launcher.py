"""Runs one program with limits and kills whatever it leaves behind; the script of a process of its own.

The process reads the limits as a line of JSON on standard input. The end of that input is the end of its
parent, and then nothing goes on. It ends with the exit status of the program, or with TIMED_OUT.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

TIMED_OUT, NOT_STARTED = 124, 126
KILL_S = 10.0  # longest time that processes are hunted
COUNT_EVERY_S = 0.1
NOBODY = 65_534
DEATH_SIGNAL, IS_DUMPABLE, DROP_CAPABILITY, CHILD_SUBREAPER = 1, 4, 24, 36  # of Linux' prctl
N_CAPABILITIES, READ_EVERY_FILE = 64, 2  # of Linux
NEW_USERS, NEW_NETWORK = 0x1000_0000, 0x4000_0000  # of Linux' unshare


def main() -> int:
    limits = json.loads(sys.stdin.buffer.readline())
    linux("prctl", CHILD_SUBREAPER, 1)  # whatever loses its parent becomes a child of this process
    program = os.fork()
    if program == 0:
        _become_program(limits)
    try:
        return _status_of(program, limits)
    finally:
        _kill_all(program)


def _status_of(program: int, limits: dict[str, Any]) -> int:
    """The exit status of the program; TIMED_OUT if it is stopped before its end."""
    until = time.monotonic() + limits["wall_s"]
    counted_at = time.monotonic()
    while time.monotonic() < until:
        ended, status = os.waitpid(program, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) % 256
        if select.select([sys.stdin], [], [], 0.01)[0]:  # the parent has ended
            break
        if time.monotonic() - counted_at > COUNT_EVERY_S:  # the kernel does not limit root's processes
            if len(_descendants()) > limits["n_processes"]:
                break
            counted_at = time.monotonic()
    return TIMED_OUT


def _become_program(limits: dict[str, Any]) -> None:
    """Replace this process by the program; never returns."""
    try:
        os.setsid()
        is_root = os.geteuid() == 0
        _limit(limits, NOBODY if is_root else os.geteuid())
        linux("unshare", NEW_NETWORK if is_root else NEW_USERS | NEW_NETWORK)
        if is_root:
            _drop_rights()
        linux("prctl", DEATH_SIGNAL, signal.SIGKILL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.execv(sys.executable, [sys.executable, "-I", "-B", *limits["arguments"]])  # noqa: S606
    finally:
        os._exit(NOT_STARTED)


def _limit(limits: dict[str, Any], user: int) -> None:
    n_processes = limits["n_processes"] + sum(1 for _ in _threads_of(user))
    for name, most in (
        (resource.RLIMIT_CPU, limits["cpu_s"]),
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_NPROC, n_processes),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(name, (most, most))


def _drop_rights() -> None:
    """Become a user without rights; if that one cannot run Python, drop those of root but to read files."""
    packages = sysconfig.get_path("purelib")  # imports, which that user may be unable to
    os.chown(".", NOBODY, NOBODY)
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    needed = ((sys.executable, os.X_OK), (os.__file__, os.R_OK), (packages, os.R_OK), (".", os.W_OK))
    is_able = all(os.access(path, mode, effective_ids=True) for path, mode in needed)
    os.seteuid(0)
    if is_able:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return
    os.chown(".", 0, 0)
    for capability in range(N_CAPABILITIES):
        if capability != READ_EVERY_FILE:  # such as the memory of other processes
            linux("prctl", DROP_CAPABILITY, capability)


def _kill_all(program: int) -> None:
    """Kill the program's group, and then every descendant of this process, until there is none."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(program, signal.SIGKILL)
    until = time.monotonic() + KILL_S
    while time.monotonic() < until:
        for process in _descendants():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:  # there is none
            return
        time.sleep(0.005)


def _descendants() -> list[int]:
    """The processes that this one has started, by whatever way; none where the platform has no /proc."""
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError, ValueError):
            parent = (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(process.name))
    found = [os.getpid()]
    for process_id in found:
        found += children.get(process_id, [])
    return found[1:]


def _threads_of(user: int) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == user:
                yield from (process / "task").iterdir()


def linux(call: str, *arguments: int) -> None:
    """A call of Linux; where it is missing or not allowed, nothing happens."""
    with suppress(AttributeError, OSError):
        getattr(ctypes.CDLL(None, use_errno=True), call)(*arguments)


if __name__ == "__main__":
    sys.exit(main())
