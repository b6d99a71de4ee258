"""The prompts of a calibration."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

from service.domain.basics import Json


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


def prompt_key(body: Json, expected: object = None, task: str | None = None, tests: str | None = None) -> str:
    """The key of a prompt with this content."""
    content = orjson.dumps([body, expected, task, tests], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()[:32]
