"""A model that adds two numbers, and answers with the sum alone only if its system text asks for that."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
from aiohttp import web

from service.domain.basics import Json
from service.domain.logged_request import RatedRequest
from tests.service.providers.scripted import completion

ASKED = "Give the number ONLY."
TEACHER = "teacher"  # a model that needs no instructions
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
_SUM = re.compile(r"What is (\d+) \+ (\d+)\?")
_FIELD = re.compile(r"starting with the field `\[\[ ## (\w+) ## \]\]`")


class AddingModel:
    """The upstream; it proposes `instruction` whenever DSPy asks it for one."""

    def __init__(self, instruction: str = ASKED) -> None:
        self.instruction = instruction
        self.bodies: list[Json] = []
        self.fails_after: int | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        status, answer = self.reply(orjson.loads(await request.read()))
        return web.json_response(answer, status=status)

    def reply(self, body: Json) -> tuple[int, Json]:
        """The status and the body of the answer."""
        self.bodies.append(body)
        if self.fails_after is not None and len(self.bodies) > self.fails_after:
            return 402, {"error": {"message": "no credit"}}
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        return 200, completion(self._answer(body["messages"], body["model"]), usage=usage)

    def _answer(self, messages: list[Json], model: str) -> str:
        newest = messages[-1]["content"]
        if (field := _FIELD.search(newest)) is not None:
            text = self.instruction if field[1].endswith("instruction") else "Sums of two numbers."
            return f"[[ ## {field[1]} ## ]]\n{text}\n\n[[ ## completed ## ]]"
        if any("new_instruction" in message["content"] for message in messages):  # GEPA reflects on answers
            return orjson.dumps({"new_instruction": self.instruction}).decode()
        sum_of = _SUM.search(newest)
        assert sum_of is not None, newest
        total = int(sum_of[1]) + int(sum_of[2])
        system = messages[0]["content"] if messages[0]["role"] == "system" else ""
        return str(total) if ASKED in system or model == TEACHER else f"Well, that would be {total}, I think."


def logged(n: int, *, reward: float | None = 1.0) -> list[RatedRequest]:
    """Answered requests of the log, the newest first, each about other numbers."""
    return [a_request(i, f"What is {i} + {2 * i}?", str(3 * i), reward) for i in range(n)]


def a_request(i: int, text: str, answer: str, reward: float | None = 1.0, **fields: object) -> RatedRequest:
    body = {"messages": [{"role": "user", "content": text}], "temperature": 0, "stream": True, **fields}
    return RatedRequest(UUID(int=i), NOW - timedelta(minutes=i), body, answer, reward)
