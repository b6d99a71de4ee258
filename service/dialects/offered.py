"""The dialects that the router speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from service.dialects.chat.dialect import CHAT
from service.dialects.completions.dialect import COMPLETIONS
from service.dialects.dialect import Dialect
from service.dialects.gemini.dialect import GEMINI
from service.dialects.gemini.requests import GENERATE, STREAM
from service.dialects.messages.dialect import MESSAGES
from service.dialects.paths import is_within
from service.dialects.prompt.dialect import PROMPT
from service.dialects.responses.dialect import RESPONSES

VERSION = "/v1"
ANTHROPIC_VERSION = "anthropic-version"  # the header of Anthropic's clients
# What OpenAI and Anthropic have and this router has not; below `VERSION` everything else is such.
_OF_VENDORS = (
    "/assistants",
    "/audio",
    "/batches",
    "/complete",
    "/containers",
    "/conversations",
    "/evals",
    "/files",
    "/fine_tuning",
    "/images",
    "/organization",
    "/realtime",
    "/skills",
    "/threads",
    "/uploads",
    "/vector_stores",
    "/videos",
)

DIALECTS: tuple[Dialect, ...] = (CHAT, MESSAGES, RESPONSES, COMPLETIONS, GEMINI, PROMPT)


# What clients of vendors call here, beside the paths of ours. Google's have their own version.
OFFERED = (
    *(route.path for d in DIALECTS for route in d.routes if is_within(route.path, (VERSION,))),
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/embeddings",
    "/v1/moderations",
    "/v1/models",
)
GOOGLES = (
    "/v1beta/models",
    *(
        f"/v1beta/models/{{model}}:{method}"
        for method in (GENERATE, STREAM, "countTokens", "embedContent", "batchEmbedContents")
    ),
)
_PLAIN = tuple(path for path in OFFERED if "{" not in path)


def dialect_of(path: str, headers: Mapping[str, str]) -> Dialect:
    """The dialect of a request; errors on paths that no dialect owns are OpenAI's.

    A path that has too much before one of ours, or the version twice, is of that one's dialect.
    """
    if (owner := _owner(path, headers)) is not None:
        return owner
    if (meant := _meant(path)) is not None:
        return _owner(meant[0], headers) or CHAT
    return MESSAGES if is_within(path, (VERSION,)) and ANTHROPIC_VERSION in headers else CHAT


def _owner(path: str, headers: Mapping[str, str]) -> Dialect | None:
    return next((dialect for dialect in DIALECTS if dialect.owns(path, headers)), None)


@dataclass(frozen=True, slots=True)
class Absence:
    """Why there is nothing at a path.

    Args:
        code: the code of the error.
    """

    reason: str
    code: str


def absence(path: str) -> Absence:
    """What a client is told that calls a path which does not exist."""
    if (meant := _meant(path)) is not None:
        offered, surplus = meant
        return Absence(
            f"not found; {offered} is offered: the client's base URL should be without the extra {surplus!r}",
            "not_found",
        )
    if GEMINI.owns(path, {}):
        return Absence(f"not offered by this router; it offers {', '.join(GOOGLES)}", "endpoint_not_offered")
    if is_within(path, (VERSION, *_OF_VENDORS)):
        return Absence(f"not offered by this router; it offers {', '.join(_PLAIN)}", "endpoint_not_offered")
    return Absence("not found", "not_found")


def _meant(path: str) -> tuple[str, str] | None:
    """The path of ours that a wrong base URL was put before, and what of the URL is too much."""
    for offered in sorted(_PLAIN, key=len, reverse=True):
        before, found, after = path.rpartition(offered)
        if found and before and (not after or after.startswith("/")):
            return offered, before
        without_version = offered.removeprefix(VERSION)
        if path == offered + without_version:  # the URL of the endpoint in place of the base URL
            return offered, without_version
    return None
