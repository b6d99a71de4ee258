"""What surrounds the choices of an answer or an event: choices in any container, errors, the frame."""

from __future__ import annotations

import time
from uuid import uuid4

from service.domain.basics import Json
from service.providers.refusals import is_error

_SUCCESS = (0, "0", 200, "200", "ok", "success")  # codes of an error that is none
_OF_A_CHOICE = frozenset({"delta", "message", "text", "finish_reason"})


def choices_in(raw: Json) -> list[Json] | None:
    """The choices of an answer or an event, often none; None: something else stands in their place."""
    choices = raw.get("choices")
    if not choices and not isinstance(choices, str):
        return []
    if isinstance(choices, dict):
        choices = [choices] if _OF_A_CHOICE & choices.keys() else list(choices.values())
    if not isinstance(choices, list):
        return None
    for choice in choices:
        if not isinstance(choice, dict):
            return None
    return choices


def states_error(raw: Json, choices: list[Json]) -> bool:
    """Whether an answer or an event says that the call failed; some providers send an empty error always."""
    if not choices:
        return is_error(raw)
    if "error" in raw and _is_error(raw["error"]):
        return True
    return any("error" in choice and _is_error(choice["error"]) for choice in choices)


def _is_error(error: object) -> bool:
    if not isinstance(error, dict):
        return bool(error)
    return any(error.values()) and error.get("code") not in _SUCCESS


class Frame:
    """The fields that all chunks of a stream share: the first id stays, whatever later chunks have."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._id = ""
        self._created = 0

    def is_around(self, raw: Json) -> bool:
        """Whether a chunk has the frame already."""
        return (
            raw.get("object") == self._kind
            and raw.get("id") == self._id != ""
            and type(raw.get("created")) is int
        )

    def around(self, raw: Json) -> Json:
        """Correct the frame of a chunk in place."""
        if raw.get("object") != self._kind:
            raw["object"] = self._kind
        if not self._id or raw.get("id") != self._id:
            given = raw.get("id")
            self._id = self._id or (given if isinstance(given, str) and given else f"chatcmpl-{uuid4().hex}")
            raw["id"] = self._id
        if type(raw.get("created")) is not int:
            created = raw.get("created")
            is_time = isinstance(created, float) and 0 < created < 2**53
            self._created = self._created or int(created if is_time else time.time())  # type: ignore[arg-type]
            raw["created"] = self._created
        return raw
