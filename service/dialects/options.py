"""Reads the options that a client sets for the router, from the body and from headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from service.dialects.json_body import Location, Name, invalid, items
from service.domain.basics import Json
from service.domain.query import Options

MAX_OPTIONS = 100
TASK = re.compile(r"[!-~]{1,64}")


def _tag(task: str) -> str:
    if not TASK.fullmatch(task):
        raise ValueError("must be 1 to 64 visible ASCII characters")
    return task


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
    cost: bool = Field(False, description="whether a stream states what it cost, in an event before its end")


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
    ("cost",): "X-Router-Cost",
}
_OF_HEADERS = {header.lower(): path for path, header in OPTION_HEADERS.items()}
_NOTHING_SET = Options()


def read_options(in_body: RouterOptions | None, headers: Mapping[str, str]) -> Options:
    """The client's options for the router, from the body and the headers. Raises BadRequest."""
    if in_body is None and _OF_HEADERS.keys().isdisjoint(headers):
        return _NOTHING_SET
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
        session_id=options.session_id,
        task=options.task,
        learn=options.learn,
        explain=options.explain,
        cost=options.cost,
    )


def _header_options(headers: Mapping[str, str]) -> Json:
    """The options in the headers, in the form of the body's `router`."""
    options: Json = {}
    for header, path in _OF_HEADERS.items():
        if (value := headers.get(header)) is not None:
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


def client_retries(headers: Mapping[str, str]) -> int:
    """How often the client's SDK has retried this request, by the header of the official SDKs; absent: 0."""
    count = headers.get("x-stainless-retry-count", "")
    return int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 0
