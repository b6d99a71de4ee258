"""The tokens of a prompt: an estimate from its bytes, and a count where it may decide eligibility."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Tokenizers
from service.domain.query import Query

FILE_TOKENS = 1_600  # of an image, audio or a document; Anthropic's count for a large image
FILE_PARTS = frozenset({"image_url", "input_audio", "file"})
BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 4  # the framing of a message

# An estimate is bytes / 4: prose has up to 6 bytes in a token, digits and code down to 1.5.
LEAST_SHARE, MOST_SHARE = 0.5, 3.0  # the range of count / estimate


def tokenizer_of(arm: Arm) -> str | None:
    """The name of the tokenizer of the arm's model; None: not available."""
    name = arm.model.lower().rpartition("/")[2]
    if "claude" in name:
        return "claude"
    if name == "gpt-4" or name.startswith(("gpt-3.5", "gpt-4-")):
        return "cl100k_base"
    return "o200k_base" if name.startswith(("gpt-", "chatgpt-", "o1", "o3", "o4")) else None


def shared_tokenizer(arms: Iterable[Arm]) -> str | None:
    """The tokenizer that all these arms share; None: they share none."""
    names = {tokenizer_of(arm) for arm in arms}
    return names.pop() if len(names) == 1 else None


def estimated_tokens(body: Json) -> int:
    """Estimate the tokens of a request in OpenAI's form: UTF-8 bytes / 4, FILE_TOKENS per file."""
    n_bytes = sum(len(text.encode(errors="replace")) for text in _texts(body))
    return -(-n_bytes // BYTES_PER_TOKEN) + FILE_TOKENS * _n_files(body)


def prompt_tokens(arm: Arm, query: Query) -> int:
    """The tokens of the prompt and of the arm's own: the count if there is one, else the estimate."""
    return query.counts.get(tokenizer_of(arm) or "", query.n_prompt_tokens) + arm.n_own_prompt_tokens


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts prompts, off the event loop."""

    tokenizers: Tokenizers

    async def counted(self, query: Query, arms: Iterable[Arm]) -> Query:
        """The query with counts for those arms whose context window is near its estimate.

        Most prompts are far below every window; these keep their estimate.
        """
        requested = query.requested_model
        close = [arm for arm in arms if _is_close(arm, query)]
        if not close:
            return query
        candidates = [arm for arm in close if requested in (None, arm.arm_id, *arm.aliases)]
        names = {name for arm in candidates if (name := tokenizer_of(arm))}
        counts = {name: n for name in sorted(names) if (n := await self.count(query.body, name)) is not None}
        return replace(query, counts=counts) if counts else query

    async def count(self, body: Json, tokenizer: str) -> int | None:
        """The tokens of a request in OpenAI's form; None: the tokenizer is missing, or takes too long."""
        n_text = await self.tokenizers.count(tokenizer, list(_texts(body)))
        if n_text is None:
            return None
        return n_text + MESSAGE_TOKENS * len(body["messages"]) + FILE_TOKENS * _n_files(body)


def _is_close(arm: Arm, query: Query) -> bool:
    """Whether a count may change whether the prompt fits the arm's window."""
    if arm.context_window is None:
        return False
    room = arm.context_window - (query.max_output_tokens or 0)
    return LEAST_SHARE * query.n_prompt_tokens <= room < MOST_SHARE * query.n_prompt_tokens


def _texts(body: Json) -> Iterator[str]:
    """Every text of the prompt."""
    for message in body["messages"]:
        if isinstance(content := message.get("content"), str):
            yield content
        for part in _objects(content):
            if isinstance(part.get("text"), str):
                yield part["text"]
        for call in _objects(message.get("tool_calls")):
            yield json.dumps(call.get("function"), ensure_ascii=False)
    for schemas in (body.get("tools"), body.get("functions"), body.get("response_format")):
        if schemas:
            yield json.dumps(schemas, ensure_ascii=False)


def _n_files(body: Json) -> int:
    parts = [part for message in body["messages"] for part in _objects(message.get("content"))]
    return sum(str(part.get("type")) in FILE_PARTS for part in parts)


def _objects(value: object) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
