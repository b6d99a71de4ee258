"""Corrections of requests that LiteLLM would translate wrongly for Anthropic."""

from __future__ import annotations

from collections.abc import Iterator

from service.domain.basics import Json
from service.errors import ProviderRejected


def corrected(body: Json) -> Json:
    """The same request in a form that LiteLLM translates without changing its meaning.

    Raises:
        ProviderRejected: the request has content that LiteLLM would drop or misplace: JSON output without a
            schema, audio, a refusal that is not the model's, or `functions` calls and results.
    """
    messages = [_with_refusals(message) for message in body["messages"]]
    for position, message in enumerate(messages):
        for kind in _lost_kinds(message):
            raise ProviderRejected(
                f"this model does not accept {kind} here",
                status=400,
                param=f"messages[{position}]",
                code="unsupported_parameter",
                is_local=True,
            )
    form = body.get("response_format") or {}
    if form.get("type") in ("json_object", "json_schema") and not (form.get("json_schema") or {}).get(
        "schema"
    ):
        raise ProviderRejected(
            f"this model answers in JSON only with a schema, got response_format {form['type']} without one",
            status=400,
            param="response_format",
            code="unsupported_parameter",
            is_local=True,
        )
    return {**body, "messages": list(_in_place(messages))}


def _parts(message: Json) -> list[Json]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _lost_kinds(message: Json) -> set[str]:
    """The kinds of content that LiteLLM would drop or change."""
    functions = {"function_call"} if message["role"] == "function" or message.get("function_call") else set()
    return functions | {str(part.get("type")) for part in _parts(message)} & {"input_audio", "refusal"}


def _with_refusals(message: Json) -> Json:
    """The message with the model's refusal as its text; LiteLLM would drop a refusal."""
    if message["role"] != "assistant":
        return message
    if not message.get("content") and isinstance(message.get("refusal"), str):
        return {**message, "content": message["refusal"]}
    if not any(part.get("type") == "refusal" for part in _parts(message)):
        return message
    parts = [
        {"type": "text", "text": part.get("refusal")} if part.get("type") == "refusal" else part
        for part in _parts(message)
    ]
    return {**message, "content": parts}


def _in_place(messages: list[Json]) -> Iterator[Json]:
    """The messages in a form that keeps their order, without empty answers."""
    has_begun = False
    for message in messages:
        if message["role"] in ("system", "developer"):
            # LiteLLM would move a later one behind the last message; as a user message it stays in place.
            yield {**message, "role": "user"} if has_begun else message
            continue
        has_begun = True
        if message["role"] != "assistant" or message.get("content"):
            yield message
        elif message.get("tool_calls"):
            # LiteLLM would replace an empty string by "[System: Empty message content sanitised ...]".
            yield {**message, "content": None}
