"""LiteLLM as a client: its `openai/` provider, pointed at the router."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import litellm
from pydantic import BaseModel

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, raises, rated, refused, report

OPTIONS: Any = {"api_base": f"{URL}/v1", "api_key": KEY, "extra_headers": HEADERS}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]


class City(BaseModel):
    city: str
    population: int


def user(text: str = "Hi") -> Any:
    return [{"role": "user", "content": text}]


def features(model: str) -> Features:
    def ask(messages: Any, model: str = model, **more: Any) -> Any:
        return litellm.completion(f"openai/{model}", messages, **OPTIONS, **more)

    def plain(text: str = "Hi", **more: Any) -> Any:
        return ask(user(text), **more).choices[0].message.content

    def stream(text: str = "Hi") -> str:
        return "".join(chunk.choices[0].delta.content or "" for chunk in ask(user(text), stream=True))

    def asynchronous() -> str:
        async def stream_text() -> str:
            whole = await litellm.acompletion(f"openai/{model}", user(), **OPTIONS)
            chunks = await litellm.acompletion(f"openai/{model}", user(), stream=True, **OPTIONS)
            texts = [chunk.choices[0].delta.content or "" async for chunk in chunks]
            assert "".join(texts) == whole.choices[0].message.content
            return "".join(texts)

        return asyncio.run(stream_text())

    def tools() -> Any:
        messages = user(WEATHER)
        message = ask(messages, tools=TOOLS).choices[0].message
        call = message.tool_calls[0]
        result = {"role": "tool", "tool_call_id": call.id, "content": "sunny in Paris"}
        answer = ask([*messages, message.model_dump(), result], tools=TOOLS)
        return {**_called(message), "answer": answer.choices[0].message.content}

    def streamed_tools() -> Any:
        whole: Any = litellm.stream_chunk_builder(list(ask(user(WEATHER), tools=TOOLS, stream=True)))
        return _called(whole.choices[0].message)

    def _called(message: Any) -> Any:
        call = message.tool_calls[0].function
        return {"name": call.name, "arguments": json.loads(call.arguments)}

    def structured() -> Any:
        return json.loads(ask(user(), response_format=City).choices[0].message.content)

    def usage() -> Any:
        usage = ask(user()).usage
        return [usage.prompt_tokens, usage.completion_tokens]

    def streamed_usage() -> Any:
        *_, last = ask(user(), stream=True, stream_options={"include_usage": True})
        return [last.usage.prompt_tokens, last.usage.completion_tokens]

    def conversation() -> int:
        messages, models = user("I am Bob."), set()
        for text in ("Who am I?", "And now?", "And then?"):
            answer = ask(messages)
            models.add(answer.model)
            messages += [answer.choices[0].message.model_dump(), *user(text)]
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
        "bad field": lambda: refused(lambda: plain(top_p=7), litellm.exceptions.BadRequestError, "top_p"),
        "unknown model": lambda: refused(
            lambda: ask(user(), model=UNKNOWN), litellm.exceptions.NotFoundError, UNKNOWN
        ),
        "upstream 400": lambda: refused(
            lambda: plain("fail 9 times with 400"), litellm.exceptions.BadRequestError, "as the prompt said"
        ),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500", max_retries=2),
        "broken stream": lambda: raises(
            lambda: stream("break off"), litellm.exceptions.MidStreamFallbackError
        ),
        "conversation": conversation,
        "feedback": lambda: rated(ask(user()).id),
    }


report(features)
