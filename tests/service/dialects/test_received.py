"""What a dialect can tell the rest of the router about a request."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from service.dialects.received import Received

CHAT = {"messages": [{"role": "user", "content": "Hi"}]}
RECEIVED = Received({}, "t", "r-1", False, datetime(2026, 11, 30, tzinfo=UTC))


def test_the_form_of_an_answer_and_the_notes_of_a_request_are_not_spooled() -> None:
    query = RECEIVED.query(
        "gemini",
        CHAT,
        CHAT,
        model=None,
        stream=False,
        n_prompt_tokens=1,
        max_output_tokens=None,
        router=None,
        form={"shows_thoughts": True},
        notes=("safetySettings: left out",),
    )

    assert (query.form, query.notes) == ({"shows_thoughts": True}, ("safetySettings: left out",))
    assert not {"_form", "_notes"} & orjson.loads(orjson.dumps(query, default=str)).keys()
