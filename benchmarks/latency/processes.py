"""CPU, memory and cores of processes, as the kernel counts them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process so far."""
    return sum(_ticks(pid)[:2]) / TICKS_PER_S


def precise_cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds of processes with all that they started, to the nanosecond.

    What has ended counts to a hundredth of a second: PostgreSQL ends processes as it needs them.
    """
    found = with_children(pids)
    return sum(_scheduled_ns(pid) / 1e9 + _ended_s(pid) for pid in found)


def with_children(pids: Iterable[int]) -> list[int]:
    """The processes and all that they started, so far."""
    found: list[int] = []
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                waiting += map(int, task.read_text().split())
    return found


def memory_mb(pid: int, name: str = "VmRSS") -> float:
    """One line of the memory of a process, such as `VmRSS` or `VmHWM`."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(f"{name}:"))


def postmaster(data_dir: Path) -> int:
    """The pid of the embedded PostgreSQL in a data directory."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def on_core(core: int | None) -> Callable[[], None]:
    """What a new process runs first to stay on one core; None: on any."""

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    return pin


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _scheduled_ns(pid: int) -> int:
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread ended
            total += int(task.read_text().split()[0])
    return total


def _ended_s(pid: int) -> float:
    """CPU seconds of what the process had started and has ended."""
    with suppress(OSError):  # the process ended
        return sum(_ticks(pid)[2:]) / TICKS_PER_S
    return 0.0


def _ticks(pid: int) -> tuple[int, ...]:
    """utime, stime, cutime, cstime of proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return tuple(int(field) for field in fields[11:15])
