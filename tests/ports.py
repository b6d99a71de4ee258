"""Ports for servers that tests start in processes of their own."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

FIRST, LAST = 20_000, 31_999  # below the ports that the system gives to outgoing connections


def free_port() -> int:
    """A port of this machine on which nobody listens.

    Drawn at random: two test processes that ask at once hardly ever get the same one before their servers
    listen. `random` would not do, because Hypothesis seeds it.
    """
    while True:
        port = FIRST + secrets.randbelow(LAST - FIRST + 1)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
