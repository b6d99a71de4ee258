"""The items of an input as the messages of Chat Completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from service.conversations.sealed_reasoning import opened
from service.dialects.responses.client_tools import CALL_ITEMS
from service.dialects.responses.content import chat_content, chat_parts, files_in, text_in
from service.dialects.responses.items import CALLS, LEFT_OUT, OUTPUTS, call_id_of
from service.dialects.responses.tools import Toolbox, joined_name
from service.domain.basics import Json
from service.errors import BadRequest


@dataclass(slots=True)
class _Turn:
    """One answer of a model: its reasoning, its text and its calls, with their results.

    In Chat Completions the results must follow the calls at once, whatever stood between them.
    """

    reasoning: Json = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    calls: list[Json] = field(default_factory=list)
    results: list[Json] = field(default_factory=list)
    files: list[Json] = field(default_factory=list)  # in the results, which can hold only text

    @property
    def has_begun(self) -> bool:
        return bool(self.texts or self.calls)

    def messages(self) -> list[Json]:
        if not self.has_begun:
            return []
        answer: Json = {"role": "assistant", "content": "".join(self.texts) or None, **self.reasoning}
        if self.calls:
            answer["tool_calls"] = self.calls
        elif answer["content"] is None:
            answer["content"] = ""
        seen = [{"role": "user", "content": self.files}] if self.files else []
        return [answer, *self.results, *seen]


def chat_messages(
    items: Sequence[Json], toolbox: Toolbox, path: str = "input", *, n_earlier: int = 0
) -> list[Json]:
    """The messages of checked items.

    Args:
        path: the name of their list in the body.
        n_earlier: how many of the first items are not in the body.

    Raises:
        BadRequest: a part breaks a rule, a result has no call, or a call has no result.
    """
    history = _History(toolbox, path)
    for position, item in enumerate(items):
        history.add(item, f"{path}[{max(0, position - n_earlier)}]")
    return history.messages()


class _History:
    def __init__(self, toolbox: Toolbox, path: str) -> None:
        self._toolbox = toolbox
        self._path = path
        self._entries: list[_Turn | Json] = []
        self._turns: dict[str, _Turn] = {}  # by the ids of their calls
        self._unanswered: dict[str, str] = {}  # the id of a call -> its type

    def add(self, item: Json, path: str) -> None:
        kind = item["type"]
        if kind == "message" and item["role"] != "assistant":
            content = chat_content(chat_parts(item["content"], f"{path}.content"))
            self._entries.append({"role": item["role"], "content": content})
        elif kind == "message":
            self._open(begins=True).texts.append(self._text(item, path))
        elif kind == "reasoning":
            self._open(begins=True).reasoning |= opened(item.get("encrypted_content"))
        elif kind in CALLS:
            self._add_call(item)
        elif kind in OUTPUTS:
            self._add_result(item, path)
        elif kind == "mcp_call":
            self._add_mcp_call(item)
        elif kind == "item_reference":
            message = f"{path}.id: the router has stored no item {item['id']!r}; send the item itself"
            raise BadRequest(message, param=f"{path}.id")
        else:
            assert kind in LEFT_OUT, kind

    def messages(self) -> list[Json]:
        for call_id in self._unanswered:
            message = f"{self._path}: no tool output found for function call {call_id}"
            raise BadRequest(message, param=self._path)
        messages: list[Json] = []
        for entry in self._entries:
            messages.extend(entry.messages() if isinstance(entry, _Turn) else [entry])
        return messages

    def _text(self, item: Json, path: str) -> str:
        parts = chat_parts(item["content"], f"{path}.content")
        if files_in(parts):
            raise BadRequest(
                f"{path}.content: an assistant's message holds only text", param=f"{path}.content"
            )
        return "".join(part["text"] for part in parts)

    def _open(self, *, begins: bool) -> _Turn:
        """The turn that an item belongs to: the last one, unless the item begins an answer."""
        last = self._entries[-1] if self._entries else None
        if not isinstance(last, _Turn) or (begins and last.has_begun) or last.results:
            last = _Turn()
            self._entries.append(last)
        return last

    def _add_call(self, item: Json) -> None:
        kind, call_id = CALL_ITEMS[item["type"]], str(item["call_id"])
        name = self._toolbox.function_of(
            kind.name_of(item) if "name" in item else kind.type, item.get("namespace")
        )
        turn = self._open(begins=False)
        turn.calls.append(_call(call_id, name, kind.arguments(item)))
        self._turns[call_id] = turn
        self._unanswered[call_id] = item["type"]

    def _add_result(self, item: Json, path: str) -> None:
        call_id = call_id_of(item)
        turn = self._turns.get(call_id)
        if turn is None:
            message = f"{path}: no tool call found for function call output with call_id {call_id}"
            raise BadRequest(message, param=self._path)
        parts = _result_parts(item, f"{path}.output")
        self._unanswered.pop(call_id, None)
        turn.results.append({"role": "tool", "tool_call_id": call_id, "content": text_in(parts)})
        turn.files.extend(files_in(parts))

    def _add_mcp_call(self, item: Json) -> None:
        """A call that OpenAI has made, with its result."""
        turn = self._open(begins=False)
        turn.calls.append(
            _call(item["id"], joined_name(item["server_label"], item["name"]), item["arguments"])
        )
        result = item.get("output") or f"Error: {item.get('error') or 'no output'}"
        turn.results.append({"role": "tool", "tool_call_id": item["id"], "content": result})


def _call(call_id: str, name: str, arguments: str) -> Json:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _result_parts(item: Json, path: str) -> list[Json]:
    """The content of a tool's result; what a shell gives back is JSON for the model."""
    match item["type"]:
        case "shell_call_output":
            text = (
                orjson.dumps(item["output"]).decode() if isinstance(item["output"], list) else item["output"]
            )
            return [{"type": "text", "text": text}]
        case "apply_patch_call_output":
            return [{"type": "text", "text": item.get("output") or item["status"]}]
        case _:
            return chat_parts(item["output"], path)
