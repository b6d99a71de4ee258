"""Sentences with which vendors say that this model cannot do what the request asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.domain.arm import Arm
from service.errors import ProviderBroken, ProviderError, ProviderRejected
from service.providers.failures import failure_in
from service.providers.wordings import compared, limit_of_model
from tests.service.providers.scripted import NOW

NO_KINDS: frozenset[str] = frozenset()
LINES = [
    line.split(" | ", 2)
    for line in Path(__file__).with_name("wordings.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


def said(limit: str) -> list[object]:
    """The sentences of wordings.txt for this limit."""
    lines = [(vendor, sentence) for name, vendor, sentence in LINES if name == limit]
    return [pytest.param(sentence, id=f"{vendor}: {sentence[:40]}") for vendor, sentence in lines]


@pytest.mark.parametrize("sentence", said("too long"))
def test_an_overflow_is_known_by_its_wording(sentence: str) -> None:
    assert limit_of_model(400, NO_KINDS, sentence) == "context_length_exceeded"


@pytest.mark.parametrize("sentence", said("unsupported"))
def test_what_only_this_model_cannot_do_is_known_by_its_wording(sentence: str) -> None:
    assert limit_of_model(400, NO_KINDS, sentence) in {"unsupported_parameter", "unsupported_value"}


@pytest.mark.parametrize("sentence", said("of the client"))
def test_a_fault_of_the_client_is_no_limit_of_the_model(sentence: str) -> None:
    assert limit_of_model(400, NO_KINDS, sentence) is None


def failure(status: int, message: str, **error: object) -> ProviderError:
    body = {"error": {"message": message, **error}}
    return failure_in(Arm("a", "openai", "some-model"), body, status, now=NOW)


@pytest.mark.parametrize("status", [200, 400, 413, 422, 500, 503])
def test_an_overflow_has_openais_code_whatever_its_status_and_own_code(status: int) -> None:
    error = failure(status, "This model's maximum context length is 8192 tokens.", code="wrong_api_format")

    assert isinstance(error, ProviderRejected)
    assert error.code == "context_length_exceeded"
    assert error.is_limit_of_one_model


@pytest.mark.parametrize(
    ("status", "message"),
    [(500, "the operation is not supported"), (503, "unsupported device"), (502, "invalid role of the node")],
)
def test_a_server_that_fails_is_not_excused_by_a_vague_wording(status: int, message: str) -> None:
    assert type(failure(status, message)) is ProviderBroken


def test_a_provider_s_own_code_stays_beside_a_limit() -> None:
    error = failure(400, "tools are not supported by this model", code="tool_error")

    assert isinstance(error, ProviderRejected)
    assert (error.code, error.is_limit_of_one_model) == ("tool_error", True)


def test_a_request_larger_than_the_limit_per_minute_does_not_rest_the_model() -> None:
    message = "Request too large for gpt-4o on tokens per min (TPM): Limit 10000, Requested 20000."

    error = failure(429, message, code="rate_limit_exceeded")

    assert isinstance(error, ProviderRejected)
    assert error.is_limit_of_one_model


def test_a_quotation_is_not_compared() -> None:
    assert (
        compared("It\u2019s \u201cmaximum context length\u201d or 'a b' but `name`")
        == 'it\'s "" or "" but \'name\''
    )


@pytest.mark.parametrize("piece", ["maximum ", "tokens ", "not ", "'", '"', "max_tokens ", "a", "超过", "'a"])
def test_comparing_takes_linear_time(piece: str) -> None:
    """A sentence is cut before it is compared, so that its length cannot matter."""
    assert len(compared(piece * 100_000)) <= 1500
