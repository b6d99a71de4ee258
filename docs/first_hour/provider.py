"""A stand-in for a provider of two models, on 127.0.0.1:8090: `python docs/first_hour/provider.py`.

Clients talk to it as they talk to OpenAI. Both models add numbers and name weekdays. Neither is a language
model: `acme-large` is always right; `acme-mini` is right about sums and guesses weekdays.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aiohttp import web

PORT = 8090
MODELS = ("acme-mini", "acme-large")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Json = dict[str, Any]


def answer(model: str, question: str) -> str:
    """What a model says to a question."""
    if terms := re.search(r"(\d+) \+ (\d+)", question):
        return f"{terms[0]} = {int(terms[1]) + int(terms[2])}."
    if found := re.search(r"\d{1,2} [A-Z][a-z]+ \d{4}", question):
        return f"{found[0]} is a {weekday(model, found[0])}."
    return "I add two numbers, and I name the weekday of a date."


def weekday(model: str, text: str) -> str:
    if model == "acme-mini":
        return WEEKDAYS[zlib.crc32(text.encode()) % 7]  # a guess: right for one date in seven
    return WEEKDAYS[datetime.strptime(text, "%d %B %Y").replace(tzinfo=UTC).weekday()]


async def complete(request: web.Request) -> web.StreamResponse:
    """`POST /v1/chat/completions`, whole or as a stream."""
    body = await request.json()
    model = body["model"]
    if model not in MODELS:
        error = {"message": f"the model `{model}` does not exist", "type": "invalid_request_error"}
        return web.json_response({"error": {**error, "code": "model_not_found"}}, status=404)
    question = body["messages"][-1]["content"]
    text = answer(model, question)
    head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": model}
    usage = usage_of(question, text)
    if body.get("stream"):
        return await stream(request, head, text, usage)
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return web.json_response({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


async def stream(request: web.Request, head: Json, text: str, usage: Json) -> web.StreamResponse:
    """Server-sent events: the text word by word, the end, the usage."""
    head = {**head, "object": "chat.completion.chunk"}
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for word in re.findall(r"\s*\S+", text):
        choice = {"index": 0, "delta": {"role": "assistant", "content": word}, "finish_reason": None}
        await send(response, {**head, "choices": [choice]})
    await send(response, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    await send(response, {**head, "choices": [], "usage": usage})
    await response.write(b"data: [DONE]\n\n")
    return response


async def send(response: web.StreamResponse, chunk: Json) -> None:
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def usage_of(question: str, text: str) -> Json:
    """Tokens, counted as four characters each."""
    prompt_tokens, completion_tokens = len(question) // 4 + 1, len(text) // 4 + 1
    total = prompt_tokens + completion_tokens
    return {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens, "total_tokens": total}


def application() -> web.Application:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    return app


def main() -> None:
    print(f"acme-mini and acme-large answer on http://127.0.0.1:{PORT}/v1", flush=True)
    web.run_app(application(), host="127.0.0.1", port=PORT, access_log=None, print=None)


if __name__ == "__main__":
    main()
