"""The `openai` package for Python: synchronous, asynchronous, its stream helper and its parser."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
from pydantic import BaseModel

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, raises, rated, refused, report

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


def features(model: str) -> Features:
    def create(text: str = "Hi", **more: Any) -> Any:
        return client.chat.completions.create(**{"model": model, "messages": user(text), **more})

    def plain(text: str = "Hi", **more: Any) -> Any:
        return create(text, **more).choices[0].message.content

    def stream(text: str = "Hi") -> str:
        chunks = create(text, stream=True)
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)

    def asynchronous() -> str:
        async def ask() -> str:
            async with openai.AsyncOpenAI(**OPTIONS) as asynchronous:
                create = asynchronous.chat.completions.create
                whole = await create(model=model, messages=user())
                chunks = await create(model=model, messages=user(), stream=True)
                texts = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
            assert "".join(texts) == whole.choices[0].message.content
            return "".join(texts)

        return asyncio.run(ask())

    def tools() -> Any:
        messages = user(WEATHER)
        message = create(messages=messages, tools=TOOLS).choices[0].message
        call = message.tool_calls[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": "sunny in Paris"}
        answer = create(messages=[*messages, message, result], tools=TOOLS)
        return {
            "name": call.function.name,
            "arguments": json.loads(call.function.arguments),
            "answer": answer.choices[0].message.content,
        }

    def streamed_tools() -> Any:
        with client.chat.completions.stream(model=model, messages=user(WEATHER), tools=TOOLS) as events:
            final = events.get_final_completion()
        call: Any = (final.choices[0].message.tool_calls or [])[0]
        return {"name": call.function.name, "arguments": json.loads(call.function.arguments)}

    def structured() -> Any:
        answer = client.chat.completions.parse(model=model, messages=user(), response_format=City)
        assert answer.choices[0].message.parsed is not None
        return answer.choices[0].message.parsed.model_dump()

    def usage() -> Any:
        usage = create().usage
        return [usage.prompt_tokens, usage.completion_tokens]

    def streamed_usage() -> Any:
        *_, last = create(stream=True, stream_options={"include_usage": True})
        return [last.usage.prompt_tokens, last.usage.completion_tokens]

    def conversation() -> int:
        messages, models = user("I am Bob."), set()
        for text in ("Who am I?", "And now?"):
            answer = create(messages=messages)
            models.add(answer.model)
            messages += [answer.choices[0].message, *user(text)]
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
        "bad field": lambda: refused(lambda: plain(top_p=7), openai.BadRequestError, "top_p"),
        "unknown model": lambda: refused(lambda: plain(model=UNKNOWN), openai.NotFoundError, UNKNOWN),
        "upstream 400": lambda: refused(
            lambda: plain("fail 9 times with 400"), openai.BadRequestError, "as the prompt said"
        ),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "broken stream": lambda: raises(lambda: stream("break off"), openai.APIError),
        "conversation": conversation,
        "feedback": lambda: rated(create().id),
    }


report(features)
