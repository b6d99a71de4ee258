from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.calibration.grading.comparisons import EXACT
from service.calibration.grading.json_equality import JsonGrader
from service.calibration.prompts import CalibrationPrompt, prompt_key, prompt_of, read_prompts
from service.errors import BadRequest, StartupError

BODY = {"messages": [{"role": "user", "content": "What is 6 * 7?"}], "max_tokens": 10}


def written(folder: Path, *records: object) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records), "utf-8")
    return path


def anything(prompt: CalibrationPrompt) -> str | None:
    return None


def test_the_order_of_fields_does_not_change_the_key_of_a_prompt() -> None:
    assert prompt_key(BODY) == prompt_key(dict(reversed(BODY.items())))


def test_each_part_of_the_content_changes_the_key_of_a_prompt() -> None:
    keys = {
        prompt_key(BODY),
        prompt_key({**BODY, "max_tokens": 11}),
        prompt_key(BODY, "42"),
        prompt_key(BODY, 42),
        prompt_key(BODY, None, "arithmetic"),
        prompt_key(BODY, None, None, "assert answer() == 42"),
    }

    assert len(keys) == 6


def test_a_prompt_is_a_request_and_what_its_answers_are_graded_by() -> None:
    tools = [{"type": "function", "function": {"name": "add"}}]

    prompt = prompt_of(
        {
            "prompt": "What is 6 * 7?",
            "expected": 42,
            "task": "math",
            "tests": "pass",
            "tools": tools,
            "model": "gpt-4o",
            "stream": True,
        }
    )

    assert prompt.body == {"messages": [{"role": "user", "content": "What is 6 * 7?"}], "tools": tools}
    assert (prompt.expected, prompt.task, prompt.tests, prompt.weight) == (42, "math", "pass", 1.0)


def test_the_context_is_the_one_of_a_request_to_the_router() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
        {"role": "assistant", "content": "Paris."},
        {"role": "user", "content": [{"type": "text", "text": "And of Italy?"}]},
    ]

    assert prompt_of({"messages": messages}).text == "And of Italy?\nWhat is the capital of France?"


@pytest.mark.parametrize(
    ("record", "fault"),
    [
        ([], "must be a JSON object, got a list of 0"),
        ({}, "must have either prompt or messages"),
        ({"prompt": "a", "messages": []}, "must have either prompt or messages"),
        ({"prompt": " "}, "prompt: must have text"),
        ({"prompt": 7}, "prompt: must be a string, got 7"),
        (
            {"messages": []},
            "messages: List should have at least 1 item after validation, not 0, got a list of 0",
        ),
        ({"messages": "a"}, "messages: Input should be a valid list, got 'a'"),
        (
            {"messages": [{"role": "human", "content": "a"}]},
            "messages[0].role: Input should be 'system', 'developer', 'user', 'assistant', 'tool' or "
            "'function', got 'human'",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}]},
            "messages: must have text",
        ),
        (
            {"prompt": "a", "task": "two words"},
            "task: must be 1 to 64 visible ASCII characters, got 'two words'",
        ),
        ({"prompt": "a", "task": 3}, "task: must be a string, got 3"),
        ({"prompt": "a", "tests": ["x"]}, "tests: must be a string, got a list of 1"),
        ({"prompt": "a", "n": 2}, "n: must be 1, got 2"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1, got 0"),
        ({"prompt": "a", "temperature": "hot"}, "temperature: Input should be a valid number, got 'hot'"),
    ],
)
def test_a_fault_is_reported_with_its_line_field_and_rule(tmp_path: Path, record: object, fault: str) -> None:
    path = written(tmp_path, {"prompt": "Why?"}, "", record)

    with pytest.raises(BadRequest) as alone:
        prompt_of(record)
    with pytest.raises(StartupError) as of_file:
        read_prompts(path, anything)

    assert str(alone.value) == fault
    assert str(of_file.value) == f"{path} line 3: {fault}"


def test_what_the_grader_lacks_is_reported_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "6 * 7?", "expected": "42"}, {"prompt": "Why?"})

    with pytest.raises(StartupError, match=r"line 2: expected: is required by the grader exact"):
        read_prompts(path, EXACT.reason_against)
    with pytest.raises(StartupError, match=r"line 2: expected: is required by the grader json"):
        read_prompts(path, JsonGrader().reason_against)


def test_a_line_that_repeats_another_is_left_out(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"prompt": "6 * 7?", "expected": "42"},
        {"expected": "42", "messages": [{"role": "user", "content": "6 * 7?"}]},
        {"prompt": "6 * 7?", "expected": "42", "task": "math"},
    )

    assert [prompt.task for prompt in read_prompts(path, anything)] == [None, "math"]


def test_one_prompt_is_not_graded_in_two_ways(tmp_path: Path) -> None:
    path = written(tmp_path, {"prompt": "6 * 7?", "expected": "42"}, {"prompt": "6 * 7?", "expected": "43"})

    with pytest.raises(StartupError, match="line 2: is graded otherwise than the same prompt at line 1"):
        read_prompts(path, anything)


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff\n"])
def test_a_file_without_prompts_is_reported(tmp_path: Path, content: str) -> None:
    with pytest.raises(StartupError, match="has no prompts"):
        read_prompts(written(tmp_path, content), anything)


@pytest.mark.parametrize("line", ["{", "Why?", '{"prompt": NaN}'])
def test_a_line_that_is_not_json_is_reported(tmp_path: Path, line: str) -> None:
    with pytest.raises(StartupError, match=r"prompts.jsonl line 1: must be a JSON object"):
        read_prompts(written(tmp_path, line), anything)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read: No such file or directory"):
        read_prompts(tmp_path / "none.jsonl", anything)
    with pytest.raises(StartupError, match="cannot be read: Is a directory"):
        read_prompts(tmp_path, anything)


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff" + json.dumps({"prompt": "Why?"}))

    assert [prompt.text for prompt in read_prompts(path, anything)] == ["Why?"]
