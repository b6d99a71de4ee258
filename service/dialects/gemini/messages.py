"""Translates the contents of a Gemini request into the messages of a Chat Completions request."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import orjson

from service.conversations.gemini_signatures import with_signature, without_signature
from service.conversations.sealed_reasoning import carried_thinking
from service.dialects.gemini.contents import Blob, Content, FileData, FunctionCall, FunctionResponse, Part
from service.domain.basics import Json
from service.errors import BadRequest

_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "audio/aac": "aac",
    "audio/aiff": "aiff",
}


def instructions(parts: Sequence[Part]) -> list[Json]:
    """The system message; none if the instruction is empty. Raises BadRequest."""
    for position, part in enumerate(parts):
        if part.text is None:
            _refuse(f"systemInstruction.parts[{position}]", "a system instruction can hold only text")
    text = "\n\n".join(part.text for part in parts if part.text)
    return [{"role": "system", "content": text}] if text else []


@dataclass(slots=True)
class _Call:
    """A call of the model, under its id in the translation."""

    call_id: str
    is_answered: bool = False


class Translation:
    """The translation of one conversation.

    Gemini's function calls may lack ids. Such a call gets one that is the same whenever the conversation is
    sent again, and responses without an id belong to the oldest call of their name that has none yet.
    """

    def __init__(self) -> None:
        self._n_calls = 0
        self._by_id: dict[str, deque[_Call]] = defaultdict(deque)
        self._by_name: dict[str, deque[_Call]] = defaultdict(deque)

    def messages(self, contents: Sequence[Content]) -> list[Json]:
        """The messages. Raises BadRequest: Chat Completions has no place for a part."""
        messages: list[Json] = []
        for position, content in enumerate(contents):
            place = f"contents[{position}]"
            turn = self._model(content, place) if content.role == "model" else self._user(content, place)
            messages.extend(turn)
        return messages

    # --- the model's turns

    def _model(self, content: Content, place: str) -> Iterator[Json]:
        """What the model said, without its thoughts: their signatures are what the model needs."""
        texts: list[str] = []
        calls: list[Json] = []
        thinking: Json = {}
        for position, part in enumerate(content.parts):
            if part.function_call is not None:
                carried = carried_thinking(part.thought_signature)
                signature = "" if carried else part.thought_signature or ""
                calls.append(self._call(part.function_call, signature))
                thinking = thinking or carried
            elif (text := _text(part)) is not None:
                texts.append("" if part.thought else text)
            else:
                _refuse(f"{place}.parts[{position}]", "a turn of the model can hold only text and calls")
        message: Json = {"role": "assistant", "content": "".join(texts) or None}
        if calls:
            yield {**message, "tool_calls": calls, **thinking}
        elif message["content"]:
            yield message

    def _call(self, call: FunctionCall, signature: str) -> Json:
        arguments = orjson.dumps(call.args or {}).decode()
        call_id = _own_id(call.id, call.name) if call.id else self._new_id(call.name, arguments)
        call_id = with_signature(call_id, signature)
        waiting = _Call(call_id)
        self._by_name[call.name].append(waiting)
        if call.id:
            self._by_id[call.id].append(waiting)
        self._n_calls += 1
        return {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

    def _new_id(self, name: str, arguments: str) -> str:
        digest = hashlib.sha256(f"{self._n_calls} {name} {arguments}".encode("utf-8", "surrogatepass"))
        return f"call_{digest.hexdigest()[:24]}"

    # --- the user's turns and the functions'

    def _user(self, content: Content, place: str) -> Iterator[Json]:
        """Responses of functions come first, each in its own message; their files go into the user's."""
        parts: list[Json] = []
        for position, part in enumerate(content.parts):
            where = f"{place}.parts[{position}]"
            if part.function_response is not None:
                yield self._response(part.function_response, f"{where}.functionResponse")
                parts += _files(part.function_response, f"{where}.functionResponse")
            elif part.function_call is not None:
                _refuse(f"{where}.functionCall", "only a turn of role model can call a function")
            elif (written := _user_part(part, where)) is not None:
                parts.append(written)
        if parts and all(part["type"] == "text" for part in parts):  # some servers accept only one string
            yield {"role": "user", "content": "\n\n".join(part["text"] for part in parts)}
        elif parts:
            yield {"role": "user", "content": parts}

    def _response(self, response: FunctionResponse, where: str) -> Json:
        content = _output(response.response or {})
        return {"role": "tool", "tool_call_id": self._answered(response, where), "content": content}

    def _answered(self, response: FunctionResponse, where: str) -> str:
        """The id of the call that a response belongs to."""
        queues = (self._by_id.get(response.id or ""), self._by_name.get(response.name))
        for queue in queues:
            while queue:
                call = queue.popleft()
                if not call.is_answered:
                    call.is_answered = True
                    return call.call_id
        _refuse(f"{where}.name", f"must answer an earlier functionCall, got {response.name[:100]!r}")


