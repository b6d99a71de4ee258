from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import ProviderBroken
from service.providers.normaliser.finish import FINISH_REASONS, finish_reason
from tests.service.providers.normaliser.played import chunk, frame, message, read, streamed, whole

PAGE = Path(__file__).parents[4] / "docs" / "provider-answers.md"
NAMES = {
    "stop": ("stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "finished"),
    "length": (
        *("length", "MAX_TOKENS", "max_tokens", "model_length", "max_output_tokens", "truncated"),
        "model_context_window_exceeded",
    ),
    "tool_calls": ("tool_calls", "tool_use", "TOOL_CALL"),
    "content_filter": (
        *("content_filter", "content_filtered", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "refusal"),
        *("guardrail_intervened", "sensitive", "ERROR_TOXIC"),
    ),
    "function_call": ("function_call",),
    "error": (
        *("error", "ERROR", "network_error", "insufficient_system_resource", "abort", "cancelled"),
        "MALFORMED_FUNCTION_CALL",
    ),
}


@pytest.mark.parametrize(("reason", "names"), NAMES.items())
def test_every_vendors_name_is_one_of_openais(reason: str, names: tuple[str, ...]) -> None:
    assert {name: finish_reason(name) for name in names} == dict.fromkeys(names, reason)


def test_the_page_lists_these_names() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    listed = {cells[0].strip(" `"): cells[1] for cells in rows}

    for reason, names in NAMES.items():
        assert listed[reason].strip() == ", ".join(f"`{name}`" for name in names)


@pytest.mark.parametrize(
    "value", [None, "", "null", "FINISH_REASON_UNSPECIFIED", 0, False, {}, {"type": None}]
)
def test_what_says_nothing_ends_no_choice(value: object) -> None:
    chunks = streamed(chunk({"content": "hi"}, value), chunk({"content": "!"}, value), chunk({}, "stop"))

    assert [c.body["choices"][0]["finish_reason"] for c in chunks[:-1]] == [None, None, "stop"]
    assert whole(message("hi", value)).body["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"type": "stop"}, "stop"),
        ({"reason": "max_tokens"}, "length"),
        (1, "stop"),
        (2, "length"),
        (3.0, "content_filter"),
        (True, "stop"),
    ],
)
def test_a_reason_may_be_an_object_or_a_number(value: object, reason: str) -> None:
    assert whole(message("hi", value)).body["choices"][0]["finish_reason"] == reason
    assert read(streamed(chunk({"content": "hi"}, value))).choices[0].finish_reason == reason


@pytest.mark.parametrize("value", ["because", 17, [1], "  "])
def test_an_unknown_reason_is_read_as_stop_and_noted(value: object) -> None:
    answer = whole(message("hi", value))
    chunks = streamed(chunk({"content": "hi"}, value), chunk({}, "stop"))

    assert answer.body["choices"][0]["finish_reason"] == "stop"
    assert bool(answer.notes) is True
    assert read(chunks).choices[0].finish_reason == "stop"


@pytest.mark.parametrize("value", NAMES["error"])
def test_an_answer_that_broke_off_is_no_answer(value: str) -> None:
    with pytest.raises(ProviderBroken, match="broke its answer off"):
        whole(message("hi", value))
    with pytest.raises(ProviderBroken, match="broke its answer off"):
        streamed(chunk({"content": "hi"}), chunk({}, value))


def test_each_choice_finishes_for_its_own_reason() -> None:
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}
    chunks = streamed(
        frame([{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"tool_calls": [call]}}]),
        chunk({"content": "c"}, "length", index=2),
        chunk({}, "stop", index=1),
        chunk({}, "stop", index=0),
    )

    assert [c.finish_reason for c in read(chunks).choices] == ["stop", "tool_calls", "length"]


def test_every_reason_is_openais() -> None:
    assert set(NAMES) - {"error"} == FINISH_REASONS
