"""Renders messages into the one prompt that a model reads, as `transformers` does.

Only the operator sets templates; text of a client is never compiled as one. Templates run in Jinja's
sandbox, because operators copy them from model hubs.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson
from jinja2 import Template, TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from service.domain.basics import Json
from service.errors import BadRequest

CHATML = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content | text }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def rendered(messages: list[Json], tools: list[Json] | None, source: str | None) -> str:
    """The prompt, open for the assistant's answer.

    Args:
        source: the template; None: ChatML.

    Raises:
        BadRequest: the template rejects these messages.
    """
    try:
        return compiled(source or CHATML).render(
            messages=[_with_objects(message) for message in messages],
            tools=tools,
            add_generation_prompt=True,
            bos_token="",
            eos_token="",
            raise_exception=_reject,
            strftime_now=_now,
        )
    except (TemplateError, TypeError) as error:
        raise BadRequest(
            f"messages: the model's chat template rejects them: {error}", param="messages"
        ) from None


@lru_cache(maxsize=64)
def compiled(source: str) -> Template:
    """Compile a template. Raises ValueError if the source is not a Jinja template."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters |= {"text": _text, "tojson": _json}
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise ValueError(f"is not a Jinja template: {error}") from error


def _text(content: Any) -> str:
    """The text of a message's content, which is a string, a list of parts or null."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def _json(value: Any, indent: int | None = None) -> str:
    """JSON as `transformers` writes it, without HTML escapes."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _with_objects(message: Json) -> Json:
    """The message with the arguments of its tool calls as objects, which templates expect."""
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": orjson.loads(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _reject(message: str) -> None:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now(UTC).strftime(form)
