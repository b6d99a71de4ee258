"""Reads the key that a caller sends for a provider, for models with `api_key: client`."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

from service.domain.api_key import PREFIX
from service.domain.credentials import Credential
from service.settings.settings import Settings

_OWN_HEADERS = ("x-api-key", "x-goog-api-key")
_VISIBLE = re.compile(r"[!-~]{1,8192}")


def client_key(headers: Mapping[str, str], settings: Settings) -> Credential | None:
    """The caller's own key; None: it sent none, or one that no header can hold, or a key of the router."""
    for name in _OWN_HEADERS:
        if (key := headers.get(name, "").strip()) and _may_be_sent(key, settings):
            return Credential(key, is_bearer=False)
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _may_be_sent(key.strip(), settings):
        return Credential(key.strip(), is_bearer=True)
    return None


def _may_be_sent(key: str, settings: Settings) -> bool:
    if not _VISIBLE.fullmatch(key) or key.startswith(PREFIX):
        return False
    admin_key = settings.admin_key
    return admin_key is None or not hmac.compare_digest(key, admin_key.get_secret_value())
