"""Sockets that notice a provider that vanished: nothing else does while a model thinks for minutes."""

from __future__ import annotations

import socket

from aiohttp import AddrInfoType

# Linux has all of them; other systems lack some or name them otherwise, and then keep their defaults.
_OPTIONS = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}  # seconds, seconds, probes


def probed_socket(address: AddrInfoType) -> socket.socket:
    """A socket that asks its peer after half a minute of silence whether it is still there."""
    family, kind, protocol, _, _ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        if (option := getattr(socket, name, None)) is not None:
            opened.setsockopt(socket.IPPROTO_TCP, option, value)
    return opened
