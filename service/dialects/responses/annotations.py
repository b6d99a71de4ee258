"""What a Chat Completions answer says beside its text: sources, and log probabilities."""

from __future__ import annotations

from collections.abc import Iterator

from service.domain.basics import Json


def annotations_in(message: Json) -> Iterator[Json]:
    """The sources that a message or a delta cites."""
    for annotation in _objects(message.get("annotations")):
        citation = annotation.get("url_citation")
        if isinstance(citation, dict):
            yield {
                "type": "url_citation",
                "url": str(citation.get("url") or ""),
                "title": str(citation.get("title") or ""),
                "start_index": citation.get("start_index") or 0,
                "end_index": citation.get("end_index") or 0,
            }


def logprobs_in(choice: Json) -> list[Json]:
    """The log probabilities of a choice; a token that is no text has no bytes."""
    logprobs = choice.get("logprobs")
    tokens = _objects(logprobs.get("content")) if isinstance(logprobs, dict) else []
    return [
        _token(token) | {"top_logprobs": [*map(_token, _objects(token.get("top_logprobs")))]}
        for token in tokens
    ]


def _token(token: Json) -> Json:
    return {"token": token.get("token"), "logprob": token.get("logprob"), "bytes": token.get("bytes") or []}


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
