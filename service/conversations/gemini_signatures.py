"""Gemini's signatures of its thinking before a tool call, carried in the id of the call.

Gemini requires them back with the call. They arrive in a field beside the id, which Anthropic's dialect does
not have, or in the id after a mark, as LiteLLM writes them. Every client returns the id unchanged.
"""

from __future__ import annotations

from typing import Any

from service.domain.basics import Json

MARK = "__thought__"  # LiteLLM's

_TO_ID, _FROM_ID = str.maketrans("+/", "-_"), str.maketrans("-_", "+/")


def signed_id(call: Json) -> str:
    """The id of a call in OpenAI's form, with the signature in it or beside it, if there is one."""
    call_id, _, signature = str(call.get("id") or "").partition(MARK)
    return with_signature(call_id, signature or _beside(call))


def with_signature(call_id: str, signature: str) -> str:
    """The id with the signature in it; unchanged if one of the two is empty."""
    return f"{call_id}{MARK}{signature.translate(_TO_ID).rstrip('=')}" if call_id and signature else call_id


def without_signature(call_id: str) -> str:
    return call_id.partition(MARK)[0]


def signature_in(call_id: object) -> str | None:
    """The signature in an id, in base64 as Gemini sent it."""
    signature = str(call_id).partition(MARK)[2].translate(_FROM_ID).rstrip("=")
    return signature + "=" * (-len(signature) % 4) if signature else None


def _beside(call: Json) -> str:
    """The signature as Gemini's own OpenAI-compatible endpoint sends it."""
    beside: Any = call.get("extra_content")
    google = beside.get("google") if isinstance(beside, dict) else None
    return str(google.get("thought_signature") or "") if isinstance(google, dict) else ""
