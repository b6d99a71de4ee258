"""What the tool `complete` returns, made from a whole answer or from a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import orjson
from pydantic import BaseModel, Field

from service.domain.basics import Json
from service.mcp_server.router_api import Refused

DATA, DONE = "data: ", "[DONE]"


class Completed(BaseModel):
    """A model's answer, and what it took."""

    request_id: str = Field(description="names this answer in `feedback` and `explain`")
    model: str = Field(description="the model that answered")
    text: str
    finish_reason: str | None
    decision: str | None = Field(description="why this model answered: exploit, explore, sticky, ...")
    decision_id: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float | None = Field(description="US dollars of all calls; null: nobody knows them")
    substituted_model: str | None = Field(description="the requested name, if no model has it")
    simulated: bool = Field(description="true: no model was called")
    degraded: list[str] = Field(description="dependencies that the router did without")


def of_whole(body: Json, headers: httpx.Headers) -> Completed:
    """A whole Chat Completions answer."""
    choice, cost = body["choices"][0], headers.get("x-router-cost-usd")
    return _completed(
        headers,
        model=headers.get("x-router-model", body["model"]),
        text=choice["message"].get("content") or "",
        finish_reason=choice["finish_reason"],
        usage=body.get("usage") or {},
        decision=headers.get("x-router-decision"),
        decision_id=headers.get("x-router-decision-id"),
        cost_usd=None if cost is None else float(cost),
    )


@dataclass(slots=True)
class StreamedAnswer:
    """A streamed Chat Completions answer, which ends with what it cost.

    Args:
        answer: the response of the router.
    """

    answer: httpx.Response
    pieces: list[str] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Json = field(default_factory=dict)
    model: str = ""
    totals: Json = field(default_factory=dict)

    async def texts(self) -> AsyncIterator[str]:
        """Each piece of the answer's text, as it comes.

        Raises:
            Refused: the answer ends with an error, or before its end.
        """
        async for line in self.answer.aiter_lines():
            if not line.startswith(DATA):
                continue
            data = line.removeprefix(DATA)
            if data == DONE:
                return
            if text := self._read(orjson.loads(data)):
                self.pieces.append(text)
                yield text
        raise Refused("the answer ended in the middle", self.answer.status_code)

    def _read(self, chunk: Json) -> str:
        if error := chunk.get("error"):
            raise Refused(f"{error['message']} ({error.get('code') or error['type']})", 502)
        self.model = chunk.get("model") or self.model
        self.usage = chunk.get("usage") or self.usage
        self.totals = chunk.get("router") or self.totals
        choices = chunk.get("choices") or [{}]
        self.finish_reason = choices[0].get("finish_reason") or self.finish_reason
        return (choices[0].get("delta") or {}).get("content") or ""

    def completed(self) -> Completed:
        """The answer as a whole, once all its texts have been read."""
        return _completed(
            self.answer.headers,
            model=self.totals.get("model", self.model),
            text="".join(self.pieces),
            finish_reason=self.finish_reason,
            usage=self.usage,
            decision=self.totals.get("decision"),
            decision_id=self.totals.get("decision_id"),
            cost_usd=self.totals.get("cost_usd"),
        )


def _completed(
    headers: httpx.Headers,
    *,
    model: str,
    text: str,
    finish_reason: str | None,
    usage: Json,
    decision: str | None,
    decision_id: str | None,
    cost_usd: float | None,
) -> Completed:
    return Completed(
        request_id=headers["x-request-id"],
        model=model,
        text=text,
        finish_reason=finish_reason,
        decision=decision,
        decision_id=decision_id,
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        cost_usd=cost_usd,
        substituted_model=headers.get("x-router-model-substituted"),
        simulated="x-router-simulated" in headers,
        degraded=[name for name in headers.get("x-router-degraded", "").split(", ") if name],
    )
