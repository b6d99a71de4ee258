"""A stored response through a restart."""

from __future__ import annotations

from collections.abc import Callable

from openai.types.responses import Response

from tests.e2e.running import RunningRouter

Serve = Callable[..., RunningRouter]


def test_a_response_is_read_and_continued_after_a_restart(serve: Serve) -> None:
    router = serve(STORE_TEXTS="true")
    with router.client() as client, client.responses.stream(model="auto", input="Remember 42.") as stream:
        first = stream.get_final_response()
    router.restart()
    with router.client() as client:
        again = client.responses.retrieve(first.id)
        second: Response = client.responses.create(
            model="auto", input="Which number?", previous_response_id=first.id
        )
        items = client.responses.input_items.list(second.id, order="asc").data

    assert again.output_text == first.output_text
    assert second.model == first.model
    assert [item.to_dict()["role"] for item in items] == ["user", "assistant", "user"]
