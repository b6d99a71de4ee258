"""The items of an answer, as they grow, and the events that report their growth.

One item is open at a time, as OpenAI does, because clients add every delta to the item that was added last.
Fragments of several tool calls can come mixed, so all calls but the first wait until the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from service.conversations.gemini_signatures import signed_id
from service.conversations.sealed_reasoning import Reasoning, has_blocks
from service.dialects.responses.annotations import annotations_in
from service.dialects.responses.tools import OfferedTool, Toolbox
from service.domain.basics import Json
from service.domain.reasoning import reasoning_in


class Item(Protocol):
    """One item of the output. Its events lack the fields that say which item they are about."""

    @property
    def prefix(self) -> str:
        """Of its id."""
        ...

    def body(self, status: str) -> Json:
        """The item so far, without its id."""
        ...

    def grown(self, fragment: Json) -> Iterator[Json]: ...

    def ended(self) -> Iterator[Json]:
        """The events before the item is done."""
        ...


class ReasoningItem:
    """What the model thought: its text as a summary, and all of it sealed for its vendor.

    Args:
        vendor_mark: of the vendor.
    """

    prefix = "rs"

    def __init__(self, vendor_mark: str | None) -> None:
        self._reasoning = Reasoning()
        self._vendor_mark = vendor_mark

    def body(self, status: str) -> Json:
        is_done = status != "in_progress"
        return {
            "type": "reasoning",
            "summary": [self._part()] if is_done and self._reasoning.has_text else [],
            "encrypted_content": self._reasoning.sealed(self._vendor_mark) if is_done else None,
        }

    def grown(self, fragment: Json) -> Iterator[Json]:
        text = reasoning_in(fragment)
        if text and not self._reasoning.has_text:
            part = {"type": "summary_text", "text": ""}
            yield {"type": "response.reasoning_summary_part.added", "summary_index": 0, "part": part}
        self._reasoning.add(text, fragment)
        if text:
            yield {"type": "response.reasoning_summary_text.delta", "summary_index": 0, "delta": text}

    def ended(self) -> Iterator[Json]:
        if self._reasoning.has_text:
            text = self._reasoning.text
            yield {"type": "response.reasoning_summary_text.done", "summary_index": 0, "text": text}
            yield {"type": "response.reasoning_summary_part.done", "summary_index": 0, "part": self._part()}

    def _part(self) -> Json:
        return {"type": "summary_text", "text": self._reasoning.text}


class MessageItem:
    """What the model says: parts of text and refusals."""

    prefix = "msg"

    def __init__(self) -> None:
        self._parts: list[Json] = []  # the last one without its text
        self._texts: list[str] = []  # of the last one

    def body(self, status: str) -> Json:
        parts = self._parts if status != "in_progress" else []
        return {"type": "message", "status": status, "role": "assistant", "content": list(parts)}

    def grown(self, fragment: Json) -> Iterator[Json]:
        logprobs = fragment.get("logprobs") or []
        for name in ("content", "refusal"):
            if isinstance(text := fragment.get(name), str) and (text or not self._parts):
                yield from self._add(name, text, logprobs if name == "content" else [])
        for annotation in annotations_in(fragment):
            yield from self._annotate(annotation)

    def ended(self) -> Iterator[Json]:
        if not self._parts:
            return
        part, place = self._parts[-1], {"content_index": len(self._parts) - 1}
        part["refusal" if part["type"] == "refusal" else "text"] = "".join(self._texts)
        if part["type"] == "refusal":
            yield {"type": "response.refusal.done", "refusal": part["refusal"], **place}
        else:
            logprobs = part["logprobs"]
            yield {"type": "response.output_text.done", "text": part["text"], "logprobs": logprobs, **place}
        yield {"type": "response.content_part.done", "part": dict(part), **place}

    def _add(self, name: str, text: str, logprobs: list[Json]) -> Iterator[Json]:
        kind = "refusal" if name == "refusal" else "output_text"
        if not self._parts or self._parts[-1]["type"] != kind:
            yield from self.ended()
            self._parts.append(_empty_part(kind))
            self._texts = []
            part = _empty_part(kind)
            yield {"type": "response.content_part.added", "part": part, "content_index": len(self._parts) - 1}
        place = {"content_index": len(self._parts) - 1}
        self._texts.append(text)
        if kind == "refusal":
            if text:
                yield {"type": "response.refusal.delta", "delta": text, **place}
            return
        self._parts[-1]["logprobs"] += logprobs
        if text:
            yield {"type": "response.output_text.delta", "delta": text, "logprobs": logprobs, **place}

    def _annotate(self, annotation: Json) -> Iterator[Json]:
        if not self._parts or self._parts[-1]["type"] != "output_text":
            return
        annotations = self._parts[-1]["annotations"]
        annotations.append(annotation)
        yield {
            "type": "response.output_text.annotation.added",
            "annotation": annotation,
            "annotation_index": len(annotations) - 1,
            "content_index": len(self._parts) - 1,
        }


def _empty_part(kind: str) -> Json:
    if kind == "refusal":
        return {"type": "refusal", "refusal": ""}
    return {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


class CallItem:
    """A call of one of the client's tools."""

    def __init__(self, tool: OfferedTool, call_id: str) -> None:
        self._tool = tool
        self._call_id = call_id
        self._fragments: list[str] = []
        self.prefix = tool.kind.prefix

    def body(self, status: str) -> Json:
        tool = self._tool
        item: Json = {"type": tool.kind.item_type, "call_id": self._call_id, "status": status}
        if tool.kind.is_named:
            item["name"] = tool.name
        if tool.namespace is not None:
            item["namespace"] = tool.namespace
        return item | tool.kind.fields(self._arguments if status != "in_progress" else "")

    @property
    def _arguments(self) -> str:
        return "".join(self._fragments)

    def grown(self, fragment: Json) -> Iterator[Json]:
        arguments = _function(fragment).get("arguments")
        if isinstance(arguments, str) and arguments:
            self._fragments.append(arguments)
            if self._tool.kind.streams:
                yield {"type": "response.function_call_arguments.delta", "delta": arguments}

    def ended(self) -> Iterator[Json]:
        kind = self._tool.kind
        if kind.streams:
            name = self._tool.name
            yield {
                "type": "response.function_call_arguments.done",
                "name": name,
                "arguments": self._arguments,
            }
        elif kind.item_type == "custom_tool_call":
            whole = kind.fields(self._arguments)["input"]
            if whole:
                yield {"type": "response.custom_tool_call_input.delta", "delta": whole}
            yield {"type": "response.custom_tool_call_input.done", "input": whole}


