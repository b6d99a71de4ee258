"""Implicit signals: faults of calls and answers that the router detects without feedback.

Each signal counts against its arm. An answer without a signal counts for nothing: most bad answers look good.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from service.completion import json_schema
from service.completion.model_call import ModelCall
from service.domain.answer import Attempt
from service.domain.basics import Json
from service.domain.feedback import Signal

LONG_ANSWER_TOKENS = 2048  # a client that allows fewer tokens expects a truncated answer
SHORT_ANSWER_CHARS = 400  # a longer answer that begins like a refusal usually answers after all

# Failures of the arm itself. A rate limit or a rejected request does not count against its answers.
ARM_FAULTS = frozenset({"ProviderTimeout", "ProviderBroken"})
KEY_REFUSED = frozenset({401, 403})  # the operator's API key is wrong

_REFUSAL = re.compile(
    r"(?:(?:i'm |i am )?(?:very |really |so )?sorry[,.]? (?:but )?|unfortunately,? )?"
    r"(?:as an ai(?: language model| assistant)?,? )?"
    r"(?:i (?:can't|cannot|can not|won't|will not|am (?:unable|not able) to)|i'm (?:unable|not able) to)"
    r" (?:help|assist|comply|fulfil|do that|answer that|support that|continue with (?:this|that))"
)


def failed_arms(attempts: Iterable[Attempt]) -> list[str]:
    """The arms whose calls failed by their own fault, each once, without those that then answered."""
    attempts = list(attempts)
    answered = {a.arm_id for a in attempts if a.status == "ok"}
    failed = [
        a.arm_id for a in attempts if a.status == "failed" and a.arm_id not in answered and _is_arms_fault(a)
    ]
    return list(dict.fromkeys(failed))


def fault_of(call: ModelCall) -> Signal | None:
    """The first fault of a whole answer; one only, since one fault often causes the next."""
    text = call.text.strip()
    if _is_refusal(call, text):
        return "refusal"
    if not text and not call.has_other_content:
        return "empty"
    if call.finish_reason == "length":
        return "truncated" if _allows_long_answer(call) else None
    return "invalid_schema" if not is_judged_at_once(call) and _violates_schema(call) else None


def is_judged_at_once(call: ModelCall) -> bool:
    """Whether the answer has no schema, whose validation can take long."""
    return not (call.query.body.get("response_format") or call.query.body.get("tools"))


async def judged(call: ModelCall) -> Signal | None:
    """The first fault of a whole answer, found beside the event loop if that can take long."""
    return fault_of(call) if is_judged_at_once(call) else await asyncio.to_thread(fault_of, call)


def _is_arms_fault(attempt: Attempt) -> bool:
    return attempt.error_type in ARM_FAULTS and attempt.upstream_status not in KEY_REFUSED


def _is_refusal(call: ModelCall, text: str) -> bool:
    if call.is_refusal or call.finish_reason == "content_filter":
        return True
    if call.has_other_content or len(text) > SHORT_ANSWER_CHARS:
        return False
    return _REFUSAL.match(text.lower().replace("\u2019", "'")) is not None


def _allows_long_answer(call: ModelCall) -> bool:
    allowed = call.query.max_output_tokens or call.default_max_tokens
    return allowed is None or allowed >= LONG_ANSWER_TOKENS


def _violates_schema(call: ModelCall) -> bool:
    """Whether the answer violates `response_format` or the schema of a strict tool."""
    body = call.query.body
    if (body.get("n") or 1) > 1:
        return False  # the texts of all choices are joined
    if not call.has_other_content and (schema := _answer_schema(body)) is not None:
        return not json_schema.is_valid(call.text, schema)
    schemas = _strict_schemas(body)
    return any(
        not json_schema.is_valid(tool_call.arguments, schemas[tool_call.name])
        for tool_call in call.tool_calls.values()
        if tool_call.name in schemas
    )


def _answer_schema(body: Json) -> Json | None:
    form = body.get("response_format") or {}
    if form.get("type") == "json_object":
        return {"type": "object"}
    if form.get("type") != "json_schema":
        return None
    schema = _object(form.get("json_schema")).get("schema")
    return schema if isinstance(schema, dict) else {}


def _strict_schemas(body: Json) -> dict[str, Json]:
    functions = [_object(tool.get("function")) for tool in body.get("tools") or []]
    return {str(f.get("name")): _object(f.get("parameters")) for f in functions if f.get("strict") is True}


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}
