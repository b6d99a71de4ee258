"""Writes answers, whole and streamed, as OpenAI's Completions API does."""

from __future__ import annotations

from typing import Any

from service.dialects.chat.events import DataEvents
from service.domain.answer import Chunk
from service.domain.basics import Json

_FINISH_REASONS = frozenset({"stop", "length", "content_filter"})
_HEAD = ("id", "created", "model", "system_fingerprint")


def text_completion(body: Json, echo: str) -> Json:
    """A `chat.completion` as a `text_completion`.

    Args:
        echo: what the client wants before each text.
    """
    choices = [_choice(choice, choice.get("message") or {}, echo) for choice in body.get("choices") or []]
    usage = {"usage": body["usage"]} if body.get("usage") else {}
    return {**_head(body), "choices": choices, **usage}


class TextEvents(DataEvents):
    """Writes the chunks of a stream.

    Args:
        echo: what the client wants before each text.
        include_usage: whether the client requested the usage.
    """

    def __init__(self, echo: str, explanation: Json | None, *, include_usage: bool) -> None:
        super().__init__(explanation)
        self._echo = echo
        self._include_usage = include_usage
        self._begun: set[int] = set()  # choices whose text has been echoed
        self._lengths: dict[int, int] = {}

    def chunk(self, chunk: Chunk) -> bytes:
        self._frame = self._frame or _head(chunk.body)
        choices = [c for choice in chunk.body.get("choices") or [] if (c := self._choice(choice))]
        reports_usage = self._include_usage and chunk.usage is not None and not chunk.body.get("choices")
        if not choices and not reports_usage:
            return b""
        body = {**_head(chunk.body), "choices": choices}
        if self._include_usage:
            body["usage"] = chunk.body.get("usage")
        return self._written(body)

    def _choice(self, choice: Json) -> Json | None:
        """The text of a chunk; None: it has neither text nor end, but a role or thinking."""
        index = choice.get("index", 0)
        echo = "" if index in self._begun else self._echo
        text = _choice(choice, choice.get("delta") or {}, echo, self._lengths.get(index, 0))
        if not text["text"] and text["finish_reason"] is None and text["logprobs"] is None:
            return None
        self._begun.add(index)
        self._lengths[index] = self._lengths.get(index, 0) + len(text["text"])
        return text


def _head(body: Json) -> Json:
    head = {name: body[name] for name in _HEAD if body.get(name) is not None}
    return {**head, "object": "text_completion"}


def _choice(choice: Json, message: Json, echo: str, offset: int = 0) -> Json:
    """
    Args:
        offset: characters of the choice's text before this one.
    """
    reason = choice.get("finish_reason")
    return {
        "text": echo + (message.get("content") or message.get("refusal") or ""),
        "index": choice.get("index", 0),
        "logprobs": _logprobs(choice.get("logprobs"), offset),
        "finish_reason": reason if reason is None or reason in _FINISH_REASONS else "stop",
    }


def _logprobs(given: Any, offset: int) -> Json | None:
    """The log probabilities of a chat in the form of four parallel lists."""
    tokens = given.get("content") if isinstance(given, dict) else None
    if not tokens:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token["token"])
    return {
        "tokens": [token["token"] for token in tokens],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [
            {top["token"]: top["logprob"] for top in token.get("top_logprobs") or []} for token in tokens
        ],
        "text_offset": offsets,
    }