class Output:
    """The items of one answer.

    Args:
        stem: the common part of the ids of its items.
        vendor_mark: of the vendor that answers.
    """

    def __init__(self, stem: str, toolbox: Toolbox, vendor_mark: str | None = None) -> None:
        self.items: list[Json] = []  # that are done
        self._stem = stem
        self._toolbox = toolbox
        self._vendor_mark = vendor_mark
        self._open: tuple[str | int, Item] | None = None
        self._waiting: dict[str | int, list[Json]] = {}

    def grown(self, delta: Json) -> Iterator[Json]:
        """The events of a delta, or of a whole message with numbered tool calls."""
        if reasoning_in(delta) or has_blocks(delta):
            yield from self._fragment("reasoning", delta)
        if any(delta.get(name) for name in ("content", "refusal", "annotations")):
            yield from self._fragment("message", delta)
        for call in delta.get("tool_calls") or []:
            yield from self._fragment(call["index"], call)

    def ended(self, status: str) -> Iterator[Json]:
        """The last events; the last item has the status of the whole answer."""
        for key, fragments in self._waiting.items():
            yield from self._close("completed")
            for fragment in fragments:
                yield from self._write(key, fragment)
        yield from self._close(status)
        if status == "completed" and all(item["type"] == "reasoning" for item in self.items):
            yield from self._write("message", {"content": ""})  # an answer without words
            yield from self._close(status)

    def _fragment(self, key: str | int, fragment: Json) -> Iterator[Json]:
        """The events of a fragment of an item; none while a tool call is open, which only the end closes."""
        if self._open is not None and self._open[0] != key:
            if isinstance(self._open[0], int):
                self._waiting.setdefault(key, []).append(fragment)
                return
            yield from self._close("completed")
        yield from self._write(key, fragment)

    def _write(self, key: str | int, fragment: Json) -> Iterator[Json]:
        """The events that add a fragment to the open item, or open it."""
        if self._open is None:
            item = self._item(key, fragment)
            self._open = key, item
            added = self._named(item, "in_progress")
            yield {"type": "response.output_item.added", "output_index": len(self.items), "item": added}
        yield from self._placed(self._open[1].grown(fragment))

    def _close(self, status: str) -> Iterator[Json]:
        if self._open is None:
            return
        item = self._open[1]
        yield from self._placed(item.ended())
        done = self._named(item, status)
        yield {"type": "response.output_item.done", "output_index": len(self.items), "item": done}
        self.items.append(done)
        self._open = None

    def _item(self, key: str | int, fragment: Json) -> Item:
        if key == "reasoning":
            return ReasoningItem(self._vendor_mark)
        if key == "message":
            return MessageItem()
        tool = self._toolbox.called(str(_function(fragment).get("name") or ""))
        return CallItem(tool, signed_id(fragment) or f"call_{self._stem}_{len(self.items)}")

    def _named(self, item: Item, status: str) -> Json:
        return {"id": self._item_id(item), **item.body(status)}

    def _item_id(self, item: Item) -> str:
        return f"{item.prefix}_{self._stem}_{len(self.items)}"

    def _placed(self, events: Iterator[Json]) -> Iterator[Json]:
        """The events of the open item, with the fields that say so."""
        assert self._open is not None
        place = {"item_id": self._item_id(self._open[1]), "output_index": len(self.items)}
        for event in events:
            yield event | place


def _function(call: Json) -> Json:
    function = call.get("function")
    return function if isinstance(function, dict) else {}
