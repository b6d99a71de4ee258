"""OpenAI Chat Completions on the wire <-> Query and answer."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from service.dialects.turns import asked_text, session_id_of, turn_of, with_housekeeping
from service.domain.basics import AUTO, Json
from service.domain.nesting import MAX_DEPTH_ASKED, is_deeper_than
from service.domain.query import Options, Query
from service.domain.tokens import FILE_PARTS, FILE_TOKENS
from service.errors import BadRequest

BYTES_PER_TOKEN = 4
MAX_MESSAGES = 10_000
TASK = re.compile(r"[!-~]{1,64}")

T = TypeVar("T", bound=BaseModel)
Location = tuple[int | str, ...]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def _tag(task: str) -> str:
    if not TASK.fullmatch(task):
        raise ValueError("must be 1 to 64 visible ASCII characters")
    return task


class _Open(BaseModel):
    """Fields we check; whatever else the caller sends is kept."""

    model_config = ConfigDict(extra="allow", strict=True)


class Message(_Open):
    """One message; `content` may be null beside tool calls."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Json] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Message:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"content is required for role {self.role}")
        return self


class Function(_Open):
    name: str
    parameters: Json | None = None


class Tool(_Open):
    """A tool; types that we do not know pass."""

    type: str | None = None
    function: Function | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> Tool:
        if self.type == "function" and self.function is None:
            raise ValueError("function is required for type function")
        return self


class JsonSchema(_Open):
    name: str
    rules: Json | None = Field(None, alias="schema")


class ResponseFormat(_Open):
    """The form of an answer; types that we do not know pass."""

    type: str
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is required for type json_schema")
        return self


class StreamOptions(_Open):
    include_usage: bool = False


class WeightOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    feedback: float | None = Field(None, ge=0, le=10, description="worth of quality")
    latency: float | None = Field(None, ge=0, le=10, description="worth of speed")
    cost: float | None = Field(None, ge=-10, le=0, description="worth of cost, not above zero")


class RouterOptions(BaseModel):
    """What a caller asks of the router itself."""

    model_config = ConfigDict(extra="forbid")

    models: Annotated[list[Name], Field(min_length=1, max_length=100)] | None = Field(
        None, description="choose among these only"
    )
    exclude: Annotated[list[Name], Field(min_length=1, max_length=100)] | None = Field(
        None, description="do not choose these"
    )
    require_data_use: Annotated[list[Name], Field(min_length=1, max_length=20)] | None = Field(
        None, description="leave out models whose provider does not promise all of these"
    )
    max_cost_usd: Decimal | None = Field(None, gt=0, description="leave out models expected to cost more")
    weights: WeightOptions = Field(default_factory=lambda: WeightOptions.model_validate({}))
    session_id: Name | None = Field(None, description="the conversation this request belongs to")
    task: Annotated[str, AfterValidator(_tag)] | None = Field(
        None, description="what kind of request this is: 1 to 64 visible ASCII characters"
    )
    learn: bool = Field(True, description="whether feedback on this request teaches the router")
    explain: bool = Field(False, description="whether the answer carries what was weighed, as `router`")


class ChatCompletionRequest(_Open):
    """A Chat Completions request, with the router's own options."""

    model: Name | None = Field(None, description="absent, auto or router/auto: the router chooses")
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    tools: list[Tool] | None = None
    response_format: ResponseFormat | None = None
    web_search_options: Json | None = None
    router: RouterOptions | None = Field(None, strict=False)


def read_query(
    raw: bytes,
    *,
    headers: Mapping[str, str],
    tenant: str,
    request_id: str,
    request_id_given: bool,
    received_at: datetime,
) -> Query:
    """Read a request body.

    Raises:
        BadRequest: the body is not JSON, or a field breaks its rule; the message names both.
    """
    body = read_json(raw)
    request = validated(ChatCompletionRequest, body)
    forwarded = {name: value for name, value in body.items() if name != "router"}
    options = with_housekeeping(read_options(request.router, headers), body)
    return Query(
        tenant=tenant,
        request_id=request_id,
        request_id_given=request_id_given,
        body=forwarded,
        text=asked_text(body["messages"]),
        body_digest=hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest(),
        dialect="openai",
        requested_model=None if request.model is None or request.model in AUTO else request.model,
        stream=bool(request.stream),
        n_prompt_tokens=prompt_tokens(request, body),
        max_output_tokens=request.max_completion_tokens or request.max_tokens,
        options=options,
        received_at=received_at,
        turn=turn_of(tenant, body, options, headers),
        n_client_retries=client_retries(headers),
    )


