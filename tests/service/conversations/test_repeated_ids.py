from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from service.conversations.portability import safe_history
from service.conversations.repeated_ids import with_unique_ids
from service.domain.basics import Json
from tests.growth import assert_linear
from tests.service.conversations.test_portability import CLAUDE, GPT


def calling(*ids: str) -> Json:
    function = {"name": "read", "arguments": "{}"}
    return {"role": "assistant", "tool_calls": [{"id": call_id, "function": function} for call_id in ids]}


def result(call_id: str, text: str = "1") -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": text}


def ids(messages: list[Json]) -> list[Any]:
    return [
        m["tool_call_id"] if m["role"] == "tool" else [call["id"] for call in m["tool_calls"]]
        for m in messages
    ]


@pytest.mark.parametrize(
    ("history", "unique"),
    [
        (
            [calling("a"), result("a"), calling("a"), result("a")],
            [["a"], "a", ["a_2"], "a_2"],
        ),
        ([calling("a", "a"), result("a"), result("a")], [["a", "a_2"], "a", "a_2"]),
        ([calling("a"), result("a"), calling("a_2", "a"), result("a"), result("a_2")], None),
        ([calling(*"aaa"), result("a"), result("a")], [["a", "a_2", "a_3"], "a", "a_2"]),
        ([calling("a"), result("a"), result("a")], [["a"], "a", "a"]),  # the second result has no call
        ([calling("", ""), result(""), result("")], [["", "_2"], "", "_2"]),
        ([result("a"), calling("a")], ["a", ["a"]]),  # a result before its call
    ],
)
def test_a_repeated_id_is_renamed_in_call_and_result(history: list[Json], unique: list[Any] | None) -> None:
    renamed = ids(with_unique_ids(history))

    if unique is not None:
        assert renamed == unique
    calls = [call_id for part in renamed if isinstance(part, list) for call_id in part]
    assert len(set(calls)) == len(calls)


def test_blocks_in_anthropics_form_are_renamed_too() -> None:
    use = {"type": "tool_use", "id": "a", "name": "read", "input": {}}
    answer = {"type": "tool_result", "tool_use_id": "a", "content": "1"}
    turns = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [answer]}]

    _, _, call, returned = with_unique_ids(turns + turns)

    assert call["content"][0]["id"] == returned["content"][0]["tool_use_id"] == "a_2"


def test_a_history_without_repetitions_is_unchanged() -> None:
    history = [calling("a", "b"), result("b"), result("a"), calling("c"), result("c")]

    assert all(a is b for a, b in zip(with_unique_ids(history), history, strict=True))


def test_only_anthropic_gets_new_ids() -> None:
    body = {"messages": [calling("a"), result("a"), calling("a"), result("a")]}

    assert ids(safe_history(body, CLAUDE, 0)["messages"]) == [["a"], "a", ["a_2"], "a_2"]
    assert safe_history(body, GPT, 0) is body


def test_many_calls_with_one_id_take_linear_time() -> None:
    def work_of(n_calls: int) -> Callable[[], object]:
        history = [message for _ in range(n_calls) for message in (calling("a"), result("a"))]
        return lambda: with_unique_ids(history)

    assert_linear(work_of, 500)
