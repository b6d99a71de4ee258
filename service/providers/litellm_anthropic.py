"""Where LiteLLM's translation to Anthropic would say something else than was asked, mended before it."""

from __future__ import annotations

from collections.abc import Iterator

from service.domain.basics import Json
from service.errors import ProviderRejected


def mended(body: Json) -> Json:
    """The same request in a form that LiteLLM does not change the meaning of.

    Raises:
        ProviderRejected: the request asks for JSON without a schema, or has sound in it, which LiteLLM
            leaves out, or a refusal that is not the model's, or functions, whose calls and results it parts.
    """
    spoken = [_with_refusals(message) for message in body["messages"]]
    for position, message in enumerate(spoken):
        for kind in _forgotten(message):
            raise ProviderRejected(
                f"this model takes no {kind} here",
                status=400,
                param=f"messages[{position}]",
                code="unsupported_parameter",
            )
    form = body.get("response_format") or {}
    if form.get("type") in ("json_object", "json_schema") and not (form.get("json_schema") or {}).get(
        "schema"
    ):
        raise ProviderRejected(
            f"this model answers in JSON only by a schema, got response_format {form['type']} without one",
            status=400,
            param="response_format",
            code="unsupported_parameter",
        )
    return {**body, "messages": list(_messages(spoken))}


def _parts(message: Json) -> list[Json]:
    content = message.get("content")
    return content if isinstance(content, list) else []


def _forgotten(message: Json) -> set[str]:
    """What of a message would not arrive, or not as it is."""
    functions = {"function_call"} if message["role"] == "function" or message.get("function_call") else set()
    return functions | {str(part.get("type")) for part in _parts(message)} & {"input_audio", "refusal"}


def _with_refusals(message: Json) -> Json:
    """The message with what the model refused as its text; LiteLLM would leave it out."""
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


def _messages(messages: list[Json]) -> Iterator[Json]:
    has_begun = False
    for message in messages:
        if message["role"] in ("system", "developer"):
            # A later one would be moved behind the last message; as the user's it stays in its place.
            yield {**message, "role": "user"} if has_begun else message
            continue
        has_begun = True
        if message["role"] != "assistant" or message.get("content"):
            yield message
        elif message.get("tool_calls"):
            # An empty string would become "[System: Empty message content sanitised ...]".
            yield {**message, "content": None}
