"""Messages in Anthropic's form: their blocks, their stop reason, and a whole message as events and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import uuid4

import orjson

from service.domain.basics import Json
from service.errors import ProviderBroken
from service.providers.normaliser.finish import FINISH_REASONS, finish_reason

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_DELTAS = {  # the type of a block's delta, and the field of the block that it continues
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


def frame(raw: Json) -> Json:
    """The message's own fields, complete; a sound message stays the same."""
    content, usage = raw.get("content"), raw.get("usage")
    return {
        **raw,
        "id": raw.get("id") or f"msg_{uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": content}] if isinstance(content, str) else content or [],
        "stop_reason": raw.get("stop_reason"),
        "stop_sequence": raw.get("stop_sequence"),
        "usage": usage if isinstance(usage, dict) else {"input_tokens": 0, "output_tokens": 0},
    }


class Blocks:
    """The blocks of one message: each has a type, and each call of a tool an id of its own."""

    def __init__(self) -> None:
        self.has_calls = False
        self._ids: set[str] = set()

    def block(self, raw: object) -> Json:
        """The block; the same object if it is sound."""
        if not isinstance(raw, dict):
            return {"type": "text", "text": raw if isinstance(raw, str) else ""}
        kind = raw.get("type")
        if kind == "tool_use":
            return self._tool_use(raw)
        if not kind:
            return {"text": "", **raw, "type": "text"}
        if kind in ("text", "thinking") and not isinstance(raw.get(kind), str):
            return {**raw, kind: ""}
        return raw

    def _tool_use(self, raw: Json) -> Json:
        """A call of a tool.

        Raises:
            ProviderBroken: it has no name.
        """
        self.has_calls = True
        use_id, arguments = raw.get("id"), _arguments(raw.get("input"))
        is_unique = isinstance(use_id, str) and bool(use_id) and use_id not in self._ids
        if not isinstance(raw.get("name"), str) or not raw["name"]:
            raise ProviderBroken("the model called a tool without its name", has_begun=True)
        if not is_unique:
            use_id = f"toolu_{uuid4().hex[:24]}"
        self._ids.add(str(use_id))
        if is_unique and arguments is raw.get("input"):
            return raw
        return {**raw, "id": use_id, "input": arguments}

    def stop_reason(self, value: object) -> str | None:
        """Anthropic's name of a stop reason, which says truly whether tools are called; None: not ended.

        A name that neither vendor has stays, since Anthropic may add some.

        Raises:
            ProviderBroken: the message broke off.
        """
        reason = finish_reason(value)
        if reason is None:
            return None
        if reason == "error":
            raise ProviderBroken(f"the model broke its answer off, stop_reason {value!r}")
        known = value if isinstance(value, str) and value not in FINISH_REASONS else _STOP_REASONS.get(reason)
        if self.has_calls and reason in ("stop", "tool_calls"):
            return "tool_use"
        if known == "tool_use" and not self.has_calls:
            return "end_turn"
        return known or "end_turn"


def _arguments(value: object) -> Json:
    """A tool's input as an object; some servers write it as a string."""
    if isinstance(value, dict):
        return value
    if isinstance(value, str) and value:
        try:
            read = orjson.loads(value)
        except orjson.JSONDecodeError:
            read = None
        return read if isinstance(read, dict) else {"arguments": value}
    return {}


def whole_message(raw: Json) -> Json:
    """The message in Anthropic's form."""
    message, blocks = frame(raw), Blocks()
    message["content"] = [blocks.block(block) for block in message["content"]]
    message["stop_reason"] = blocks.stop_reason(raw.get("stop_reason") or "end_turn")
    return message


def events_of(message: Json) -> Iterator[Json]:
    """A whole message as the events of a stream."""
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    for index, block in enumerate(message["content"]):
        empty, deltas = _as_deltas(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    stop = {name: message.get(name) for name in ("stop_reason", "stop_sequence")}
    yield {"type": "message_delta", "delta": stop, "usage": message["usage"]}
    yield {"type": "message_stop"}


def _as_deltas(block: Json) -> tuple[Json, list[Json]]:
    """The empty block that a stream begins with, and what fills it."""
    match block["type"]:
        case "text":
            return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]
        case "thinking":
            thinking = {"type": "thinking_delta", "thinking": block["thinking"]}
            signature = {"type": "signature_delta", "signature": block.get("signature")}
            return {**block, "thinking": "", "signature": ""}, [thinking, signature][
                : 1 + bool(block.get("signature"))
            ]
        case "tool_use":
            text = orjson.dumps(block["input"]).decode()
            return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text}]
    return block, []


def message_of(events: Iterable[Json]) -> Json:
    """The whole message of a normalised stream of events."""
    message: Json = {}
    blocks: list[Json] = []
    pieces: list[dict[str, list[str]]] = []
    for event in events:
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                blocks.append(event["content_block"])
                pieces.append({})
            case "content_block_delta":
                delta = event["delta"]
                if field := _DELTAS.get(delta.get("type")):
                    pieces[event["index"]].setdefault(field, []).append(delta[field])
                elif delta.get("type") == "citations_delta":
                    block = blocks[event["index"]]
                    block["citations"] = [*(block.get("citations") or []), delta.get("citation")]
            case "message_delta":
                usage = {**message["usage"], **{k: v for k, v in event["usage"].items() if v}}
                message = {**message, **event["delta"], "usage": usage}
    content = [_filled(block, piece) for block, piece in zip(blocks, pieces, strict=True)]
    return {**message, "content": [*message["content"], *content]}


def _filled(block: Json, pieces: dict[str, list[str]]) -> Json:
    filled = block | {field: (block.get(field) or "") + "".join(text) for field, text in pieces.items()}
    if "partial_json" in filled:
        filled["input"] = _arguments(filled.pop("partial_json"))
    return filled
