"""DSPy: `LM`, `Predict` with its adapters, tools and demonstrations."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
from dspy.utils.exceptions import LMInvalidRequestError

from tests.clients.features import UNKNOWN
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, rated, report


class City(dspy.Signature):  # type: ignore[misc]
    """A city."""

    question: str = dspy.InputField()
    city: str = dspy.OutputField()
    population: int = dspy.OutputField()


def refused(call: Any, status: int, named: str) -> Any:
    """DSPy's error has the words of the answer, and no status."""
    try:
        return call()
    except LMInvalidRequestError as raised:
        return {"status": status, "named": named in str(raised)}


def features(model: str) -> Features:
    def lm(name: str = model, **more: Any) -> Any:
        return dspy.LM(
            f"openai/{name}", api_base=f"{URL}/v1", api_key=KEY, cache=False, extra_headers=HEADERS, **more
        )

    def plain(text: str = "Hi", **more: Any) -> Any:
        return lm(**more)(text)[0]

    def predicted(text: str = "Hi") -> Any:
        with dspy.context(lm=lm()):
            return dspy.Predict("question -> answer")(question=text).answer

    def asynchronous() -> Any:
        return asyncio.run(lm().acall("Hi"))[0]

    def structured() -> Any:
        with dspy.context(lm=lm(), adapter=dspy.JSONAdapter()):
            found = dspy.Predict(City)(question="Hi")
        return {"city": found.city, "population": found.population}

    def usage() -> Any:
        asked = lm()
        asked("Hi")
        counted = asked.history[-1]["usage"]
        return [counted["prompt_tokens"], counted["completion_tokens"]]

    def answer_id() -> str:
        asked = lm()
        asked("Hi")
        return str(asked.history[-1]["response"].id)

    return {
        "plain": predicted,
        "async": asynchronous,
        "structured output": structured,
        "usage": usage,
        "bad field": lambda: refused(lambda: plain(top_p=7), 400, "top_p"),
        "unknown model": lambda: refused(lambda: plain(name=UNKNOWN), 404, UNKNOWN),
        "upstream 400": lambda: refused(lambda: plain("fail 9 times with 400"), 400, "as the prompt said"),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "feedback": lambda: rated(answer_id()),
    }


report(features)
