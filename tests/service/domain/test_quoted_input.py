from __future__ import annotations

import pytest

from service.domain.quoted_input import LEAST_CHARS, MOST_CHARS, unquoted, without_texts_of

BODY = {"messages": [{"role": "user", "content": 'My diagnosis is "secret",\nand my name is Zoë Quux.'}]}


@pytest.mark.parametrize(
    ("message", "stored"),
    [
        ("invalid: my name is Zoë Quux was rejected", "invalid:… was rejected"),
        ("bad input: my name is Zoë Qu", "bad input:…"),
        (r"rejected: My diagnosis is \"secret\",\nand my", "rejected: …"),
        (r"rejected: and my name is Zo\u00eb Quux. is long", "rejected: … is long"),
        ("max_tokens must be at most 4096, got 5000", "max_tokens must be at most 4096, got 5000"),
        ("a: 'something that nobody has asked for'", "a: …"),
        ('a: "something that was cut in the midd', "a: …"),
        ("cannot parse {'x': 1} as an answer", "cannot parse …"),
        ("messages[0].content must be a text, got {'x': 1}", "messages[0].content must be a text, got …"),
        ("can't be used, and it won't be used either", "can't be used, and it won't be used either"),
    ],
)
def test_what_a_message_quotes_is_left_out(message: str, stored: str) -> None:
    assert without_texts_of([BODY], message) == stored


def test_words_that_a_request_shares_with_any_message_stay() -> None:
    said = [{"content": "x" * (LEAST_CHARS - 1)}]

    assert (
        without_texts_of(said, f"bad {'x' * (LEAST_CHARS - 1)} here") == f"bad {'x' * (LEAST_CHARS - 1)} here"
    )


def test_of_a_long_request_nothing_is_quoted_and_nothing_is_searched() -> None:
    assert without_texts_of([{"content": "x" * (MOST_CHARS + 1)}], "bad x here") == "…"


def test_a_text_that_is_no_unicode_is_no_fault() -> None:
    assert (
        without_texts_of([{"content": "\ud800 and a longer text"}], r"bad \ud800 and a longer text")
        == "bad …"
    )


def test_a_rule_does_not_say_what_it_got() -> None:
    assert unquoted("score must be a number, got 'private'") == "score must be a number, got …"
    assert unquoted("reward must be in [0, 1], got 1.5") == "reward must be in [0, 1], got 1.5"


def test_names_of_fields_are_the_dialects_and_names_below_them_the_clients() -> None:
    said = [{"presence_penalty": 1, "tools": [{"properties": {"my_secret_field": {}}}]}]

    message = "presence_penalty is unknown, and my_secret_field too"

    assert without_texts_of(said, message) == "presence_penalty is unknown, and … too"
