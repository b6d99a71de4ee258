"""Translates pieces of OpenAI's answers into those of a Gemini answer: parts, finish reasons, usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from service.conversations.gemini_signatures import signature_in, signed_id, without_signature
from service.conversations.sealed_reasoning import Reasoning, as_signature
from service.domain.basics import Json
from service.domain.bounded_json import ANSWER, bounded_json

_FINISH_REASONS = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "function_call": "STOP",
    "content_filter": "SAFETY",
}


def frame(body: Json) -> Json:
    """The fields of every chunk of an answer beside its candidates."""
    return {"modelVersion": body["model"], "responseId": str(body.get("id") or uuid4().hex)}


def text_part(text: str) -> Json:
    return {"text": text}


def thought_part(text: str) -> Json:
    return {"text": text, "thought": True}


def call_parts(calls: Sequence[Json], reasoning: Reasoning) -> list[Json]:
    """The calls with Google's signatures; without one, the first carries the thinking of another vendor."""
    parts = [_call_part(call) for call in calls]
    if parts and "thoughtSignature" not in parts[0] and (sealed := reasoning.sealed()) is not None:
        parts[0]["thoughtSignature"] = as_signature(sealed)
    return parts


def _call_part(call: Json) -> Json:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    call_id = signed_id(call)
    signature = signature_in(call_id)
    written = {
        "id": without_signature(call_id) or f"call_{uuid4().hex[:24]}",
        "name": str(function.get("name") or ""),
        "args": _args(str(function.get("arguments") or "")),
    }
    return {"functionCall": written} | ({} if signature is None else {"thoughtSignature": signature})


def _args(arguments: str) -> Json:
    """The arguments as an object. Invalid arguments are wrapped, so that the tool sees and rejects them."""
    try:
        value = bounded_json(arguments.encode() or b"{}", ANSWER)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def text_of(message: Json) -> str:
    """The text of a message or a delta, or its refusal."""
    text = message.get("content") or message.get("refusal")
    return text if isinstance(text, str) else ""


def image_parts(message: Json) -> list[Json]:
    """The images that a model made, where they are in the answer."""
    images = message.get("images")
    return [part for image in images if (part := _image(image))] if isinstance(images, list) else []


def _image(image: Any) -> Json | None:
    inner = image.get("image_url") if isinstance(image, dict) else None
    url = inner.get("url") if isinstance(inner, dict) else inner
    if not isinstance(url, str) or not url.startswith("data:"):
        return None
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return {"inlineData": {"mimeType": kind, "data": data}} if data else None


def finish_reason(reason: object, *, is_refusal: bool) -> str:
    """Google's finish reason; one that it has no word for is OTHER."""
    if is_refusal:
        return "SAFETY"
    return _FINISH_REASONS.get(str(reason or "stop"), "OTHER")


def logprobs_result(logprobs: object) -> Json:
    """The log probabilities of a choice in Google's fields; empty if there are none."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    tokens = [token for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []
    if not tokens:
        return {}
    result = {
        "chosenCandidates": [_token(token) for token in tokens],
        "topCandidates": [
            {"candidates": [_token(top) for top in token.get("top_logprobs") or []]} for token in tokens
        ],
    }
    values = [float(token.get("logprob") or 0) for token in tokens]
    return {"avgLogprobs": sum(values) / len(values), "logprobsResult": result}


def _token(token: Json) -> Json:
    return {"token": token.get("token"), "logProbability": token.get("logprob")}
