"""Ids of tool calls for clients of Anthropic's dialect, from which the model's own ids can be read back.

Some models accept only ids of their own form (Kimi: `functions.weather:0`), which Anthropic's clients and
Anthropic itself reject.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

_MARK = "toolu_enc_"
_ACCEPTED = re.compile(rf"(?!{_MARK})[A-Za-z0-9_-]+")


def encoded(call_id: str) -> str:
    """The id for the client: unchanged if Anthropic's clients accept it."""
    if _ACCEPTED.fullmatch(call_id):
        return call_id
    data = urlsafe_b64encode(call_id.encode("utf-8", "surrogatepass"))
    return f"{_MARK}{data.decode().rstrip('=')}"


def decoded(use_id: str) -> str:
    """The model's own id for an id that a client sends back; unchanged if the router did not encode it."""
    data = use_id.removeprefix(_MARK)
    if data in ("", use_id):
        return use_id
    try:
        call_id = urlsafe_b64decode(data + "=" * (-len(data) % 4)).decode("utf-8", "surrogatepass")
    except ValueError:
        return use_id
    return call_id if encoded(call_id) == use_id else use_id
