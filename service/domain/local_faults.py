"""Faults of this machine, told apart from those of the servers that it calls."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator

_ERRNOS = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.EADDRNOTAVAIL,  # every port is in use
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EDQUOT,
    }
)
_MOST_KEPT = 64  # descriptors, for clients that are told so
_MAX_CAUSES = 10


def local_fault(error: BaseException) -> str | None:
    """What this machine could not give, if the error comes from that; None: the fault is elsewhere."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):  # its numbers are others, and it hides the cause
            return os.strerror(errno.EMFILE) if are_descriptors_short() else None
        if isinstance(cause, OSError) and cause.errno in _ERRNOS:
            return os.strerror(cause.errno)
    return None


def are_descriptors_short() -> bool:
    """Whether nearly all file descriptors of the process are in use.

    A new one is the lowest that is free. So if that is high, all below are in use.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        lowest_free = os.dup(0)
    except OSError as error:
        return error.errno in _ERRNOS
    os.close(lowest_free)
    return lowest_free >= limit - min(_MOST_KEPT, limit // 4)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and those that it was made of."""
    cause: object = error
    for _ in range(_MAX_CAUSES):
        if not isinstance(cause, BaseException):
            return
        yield cause
        cause = getattr(cause, "os_error", None) or cause.__cause__ or cause.__context__
