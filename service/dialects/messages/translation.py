"""Translates an Anthropic Messages request into a Chat Completions request, for other vendors' arms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from service.conversations.client_ids import decoded
from service.conversations.unsigned_thinking import reasoning_of
from service.dialects.client_markup import without_attribution
from service.dialects.messages.block_texts import as_text, is_of_server_tool, result_text, search_text
from service.dialects.request_shape import continues_thread
from service.domain.basics import Json
from service.domain.query import THREAD_REFUSED
from service.domain.reasoning import EFFORTS, effort_of_budget
from service.domain.strict_schemas import is_strict

# Fields that change the answer and that Chat Completions lacks.
_ANTHROPIC_ONLY = ("container", "inference_geo", "mcp_servers", "top_k")
_SAME = ("max_tokens", "model", "stream", "temperature", "top_p")
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_TOOL_SEARCH = "tool_search_tool"  # other vendors' models get all tools at once, so that none is searched
_EFFORTS = frozenset({"low", "medium", "high", "xhigh", "max"})


def translated(body: Json) -> tuple[Json, tuple[str, ...]]:
    """Translate a Messages request.

    Signed thinking is left out, because only its vendor can read it; so are cache marks and `metadata`.

    Returns:
        The Chat Completions request, and the features of `body` that it cannot express.
    """
    translation = _Translation()
    request = translation.request(body)
    return request, tuple(translation.needs)


class _Translation:
    """The translation of one request; `needs` collects the features that Chat Completions lacks, in order."""

    def __init__(self) -> None:
        self.needs: dict[str, None] = {}

    def request(self, body: Json) -> Json:
        for name in _ANTHROPIC_ONLY:
            if body.get(name) not in (None, []):
                self.needs[name] = None
        if body.get("output_format") is not None and _older_schema(body) is None:
            self.needs["output_format"] = None
        if continues_thread(body):
            self.needs[THREAD_REFUSED] = None
        if body.get("max_tokens") == 0:
            self.needs["max_tokens 0"] = None
        request = {name: body[name] for name in _SAME if body.get(name) is not None}
        request["messages"] = self._messages(body)
        if body.get("stop_sequences"):
            request["stop"] = body["stop_sequences"]
        return {**request, **self._tools(body), **_reasoning(body), **_format(body)}

    def _messages(self, body: Json) -> list[Json]:
        messages = []
        if system := _system(body.get("system")):
            messages.append({"role": "system", "content": system})
        for turn in body["messages"]:
            messages.extend(self._turn(turn["role"], _blocks(turn["content"])))
        if body["messages"][-1]["role"] == "assistant":
            self.needs["continuing a begun answer"] = None
        return messages or [{"role": "user", "content": ""}]  # a body of thinking alone has no messages left

    def _turn(self, role: str, blocks: list[Json]) -> Iterator[Json]:
        if role == "user":
            yield from self._user(blocks)
        elif role == "assistant":
            yield from self._assistant(blocks)
        else:
            yield {"role": role, "content": "\n\n".join(self._texts(blocks))}

    def _user(self, blocks: list[Json]) -> Iterator[Json]:
        """Tool results come first, each in its own message; their files go into the user's message."""
        parts: list[Json] = []
        for block in blocks:
            if block["type"] == "tool_result":
                inner = _blocks(block.get("content") or "")
                told = [(b, b["text"] if b["type"] == "text" else result_text(b)) for b in inner]
                text = "\n".join(said for _, said in told if said is not None)
                parts.extend(p for b, said in told if said is None and (p := self._part(b)))
                content = f"Error: {text}" if block.get("is_error") else text
                yield {"role": "tool", "tool_call_id": decoded(block["tool_use_id"]), "content": content}
            elif part := self._part(block):
                parts.append(part)
        if parts and all(part["type"] == "text" for part in parts):  # some servers accept only one string
            yield {"role": "user", "content": "\n\n".join(part["text"] for part in parts)}
        elif parts:
            yield {"role": "user", "content": parts}

    def _assistant(self, blocks: list[Json]) -> Iterator[Json]:
        spoken = [
            {"type": "text", "text": f"\n{as_text(block)}\n"} if is_of_server_tool(block) else block
            for block in blocks
            if block["type"] not in {"tool_use", "thinking", "redacted_thinking"}
        ]
        message: Json = {"role": "assistant", "content": "".join(self._texts(spoken)) or None}
        message |= reasoning_of(blocks)
        calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
        if calls:
            message["tool_calls"] = calls
        if calls or message["content"]:
            yield message

    def _texts(self, blocks: list[Json]) -> list[str]:
        parts = [part for block in blocks if (part := self._part(block))]
        for part in parts:
            if part["type"] != "text":
                self.needs[f"{part['type']} of an assistant or a system"] = None
        return [part["text"] for part in parts if part["type"] == "text"]

    def _part(self, block: Json) -> Json | None:
        """A block of text or a file as a content part; None: Chat Completions has no such part."""
        source = block.get("source")
        source = source if isinstance(source, dict) else {}
        match block["type"], source.get("type"):
            case "text", _:
                return {"type": "text", "text": block["text"]}
            case "document", "text":
                return {"type": "text", "text": source["data"]}
            case "image", "base64":
                return {"type": "image_url", "image_url": {"url": _data_url(source)}}
            case "image", "url":
                return {"type": "image_url", "image_url": {"url": source["url"]}}
            case "document", "content":
                return self._document(source["content"])
            case "search_result", _ if (text := search_text(block)) is not None:
                return {"type": "text", "text": text}
            case "document", "base64":
                name = block.get("title") or "document.pdf"
                return {"type": "file", "file": {"filename": name, "file_data": _data_url(source)}}
            case kind, "file" | "url" | "content":
                self.needs[f"{kind} from {source['type']}"] = None
            case kind, _:
                self.needs[f"{kind} blocks"] = None
        return None

    def _document(self, content: Any) -> Json | None:
        """A document of texts, which may be one string."""
        blocks = _blocks(content) if isinstance(content, str | list) else []
        if not blocks or any(block.get("type") != "text" for block in blocks):
            self.needs["document from content"] = None
            return None
        return {"type": "text", "text": "\n".join(str(block.get("text") or "") for block in blocks)}

    def _tools(self, body: Json) -> Json:
        functions = []
        for tool in body.get("tools") or []:
            if tool.get("type") in (None, "custom"):
                functions.append(_function(tool))
            elif not str(tool["type"]).startswith(_TOOL_SEARCH):
                self.needs[f"tool {tool['type']}"] = None
        if not functions:
            return {}
        choice = body.get("tool_choice") or {}
        fields: Json = {"tools": functions}
        if choice.get("type") == "tool":
            fields["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
        elif choice:
            fields["tool_choice"] = _TOOL_CHOICES[choice["type"]]
        if choice.get("disable_parallel_tool_use"):
            fields["parallel_tool_calls"] = False
        return fields


def _blocks(content: str | list[Json]) -> list[Json]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _system(system: str | list[Json] | None) -> str:
    """The system prompt as one text, without the line that attributes it to a client of Anthropic."""
    texts = [without_attribution(block["text"]) for block in _blocks(system or "")]
    return "\n\n".join(text for text in texts if text)


def _call(block: Json) -> Json:
    arguments = orjson.dumps(block["input"]).decode()
    function = {"name": block["name"], "arguments": arguments}
    return {"id": decoded(block["id"]), "type": "function", "function": function}


def _function(tool: Json) -> Json:
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    if tool.get("description") is not None:
        function["description"] = tool["description"]
    if tool.get("strict") is not None:
        function["strict"] = bool(tool["strict"]) and is_strict(tool["input_schema"])
    return {"type": "function", "function": function}


def _data_url(source: Json) -> str:
    return f"data:{source.get('media_type')};base64,{source.get('data')}"


def _reasoning(body: Json) -> Json:
    """The reasoning effort, given as a word or as a thinking budget; `adaptive` sets none."""
    effort: Any = (body.get("output_config") or {}).get("effort")
    thinking = body.get("thinking") or {}
    budget = thinking.get("budget_tokens")
    if effort is None and thinking.get("type") == "enabled" and isinstance(budget, int):
        effort = effort_of_budget(budget)
    return {"reasoning_effort": EFFORTS[effort]} if effort in _EFFORTS else {}


def _older_schema(body: Json) -> Json | None:
    """The schema of `output_format`, the older name of `output_config.format`, which nothing has checked."""
    form = body.get("output_format")
    schema = form.get("schema") if isinstance(form, dict) else None
    return schema if isinstance(schema, dict) else None


def _format(body: Json) -> Json:
    schema = ((body.get("output_config") or {}).get("format") or {}).get("schema") or _older_schema(body)
    if schema is None:
        return {}
    json_schema = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": json_schema}}
