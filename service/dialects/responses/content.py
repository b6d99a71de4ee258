"""The content of a message or of a tool's result, as parts of Chat Completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.domain.basics import Json
from service.errors import BadRequest

_TEXTS = frozenset({"input_text", "output_text", "summary_text", "reasoning_text"})
_KNOWN = ("input_audio", "input_file", "input_image", "input_text", "output_text", "refusal")
_DETAILS = {"original": "high"}  # which Chat Completions does not know
SEPARATOR = "\n\n"


def chat_parts(content: str | Sequence[Any], path: str) -> list[Json]:
    """The parts of Chat Completions.

    Raises:
        BadRequest: a part breaks a rule, or is a file that the router would have to fetch.
    """
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [_part(part, f"{path}[{position}]") for position, part in enumerate(content)]


def chat_content(parts: Sequence[Json]) -> str | list[Json]:
    """Text as one string, which every server accepts; parts if there is anything else."""
    if all(part["type"] == "text" for part in parts):
        return SEPARATOR.join(part["text"] for part in parts)
    return list(parts)


def text_in(parts: Sequence[Json]) -> str:
    return SEPARATOR.join(part["text"] for part in parts if part["type"] == "text")


def files_in(parts: Sequence[Json]) -> list[Json]:
    return [part for part in parts if part["type"] != "text"]


def _part(part: Any, path: str) -> Json:
    if not isinstance(part, dict):
        raise BadRequest(f"{path}: must be an object, got {type(part).__name__}", param=path)
    kind = part.get("type")
    if isinstance(kind, str) and kind in _TEXTS:
        return {"type": "text", "text": _string(part, "text", path)}
    if kind == "refusal":
        return {"type": "text", "text": _string(part, "refusal", path)}
    if kind == "input_image":
        return _image(part, path)
    if kind == "input_file":
        return _file(part, path)
    if kind == "input_audio":
        audio = part.get("input_audio")
        if not isinstance(audio, dict):
            raise BadRequest(f"{path}.input_audio: field is required", param=f"{path}.input_audio")
        return {"type": "input_audio", "input_audio": audio}
    if kind is None:
        raise BadRequest(f"{path}.type: field is required", param=f"{path}.type")
    known = ", ".join(_KNOWN)
    raise BadRequest(f"{path}.type: must be one of {known}, got {kind!r}", param=f"{path}.type")


def _image(part: Json, path: str) -> Json:
    _refuse_ids(part, "image_url", path)
    image: Json = {"url": _string(part, "image_url", path)}
    if isinstance(detail := part.get("detail"), str):
        image["detail"] = _DETAILS.get(detail, detail)
    return {"type": "image_url", "image_url": image}


def _file(part: Json, path: str) -> Json:
    _refuse_ids(part, "file_data", path)
    if part.get("file_url") is not None and part.get("file_data") is None:
        where = f"{path}.file_url"
        raise BadRequest(f"{where}: the router fetches no files; send file_data instead", param=where)
    name = part.get("filename")
    file = {
        "filename": name if isinstance(name, str) else "file.pdf",
        "file_data": _string(part, "file_data", path),
    }
    return {"type": "file", "file": file}


def _refuse_ids(part: Json, instead: str, path: str) -> None:
    if part.get("file_id") is not None and part.get(instead) is None:
        where = f"{path}.file_id"
        raise BadRequest(f"{where}: the router keeps no files; send {instead} instead", param=where)


def _string(part: Json, name: str, path: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        problem = "field is required" if value is None else f"must be a string, got {type(value).__name__}"
        raise BadRequest(f"{path}.{name}: {problem}", param=f"{path}.{name}")
    return value
