"""The features that every client tries, with the results that it must see."""

from __future__ import annotations

from typing import Any

HELLO = "Hello there."
TOOL_ANSWER = "The tool says: sunny in Paris"

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
    "upstream 500": HELLO,
    "upstream 429": HELLO,
    "comes back": HELLO,
    "broken stream": "error",
}
