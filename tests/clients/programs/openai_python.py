"""The `openai` package for Python: synchronous, asynchronous, its stream helper and its parser."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
from pydantic import BaseModel

from tests.clients.programs.harness import HEADERS, KEY, URL, raises, refused, report

OPTIONS: Any = {"base_url": f"{URL}/v1", "api_key": KEY, "default_headers": HEADERS}
client = openai.OpenAI(**OPTIONS)


class City(BaseModel):
    city: str
    population: int


def user(text: str = "Hi") -> Any:
    return [{"role": "user", "content": text}]


TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "strict": True,
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]


def plain(text: str = "Hi", **more: Any) -> Any:
    answer = client.chat.completions.create(model="auto", messages=user(text), **more)
    return answer.choices[0].message.content


def stream(text: str = "Hi") -> str:
    chunks = client.chat.completions.create(model="auto", messages=user(text), stream=True)
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def asynchronous() -> str:
    async def ask() -> str:
        async with openai.AsyncOpenAI(**OPTIONS) as asynchronous:
            whole = await asynchronous.chat.completions.create(model="auto", messages=user())
            chunks = await asynchronous.chat.completions.create(model="auto", messages=user(), stream=True)
            texts = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
        assert "".join(texts) == whole.choices[0].message.content
        return "".join(texts)

    return asyncio.run(ask())


def tools() -> Any:
    messages = user("What is the weather?")
    message = client.chat.completions.create(model="auto", messages=messages, tools=TOOLS).choices[0].message
    assert message.tool_calls
    call: Any = message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny in Paris"}
    messages = [*messages, message, result]
    answer = client.chat.completions.create(model="auto", messages=messages, tools=TOOLS)
    return {
        "name": call.function.name,
        "arguments": json.loads(call.function.arguments),
        "answer": answer.choices[0].message.content,
    }


def streamed_tools() -> Any:
    with client.chat.completions.stream(model="auto", messages=user(), tools=TOOLS) as events:
        final = events.get_final_completion()
    call: Any = (final.choices[0].message.tool_calls or [])[0]
    return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}


def structured() -> Any:
    answer = client.chat.completions.parse(model="auto", messages=user(), response_format=City)
    assert answer.choices[0].message.parsed is not None
    return answer.choices[0].message.parsed.model_dump()


def usage() -> Any:
    usage = client.chat.completions.create(model="auto", messages=user()).usage
    assert usage is not None
    return [usage.prompt_tokens, usage.completion_tokens]


def streamed_usage() -> Any:
    options: Any = {"stream": True, "stream_options": {"include_usage": True}}
    last: Any = list(client.chat.completions.create(model="auto", messages=user(), **options))[-1]
    return [last.usage.prompt_tokens, last.usage.completion_tokens]


def unknown_model() -> Any:
    return client.chat.completions.create(model="gpt-0", messages=user())


report(
    {
        "plain": plain,
        "stream": stream,
        "async": asynchronous,
        "tools": tools,
        "streamed tools": streamed_tools,
        "structured output": structured,
        "usage": usage,
        "streamed usage": streamed_usage,
        "bad field": lambda: refused(lambda: plain(top_p=7), openai.BadRequestError, "top_p"),
        "unknown model": lambda: refused(unknown_model, openai.NotFoundError, "gpt-0"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "comes back": lambda: plain("fail 2 times with 500"),
        "broken stream": lambda: raises(lambda: stream("break off"), openai.APIError),
    }
)
