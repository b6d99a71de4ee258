"""The HTTP proxy that a call goes through, by the variables that curl and most programs read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from service.domain.hosts import is_loopback, parse_setting

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxies:
    """HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in capitals or not.

    Loopback is never called through a proxy: the proxy's loopback is another one.

    Args:
        by_scheme: `http` or `https` -> the variable with the proxy and its value, which may hold a login.
        exceptions: the entries of NO_PROXY: names with all that is below them, addresses, networks, each
            with an optional port, or `*`.
    """

    by_scheme: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    exceptions: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Proxies:
        every = _first(environ, "all_proxy")
        found = {scheme: _first(environ, f"{scheme}_proxy") or every for scheme in _DEFAULT_PORTS}
        _, exceptions = _first(environ, "no_proxy") or ("", "")
        return cls(
            {scheme: proxy for scheme, proxy in found.items() if proxy is not None},
            tuple(exceptions.replace(",", " ").lower().split()),
        )

    def proxy_for(self, url: str) -> str | None:
        """The URL of the proxy for a call of that http(s) URL; None: the call is direct.

        Raises:
            ValueError: the proxy is none of HTTP; the message names the variable, and not its value.
        """
        if not self.by_scheme:
            return None
        parts = urlsplit(url)
        host = _bare(parts.hostname or "")
        if parts.scheme not in self.by_scheme or _is_loopback(host):
            return None
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        if any(_matches(exception, host, port) for exception in self.exceptions):
            return None
        variable, proxy = self.by_scheme[parts.scheme]
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        if urlsplit(proxy).scheme.lower() not in _DEFAULT_PORTS or not urlsplit(proxy).hostname:
            raise ValueError(
                f"{variable} must be http://host:port, as other kinds of proxies are not supported"
            )
        return proxy

    def variables(self, urls: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
        """The variables for libraries that read them from the process, in both spellings.

        Args:
            urls: addresses that libraries might call; those that are called directly are named in NO_PROXY,
                because libraries read fewer kinds of its entries.
        """
        if not self.by_scheme:
            return
        direct = {_bare(urlsplit(url).hostname or "") for url in urls if self._is_direct(url)}
        values = {f"{scheme}_proxy": proxy for scheme, (_, proxy) in self.by_scheme.items()}
        values["no_proxy"] = ",".join(
            dict.fromkeys([*self.exceptions, "localhost", "127.0.0.1", "::1", *sorted(direct)])
        )
        for name, value in values.items():
            yield name, value
            yield name.upper(), value

    def _is_direct(self, url: str) -> bool:
        try:
            return self.proxy_for(url) is None
        except ValueError:
            return False


def _first(environ: Mapping[str, str], name: str) -> tuple[str, str] | None:
    """The variable and its value, in lower case first, as curl does."""
    return next(((n, environ[n]) for n in (name, name.upper()) if environ.get(n)), None)


def _bare(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _is_loopback(host: str) -> bool:
    try:
        return is_loopback(parse_setting(host))
    except ValueError:
        return False


def _matches(exception: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY holds for a host and a port."""
    if exception == "*":
        return True
    name, exact_port = _with_port(exception)
    if exact_port not in (None, port):
        return False
    try:
        address = ip_address(host)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False


def _with_port(exception: str) -> tuple[str, int | None]:
    """The host and the port of an entry; an IPv6 address with a port stands in brackets."""
    host, colon, port = exception.rpartition(":")
    if colon and port.isdecimal() and (host.endswith("]") or ":" not in host):
        return _bare(host), int(port)
    return exception.replace("[", "").replace("]", ""), None
