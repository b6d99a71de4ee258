"""A whole answer from the chunks of a normalised stream."""

from __future__ import annotations

from typing import Any

from service.domain.answer import Chunk, Usage
from service.domain.basics import Json
from service.providers.normaliser.assembly import assembled


def chunk(*choices: Json, **fields: Any) -> Chunk:
    return Chunk({"id": "a", "object": "chat.completion.chunk", **fields, "choices": list(choices)})


def delta(index: int = 0, finish_reason: str | None = None, **fields: Any) -> Json:
    return {"index": index, "delta": fields, "finish_reason": finish_reason}


def called(index: int, arguments: str, **identity: Any) -> Json:
    return {"index": index, **identity, "function": {"arguments": arguments}}


def test_texts_are_joined_and_the_last_finish_reason_stands() -> None:
    answer = assembled([chunk(delta(content="Hel")), chunk(delta(content="lo")), chunk(delta(0, "stop"))])

    [choice] = answer.body["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello"}
    assert choice["finish_reason"] == "stop"
    assert answer.body["object"] == "chat.completion"


def test_pieces_of_calls_are_joined_by_their_index_which_whole_answers_lack() -> None:
    first = called(0, '{"a', id="c1", type="function")
    second = called(1, "{}", id="c2", type="function")

    answer = assembled(
        [
            chunk(delta(tool_calls=[first])),
            chunk(delta(tool_calls=[called(0, '":1}')])),
            chunk(delta(tool_calls=[second])),
            chunk(delta(0, "tool_calls")),
        ]
    )

    assert answer.body["choices"][0]["message"]["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"arguments": '{"a":1}'}},
        {"id": "c2", "type": "function", "function": {"arguments": "{}"}},
    ]


def test_choices_stand_in_their_order_each_with_its_own_pieces() -> None:
    answer = assembled([chunk(delta(1, content="b")), chunk(delta(0, content="a"), delta(1, content="B"))])

    assert [choice["index"] for choice in answer.body["choices"]] == [0, 1]
    assert [choice["message"]["content"] for choice in answer.body["choices"]] == ["a", "bB"]


def test_an_empty_value_erases_nothing_and_other_fields_keep_their_last_value() -> None:
    answer = assembled(
        [
            chunk(delta(content="x", audio={"id": "one", "data": "AA", "nested": {"n": 1}}, seen=[1])),
            chunk(
                delta(content=None, audio={"id": "two", "data": "BB", "nested": {"m": 2}}, seen=[2], new=None)
            ),
        ]
    )

    message = answer.body["choices"][0]["message"]
    assert message["content"] == "x"
    assert message["audio"] == {"id": "two", "data": "AABB", "nested": {"n": 1, "m": 2}}
    assert message["seen"] == [1, 2]
    assert message["new"] is None


def test_log_probabilities_follow_each_other() -> None:
    pieces = [{"content": [{"token": "a"}]}, {"content": [{"token": "b"}]}]

    answer = assembled([chunk({**delta(content="ab"), "logprobs": piece}) for piece in pieces])

    assert answer.body["choices"][0]["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}


def test_usage_notes_and_the_fields_of_the_answer_are_the_last_ones() -> None:
    usage = Usage(prompt_tokens=3, completion_tokens=2)
    last = Chunk({"id": "a", "model": "m", "choices": []}, usage, notes=("finish_reason",))

    answer = assembled([chunk(delta(content="x"), model="other"), last])

    assert (answer.usage, answer.notes, answer.body["model"]) == (usage, ("finish_reason",), "m")
