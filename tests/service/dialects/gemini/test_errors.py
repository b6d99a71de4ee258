from __future__ import annotations

import pytest

from service.dialects.gemini.errors import error
from service.domain.basics import Json


def envelope(**more: object) -> Json:
    return {"error": {"message": "no", "type": "x", "param": None, "code": None, **more}}


def details(body: Json) -> dict[str, Json]:
    """The details by the last part of their type."""
    return {
        d.pop("@type").removeprefix("type.googleapis.com/google.rpc."): d for d in body["error"]["details"]
    }


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (409, "ABORTED"),
        (413, "INVALID_ARGUMENT"),
        (421, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (507, "INTERNAL"),
    ],
)
def test_every_status_has_googles_word(status: int, word: str) -> None:
    assert error((status, envelope()), None) == (
        status,
        {"error": {"code": status, "message": "no", "status": word, "details": []}},
    )


def test_a_wrong_verb_is_an_unknown_method() -> None:
    status, body = error((405, envelope()), None)

    assert (status, body["error"]["code"], body["error"]["status"]) == (404, 404, "NOT_FOUND")


def test_the_details_say_what_the_envelope_says() -> None:
    _, body = error((400, envelope(code="no_eligible_model", param="tools")), "r-1")

    assert details(body) == {
        "ErrorInfo": {"reason": "NO_ELIGIBLE_MODEL", "domain": "llm-router"},
        "BadRequest": {"fieldViolations": [{"field": "tools", "description": "no"}]},
        "RequestInfo": {"requestId": "r-1"},
    }


@pytest.mark.parametrize(("wait_s", "delay"), [(1.0, "1s"), (0.25, "0.25s"), (90, "90s"), (0.0004, "0s")])
def test_the_wait_before_a_retry_is_a_duration(wait_s: float, delay: str) -> None:
    _, body = error((429, envelope(param="model")), None, wait_s)

    assert details(body) == {"RetryInfo": {"retryDelay": delay}}
