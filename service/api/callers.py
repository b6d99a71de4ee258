"""Finds out who sends a request: by a key of the router's own, by the ADMIN_KEY, or without a key."""

from __future__ import annotations

import hmac

from starlette.datastructures import QueryParams
from starlette.types import Scope

from service.access.keyring import Keyring, not_loaded
from service.api.request_headers import RequestHeaders
from service.dialects.gemini.dialect import GEMINI
from service.domain import caller as callers
from service.domain.api_key import PREFIX
from service.domain.basics import DEFAULT_TENANT
from service.domain.caller import ALL_SCOPES, ANONYMOUS, Caller
from service.domain.hosts import is_loopback
from service.errors import AdminClosed, BadRequest, KeyRequired, ScopeMissing
from service.settings.settings import Settings

OWN_HEADER = "x-router-key"  # of callers whose other headers hold a key for a provider
SHARED_HEADERS = ("x-api-key", "x-goog-api-key")
HOW = "`Authorization: Bearer`, `x-api-key` or `X-Router-Key`"
OPERATOR = Caller(DEFAULT_TENANT, ALL_SCOPES, key_name="ADMIN_KEY")
WITHOUT_ADMIN = Caller(DEFAULT_TENANT, ALL_SCOPES - {"admin"})


class Callers:
    """Who may call, by the settings and the keys.

    A key of the router begins with `rk-`, so that it is never mistaken for a provider's: those pass as if
    they were not there, and their caller is one without a key.
    """

    def __init__(self, settings: Settings) -> None:
        key = settings.admin_key
        self._admin_key = None if key is None else key.get_secret_value().encode()
        self._host = settings.host
        self._is_loopback = is_loopback(settings.host)
        self._allows_anonymous = settings.allow_anonymous
        self._is_open_to_pages = "*" in settings.cors_origins

    def caller(self, headers: RequestHeaders, scope: Scope, keyring: Keyring) -> Caller:
        """Who sends the request.

        Raises:
            KeyRequired: the key is not valid, or there is none and one is needed.
            Unavailable: no keys have been loaded yet.
        """
        key = self._key(headers, scope)
        if key is None:
            return self._keyless(keyring)
        if self._is_admin_key(key):
            return OPERATOR
        return keyring.caller(key)

    def _key(self, headers: RequestHeaders, scope: Scope) -> str | None:
        """The key for the router; None: there is none."""
        if (own := headers.get(OWN_HEADER)) is not None:
            return own.strip(" \t")
        if (given := headers.get("authorization")) is not None:
            kind, _, key = given.partition(" ")
            if kind.lower() == "bearer" and self._is_own(key := key.strip(" \t")):
                return key
        for name in SHARED_HEADERS:
            if (given := headers.get(name)) is not None and self._is_own(key := given.strip(" \t")):
                return key
        if scope["query_string"] and GEMINI.owns(scope["path"], headers):
            key = QueryParams(scope["query_string"]).get("key", "")
            return key if self._is_own(key) else None
        return None

    def _is_own(self, key: str) -> bool:
        return key.startswith(PREFIX) or self._is_admin_key(key)

    def _is_admin_key(self, key: str) -> bool:
        return self._admin_key is not None and hmac.compare_digest(key.encode(), self._admin_key)

    def _keyless(self, keyring: Keyring) -> Caller:
        if not self._allows_anonymous:
            if not keyring.is_loaded:
                raise not_loaded()
            if keyring.are_in_use or not self._is_loopback:
                raise KeyRequired(f"a key of the router is required, as {HOW}")
        may_have_keys = keyring.are_in_use or not keyring.is_loaded
        is_closed = self._admin_key is not None or may_have_keys or self._closed_reason() is not None
        return WITHOUT_ADMIN if is_closed else ANONYMOUS

    def refusal(self, caller: Caller, needed: callers.Scope, keyring: Keyring) -> BadRequest:
        """Why a caller may not do what needs a scope that it has not."""
        if caller.key_name is not None:
            has = ", ".join(sorted(caller.scopes))
            return ScopeMissing(f"the key {caller.key_name!r} has not the scope {needed!r}; it has: {has}")
        if self._admin_key is None and not keyring.are_in_use and (reason := self._closed_reason()):
            return AdminClosed(f"this needs a key with the scope {needed!r}, or ADMIN_KEY, {reason}")
        return KeyRequired(f"this needs a key with the scope {needed!r}, or the ADMIN_KEY, as {HOW}")

    def _closed_reason(self) -> str | None:
        """Why nobody may administer without a key even if there is none; None: who reaches it may."""
        if not self._is_loopback:
            return f"when the service listens on {self._host}"
        if self._is_open_to_pages:
            return "when CORS_ORIGINS is *, which allows every page"
        return None
