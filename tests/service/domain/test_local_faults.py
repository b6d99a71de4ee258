from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
import pytest

from service.domain.local_faults import are_descriptors_short, local_fault


@contextmanager
def few_descriptors(n_free: int) -> Iterator[None]:
    """Leave the process so many file descriptors, as `ulimit -n` would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + n_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors_are_short_before_the_last_is_in_use() -> None:
    assert not are_descriptors_short()
    with few_descriptors(n_free=3):
        assert are_descriptors_short()
        os.close(os.dup(0))  # there is still one to say so with
    assert not are_descriptors_short()


def test_a_socket_that_the_machine_cannot_give_is_a_local_fault() -> None:
    with few_descriptors(n_free=0), pytest.raises(OSError) as failure:  # noqa: PT011
        socket.socket()

    assert failure.value.errno == errno.EMFILE
    assert local_fault(failure.value) == "Too many open files"


def test_a_name_that_cannot_be_looked_up_is_a_local_fault_only_without_descriptors() -> None:
    unknown = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    assert local_fault(unknown) is None
    with few_descriptors(n_free=0):
        assert local_fault(unknown) == "Too many open files"


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.EPIPE])
def test_the_fault_of_a_server_is_none_of_this_machine(number: int) -> None:
    assert local_fault(OSError(number, os.strerror(number))) is None


@pytest.mark.parametrize(
    "number", [errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.ENOMEM, errno.ENOSPC]
)
def test_the_cause_of_a_clients_error_counts(number: int) -> None:
    error = aiohttp.ClientError("the connection failed")
    error.__cause__ = OSError(number, os.strerror(number))

    assert local_fault(error) == os.strerror(number)