def read_json(raw: bytes) -> Json:
    """A JSON object.

    Raises:
        BadRequest: not UTF-8, not JSON, or not an object.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body must be JSON in UTF-8: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest(f"body must be a JSON object, got {type(body).__name__}")
    if is_deeper_than(MAX_DEPTH_ASKED, body):
        raise BadRequest(f"body must be nested at most {MAX_DEPTH_ASKED} levels deep")
    return body


def validated(model: type[T], body: object) -> T:
    """The body as `model`.

    Raises:
        BadRequest: the first field that breaks its rule, by name.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError, name: Callable[[Location], str] | None = None) -> BadRequest:
    """A broken rule in one sentence.

    Args:
        name: what the caller calls the place of the fault; None: its path in the body.
    """
    # The deepest fault is the most precise: that a list is no string says less than which item is wrong.
    first = max(error.errors(include_url=False, include_context=False), key=lambda e: len(e["loc"]))
    param = (name or field_path)(first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    given = shown(first["input"])
    if first["type"] == "missing":
        return BadRequest(f"{param}: field is required", param=param)
    return BadRequest(f"{param or 'body'}: {message}, got {given}", param=param or None)


def field_path(location: Location) -> str:
    """`messages[0].role`; the names pydantic gives to union members are left out."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("list[") and part not in {"str", "constrained-str", "int", "float"}:
            path += f".{part}" if path else part
    return path


def shown(value: Any) -> str:
    """A value as an error message shows it: short, and never a whole prompt."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 40 else f"a string of {len(value)} characters"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return repr(value)


def _text(message: Message) -> str:
    if isinstance(message.content, str):
        return message.content
    parts = message.content or []
    return "\n".join(p["text"] for p in parts if p.get("type") == "text" and isinstance(p.get("text"), str))


def prompt_tokens(request: ChatCompletionRequest, body: Json) -> int:
    """Estimate the prompt's tokens: UTF-8 bytes / 4, tools and formats included, and so much per file."""
    n_bytes = sum(len(_text(message).encode()) for message in request.messages)
    extras = [m.model_extra for m in request.messages if m.model_extra]
    n_bytes += len(orjson.dumps([body.get("tools") or [], body.get("response_format") or {}, extras]))
    parts = [part for m in request.messages if isinstance(m.content, list) for part in m.content]
    n_files = sum(str(part.get("type")) in FILE_PARTS for part in parts)
    return -(-n_bytes // BYTES_PER_TOKEN) + n_files * FILE_TOKENS


def client_retries(headers: Mapping[str, str]) -> int:
    """How often the caller's SDK has tried this before, as the official ones say; 0 where none says so."""
    said = headers.get("x-stainless-retry-count", "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 4 else 0


# Options for callers who cannot change the body; what the body says comes first.
OPTION_HEADERS: Mapping[tuple[str, ...], str] = {
    ("models",): "X-Router-Models",
    ("exclude",): "X-Router-Exclude",
    ("require_data_use",): "X-Router-Require-Data-Use",
    ("max_cost_usd",): "X-Router-Max-Cost-Usd",
    ("weights", "feedback"): "X-Router-Feedback-Weight",
    ("weights", "latency"): "X-Router-Latency-Weight",
    ("weights", "cost"): "X-Router-Cost-Weight",
    ("session_id",): "X-Router-Session-Id",
    ("task",): "X-Router-Task",
    ("learn",): "X-Router-Learn",
    ("explain",): "X-Router-Explain",
}


def read_options(given: RouterOptions | None, headers: Mapping[str, str]) -> Options:
    """What a caller asks of the router, in the body and in headers. Raises BadRequest."""
    try:
        asked = RouterOptions.model_validate(_header_options(headers))
    except ValidationError as error:
        raise invalid(error, _header_name) from error
    options = asked if given is None else _on_top(asked, given)
    return Options(
        models=None if options.models is None else frozenset(options.models),
        exclude=frozenset(options.exclude or ()),
        require_data_use=frozenset(options.require_data_use or ()),
        max_cost_usd=options.max_cost_usd,
        feedback_weight=options.weights.feedback,
        latency_weight=options.weights.latency,
        cost_weight=options.weights.cost,
        session_id=session_id_of(options.session_id, headers),
        task=options.task,
        learn=options.learn,
        explain=options.explain,
    )


def _header_options(headers: Mapping[str, str]) -> Json:
    """The options that headers name, in the shape of the body's `router`."""
    options: Json = {}
    for path, header in OPTION_HEADERS.items():
        if (value := headers.get(header.lower())) is not None:
            holder = options.setdefault("weights", {}) if path[0] == "weights" else options
            holder[path[-1]] = value
    for several in options.keys() & {"models", "exclude", "require_data_use"}:
        options[several] = [name.strip() for name in options[several].split(",") if name.strip()]
    return options


def _header_name(location: Location) -> str:
    return next(header for path, header in OPTION_HEADERS.items() if path == location[: len(path)])


def _on_top(asked: RouterOptions, given: RouterOptions) -> RouterOptions:
    """What the body says, and what the headers ask where it says nothing."""
    said = {name: getattr(given, name) for name in given.model_fields_set}
    weights = asked.weights.model_copy(update=given.weights.model_dump(exclude_unset=True))
    return asked.model_copy(update={**said, "weights": weights})
