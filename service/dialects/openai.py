"""Reads OpenAI Chat Completions requests into a Query."""

from __future__ import annotations

import hashlib
import json
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

from service.dialects.turns import question_text, session_id_of, turn_of, with_housekeeping
from service.domain.basics import AUTO, Json
from service.domain.bounded_json import FORM, REQUEST, OutOfBounds, bounded_json, check_bounds
from service.domain.query import Options, Query
from service.domain.tokens import FILE_PARTS, FILE_TOKENS
from service.errors import BadRequest

BYTES_PER_TOKEN = 4
MAX_MESSAGES = 10_000
MAX_PARTS = 10_000  # of one message
MAX_TOOLS = 2_000
MAX_STOPS = 1_000
MAX_OPTIONS = 100
TASK = re.compile(r"[!-~]{1,64}")

T = TypeVar("T", bound=BaseModel)
Location = tuple[int | str, ...]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def _tag(task: str) -> str:
    if not TASK.fullmatch(task):
        raise ValueError("must be 1 to 64 visible ASCII characters")
    return task


def items(most: int, *, least: int | None = None) -> Any:
    """The limits of a list, and that its check ends at the first fault: each fault takes 2 kB and 5 µs."""
    return Field(min_length=least, max_length=most, fail_fast=True)


class _Open(BaseModel):
    """Checks its fields and keeps all other fields of the request."""

    model_config = ConfigDict(extra="allow", strict=True)


class Message(_Open):
    """One message; the content of an assistant's message can be null."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[Json], items(MAX_PARTS)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Message:
        if self.content is None and self.role != "assistant":
            raise ValueError(f"content is required for role {self.role}")
        return self


class Function(_Open):
    name: str
    parameters: Json | None = None


class Tool(_Open):
    """A tool; tools of unknown types are accepted."""

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
    """The format of an answer; formats of unknown types are accepted."""

    type: str
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is required for type json_schema")
        return self


class StreamOptions(_Open):
    include_usage: bool = False


class _Closed(BaseModel):
    """Rejects unknown fields, each of which is a fault of its own."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, value: object) -> object:
        if isinstance(value, dict) and len(value) > MAX_OPTIONS:
            raise ValueError(f"must have at most {MAX_OPTIONS} fields")
        return value


class WeightOptions(_Closed):
    """The weights that replace the operator's."""

    feedback: float | None = Field(None, ge=0, le=10, description="weight of quality")
    latency: float | None = Field(None, ge=0, le=10, description="weight of speed")
    cost: float | None = Field(None, ge=-10, le=0, description="weight of cost, zero or negative")


class RouterOptions(_Closed):
    """The options that a client sets for the router itself."""

    models: Annotated[list[Name], items(100, least=1)] | None = Field(
        None, description="choose only among these models"
    )
    exclude: Annotated[list[Name], items(100, least=1)] | None = Field(
        None, description="do not choose these models"
    )
    require_data_use: Annotated[list[Name], items(20, least=1)] | None = Field(
        None, description="exclude models whose provider does not make all of these promises"
    )
    max_cost_usd: Decimal | None = Field(
        None, gt=0, description="exclude models whose expected cost is higher, US dollars"
    )
    weights: WeightOptions = Field(default_factory=lambda: WeightOptions.model_validate({}))
    session_id: Name | None = Field(None, description="id of the conversation that this request belongs to")
    task: Annotated[str, AfterValidator(_tag)] | None = Field(
        None, description="kind of the request: 1 to 64 visible ASCII characters"
    )
    learn: bool = Field(True, description="whether feedback on this request teaches the router")
    explain: bool = Field(
        False, description="whether the answer explains the decision, in its field `router`"
    )


