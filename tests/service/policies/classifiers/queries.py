"""Queries with a text."""

from __future__ import annotations

from datetime import UTC, datetime

from service.domain.query import Options, Query, Turn


def query_of(text: str, *, n_asked_chars: int = 0) -> Query:
    return Query(
        tenant="default",
        request_id="r",
        request_id_given=False,
        body={"messages": [{"role": "user", "content": text}]},
        text=text,
        body_digest=b"",
        dialect="openai",
        requested_model=None,
        stream=False,
        n_prompt_tokens=1,
        max_output_tokens=None,
        options=Options(),
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        turn=Turn(n_asked_chars=n_asked_chars),
    )
