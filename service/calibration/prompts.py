"""The prompts of a calibration."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson

from service.dialects.chat.requests import read_query
from service.dialects.json_body import shown
from service.dialects.options import TASK
from service.dialects.received import Received
from service.domain.basics import DEFAULT_TENANT, Json
from service.domain.query import Query
from service.errors import BadRequest, StartupError
from service.learning.importing.rows import json_records

GRADING_FIELDS = ("expected", "task", "tests")
# A client's choice of its model and of the form of its answer; the calibration makes its own.
NOT_SENT = frozenset({"model", "stream", "stream_options", "router", "prompt", *GRADING_FIELDS})

_RECEIVED = Received(
    headers={},
    tenant=DEFAULT_TENANT,
    request_id="calibration",
    request_id_given=False,
    received_at=datetime(2000, 1, 1, tzinfo=UTC),
)


@dataclass(frozen=True, slots=True)
class CalibrationPrompt:
    """A prompt that every model answers, with what its answers are graded by.

    Args:
        key: digest of its content, so that the same prompt has the same key in every run.
        body: a Chat Completions request without `model`.
        text: what its context is made from, as for such a request to the router.
        expected: what the graders compare an answer with, any JSON value; None: nothing.
        task: task tag of its rows.
        tests: code that the code of an answer must pass.
        weight: share of the traffic that it stands for; 1 for a prompt of a file.
    """

    key: str
    body: Json
    text: str
    expected: object = None
    task: str | None = None
    tests: str | None = None
    weight: float = 1.0

    @property
    def query(self) -> Query:
        """The prompt as a request to the router."""
        return read_query(orjson.dumps(self.body), _RECEIVED)


def prompt_key(body: Json, expected: object = None, task: str | None = None, tests: str | None = None) -> str:
    """The key of a prompt with this content."""
    content = orjson.dumps([body, expected, task, tests], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:32]


def prompt_of(record: object) -> CalibrationPrompt:
    """The prompt of a record with `prompt` or `messages`, and other fields of a request.

    Raises:
        BadRequest: a field breaks its rule; the message names it.
    """
    if not isinstance(record, dict):
        raise BadRequest(f"must be a JSON object, got {shown(record)}")
    body = {"messages": _messages(record)} | {
        name: value for name, value in record.items() if name not in NOT_SENT
    }
    if body.get("n") not in (None, 1):
        raise BadRequest(f"n: must be 1, got {shown(body['n'])}", param="n")
    task, tests = _text(record, "task"), _text(record, "tests")
    if task is not None and not TASK.fullmatch(task):
        raise BadRequest(f"task: must be 1 to 64 visible ASCII characters, got {shown(task)}", param="task")
    text = read_query(orjson.dumps(body), _RECEIVED).text
    if not text.strip():
        raise BadRequest("messages: must have text", param="messages")
    expected = record.get("expected")
    return CalibrationPrompt(prompt_key(body, expected, task, tests), body, text, expected, task, tests)


def _messages(record: Json) -> object:
    if (record.get("prompt") is None) == (record.get("messages") is None):
        raise BadRequest("must have either prompt or messages", param="prompt")
    if (prompt := _text(record, "prompt")) is None:
        return record["messages"]
    if not prompt.strip():
        raise BadRequest("prompt: must have text", param="prompt")
    return [{"role": "user", "content": prompt}]


def _text(record: Json, name: str) -> str | None:
    value = record.get(name)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{name}: must be a string, got {shown(value)}", param=name)
    return value


def read_prompts(
    path: Path, reason_against: Callable[[CalibrationPrompt], str | None]
) -> list[CalibrationPrompt]:
    """The prompts of a JSON Lines file; a line that repeats another is left out.

    Args:
        reason_against: the rule of the grader that a prompt breaks; None: it can be graded.

    Raises:
        StartupError: the file cannot be read, has no prompt, or a prompt breaks a rule; the message names
            line, field and rule.
    """
    prompts: dict[bytes, CalibrationPrompt] = {}
    places: dict[bytes, str] = {}
    try:
        for place, record in json_records(path):
            prompt = _prompt_at(f"{path} {place}", record, reason_against)
            request = orjson.dumps([prompt.body, prompt.task], option=orjson.OPT_SORT_KEYS)
            if prompts.setdefault(request, prompt).key != prompt.key:
                raise StartupError(
                    f"{path} {place}: is graded otherwise than the same prompt at {places[request]}"
                )
            places.setdefault(request, place)
    except OSError as error:
        raise StartupError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not prompts:
        raise StartupError(f"{path}: has no prompts")
    return list(prompts.values())


def _prompt_at(
    place: str, record: object, reason_against: Callable[[CalibrationPrompt], str | None]
) -> CalibrationPrompt:
    try:
        prompt = prompt_of(record)
    except BadRequest as error:
        raise StartupError(f"{place}: {error}") from error
    if (reason := reason_against(prompt)) is not None:
        raise StartupError(f"{place}: {reason}")
    return prompt