def _output(response: Json) -> str:
    """What a function said. Google's name for it is `output`, its SDK for Python writes `result`."""
    match list(response.items()):
        case [("output" | "result", str(text))]:
            return text
        case [("error", str(text))]:
            return f"Error: {text}"
        case _:
            return orjson.dumps(response).decode()


def _own_id(call_id: str, name: str) -> str:
    """The id that the model gave; Gemini CLI puts the name of the function before it."""
    return without_signature(call_id).removeprefix(f"{name}__") or call_id


def _refuse(param: str, rule: str) -> NoReturn:
    raise BadRequest(f"{param}: {rule}", param=param)


# --- parts


def _text(part: Part) -> str | None:
    """The text of a part, code and its output included; None: the part is something else."""
    if (code := part.executable_code) is not None:
        return f"```{code.language.lower()}\n{code.code}\n```\n"
    if (result := part.code_execution_result) is not None:
        return f"```\n{result.output}\n```\n"
    if part.text is None and part.inline_data is None and part.file_data is None:
        return ""  # only a signature
    return part.text


def _user_part(part: Part, where: str) -> Json | None:
    if part.inline_data is not None:
        return _file(part.inline_data, f"{where}.inlineData")
    if part.file_data is not None:
        return _referenced(part.file_data, f"{where}.fileData")
    text = _text(part)
    return {"type": "text", "text": text} if text else None


def _files(response: FunctionResponse, where: str) -> list[Json]:
    blobs = [(n, part.inline_data) for n, part in enumerate(response.parts or [])]
    return [_file(blob, f"{where}.parts[{n}].inlineData") for n, blob in blobs if blob is not None]


def _file(blob: Blob, where: str) -> Json:
    """A file inside the request as a content part. Raises BadRequest."""
    kind = blob.mime_type.partition(";")[0].strip().lower()
    data = blob.data.replace("-", "+").replace("_", "/")  # Google accepts both alphabets
    if kind.startswith("text/"):
        return {"type": "text", "text": _decoded(data, where)}
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
    if kind in _AUDIO_FORMATS:
        return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO_FORMATS[kind]}}
    if kind.startswith(("video/", "audio/")):
        _refuse(f"{where}.mimeType", f"no model here can use {kind}")
    name = (blob.model_extra or {}).get("displayName")
    name = name if isinstance(name, str) and name else f"document.{kind.rpartition('/')[2] or 'bin'}"
    return {"type": "file", "file": {"filename": name, "file_data": f"data:{kind};base64,{data}"}}


def _decoded(data: str, where: str) -> str:
    try:
        return b64decode(data + "=" * (-len(data) % 4), validate=True).decode()
    except ValueError:
        _refuse(f"{where}.data", "must be text in UTF-8, in base64")


def _referenced(file: FileData, where: str) -> Json:
    """An image elsewhere as a content part. Raises BadRequest."""
    is_address = file.file_uri.startswith(("http://", "https://", "data:"))
    if not is_address or "generativelanguage.googleapis.com" in file.file_uri:
        _refuse(f"{where}.fileUri", "must be the address of an image, because the router stores no files")
    if file.mime_type and not file.mime_type.startswith("image/"):
        _refuse(f"{where}.mimeType", f"only images can be given by address, got {file.mime_type[:100]!r}")
    return {"type": "image_url", "image_url": {"url": file.file_uri}}
