"""Which answers show that their model doubts itself."""

from __future__ import annotations

import math

import pytest

from service.completion.doubts import doubt_of, is_unsure
from service.domain.answer import Answer, Chunk, Usage
from service.domain.basics import Json
from tests.service.completion.test_faults import NOW, a_call, answered


@pytest.mark.parametrize(
    "text",
    [
        "I don't know.",
        "I don\u2019t know the answer to that.",
        "Sorry, I do not know.",
        "Unfortunately, I don't have enough information to answer.",
        "**I'm not sure.**",
        "Das weiß ich nicht.",
        "Keine Ahnung.",
        "Je ne sais pas.",
        "Lo siento, no lo sé.",
        "Não sei.",
        "Mi dispiace, non lo so.",
        "Ik weet het niet.",
        "Nie wiem.",
        "К сожалению, я не знаю.",  # noqa: RUF001
        "Bilmiyorum.",
        "抱歉，我不知道。",  # noqa: RUF001
        "わかりません。",
        "죄송합니다, 잘 모르겠습니다.",
        "لا أعرف.",
        "मुझे नहीं पता।",
    ],
)
def test_an_answer_that_says_only_that_its_model_does_not_know_is_unsure(text: str) -> None:
    assert is_unsure(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "42",
        "The phrase is: I don't know.",
        "I don't knowingly use it.",
        "Well, the answer is 42.",
        "I don't know every detail, but here is what I found. " + "It began in 1912. " * 20,
        "No señor, that is the capital of Peru.",
    ],
)
def test_another_answer_is_sure(text: str) -> None:
    assert not is_unsure(text)


def with_logprobs(*logprobs: float) -> Json:
    return {"content": [{"token": "x", "logprob": logprob} for logprob in logprobs]}


def choice(part: str, logprobs: Json | None) -> Json:
    return {"index": 0, part: {"content": "Hello"}, "finish_reason": "stop", "logprobs": logprobs}


def test_the_mean_probability_of_tokens_is_read_from_a_whole_answer() -> None:
    call = a_call()
    call.received(Answer({"choices": [choice("message", with_logprobs(0.0, math.log(0.5)))]}, Usage()), NOW)

    assert call.mean_token_probability == pytest.approx(0.75)
    assert doubt_of(call, 0.8) == "improbable"
    assert doubt_of(call, 0.7) is None
    assert doubt_of(call, None) is None


def test_the_mean_probability_of_tokens_is_read_from_a_stream() -> None:
    call = a_call()
    for logprob in (math.log(0.2), math.log(0.4)):
        call.received_burst([Chunk({"choices": [choice("delta", with_logprobs(logprob))]})], NOW)

    assert call.mean_token_probability == pytest.approx(0.3)


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": ["x", {"logprob": "y"}]}])
def test_log_probabilities_of_another_form_count_for_nothing(logprobs: Json | None) -> None:
    call = a_call()
    call.received(Answer({"choices": [choice("message", logprobs)]}, Usage()), NOW)

    assert call.mean_token_probability is None
    assert doubt_of(call, 0.9) is None


def test_a_call_of_a_tool_is_no_doubt() -> None:
    tool_call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    call = answered(a_call(), "I don't know, I will look it up.", tool_calls=[tool_call])

    assert doubt_of(call, None) is None
