"""A conversation's history, changed so that an arm of another vendor accepts it; pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from service.conversations.gemini_signatures import MARK, signature_in
from service.conversations.repeated_ids import with_unique_ids
from service.conversations.sealed_reasoning import VENDOR_FIELD
from service.conversations.unsigned_thinking import without_unsigned_thinking
from service.domain.arm import Arm
from service.domain.basics import Json

# Thinking is accepted only by the vendor of its model. Fields of a message, a call or a part.
THINKING_FIELDS = frozenset(
    {"reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "thought_signature"}
    | {"provider_specific_fields", "extra_content"}
)
THINKING_PARTS = frozenset({"thinking", "redacted_thinking", "reasoning"})

# The ids of tool calls that a vendor accepts; other vendors accept any.
TOOL_IDS: dict[str, tuple[Callable[[str], object], Callable[[str], str]]] = {
    "anthropic": (re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch, lambda digest: f"toolu_{digest[:24]}"),
    "openai": (re.compile(r".{1,40}", re.DOTALL).fullmatch, lambda digest: f"call_{digest[:24]}"),
}
UNSIGNED = (lambda tool_id: MARK not in tool_id, TOOL_IDS["openai"][1])  # without Google's signatures
VENDORS = {"claude": "anthropic", "gemini": "google", "gpt": "openai", "mistral": "mistralai"}


def vendor_of(arm: Arm) -> str:
    """The maker of the arm's model by its name; else the server of the model."""
    return _maker_of(arm.model) or arm.base_url or arm.provider


@lru_cache(maxsize=1_000)  # it is asked several times for every request
def _maker_of(model: str) -> str | None:
    *route, name = model.lower().split("/")
    return VENDORS.get(route[-1], route[-1]) if route else VENDORS.get(name.split("-")[0])


def vendor_mark(arm: Arm) -> str:
    """Distinguishes the vendors of reasoning that clients keep, without naming the operator's servers."""
    return _mark_of(vendor_of(arm))


@lru_cache(maxsize=1_000)
def _mark_of(vendor: str) -> str:
    return hashlib.sha256(vendor.encode()).hexdigest()[:12]


def safe_history(body: Json, arm: Arm, n_messages_of_other_vendors: int) -> Json:
    """The body that the arm's vendor accepts; the same object if nothing changes.

    Thinking is removed whole, never edited; ids of tool calls are replaced by the same id in call and result.

    Args:
        n_messages_of_other_vendors: first messages that may come from another vendor's arm.
    """
    messages, n_others, vendor = body["messages"], n_messages_of_other_vendors, vendor_of(arm)
    stripped = [m for message in messages[:n_others] if (m := _strip_thinking(message)) is not None]
    kept = [
        m
        for message in [*stripped, *messages[n_others:]]
        if (m := without_unsigned_thinking(_of_vendor(message, arm))) is not None
    ]
    if vendor == "anthropic":
        kept = with_unique_ids(kept)
    if vendor == "google":
        kept = [_signed(m, arm) for m in kept]
    safe = [_with_ids(m, vendor) for m in kept]
    is_unchanged = len(safe) == len(messages) and all(a is b for a, b in zip(safe, messages, strict=True))
    return body if is_unchanged else {**body, "messages": safe}


def _of_vendor(message: Json, arm: Arm) -> Json:
    """The message without reasoning whose mark is another vendor's, and without the mark."""
    if VENDOR_FIELD not in message:
        return message
    bare = {name: value for name, value in message.items() if name != VENDOR_FIELD}
    return bare if message[VENDOR_FIELD] == vendor_mark(arm) else _without_fields(bare)


def _strip_thinking(message: Json) -> Json | None:
    """The message without thinking; None if nothing else is in it."""
    if message.get("role") != "assistant":
        return message
    content, calls = message.get("content"), message.get("tool_calls")
    safe: Json = _without_fields(message)
    if isinstance(content, list):
        parts = [_without_fields(part) for part in content if part.get("type") not in THINKING_PARTS]
        if not parts and not calls:
            return None
        safe = _replaced(safe, "content", parts or None if calls else parts)
    if isinstance(calls, list):
        safe = _replaced(safe, "tool_calls", [_without_fields(call) for call in calls])
    return safe


def _without_fields(holder: Any) -> Any:
    if not isinstance(holder, dict) or THINKING_FIELDS.isdisjoint(holder):
        return holder
    return {name: value for name, value in holder.items() if name not in THINKING_FIELDS}


def _replaced(holder: Json, name: str, value: object) -> Json:
    """The holder with this value; the same object if it has the value already."""
    return holder if holder.get(name) == value else {**holder, name: value}


def _signed(message: Json, arm: Arm) -> Json:
    """The message with the signatures of its calls in the fields that Gemini reads."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        return message
    return _replaced(message, "tool_calls", [_with_signature(call, arm) for call in calls])


def _with_signature(call: Any, arm: Arm) -> Any:
    signature = signature_in(call.get("id")) if isinstance(call, dict) else None
    if signature is None or not THINKING_FIELDS.isdisjoint(call):
        return call
    if arm.provider == "litellm":
        return {**call, "provider_specific_fields": {"thought_signature": signature}}
    return {**call, "extra_content": {"google": {"thought_signature": signature}}}


def _with_ids(message: Json, vendor: str) -> Json:
    """The message with ids of tool calls that the vendor accepts, in OpenAI's form and in Anthropic's."""
    if vendor == "google":
        return message
    safe = message
    for name in ("tool_calls", "content"):
        if isinstance(holders := safe.get(name), list):
            with_ids = [_with_id(_with_id(holder, "id", vendor), "tool_use_id", vendor) for holder in holders]
            safe = _replaced(safe, name, with_ids)
    with_result_id: Json = _with_id(safe, "tool_call_id", vendor)
    return with_result_id


def _with_id(holder: Any, name: str, vendor: str) -> Any:
    accepts, make = TOOL_IDS.get(vendor, UNSIGNED)
    tool_id = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(tool_id, str) or accepts(tool_id):
        return holder
    return {**holder, name: make(hashlib.sha256(tool_id.encode("utf-8", "surrogatepass")).hexdigest())}
