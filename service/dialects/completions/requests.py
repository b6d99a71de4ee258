"""Reads Completions requests into a Query: the prompt becomes the one message of a chat."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from service.dialects.chat.requests import BYTES_PER_TOKEN, MAX_STOPS, ChatCompletionRequest, StreamOptions
from service.dialects.json_body import Name, Open, items, read_json, shown, validated
from service.dialects.options import RouterOptions
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query
from service.errors import BadRequest

MOST_LOGPROBS = 5

# Fields that mean something else in a chat, or nothing.
_ONLY_HERE = frozenset({"prompt", "best_of", "echo", "logprobs", "suffix", "router"})


class CompletionRequest(Open):
    """A Completions request, with the router's own options."""

    model: Name | None = Field(None, description="absent, auto or router/auto: the router chooses")
    prompt: str | list[Any] = Field(description="a text, or a list of one text")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(None, description="absent: the model's own limit")
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    best_of: Annotated[int, Field(ge=0)] | None = Field(None, description="at most n")
    echo: bool | None = Field(None, description="put the prompt before the text; not with logprobs")
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = None
    suffix: str | None = Field(None, description="must be empty")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stop: str | Annotated[list[str], items(MAX_STOPS)] | None = None
    router: RouterOptions | None = Field(None, strict=False)


def read_query(raw: bytes, received: Received) -> Query:
    """Read a request body.

    Raises:
        BadRequest: the body is not JSON, a field breaks its rule, or it asks for what no chat can do.
    """
    body = read_json(raw)
    request = validated(CompletionRequest, body)
    prompt = _prompt(request.prompt)
    _require_possible(request, body)
    return received.query(
        "completions",
        body,
        _as_chat(body, request, prompt),
        model=request.model,
        stream=bool(request.stream),
        n_prompt_tokens=-(-len(prompt.encode()) // BYTES_PER_TOKEN),
        max_output_tokens=request.max_tokens,
        router=request.router,
        form={"echo": prompt if request.echo else ""},
    )


def _as_chat(body: Json, request: CompletionRequest, prompt: str) -> Json:
    chat = {name: value for name, value in body.items() if name not in _ONLY_HERE}
    chat["messages"] = [{"role": "user", "content": prompt}]
    if request.logprobs is not None:
        chat["logprobs"] = True
        chat |= {"top_logprobs": request.logprobs} if request.logprobs else {}
    return chat


def _prompt(given: str | list[Any]) -> str:
    if isinstance(given, str):
        return given
    if len(given) == 1 and isinstance(given[0], str):
        return str(given[0])
    if given and all(isinstance(item, str) for item in given):
        raise BadRequest(
            f"prompt: must be one text, got {len(given)}; send a request for each", param="prompt"
        )
    if given and all(type(item) is int or isinstance(item, list) for item in given):
        raise BadRequest(
            "prompt: must be a text, got tokens, which mean nothing to most models", param="prompt"
        )
    raise BadRequest(f"prompt: must be a text, got {shown(given)}", param="prompt")


def _require_possible(request: CompletionRequest, body: Json) -> None:
    """Reject by name what cannot be done by a chat, and what only a chat can do."""
    for name in body.keys() & (ChatCompletionRequest.model_fields.keys() - CompletionRequest.model_fields):
        if body[name] not in (None, [], {}):
            raise BadRequest(f"{name}: is a field of /v1/chat/completions only", param=name)
    if request.suffix:
        raise BadRequest("suffix: must be empty, because no chat model writes before a text", param="suffix")
    n = request.n or 1
    if request.best_of is not None and request.best_of > n:
        raise BadRequest(f"best_of: must be at most n, which is {n}, got {request.best_of}", param="best_of")
    if request.echo and request.logprobs is not None:
        raise BadRequest(
            "echo: must be false with logprobs, because no chat model gives those of its prompt",
            param="echo",
        )
