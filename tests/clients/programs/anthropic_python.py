"""The `anthropic` package for Python: synchronous, asynchronous, its stream helper."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import (
    CITY_SCHEMA,
    HEADERS,
    KEY,
    URL,
    Features,
    raises,
    rated,
    refused,
    report,
)

OPTIONS: Any = {"base_url": URL, "api_key": KEY, "default_headers": HEADERS}
client = anthropic.Anthropic(**OPTIONS)
TOOLS: Any = [
    {
        "name": "weather",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }
]


def user(text: str = "Hi") -> Any:
    return [{"role": "user", "content": text}]


def called(message: Any) -> Any:
    return next(block for block in message.content if block.type == "tool_use")


def features(model: str) -> Features:
    def request(text: str = "Hi", **more: Any) -> Any:
        return {"model": model, "max_tokens": 100, "messages": user(text), **more}

    def create(text: str = "Hi", **more: Any) -> Any:
        return client.messages.create(**request(text, **more))

    def plain(text: str = "Hi", **more: Any) -> Any:
        return create(text, **more).content[0].text

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
        message = create(WEATHER, tools=TOOLS)
        call = called(message)
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny in Paris"}
        turns = [
            *user(WEATHER),
            {"role": "assistant", "content": message.content},
            {"role": "user", "content": [result]},
        ]
        answer = create(messages=turns, tools=TOOLS)
        return {"name": call.name, "arguments": call.input, "answer": answer.content[0].text}

    def streamed_tools() -> Any:
        with client.messages.stream(**request(WEATHER, tools=TOOLS)) as events:
            call = called(events.get_final_message())
        return {"name": call.name, "arguments": call.input}

    def structured() -> Any:
        schema = {"type": "json_schema", "schema": CITY_SCHEMA}
        return json.loads(plain(output_config={"format": schema}))

    def usage() -> Any:
        counts = create().usage
        return [counts.input_tokens, counts.output_tokens]

    def streamed_usage() -> Any:
        with client.messages.stream(**request()) as events:
            counts = events.get_final_message().usage
        return [counts.input_tokens, counts.output_tokens]

    def conversation() -> int:
        messages, models = user("I am Bob."), set()
        for text in ("Who am I?", "And now?"):
            answer = create(messages=messages)
            models.add(answer.model)
            messages += [{"role": "assistant", "content": answer.content}, *user(text)]
        models.add(create(messages=messages).model)
        return len(models)

    return {
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
        "unknown model": lambda: refused(lambda: plain(model=UNKNOWN), anthropic.NotFoundError, UNKNOWN),
        "upstream 400": lambda: refused(
            lambda: plain("fail 9 times with 400"), anthropic.BadRequestError, "as the prompt said"
        ),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "broken stream": lambda: raises(lambda: stream("break off"), anthropic.APIError),
        "conversation": conversation,
        "feedback": lambda: rated(create().id),
    }


report(features)
