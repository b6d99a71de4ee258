"""Rejects requests under foreign names: any page can point a name of its own to this machine."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from service.api.request_headers import RequestHeaders
from service.domain.hosts import is_address, is_loopback, parse_authority
from service.errors import BadRequest, ForbiddenHost
from service.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class Hosts:
    """The names and addresses by which clients may call the service.

    Args:
        listening: the address that it listens on.
        listed: further names; `*.name` stands for every name below it.
    """

    listening: str
    listed: Collection[str]

    @classmethod
    def of(cls, settings: Settings) -> Hosts:
        return cls(settings.host, frozenset(settings.allowed_hosts))

    def allow(self, host: str) -> bool:
        """Whether clients may call the service by this host."""
        if is_loopback(host) or host == self.listening or host in self.listed:
            return True
        # Probes and neighbours call a service on the network by any of its addresses. A page can only have an
        # address as its host if it came from that address.
        if is_address(host):
            return not is_loopback(self.listening)
        labels = host.split(".")
        return any(f"*.{'.'.join(labels[n:])}" in self.listed for n in range(1, len(labels)))

    def check(self, headers: RequestHeaders) -> None:
        """Check the `Host` header.

        Raises:
            BadRequest: it is missing, repeated or malformed.
            ForbiddenHost: clients may not call the service by this host.
        """
        given = headers.getlist("host")
        if len(given) != 1:
            raise BadRequest(f"Host: exactly one header is required, got {len(given)}", param="Host")
        try:
            host, _ = parse_authority(given[0])
        except ValueError as error:
            raise BadRequest(f"Host: {error}, got {given[0][:100]!r}", param="Host") from error
        if not self.allow(host):
            raise ForbiddenHost(
                f"Host: {host!r} is not a name of this router; ALLOWED_HOSTS lists its names", param="Host"
            )
