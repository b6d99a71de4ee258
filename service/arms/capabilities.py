"""The capabilities that a request needs, and those that an arm is known to lack."""

from __future__ import annotations

from collections.abc import Iterator

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.reasoning import effort_of

# An arm that lists capabilities lacks the LISTED ones that it does not list. If it lists none, none is known.
# The other capabilities exclude an arm only if it is known to lack them.
LISTED = frozenset({"tools", "json_schema", "vision", "audio", "files"})
CAPABILITIES = LISTED | {
    "tool_choice",
    "parallel_tools",
    "reasoning",
    "n",
    "logprobs",
    "streaming",
}
_PART_NEEDS = {"image_url": "vision", "input_audio": "audio", "file": "files"}


def lacking(arm: Arm, needed: frozenset[str]) -> frozenset[str]:
    """Which of these capabilities the arm is known not to have."""
    if not needed:
        return needed
    unlisted = needed & LISTED - arm.capabilities if arm.capabilities else frozenset[str]()
    return unlisted | needed & arm.lacks


def needs(body: Json) -> frozenset[str]:
    """The capabilities that a request asks for."""
    return frozenset(_fields(body)) | frozenset(_parts(body))


def _fields(body: Json) -> Iterator[str]:
    if body.get("tools") or body.get("functions"):
        yield "tools"
    if body.get("tool_choice") not in (None, "auto", "none"):
        yield "tool_choice"
    if body.get("parallel_tool_calls"):
        yield "parallel_tools"
    response_format = body.get("response_format")
    if isinstance(response_format, dict) and response_format.get("type") == "json_schema":
        yield "json_schema"
    if body.get("reasoning_effort", effort_of(body.get("reasoning"))) not in (None, "none"):
        yield "reasoning"
    if (body.get("n") or 1) > 1:
        yield "n"
    if body.get("logprobs") or body.get("top_logprobs"):
        yield "logprobs"
    if body.get("stream"):
        yield "streaming"
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        yield "audio"


def _parts(body: Json) -> Iterator[str]:
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else []:
            if (need := _PART_NEEDS.get(str(part.get("type")))) is not None:
                yield need
