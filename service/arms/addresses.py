"""Where models are called: the addresses that variables give, and never the router itself."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from service.domain.arm import Arm
from service.domain.proxies import Proxies
from service.errors import StartupError
from service.settings.base_urls import DEFAULT_PORTS, is_loopback_host
from service.settings.models import ModelSettings
from service.settings.settings import Settings
from service.settings.vendors import VENDORS, Vendor, vendor_of_key

_SOME_VENDOR = "https://vendor.example"  # stands for an address that only the adapter knows
_EVERY_ADDRESS = {"0.0.0.0", "::", "[::]"}  # noqa: S104  # compared, not listened on


def addressed(model: ModelSettings, environ: Mapping[str, str]) -> ModelSettings:
    """A well-known model where the variables of its vendor put it, with the key that is set.

    Raises:
        StartupError: a variable holds no base URL.
    """
    vendor = vendor_of_key(model.api_key_env)
    if vendor is None:
        return model
    model = model.model_copy(update={"api_key_env": vendor.key_in(environ) or model.api_key_env})
    if not any(map(environ.get, vendor.addresses)):
        return model
    return model.model_copy(update={"base_url": _address(vendor, environ)})


def with_default_address(model: ModelSettings, environ: Mapping[str, str]) -> ModelSettings:
    """A configured model; one of Anthropic's without a base URL is called where and as the variables say.

    Raises:
        StartupError: a variable holds no base URL.
    """
    vendor = VENDORS["anthropic"]
    if model.provider != "anthropic" or model.base_url:
        return model
    if model.api_key_env is None and model.api_key is None and model.auth is None:
        model = model.model_copy(update={"api_key_env": vendor.key_in(environ)})
    if not any(map(environ.get, vendor.addresses)):
        return model
    return model.model_copy(update={"base_url": _address(vendor, environ)})


def require_another(url: str | None, name: str, settings: Settings, environ: Mapping[str, str]) -> None:
    """Stop a start that would send requests to the router itself.

    Args:
        name: what gives the URL.

    Raises:
        StartupError: the URL is the router's own.
    """
    if url is None or not _is_own(url, settings):
        return
    names = [v for vendor in VENDORS.values() for v in vendor.addresses if _gives(vendor, v, url, environ)]
    reason = f"; unset {names[0]}, which is for clients, where the router starts" if names else ""
    raise StartupError(f"{name} is the address of this router itself, {url}{reason}")


def require_proxy(arm: Arm, environ: Mapping[str, str]) -> None:
    """Stop a start with a proxy that the arm cannot be called through. Raises StartupError."""
    try:
        Proxies.of(environ).proxy_for(arm.base_url or _SOME_VENDOR)
    except ValueError as error:
        raise StartupError(str(error)) from error


def _address(vendor: Vendor, environ: Mapping[str, str]) -> str | None:
    try:
        return vendor.address_in(environ)
    except ValueError as error:
        raise StartupError(str(error)) from error


def _gives(vendor: Vendor, variable: str, url: str, environ: Mapping[str, str]) -> bool:
    return bool(environ.get(variable)) and _address(vendor, {variable: environ[variable]}) == url


def _is_own(url: str, settings: Settings) -> bool:
    """Whether the service would listen there."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
    if port != settings.port:
        return False
    if is_loopback_host(host) or host in _EVERY_ADDRESS:
        return is_loopback_host(settings.host) or settings.host in _EVERY_ADDRESS
    return host in {settings.host, socket.gethostname().lower()}
