"""Thinking of models other than Anthropic's, as blocks that clients of Anthropic's dialect bring back.

Anthropic signs its thinking and rejects any other. Other models have no such signatures, and some demand
their thinking back in a tool loop (DeepSeek, Kimi). The router's mark in the place of the signature
distinguishes the two. What only the vendor can read is sealed in it (OpenRouter's `reasoning_details`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from service.conversations.sealed_reasoning import Reasoning, as_signature, carried_thinking
from service.domain.basics import Json

SIGNATURE = "bGxtLXJvdXRlcg=="  # "llm-router" in base64, as clients expect of a signature
_SEALED = "bGxtLXJvdXRlci4x"  # how the signatures begin that carry sealed reasoning


def signature_of(reasoning: Reasoning) -> str:
    """The signature of a block with the reasoning's text: the mark, or all else that it has, sealed."""
    sealed = reasoning.sealed_blocks()
    return SIGNATURE if sealed is None else as_signature(sealed)


def thinking_block(text: str, message: Json) -> Json:
    """The block of a whole message."""
    return {"type": "thinking", "thinking": text, "signature": signature_of(Reasoning.whole(text, message))}


def is_unsigned(block: Any) -> bool:
    """Whether the block is one that the router made."""
    if not isinstance(block, dict) or block.get("type") != "thinking":
        return False
    signature = block.get("signature")
    is_marked = isinstance(signature, str) and (signature == SIGNATURE or signature.startswith(_SEALED))
    return is_marked and isinstance(block.get("thinking"), str)


def reasoning_of(blocks: Iterable[Any]) -> Json:
    """The fields of an assistant's message in OpenAI's form for the blocks that the router made."""
    reasoning = Reasoning()
    for block in filter(is_unsigned, blocks):
        reasoning.append(block["thinking"], carried_thinking(block["signature"]))
    return reasoning.fields


def without_unsigned_thinking(message: Json) -> Json | None:
    """The message without the blocks that the router made; None if nothing else is in it."""
    content = message.get("content")
    if not isinstance(content, list) or not any(map(is_unsigned, content)):
        return message
    signed = [block for block in content if not is_unsigned(block)]
    return {**message, "content": signed} if signed else None
