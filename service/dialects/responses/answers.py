"""The `response` object: what the request set, and what the model gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from service.dialects.dialect import Decided, Problem
from service.dialects.responses.tools import Toolbox
from service.domain.answer import Usage
from service.domain.basics import Json
from service.domain.query import Query

_STATUSES = {"length": "incomplete", "content_filter": "incomplete"}
_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
# What the object says of the request, and what it says if the request does not.
_ECHOED: Json = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "temperature": 1.0,
    "tool_choice": "auto",
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
ADDED_TOOLS = "added_tools"  # of the form: tools that items of the input add
# Which OpenAI's clients expect of every function in an answer.
_FUNCTION: Json = {"description": None, "parameters": None, "strict": False}
# What OpenAI calls the failure of a response that has begun.
_ERROR_CODES = {"rate_limit_exceeded", "insufficient_quota", "context_length_exceeded", "invalid_prompt"}


@dataclass(frozen=True, slots=True)
class ResponseForm:
    """What the request says about its answer, and the ids of the answer.

    Args:
        body: the request without its input.
        stem: what the ids of the response and of its items have in common.
        vendor_mark: of the vendor that answers.
    """

    body: Json
    stem: str
    created_at: datetime
    explanation: Json | None = None
    vendor_mark: str | None = None

    @classmethod
    def of(cls, query: Query, decided: Decided) -> ResponseForm:
        stem = (decided.decision_id or uuid4()).hex
        return cls(query.form, stem, query.received_at, decided.explanation, decided.vendor_mark)

    @property
    def response_id(self) -> str:
        return f"resp_{self.stem}"

    def toolbox(self) -> Toolbox:
        return Toolbox([*(self.body.get("tools") or []), *(self.body.get(ADDED_TOOLS) or [])])

    def response(
        self,
        status: str,
        *,
        model: str,
        output: Sequence[Json] = (),
        usage: Usage | None = None,
        finish_reason: str | None = None,
        error: Json | None = None,
    ) -> Json:
        """The whole object."""
        reason = _REASONS.get(finish_reason or "") if status == "incomplete" else None
        response = {
            "id": self.response_id,
            "object": "response",
            "created_at": int(self.created_at.timestamp()),
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": None if reason is None else {"reason": reason},
            "model": model,
            "output": list(output),
            "usage": None if usage is None else reported(usage),
            **self._echoed(),
        }
        return response if self.explanation is None else {**response, "router": self.explanation}

    def _echoed(self) -> Json:
        body = self.body
        echoed = {
            name: body[name] if body.get(name) is not None else default for name, default in _ECHOED.items()
        }
        reasoning, text = body.get("reasoning") or {}, body.get("text") or {}
        return {
            **echoed,
            "reasoning": {"effort": None, "summary": None, **reasoning},
            "store": bool(body.get("store")),
            "text": {"format": {"type": "text"}, "verbosity": "medium", **text},
            "tools": [_shown(tool) for tool in body.get("tools") or []],
        }


def form_of(body: Json) -> Json:
    """What of a request its answer needs."""
    return {name: value for name, value in body.items() if name not in ("input", "router", "client_metadata")}


def status_of(finish_reason: str | None) -> str:
    return _STATUSES.get(finish_reason or "", "completed")


def failure_of(problem: Problem) -> Json:
    """The `error` of a response that failed."""
    fields = problem[1]["error"]
    code = fields["code"] if fields["code"] in _ERROR_CODES else "server_error"
    return {"code": code, "message": fields["message"]}


def reported(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _shown(tool: Json) -> Json:
    return {**_FUNCTION, **tool} if tool.get("type") == "function" else tool
