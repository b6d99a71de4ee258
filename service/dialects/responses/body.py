"""The body of a Responses request, and its rules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from service.dialects.chat.requests import MAX_TOOLS
from service.dialects.json_body import Name, Open, items
from service.dialects.options import RouterOptions
from service.domain.basics import Json

MAX_ITEMS = 10_000
MAX_METADATA = 16
MAX_INCLUDED = 100


class TextFormat(Open):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    rules: Json | None = Field(None, alias="schema")
    strict: bool | None = None
    description: str | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> TextFormat:
        if self.type == "json_schema" and (self.name is None or self.rules is None):
            raise ValueError("name and schema are required for type json_schema")
        return self


class Text(Open):
    format: TextFormat | None = None
    verbosity: str | None = None


class ReasoningOptions(Open):
    effort: str | None = None
    summary: str | None = None


class ResponsesRequest(Open):
    """A Responses request, with the router's own options."""

    model: Name | None = Field(None, description="absent, auto or router/auto: the router chooses")
    input: str | Annotated[list[Json], items(MAX_ITEMS)] | None = None
    instructions: str | Annotated[list[Json], items(MAX_ITEMS)] | None = None
    previous_response_id: Name | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    tools: Annotated[list[Json], items(MAX_TOOLS)] | None = None
    tool_choice: str | Json | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tool_calls: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    reasoning: ReasoningOptions | None = None
    text: Text | None = None
    include: Annotated[list[str], items(MAX_INCLUDED)] | None = None
    metadata: Annotated[dict[str, str], Field(max_length=MAX_METADATA)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    user: str | None = None
    stream_options: Json | None = None
    client_metadata: Json | None = None
    router: RouterOptions | None = Field(None, strict=False)
