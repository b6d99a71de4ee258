"""The features that every client tries, with the results that it must see."""

from __future__ import annotations

from typing import Any

HELLO = "Hello there."
TOOL_ANSWER = "The tool says: sunny in Paris"
WEATHER = 'What is the weather? call weather {"city": "Paris"}'
UNKNOWN = "no-such-model"

SEEN: dict[str, Any] = {
    "plain": HELLO,
    "stream": HELLO,
    "async": HELLO,
    "tools": {"name": "weather", "arguments": {"city": "Paris"}, "answer": TOOL_ANSWER},
    "streamed tools": {"name": "weather", "arguments": {"city": "Paris"}},
    "structured output": {"city": "Paris", "population": 2},
    "usage": [11, 7],
    "streamed usage": [11, 7],
    "bad field": {"status": 400, "named": True},
    "unknown model": {"status": 404, "named": True},
    "upstream 400": {"status": 400, "named": True},
    "upstream 429": HELLO,
    "upstream 500": HELLO,
    "comes back": HELLO,
    "broken stream": "error",
    "conversation": 1,
    "feedback": {"accepted": True, "cost": True},
    "every model": {},
}

# `every model` tries these once for each model; it reports the results that differ.
ON_EVERY_MODEL = ("plain", "stream", "tools", "streamed tools", "structured output")
