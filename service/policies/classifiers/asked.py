"""The text that classifiers read."""

from __future__ import annotations

from service.domain.query import Query


def asked(query: Query) -> str:
    """The question itself, without the earlier questions that follow it in the query's text."""
    n_chars = query.turn.n_asked_chars
    return query.text[:n_chars] if n_chars else query.text
