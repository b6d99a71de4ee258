from __future__ import annotations

import pytest

from service.dialects.messages.errors import error


@pytest.mark.parametrize(
    ("openai_status", "status", "kind"),
    [
        (400, 400, "invalid_request_error"),
        (401, 401, "authentication_error"),
        (402, 402, "billing_error"),
        (403, 403, "permission_error"),
        (404, 404, "not_found_error"),
        (405, 405, "invalid_request_error"),
        (409, 409, "conflict_error"),
        (413, 413, "request_too_large"),
        (422, 422, "invalid_request_error"),
        (429, 429, "rate_limit_error"),
        (500, 500, "api_error"),
        (502, 502, "api_error"),
        (503, 529, "overloaded_error"),
        (504, 504, "timeout_error"),
    ],
)
def test_each_status_has_anthropics_error_type(openai_status: int, status: int, kind: str) -> None:
    assert error((openai_status, {"error": {"message": "no", "code": None}}), "r-1") == (
        status,
        {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": "r-1"},
    )


def test_an_account_without_credit_is_a_billing_error() -> None:
    status, body = error((429, {"error": {"message": "no", "code": "insufficient_quota"}}), "r-1")

    assert (status, body["error"]["type"]) == (402, "billing_error")