class ChatCompletionRequest(_Open):
    """A Chat Completions request, with the router's own options."""

    model: Name | None = Field(None, description="absent, auto or router/auto: the router chooses")
    messages: Annotated[list[Message], items(MAX_MESSAGES, least=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    tools: Annotated[list[Tool], items(MAX_TOOLS)] | None = None
    stop: str | Annotated[list[str], items(MAX_STOPS)] | None = None
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
        text=question_text(body["messages"]),
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
        BadRequest: not UTF-8, not JSON, not an object, or larger than the bounds of a request.
    """
    try:
        body = bounded_json(raw, REQUEST)
    except OutOfBounds as error:
        raise BadRequest(f"body {error}") from error
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body must be JSON in UTF-8: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest(f"body must be a JSON object, got {type(body).__name__}")
    return body


def read_form(raw: bytes) -> object:
    """A JSON value of a few fields.

    The standard library's parser reads NaN, so that the error can name the field that must be finite.

    Raises:
        BadRequest: not UTF-8, not JSON, or larger than the bounds of such a request.
    """
    try:
        text = raw.decode("utf-8-sig")
        check_bounds(raw, FORM)
        return json.loads(text)
    except OutOfBounds as error:
        raise BadRequest(f"body {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body must be JSON in UTF-8: {error}") from error


def validated(model: type[T], body: object) -> T:
    """The body, validated as `model`.

    Raises:
        BadRequest: a field breaks its rule; the message names it.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError, name: Callable[[Location], str] | None = None) -> BadRequest:
    """A validation error as one sentence.

    Args:
        name: gives the client's name of the faulty field; None: its path in the body.
    """
    # The deepest error is the most precise: it names the faulty item instead of the type of its list.
    faults = error.errors(include_url=False, include_context=False)
    deepest = max(faults, key=lambda fault: len(fault["loc"]))
    # A list that is too long is no string either.
    others = [fault for fault in faults if field_path(fault["loc"]) == field_path(deepest["loc"])]
    fault = next((other for other in others if not other["type"].endswith("_type")), deepest)
    param = (name or field_path)(fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    got = shown(fault["input"])
    if fault["type"] == "missing":
        return BadRequest(f"{param}: field is required", param=param)
    return BadRequest(f"{param or 'body'}: {message}, got {got}", param=param or None)


def field_path(location: Location) -> str:
    """`messages[0].role`; the names that pydantic gives to union members are left out."""
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
    """Estimate the prompt tokens: UTF-8 bytes / 4, tools and formats included, FILE_TOKENS per file."""
    n_bytes = sum(len(_text(message).encode()) for message in request.messages)
    extras = [m.model_extra for m in request.messages if m.model_extra]
    n_bytes += len(orjson.dumps([body.get("tools") or [], body.get("response_format") or {}, extras]))
    parts = [part for m in request.messages if isinstance(m.content, list) for part in m.content]
    n_files = sum(str(part.get("type")) in FILE_PARTS for part in parts)
    return -(-n_bytes // BYTES_PER_TOKEN) + n_files * FILE_TOKENS


def client_retries(headers: Mapping[str, str]) -> int:
    """How often the client's SDK has retried this request, by the header of the official SDKs; absent: 0."""
    count = headers.get("x-stainless-retry-count", "")
    return int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 0


# Options for clients that cannot change the body; options in the body override them.
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


def read_options(in_body: RouterOptions | None, headers: Mapping[str, str]) -> Options:
    """The client's options for the router, from the body and the headers. Raises BadRequest."""
    try:
        in_headers = RouterOptions.model_validate(_header_options(headers))
    except ValidationError as error:
        raise invalid(error, _header_name) from error
    options = in_headers if in_body is None else _overridden(in_headers, in_body)
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
    """The options in the headers, in the form of the body's `router`."""
    options: Json = {}
    for path, header in OPTION_HEADERS.items():
        if (value := headers.get(header.lower())) is not None:
            group = options.setdefault("weights", {}) if path[0] == "weights" else options
            group[path[-1]] = value
    for list_option in options.keys() & {"models", "exclude", "require_data_use"}:
        options[list_option] = [name.strip() for name in options[list_option].split(",") if name.strip()]
    return options


def _header_name(location: Location) -> str:
    return next(header for path, header in OPTION_HEADERS.items() if path == location[: len(path)])


def _overridden(in_headers: RouterOptions, in_body: RouterOptions) -> RouterOptions:
    """The options of the headers, overridden by those that the body sets."""
    fields = {name: getattr(in_body, name) for name in in_body.model_fields_set}
    weights = in_headers.weights.model_copy(update=in_body.weights.model_dump(exclude_unset=True))
    return in_headers.model_copy(update={**fields, "weights": weights})
