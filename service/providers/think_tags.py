"""Thinking that a model writes into its content, before the answer: `<think>...</think>`.

Servers without a parser for a model's reasoning leave it there (Qwen, MiniMax, DeepSeek's smaller models).
The client gets it as `reasoning_content`, like that of every other model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from service.domain.answer import Answer, Chunk
from service.domain.basics import Json
from service.domain.reasoning import reasoning_in

# How thinking begins and ends, by model.
TAGS = {"<think>": "</think>", "[THINK]": "[/THINK]", "<seed:think>": "</seed:think>"}
_TAGS = tuple(TAGS)


def tag_in(text: str) -> str | None:
    """The tag that the text begins with."""
    return next((tag for tag in TAGS if text.startswith(tag)), None) if text.startswith(_TAGS) else None


def form_of(message: Json) -> str | None:
    """The field of a message or a delta that has its reasoning."""
    if not reasoning_in(message):
        return None
    return "reasoning" if isinstance(message.get("reasoning"), str) else "reasoning_content"


class TagCutter:
    """Takes the thinking out of the content of one answer.

    Args:
        body: the request.
    """

    def __init__(self, body: Json) -> None:
        self.form: str | None = None  # where the answer has its reasoning: in a field, or behind a tag
        self._body = body
        self._places: dict[int, _Place] = {}

    def answer(self, answer: Answer) -> Answer:
        """The whole answer with its thinking apart; the same object if it has no tags."""
        choices = [self._cut_whole(choice) for choice in answer.body["choices"]]
        is_same = all(a is b for a, b in zip(choices, answer.body["choices"], strict=True))
        return answer if is_same else replace(answer, body={**answer.body, "choices": choices})

    def chunk(self, chunk: Chunk) -> Chunk:
        """The chunk with thinking apart; what may be a part of a tag waits for the next chunk."""
        if chunk.text is not None and (place := self._places.get(0)) is not None and place.is_done:
            return chunk
        choices = [self._cut(choice) for choice in chunk.body["choices"]]
        is_same = all(a is b for a, b in zip(choices, chunk.body["choices"], strict=True))
        return chunk if is_same else replace(chunk, body={**chunk.body, "choices": choices}, text=None)

    def _cut_whole(self, choice: Json) -> Json:
        message = choice["message"]
        content = message.get("content")
        form = form_of(message)
        self.form = self.form or form
        if form is not None or not isinstance(content, str) or tag_in(content.lstrip()) is None:
            return choice
        place = _Place(self._body)
        thinking, text = place.cut(content, is_last=True)
        if not thinking or (place.is_open and choice.get("finish_reason") != "length"):
            return choice
        self.form = place.tag
        apart = {"content": text or None, "reasoning_content": thinking.strip()}
        return {**choice, "message": {**message, **apart}}

    def _cut(self, choice: Json) -> Json:
        if (place := self._places.get(choice["index"])) is None:
            place = self._places[choice["index"]] = _Place(self._body)
        delta = choice["delta"]
        self.form = self.form or place.tag or form_of(delta)
        if place.is_done:
            return choice
        text = delta.get("content") or ""
        has_other = bool(reasoning_in(delta) or delta.get("tool_calls"))
        thinking, said = place.cut(text, is_last=has_other or choice.get("finish_reason") is not None)
        self.form = self.form or place.tag
        if not thinking and said == text:
            return choice
        apart: Json = {"content": said} if said or not thinking else {}
        rest = {name: value for name, value in delta.items() if name != "content"}
        return {**choice, "delta": rest | apart | ({"reasoning_content": thinking} if thinking else {})}


class _Place:
    """Where the content of one choice has come to: before its thinking, in it, or behind it."""

    def __init__(self, body: Json) -> None:
        self._body = body
        self._at: Literal["before", "in", "behind", "done"] = "before"
        self.is_done = False
        self.tag: str | None = None  # that begins the thinking
        self._has_begun = False  # some thinking has come
        self._waiting = ""  # what may be a part of a tag

    @property
    def is_open(self) -> bool:
        """Whether the thinking has not ended."""
        return self._at == "in"

    def cut(self, text: str, *, is_last: bool) -> tuple[str, str]:
        """The next piece of content as thinking and text.

        Args:
            is_last: nothing more of a tag can come.
        """
        text, self._waiting = self._waiting + text, ""
        thinking = ""
        if self._at == "before":
            text = self._begin(text, is_last=is_last)
        if self._at == "in" and self.tag is not None:
            thinking, text = self._think(text, TAGS[self.tag], is_last=is_last)
        if self._at == "behind" and (text := text.lstrip()):
            self._at, self.is_done = "done", True
        return thinking, text

    def _begin(self, text: str, *, is_last: bool) -> str:
        """The text behind the first tag; the whole text if there is none, none of it if one may come."""
        begun = text.lstrip()
        tag = tag_in(begun)
        if tag is not None and not _is_asked_for(tag, self._body):
            self._at, self.tag = "in", tag
            return begun.removeprefix(tag)
        if tag is None and not is_last and any(tag.startswith(begun) for tag in TAGS):
            self._waiting = text
            return ""
        self._at, self.is_done = "done", True
        return text

    def _think(self, text: str, closing: str, *, is_last: bool) -> tuple[str, str]:
        thinking, end, rest = text.partition(closing)
        if end:
            self._at = "behind"
        elif not is_last:
            n = next((n for n in range(len(closing) - 1, 0, -1) if text.endswith(closing[:n])), 0)
            thinking, self._waiting = text[: len(text) - n], text[len(text) - n :]
        thinking = thinking if self._has_begun else thinking.lstrip()
        self._has_begun |= bool(thinking)
        return thinking, rest


def _is_asked_for(tag: str, body: Json) -> bool:
    """Whether the request itself speaks of the tag, so that its client looks for it in the content."""
    return any(tag in text for message in body["messages"] for text in _texts(message.get("content")))


def _texts(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
