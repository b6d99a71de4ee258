"""What of a request decides its answer, as digests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from service.domain.basics import Json
from service.domain.query import Query

DELIVERY_FIELDS = frozenset({"stream", "stream_options"})  # how an answer is sent, not what it says
# Who asks, for whom, and how fast: no model reads them.
METADATA_FIELDS = frozenset(
    {
        "user",
        "metadata",
        "client_metadata",
        "store",
        "safety_identifier",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "conversation_id",
        "session_id",
    }
)
_OURS = frozenset({"router"})  # the options that matter are in the digest
# Roles whose texts mean nothing by the blanks at their ends; an answer that is begun goes on at its end.
_WITHOUT_ENDS = frozenset({"system", "developer", "user"})


def key_of(query: Query) -> bytes:
    """Digest of what decides the answer: equal digests mean equal answers."""
    content = _content(query)
    return _digest(query, {**content, "messages": [_message(m) for m in content["messages"]]})


def scope_of(query: Query) -> bytes:
    """The same without the texts of the user."""
    content = _content(query)
    others = [_message(m) for m in content["messages"] if m.get("role") != "user"]
    return _digest(query, {**content, "messages": others, "is_scope": True})


def _content(query: Query) -> Json:
    body = query.body if query.native is None else query.native.body  # complete, unlike its translation
    ignored = DELIVERY_FIELDS | METADATA_FIELDS | _OURS
    return {name: value for name, value in body.items() if name not in ignored and value is not None}


def _message(message: Json) -> Json:
    """A message without blanks at the ends of what a person or a program wrote."""
    if message.get("role") not in _WITHOUT_ENDS:
        return message
    return {**message, "content": _without_ends(message.get("content"))}


def _without_ends(content: Any) -> Any:
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, list) and len(content) == 1 and set(content[0]) == {"type", "text"}:
        return str(content[0]["text"]).strip()
    return content


def _digest(query: Query, content: Json) -> bytes:
    """Digest of a content with the tenant, the dialect, and what narrows the choice of a model."""
    options, caller = query.options, query.caller
    of_key = () if caller is None or caller.models is None else caller.models
    named: Sequence[Any] = [options.models or (), options.exclude, options.require_data_use, of_key]
    allowed = [sorted(names) for names in named]
    # What overrides and aliases make of the body's `model`.
    among, tier = sorted(query.requested_among or ()), query.requested_tier
    requested = [query.requested_model, among, tier, query.backend]
    parts = [query.tenant, query.dialect, content, allowed, requested, sorted(query.rule_headers.items())]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()
