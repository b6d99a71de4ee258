from __future__ import annotations

from service.calibration.prompts import prompt_key

BODY = {"messages": [{"role": "user", "content": "What is 6 * 7?"}], "max_tokens": 10}


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
