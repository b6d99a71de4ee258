"""The thinking of other vendors' models, carried in the signature of a function call.

Clients show thoughts and forget them, but bring the signature of a call back, because Gemini requires that.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from service.conversations.sealed_reasoning import opened
from service.domain.basics import Json


def as_signature(sealed: str) -> str:
    """Sealed reasoning in base64, as every signature."""
    return b64encode(sealed.encode()).decode()


def carried_thinking(signature: str | None) -> Json:
    """The fields of the message that the signature carries; empty if it is one of Google's."""
    data = (signature or "").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return opened(b64decode(data + "=" * (-len(data) % 4)).decode())
    except ValueError:
        return {}
