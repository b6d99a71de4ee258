"""The `anthropic` package for Python: synchronous, asynchronous, its stream helper."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic

from tests.clients.programs.harness import CITY_SCHEMA, HEADERS, KEY, URL, raises, refused, report

OPTIONS: Any = {"base_url": URL, "api_key": KEY, "default_headers": HEADERS}
client = anthropic.Anthropic(**OPTIONS)
TOOLS: Any = [
    {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


def request(text: str = "Hi", model: str = "auto", **more: Any) -> Any:
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}], **more}


def plain(text: str = "Hi", **more: Any) -> Any:
    return client.messages.create(**request(text, **more)).content[0].text


def stream(text: str = "Hi") -> str:
    with client.messages.stream(**request(text)) as events:
        return "".join(events.text_stream)


def asynchronous() -> str:
    async def ask() -> str:
        async with anthropic.AsyncAnthropic(**OPTIONS) as asynchronous:
            whole: Any = await asynchronous.messages.create(**request())
            async with asynchronous.messages.stream(**request()) as events:
                text = "".join([text async for text in events.text_stream])
        assert text == whole.content[0].text
        return text

    return asyncio.run(ask())


def tools() -> Any:
    message = client.messages.create(**request(tools=TOOLS))
    call = next(block for block in message.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny in Paris"}
    turns = [
        *request()["messages"],
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    answer = client.messages.create(**{**request(tools=TOOLS), "messages": turns})
    return {"name": call.name, "arguments": call.input, "answer": answer.content[0].text}


def streamed_tools() -> Any:
    with client.messages.stream(**request(tools=TOOLS)) as events:
        message = events.get_final_message()
    call = next(block for block in message.content if block.type == "tool_use")
    return {"name": call.name, "arguments": call.input}


def structured() -> Any:
    schema = {"type": "json_schema", "schema": CITY_SCHEMA}
    return json.loads(plain(output_config={"format": schema}))


def usage() -> Any:
    counts = client.messages.create(**request()).usage
    return [counts.input_tokens, counts.output_tokens]


def streamed_usage() -> Any:
    with client.messages.stream(**request()) as events:
        counts = events.get_final_message().usage
    return [counts.input_tokens, counts.output_tokens]


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
        "bad field": lambda: refused(
            lambda: plain(extra_body={"top_p": 7}), anthropic.BadRequestError, "top_p"
        ),
        "unknown model": lambda: refused(lambda: plain(model="gpt-0"), anthropic.NotFoundError, "gpt-0"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "comes back": lambda: plain("fail 2 times with 500"),
        "broken stream": lambda: raises(lambda: stream("break off"), anthropic.APIError),
    }
)
