"""Gemini's signatures of what it thought before it called a tool, carried in the id of the call.

Gemini wants them back with the call. They come beside it, where Anthropic's dialect has no place, or behind a
mark in its id, where LiteLLM puts them; the id is what every client brings back as it was.
"""

from __future__ import annotations

import re
from typing import Any

from service.domain.basics import Json

MARK = "__thought__"  # LiteLLM's
SIGNED_ID = re.compile(rf"[A-Za-z0-9_-]+{MARK}[A-Za-z0-9_-]+")  # such as Anthropic itself takes

_TO_ID, _FROM_ID = str.maketrans("+/", "-_"), str.maketrans("-_", "+/")


def signed_id(call: Json) -> str:
    """The id of a call in OpenAI's form, with the signature that came in it or beside it, if one did."""
    call_id, _, signature = str(call.get("id") or "").partition(MARK)
    signature = signature or _beside(call)
    return f"{call_id}{MARK}{signature.translate(_TO_ID).rstrip('=')}" if call_id and signature else call_id


def signature_in(call_id: object) -> str | None:
    """The signature that an id carries, in base64 as it came."""
    signature = str(call_id).partition(MARK)[2].translate(_FROM_ID).rstrip("=")
    return signature + "=" * (-len(signature) % 4) if signature else None


def _beside(call: Json) -> str:
    """As Gemini's own OpenAI-compatible endpoint has it."""
    beside: Any = call.get("extra_content")
    google = beside.get("google") if isinstance(beside, dict) else None
    return str(google.get("thought_signature") or "") if isinstance(google, dict) else ""
