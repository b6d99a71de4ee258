"""Messages -> the one prompt that a model reads, by the convention of `transformers`.

Templates are the operator's; nothing of a caller is ever taken for one. They run in Jinja's sandbox all
the same, since operators copy them from model hubs.
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
        BadRequest: the template refuses these messages.
    """
    try:
        return compiled(source or CHATML).render(
            messages=[_with_objects(message) for message in messages],
            tools=tools,
            add_generation_prompt=True,
            bos_token="",
            eos_token="",
            raise_exception=_refuse,
            strftime_now=_now,
        )
    except (TemplateError, TypeError) as error:
        raise BadRequest(
            f"messages: the model's chat template refuses them: {error}", param="messages"
        ) from None


@lru_cache(maxsize=64)
def compiled(source: str) -> Template:
    """The template. Raises ValueError: it is none."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.filters |= {"text": _text, "tojson": _json}
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise ValueError(f"is no Jinja template: {error}") from error


def _text(content: Any) -> str:
    """The text of a message's content, whatever its form."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def _json(value: Any, indent: int | None = None) -> str:
    """As `transformers` writes it: for models, not for web pages."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _with_objects(message: Json) -> Json:
    """The message with the arguments of its tool calls as objects, which is what templates expect."""
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": orjson.loads(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _now(form: str) -> str:
    return datetime.now(UTC).strftime(form)
