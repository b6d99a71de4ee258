from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from service.domain.basics import Json
from service.meter.longest_prompt import IMAGE_TOKENS
from service.meter.worst_price import FRAMING_TOKENS, LARGEST_WINDOW_TOKENS, worst_usd
from tests.service.world import arm

WINDOW = 100_000
A_MILLION = arm("a", "1.00", WINDOW)
URL = {"type": "url", "url": "https://a.example/b.pdf"}


def asking(*parts: Json, **fields: Any) -> Json:
    return {"messages": [{"role": "user", "content": list(parts)}], "max_tokens": 1, **fields}


def worst_tokens(body: Json, native: Json | None = None) -> int:
    """The tokens of the longest prompt, at a dollar for a million."""
    answer_usd = A_MILLION.expected_price.output * Decimal("1e-6")
    return int((worst_usd(A_MILLION, body, native=native) - answer_usd) * 1_000_000)


TEXT = {"type": "text", "text": "What is this?"}


def test_a_text_has_at_most_as_many_tokens_as_bytes() -> None:
    longer = {"type": "text", "text": TEXT["text"] + "é" * 500}

    assert worst_tokens(asking(longer)) - worst_tokens(asking(TEXT)) == 1_000
    assert worst_tokens(asking(TEXT)) < FRAMING_TOKENS + 200


@pytest.mark.parametrize(
    "body",
    [
        asking({"type": "file", "file": {"file_id": "file-1"}}),
        asking({"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}}),
        asking({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}),
        asking({"type": "video_url", "video_url": {"url": "https://a.example/b.mp4"}}),
        asking(TEXT, web_search_options={}),
        asking(TEXT, web_search_options={"search_context_size": "high"}),
        asking(TEXT, tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        {"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}], "max_tokens": 1},
    ],
)
def test_what_the_provider_reads_beyond_what_it_is_sent_may_fill_the_window(body: Json) -> None:
    assert worst_tokens(body) >= WINDOW


@pytest.mark.parametrize(
    "native",
    [
        asking({"type": "document", "source": URL}),
        asking({"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
        asking({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "document", "source": URL}]}),
        asking(TEXT, mcp_servers=[{"type": "url", "url": "https://a.example", "name": "a"}]),
        asking(TEXT, tools=[{"type": "web_fetch_20250910", "name": "web_fetch"}]),
    ],
)
def test_what_a_translation_leaves_out_counts(native: Json) -> None:
    assert worst_tokens(asking(TEXT), native) >= WINDOW


def test_an_image_counts_at_the_most_that_a_model_bills_for_one() -> None:
    shown = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 300_000}}

    one = worst_tokens(asking(TEXT), asking(shown))
    two = worst_tokens(asking(TEXT), asking({"type": "tool_result", "content": [shown, shown]}))

    assert IMAGE_TOKENS <= one < IMAGE_TOKENS + FRAMING_TOKENS + 200
    assert 2 * IMAGE_TOKENS <= two < 2 * IMAGE_TOKENS + FRAMING_TOKENS + 200


def test_tools_that_the_client_runs_bring_nothing_but_their_text() -> None:
    tools = [{"name": "read", "input_schema": {}}, {"type": "bash_20250124", "name": "bash"}]

    assert worst_tokens(asking(TEXT), asking(TEXT, tools=tools)) < FRAMING_TOKENS + 400


def test_a_window_that_nobody_knows_counts_as_the_largest() -> None:
    unknown = arm("a", "1.00", None)  # type: ignore[arg-type]

    assert worst_usd(unknown, asking({"type": "file", "file": {}})) * 1_000_000 > LARGEST_WINDOW_TOKENS
