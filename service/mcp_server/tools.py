"""The tools: each calls one path of the router's HTTP API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from service.dialects.options import RouterOptions
from service.domain.basics import Json
from service.mcp_server.completed import Completed, StreamedAnswer, of_whole
from service.mcp_server.results import Decided, Explained, Models, Taught
from service.mcp_server.router_api import RouterApi

CHAT = "/v1/chat/completions"

Prompt = Annotated[str | None, Field(description="the user's text; instead of `messages`")]
Messages = Annotated[
    list[dict[str, Any]] | None,
    Field(description="a conversation in the form of Chat Completions; instead of `prompt`"),
]
Model = Annotated[str, Field(description="a name that `models` lists; auto: the router chooses")]
System = Annotated[str | None, Field(description="instructions for the model")]
MaxTokens = Annotated[int | None, Field(ge=1, description="most tokens of the answer")]
Temperature = Annotated[float | None, Field(ge=0, le=2)]
SessionId = Annotated[str | None, Field(description="id of the conversation, which keeps its model")]
Router = Annotated[RouterOptions | None, Field(description="options of the router, for this request alone")]
RequestId = Annotated[
    str | None, Field(description="id of your own for the answer: 1 to 128 visible ASCII characters")
]
Known = Annotated[str, Field(description="the request_id that `complete` returned")]


@dataclass(frozen=True, slots=True)
class Tools:
    """The tools of one server.

    Args:
        api: the router, as the caller of the tool may call it.
    """

    api: Callable[[Context], RouterApi]

    async def complete(
        self,
        ctx: Context,
        prompt: Prompt = None,
        messages: Messages = None,
        model: Model = "auto",
        system: System = None,
        max_tokens: MaxTokens = None,
        temperature: Temperature = None,
        session_id: SessionId = None,
        router: Router = None,
        request_id: RequestId = None,
    ) -> Completed:
        """Have a language model answer. The router chooses the model, unless `model` names one."""
        body = _chat(prompt, messages, model, system, session_id, router)
        body |= _given(max_tokens=max_tokens, temperature=temperature)
        headers = {} if request_id is None else {"X-Request-ID": request_id}
        if not _wants_progress(ctx):
            return of_whole(*await self.api(ctx).post(CHAT, body, headers))
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        body["router"] = {**body.get("router", {}), "cost": True}
        async with self.api(ctx).stream(CHAT, body, headers) as response:
            answer, n_chars = StreamedAnswer(response), 0
            async for text in answer.texts():
                n_chars += len(text)
                await ctx.report_progress(n_chars, message=text)
            return answer.completed()

    async def route(
        self,
        ctx: Context,
        prompt: Prompt = None,
        messages: Messages = None,
        model: Model = "auto",
        system: System = None,
        max_tokens: MaxTokens = None,
        session_id: SessionId = None,
        router: Router = None,
    ) -> Decided:
        """Show which model would answer now, and why. No model is called and nothing is logged."""
        body = _chat(prompt, messages, model, system, session_id, router) | _given(max_tokens=max_tokens)
        decision, _ = await self.api(ctx).post("/v1/route", body)
        return Decided.of(decision)

    async def feedback(
        self,
        ctx: Context,
        request_id: Known,
        score: Annotated[float, Field(ge=0, le=1, description="0: useless, 1: perfect")],
        text: Annotated[str | None, Field(max_length=10_000, description="why")] = None,
    ) -> Taught:
        """Rate an answer, so that the router learns. A newer score replaces an older one."""
        body = {"request_id": request_id, "score": score, **_given(feedback_text=text)}
        taught, _ = await self.api(ctx).post("/feedback", body)
        return Taught.model_validate(taught)

    async def explain(self, ctx: Context, request_id: Known) -> Explained:
        """Explain why a request went to its model, in plain sentences and in numbers."""
        api, name = self.api(ctx), quote(request_id, safe="")
        return Explained.of_record(await api.get(f"/requests/{name}"), await api.get(f"/metrics/{name}"))

    async def stats(
        self,
        ctx: Context,
        days: Annotated[int, Field(ge=1, le=366, description="number of days to count")] = 7,
        baseline: Annotated[str | None, Field(description="model to compare the cost with")] = None,
    ) -> dict[str, Any]:
        """Count requests, cost and savings of the last days, by model, day and kind of decision."""
        return await self.api(ctx).get("/v1/stats", days=days, baseline=baseline)

    async def models(self, ctx: Context) -> Models:
        """List the models and their states, and the names that `complete` accepts."""
        api = self.api(ctx)
        names, states = await api.get("/v1/models"), await api.get("/backends/status")
        chat = [each["id"] for each in names["data"] if each.get("type") != "embedding"]
        return Models(names=chat, models=states["models"])


def _chat(
    prompt: str | None,
    messages: list[dict[str, Any]] | None,
    model: str,
    system: str | None,
    session_id: str | None,
    router: RouterOptions | None,
) -> Json:
    """The Chat Completions request. Raises ToolError."""
    if (prompt is None) == (messages is None):
        raise ToolError("prompt: give prompt or messages, and not both")
    turns = [{"role": "user", "content": prompt}] if messages is None else messages
    instructions = [] if system is None else [{"role": "system", "content": system}]
    options = {} if router is None else router.model_dump(mode="json", exclude_unset=True)
    options = {**_given(session_id=session_id), **options}
    return {"model": model, "messages": [*instructions, *turns], **({"router": options} if options else {})}


def _given(**fields: object) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _wants_progress(ctx: Context) -> bool:
    return (ctx.request_context.meta or {}).get("progress_token") is not None
