"""Hosts, authorities and origins as HTTP writes them: parsed in one place, compared in one spelling."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_MAX_NAME = 253
# Clients read a name that ends like this as an IPv4 address: 127.1, 0x7f000001, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[0-9]{1,5}")
_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(.+)")
# Parsers of URLs differ on backslashes, white space and logins, so none of these is accepted.
_URL = re.compile(r'(https?)://([^/?#\\@\s]+)(/[!"$->@-\[\]-~]*)?', re.IGNORECASE)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port; a port of None is one that is not given and has no default."""

    scheme: str
    host: str
    port: int | None

    def __str__(self) -> str:
        """The origin as browsers write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        has_port = self.port not in (None, _DEFAULT_PORTS.get(self.scheme))
        return f"{self.scheme}://{host}" + (f":{self.port}" if has_port else "")


def parse_host(text: str) -> str:
    """A name or an address without a port, in its one spelling: lower case, no dot at the end, no brackets.

    An IPv4 address inside an IPv6 address is that IPv4 address.

    Raises:
        ValueError: it is neither a name nor an address.
    """
    if text.startswith("[") and text.endswith("]") and (address := _ipv6(text[1:-1])):
        return str(address.ipv4_mapped or address)
    name = text.lower().removesuffix(".")
    with suppress(ValueError):
        return str(IPv4Address(name))
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise ValueError("must be a host name or an IP address")
    return name


def _ipv6(text: str) -> IPv6Address | None:
    with suppress(ValueError):
        return None if "%" in text else IPv6Address(text)
    return None


def parse_setting(text: str) -> str:
    """A host as people write it into settings, where an IPv6 address needs no brackets. Raises ValueError."""
    is_bare_ipv6 = text.count(":") > 1 and not text.startswith("[")
    return parse_host(f"[{text}]" if is_bare_ipv6 else text)


@lru_cache(maxsize=256)  # every request has one, mostly the same; those that raise are not kept
def parse_authority(text: str) -> tuple[str, int | None]:
    """The host and the port of a `Host` header; a login before the host is not allowed. Raises ValueError."""
    end_of_host = text.rfind("]") + 1 or len(text.partition(":")[0])
    host, port = text[:end_of_host], text[end_of_host:]
    if not port:
        return parse_host(host), None
    if port[0] != ":" or not _PORT.fullmatch(port[1:]) or int(port[1:]) > 65_535:
        raise ValueError("must be a host with an optional port")
    return parse_host(host), int(port[1:])


def parse_origin(text: str) -> Origin:
    """An `Origin` header: a scheme, a host and an optional port, nothing else. Raises ValueError."""
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        raise ValueError("must be a scheme, a host and an optional port, such as https://app.example")
    return origin_at(match[1], match[2])


def origin_at(scheme: str, authority: str) -> Origin:
    """The origin of a scheme and an authority. Raises ValueError."""
    host, port = parse_authority(authority)
    return Origin(scheme, host, _DEFAULT_PORTS.get(scheme) if port is None else port)


def origin_of_url(url: str) -> Origin:
    """The origin of an http or https URL without a login, a query or a fragment. Raises ValueError."""
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError("must be http:// or https://, a host, an optional port and an optional path")
    return origin_at(match[1].lower(), match[2])


def is_address(host: str) -> bool:
    """Whether a parsed host is an IP address, which nobody can point elsewhere."""
    with suppress(ValueError):
        ip_address(host)
        return True
    return False


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a parsed host is this machine to every client: `localhost` or a loopback address."""
    return host == "localhost" or (is_address(host) and ip_address(host).is_loopback)
