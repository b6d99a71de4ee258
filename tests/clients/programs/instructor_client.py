"""instructor over the `openai` and the `anthropic` package, which returns models of pydantic only."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anthropic
import instructor
import openai
from pydantic import BaseModel

from tests.clients.features import HELLO, UNKNOWN
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, rated, report

API = sys.argv[1]
SHARED: Any = {"api_key": KEY, "default_headers": HEADERS}
CITY = {"city": "Paris", "population": 2}


class City(BaseModel):
    city: str
    population: int


def client(asynchronous: bool = False) -> Any:
    if API == "messages":
        anthropics: Any = anthropic.AsyncAnthropic if asynchronous else anthropic.Anthropic
        return instructor.from_anthropic(anthropics(base_url=URL, **SHARED))
    openais: Any = openai.AsyncOpenAI if asynchronous else openai.OpenAI
    return instructor.from_openai(openais(base_url=f"{URL}/v1", **SHARED))


def refused(call: Any, status: int, named: str) -> Any:
    """The status of the SDK's error inside instructor's."""
    try:
        return call()
    except Exception as raised:
        text = str(raised)
        return {"status": status if f"Error code: {status}" in text else None, "named": named in text}


def features(model: str) -> Features:
    def options(text: str = "Hi", **more: Any) -> Any:
        limit = {"max_tokens": 100} if API == "messages" else {}
        return {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "response_model": City,
            "max_retries": 1,
            **limit,
            **more,
        }

    def create(text: str = "Hi", **more: Any) -> Any:
        return client().create(**options(text, **more)).model_dump()

    def completion() -> Any:
        return client().create_with_completion(**options())[1]

    def hello(found: Any) -> Any:
        """Each answer is a city."""
        return HELLO if found == CITY else found

    def asynchronous() -> Any:
        async def ask() -> Any:
            return (await client(asynchronous=True).create(**options())).model_dump()

        return hello(asyncio.run(ask()))

    def usage() -> Any:
        counts = completion().usage
        if API == "messages":
            return [counts.input_tokens, counts.output_tokens]
        return [counts.prompt_tokens, counts.completion_tokens]

    return {
        "plain": lambda: hello(create()),
        "stream": lambda: hello(list(client().create_partial(**options()))[-1].model_dump()),
        "async": asynchronous,
        "structured output": create,
        "usage": usage,
        "bad field": lambda: refused(lambda: create(extra_body={"top_p": 7}), 400, "top_p"),
        "unknown model": lambda: refused(lambda: create(model=UNKNOWN), 404, UNKNOWN),
        "upstream 400": lambda: refused(lambda: create("fail 9 times with 400"), 400, "as the prompt said"),
        "upstream 429": lambda: hello(create("fail 1 time with 429")),
        "upstream 500": lambda: hello(create("fail 1 time with 500")),
        "comes back": lambda: hello(create("fail 3 times with 500")),
        "feedback": lambda: rated(completion().id),
    }


report(features)
